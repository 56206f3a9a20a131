"""`vqcheck lock --check`: whether a file agrees with the lock, and what to do where it does not."""

from collections.abc import Sequence
from typing import Any, Final

from vqcheck.audit.lock_result import NOT_COMPARABLE, S1, TSV, LockCheck, LockReason, LockVerdict
from vqcheck.codebook.comparison import FAULTS, Verdict
from vqcheck.codebook.health import Condition
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.language import sentences, tr, trn, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Case, CaseOutcome, Document, Remedy, Rule, Status, Weight
from vqcheck.report.views import copies
from vqcheck.report.views.json_objects import copies_object, digest_object
from vqcheck.report.views.words import argument, clauses, extract_again, kind_of_file, listed, trained, warning

_ENCODER: Final = Rule(
    "lock/vq-encoder-changed",
    "the VQ encoder is the locked one",
    "The tokens were made with the locked VQ encoder. This file gives other tokens. Use the locked checkpoint. Or "
    "extract the tokens again with this file (of a G_*.pth with the weights exported at its step), train s1 again, and "
    "replace the lock (--update).",
)
_TOKENS: Final = Rule(
    "lock/tokens-changed",
    "the recorded tokens are the locked ones",
    "The token file changed after the lock was made. Restore it. Or, if the tokens were extracted again with the "
    "locked checkpoint, replace the lock (--update).",
)
_S1: Final = Rule(
    "lock/s1-changed",
    "the s1 checkpoint is the locked one",
    "The s1 file is not the one that was locked. Give the locked file. Or, if s1 was trained again on the same tokens, "
    "replace the lock (--s1 and --update).",
)
_COPIES: Final = Rule(
    "lock/copy-undecided",
    "no copy of the VQ encoder contradicts the one that was verified",
    "A file can hold several copies of a VQ encoder: raw and averaged weights, or the best state. One of them is not "
    "in the lock, or differs. Name the copy that will be used: --copy NAME.",
)
_TRAINED: Final = trained("lock")
_NAMED: Final = 3
"""Parts that a line of a table names."""
_LONG: Final = 24
"""Parts of a VQ encoder that a terminal shows without -v."""


def checked(result: LockCheck, *, details: bool = False) -> Document:
    """Return the document of a verification; `details` shows every part of a file that agrees, too."""
    status = Status(result.exit_code)
    differs = status is not Status.CONSISTENT or details
    return Document(
        command="lock",
        status=status,
        verdict=result.verdict,
        headline=_headline(result),
        subject=tr("{path} and {lock}", path=result.path, lock=result.lock),
        warnings=(tr("WARNING: {why}", why=warning(result.path, Condition.NEVER_TRAINED)),)
        if result.never_trained
        else (),
        cases=_cases(result),
        data=_checked_data(result),
        blocks=(
            doc.Section(
                tr("What was compared"),
                (
                    doc.Facts(
                        (
                            doc.Fact(tr("File"), doc.path(result.path), Shown.PAGE),
                            doc.Fact(tr("Kind of file"), kind_of_file(result.kind), Shown.DETAIL),
                            doc.Fact(tr("Lock"), doc.path(result.lock), Shown.PAGE),
                            doc.Fact(tr("Locked kind of file"), kind_of_file(result.locked_kind), Shown.DETAIL),
                            *_digests(result, Shown.ALWAYS if differs else Shown.DETAIL),
                        )
                    ),
                    doc.Bullets([*_open_question(result), *copies.told(result)]),
                    doc.Bullets(() if differs else _notes(result), Shown.BRIEF),
                ),
                heading=Shown.PAGE,
            ),
            doc.Section(
                tr("What became of each part"),
                (*(_in_short(result) if differs else ()), _table(result.verdicts, result, Shown.DETAIL)),
                heading=Shown.PAGE,
            ),
        ),
        remedies=_remedies(result),
    )


def line(result: LockCheck) -> str:
    """Return what a file comes to in a table of many."""
    if result.verdict == Verdict.CHANGED:
        faults = [line.name for line in result.verdicts if line.judged and line.verdict in FAULTS]
        return tr("other than the lock: {parts}", parts=listed(faults, _NAMED))
    if result.verdict == Verdict.UNDECIDED:
        return copies.undecided(result)
    notes = clauses(*_notes(result))
    return tr("agrees ({notes})", notes=notes) if notes else tr("agrees")


def _headline(result: LockCheck) -> str:
    if result.verdict == Verdict.CHANGED:
        return tr("the file {path} does not agree with {lock}", path=result.path, lock=result.lock)
    if result.verdict == Verdict.UNDECIDED:
        return tr("could not decide whether the file {path} agrees with {lock}", path=result.path, lock=result.lock)
    return tr("the file {path} agrees with {lock}", path=result.path, lock=result.lock)


def _open_question(result: LockCheck) -> list[str]:
    return [copies.undecided(result)] if result.verdict == Verdict.UNDECIDED else []


def _digests(result: LockCheck, shown: Shown) -> list[doc.Fact]:
    if not (result.recorded and result.found):
        return []
    same = result.recorded == result.found
    return [
        doc.Fact(tr("Locked digest"), [result.recorded.algorithm, " ", doc.code(result.recorded.short)], shown),
        doc.Fact(
            tr("Found digest"),
            [result.found.algorithm, " ", doc.code(result.found.short, Tone.NEUTRAL if same else Tone.BAD)],
            shown,
        ),
    ]


def _in_short(result: LockCheck) -> tuple[doc.Table, doc.Paragraph]:
    """Return the parts for a terminal: where there are very many, the first of those that are not identical."""
    lines = [line for line in result.verdicts if line.verdict != Verdict.IDENTICAL]
    if len(result.verdicts) <= _LONG:
        return _table(result.verdicts, result, Shown.BRIEF), doc.Paragraph("")
    left = len(result.verdicts) - min(len(lines), _LONG)
    said = sentences(
        trn("{number} more part is not listed here.", "{number} more parts are not listed here.", left),
        tr("-v lists every part."),
    )
    return _table(lines[:_LONG], result, Shown.BRIEF), doc.Paragraph(said, Shown.BRIEF)


def _table(lines: Sequence[LockVerdict], result: LockCheck, shown: Shown) -> doc.Table:
    columns = (doc.Column(tr("Part")), doc.Column(tr("Verdict")), doc.Column(tr("Why"), Kind.PROSE))
    rows = [(line.name, doc.verdict(_verdict(line), _tone(line, result)), _why(line)) for line in lines]
    return doc.Table(tr("Every tensor and file that the lock records, against the file."), columns, rows, shown)


def _verdict(line: LockVerdict) -> str:
    return tr("not comparable") if line.verdict == NOT_COMPARABLE else word(line.verdict)


def _tone(line: LockVerdict, result: LockCheck) -> Tone:
    if not line.judged or line.verdict == Verdict.NOT_STORED:
        return Tone.MUTED
    if line.verdict in (Verdict.IDENTICAL, Verdict.ROUNDED):
        return Tone.GOOD
    return Tone.WARNING if result.verdict == Verdict.UNDECIDED else Tone.BAD


def _why(line: LockVerdict) -> str:
    return clauses(_reason(line), *_lost(line), "" if line.judged else tr("not judged"))


def _notes(result: LockCheck) -> list[str]:
    """Return what there is to say of a file that agrees: once, however many tensors it is true of."""
    notes = {
        tr("{name}: {text}", name=line.role, text=reason) if line.verdict == Verdict.NOT_STORED else reason
        for line in result.verdicts
        if (reason := _reason(line))
    }
    unknown = result.in_front is InFront.UNKNOWN
    return [*([tr("what is in front of the codebook is not known")] if unknown else []), *sorted(notes)]


def _reason(line: LockVerdict) -> str:
    """Return why the verdict is what it is, in a sentence without its full stop; empty where nothing is to add."""
    if line.why is None:
        return ""
    rounded = {
        LockReason.FILE_ROUNDED: tr("the file holds the locked values, rounded to {type}", type=line.rounded_to),
        LockReason.LOCK_ROUNDED: tr("the lock holds the file's values, rounded to {type}", type=line.rounded_to),
    }
    if line.why in rounded:
        moved = tr("the rounded values are older, so training moved them by less than one step") if line.trained else ""
        return clauses(rounded[line.why], moved)
    return {
        LockReason.NOT_IN_LOCK: tr("the lock does not record it"),
        LockReason.NOT_IN_FILE: tr("the file does not hold it"),
        LockReason.LOCK_OF_EXPORT: tr("the lock was made from an export that does not store it"),
        LockReason.LEFT_OUT_BY_EXPORT: tr("an export does not store it"),
        LockReason.LEFT_OUT_BY_LORA: tr("a LoRA export does not store it; its base model does"),
        LockReason.OTHER_FAMILY: tr(
            "locked as {recorded}, read as {found}; both store the same tensors",
            recorded=line.recorded,
            found=line.found,
        ),
        LockReason.OTHER_CONTENT: tr("its content is not that of the locked {recorded}", recorded=line.recorded),
    }[line.why]


def _lost(line: LockVerdict) -> list[str]:
    """Return what rounding destroyed."""
    return [
        trn("rounding made {number} value infinite", "rounding made {number} values infinite", line.infinite)
        if line.infinite
        else "",
        tr("rounding left only zeros") if line.only_zeros else "",
        trn(
            "rounding made {number} code in use zero, infinite or equal to other codes",
            "rounding made {number} codes in use zero, infinite or equal to other codes",
            line.spoilt,
        )
        if line.spoilt
        else "",
    ]


def _cases(result: LockCheck) -> tuple[Case, ...]:
    parts = [_case(line, result) for line in result.verdicts]
    # Where something changed, that is the answer, and what else could not be decided only stands beside it.
    weight = Weight.ADVICE if result.verdict == Verdict.CHANGED else Weight.REQUIRED
    for copy in result.lone:
        where = result.lock if copy.side == "A" else result.path
        outcome = CaseOutcome.PASSED if copy.agrees else CaseOutcome.COULD_NOT_CHECK
        name = f"{'lock' if copy.side == 'A' else 'file'}: {copy.name}"
        parts.append(Case(_COPIES, name, outcome, copies.lone(copy, result), where, weight=weight))
    if result.verdict == Verdict.UNDECIDED and not result.contradicting:
        said = copies.undecided(result)
        parts.append(Case(_COPIES, "which belong together", CaseOutcome.COULD_NOT_CHECK, said, result.path))
    if result.never_trained:
        said = warning(result.path, Condition.NEVER_TRAINED)
        parts.append(Case(_TRAINED, "never trained", CaseOutcome.FAILED, said, result.path, weight=Weight.ADVICE))
    return tuple(parts)


def _case(line: LockVerdict, result: LockCheck) -> Case:
    rule = {TSV: _TOKENS, S1: _S1}.get(line.what, _ENCODER)
    weight = Weight.REQUIRED
    if not line.judged or line.verdict == Verdict.NOT_STORED:
        outcome = CaseOutcome.NOT_APPLICABLE
    elif line.verdict in (Verdict.IDENTICAL, Verdict.ROUNDED):
        outcome = CaseOutcome.PASSED
    elif line.verdict in FAULTS and result.verdict == Verdict.CHANGED:
        outcome = CaseOutcome.FAILED
    else:
        # Of copies that may not belong together, or where digests do not tell a rounding from a change.
        outcome, weight = CaseOutcome.COULD_NOT_CHECK, Weight.ADVICE
    why = _why(line) or ("" if outcome is CaseOutcome.PASSED else "the lock records other values")
    return Case(rule, line.name, outcome, f"{line.verdict}: {why}" if why else line.verdict, result.path, weight=weight)


def _remedies(result: LockCheck) -> tuple[Remedy, ...]:
    """Return what to do where a file does not agree with the lock."""
    if result.verdict == Verdict.UNDECIDED:
        return (Remedy(tr("Name the copy that training will use: --copy NAME.")),)
    if result.verdict != Verdict.CHANGED:
        return ()
    faults = [line for line in result.verdicts if line.judged and line.verdict in FAULTS]
    encoder = [line for line in faults if line.what not in (TSV, S1)]
    again = f"vqcheck lock {argument(result.path)} -o {argument(result.lock)} --update"
    # Tokens that the locked checkpoint made are bound to that one, not to a file that differs from it.
    replace = again if not encoder else f"vqcheck lock CKPT -o {argument(result.lock)} --update"
    bindings = " --experiment DIR" * result.binds_tokens + " --s1 S1" * result.binds_s1
    with_tokens, with_s1 = f"{replace} --experiment DIR", f"{replace} --experiment DIR --s1 S1"
    said = []
    if any(line.verdict != Verdict.MISSING for line in encoder):
        said.append(tr("Use a checkpoint whose VQ encoder is the locked one. Freeze the quantizer in s2 training."))
        said.append(
            sentences(
                tr("Is the change meant?"),
                extract_again(result.path, result.exported),
                # A lock made again without them would bind neither tokens nor s1.
                tr("Then replace the lock: {command}", command=again + bindings),
            )
        )
    elif encoder:
        said.append(tr("Check a file that stores the same parts of the VQ encoder as the locked one."))
    if any(line.what == TSV for line in faults):
        said.append(
            sentences(
                tr("Restore the token file."),
                tr("Were the tokens extracted again with the locked checkpoint?"),
                tr("Then replace the lock: {command}", command=with_tokens),
            )
        )
    if any(line.what == S1 for line in faults):
        said.append(
            sentences(
                tr("Give the locked s1 file."),
                tr("Was s1 trained again on the locked tokens?"),
                tr("Then replace the lock: {command}", command=with_s1),
            )
        )
    return tuple(map(Remedy, said))


def _checked_data(result: LockCheck) -> dict[str, Any]:
    return {
        "lock": result.lock,
        "checkpoint": result.path,
        "kind": result.kind.value,
        "locked_kind": result.locked_kind.value,
        "never_trained": result.never_trained,
        "recorded": digest_object(result.recorded),
        "found": digest_object(result.found),
        "copies": copies_object(result),
        "checks": [
            {
                "what": line.name,
                "verdict": line.verdict,
                "note": clauses(_reason(line), *_lost(line)),
                "judged": line.judged,
            }
            for line in result.verdicts
        ],
    }
