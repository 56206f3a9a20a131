"""A comparison of two VQ encoders for machines: its cases, and what `vqcheck/diff/1` holds."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from vqcheck.codebook.comparison import FAULTS, ComparedFile, Comparison, TensorDiff, Verdict
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import Role
from vqcheck.codebook.file_record import FileRecord
from vqcheck.report.document import Case, CaseOutcome, Rule, Weight
from vqcheck.report.views import copies, tensors
from vqcheck.report.views.json_objects import copies_object, digest_object, digests_object, named
from vqcheck.report.views.words import clauses, explained, trained

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Cause, Diagnosis, TokenFlips


_DRIFT: Final = (
    "Stage 1 was trained on tokens of the one codebook, and stage 2 would speak the other. Extract the tokens again "
    "and train s1 again, or start s2 from the checkpoint that the tokens came from; freeze the quantizer in training."
)
_CHAIN: Final = (
    "Later layers get what it leaves of the features, so it decides their tokens. (Behind the last layer it decides "
    "none, and is shown but not judged.)"
)
_BOOKKEEPING: Final = (
    "They decide no token today, but only updates of the codebook in training write them: it was not frozen. "
    "--scope tokens leaves them out of the verdict."
)
_RULES: Final = {
    role: Rule(f"diff/{role.replace('_', '-')}-changed", f"{what} the same in both files", help_)
    for role, what, help_ in (
        (Role.CODES, "the codes are", f"These vectors are what tokens mean. {_DRIFT}"),
        (
            Role.INPUT_PROJ,
            "the projection in front of the codebook is",
            f"It decides which code a frame gets. {_DRIFT}",
        ),
        (Role.CODE_TRANSFORM, "the transform of the codes is", f"The codes are calculated with it. {_DRIFT}"),
        (Role.INIT_FLAG, "the init flag is", f"It says whether the codebook still waits for its first batch. {_DRIFT}"),
        (Role.EMA_SUM, "the running sums are", _BOOKKEEPING),
        (Role.EMA_COUNT, "the running counts are", _BOOKKEEPING),
        (Role.OUTPUT_PROJ, "the projection behind the codebook is", f"{_CHAIN} {_DRIFT}"),
    )
}
_TRAINED: Final = trained("diff")
_CHANGE: Final = "rows_changed rows max_abs max_abs_index max_rel max_rel_index not_finite"
_COPIES: Final = Rule(
    "diff/copy-undecided",
    "no copy of the VQ encoder contradicts the one that was judged",
    "A file may hold several: raw and averaged weights, the best state, a teacher. Whoever loads a copy that the other "
    "file has nothing to answer to gets other tokens. Name the copy that will be used: --copy NAME.",
)


def cases(comparison: Comparison) -> Iterator[Case]:
    """Return a case for each tensor and copy, and one for whatever makes a file's codebook unfit for use."""
    yield from (_tensor_case(diff, comparison.b.path) for diff in comparison.tensors)
    yield from _copy_cases(comparison)
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        if side.never_trained:
            yield _unfit(side, f"never trained: {letter}", f"the codebook of {side.path} was never trained")
        for ailment in side.ailments:
            yield _unfit(side, f"{ailment}: {letter}", f"{side.path} is {ailment}: {explained(ailment)}")


def _unfit(side: ComparedFile, name: str, message: str) -> Case:
    return Case(_TRAINED, name, CaseOutcome.FAILED, message, side.path, weight=Weight.ADVICE)


def _copy_cases(comparison: Comparison) -> Iterator[Case]:
    """Return a case for each copy without a partner, and one where it is not clear which belong together."""
    weight = Weight.ADVICE if comparison.verdict == Verdict.CHANGED else Weight.REQUIRED
    for copy in comparison.lone:
        outcome = CaseOutcome.PASSED if copy.agrees else CaseOutcome.COULD_NOT_CHECK
        side = comparison.a if copy.side == "A" else comparison.b
        yield Case(
            _COPIES, f"{copy.side}: {copy.name}", outcome, copies.lone(copy, comparison), side.path, weight=weight
        )
    if comparison.verdict == Verdict.UNDECIDED and not comparison.contradicting:
        message = copies.undecided(comparison)
        yield Case(_COPIES, "which belong together", CaseOutcome.COULD_NOT_CHECK, message, comparison.b.path)


def _tensor_case(diff: TensorDiff, file: str) -> Case:
    outcome, said = CaseOutcome.PASSED, str(diff.verdict)
    if not diff.judged:
        outcome, said = CaseOutcome.NOT_APPLICABLE, f"{diff.verdict}, not judged"
    elif diff.verdict in FAULTS:
        outcome = CaseOutcome.FAILED
    elif diff.verdict == Verdict.NOT_STORED:
        outcome = CaseOutcome.NOT_APPLICABLE
    evidence = _evidence(diff)
    return Case(_RULES[diff.role], diff.label, outcome, f"{said}: {evidence}" if evidence else said, file)


def _evidence(diff: TensorDiff) -> str:
    parts = [diff.note] if diff.note else []
    if diff.change:
        rows = f"{diff.change.rows_changed} of {diff.change.rows} rows changed"
        parts.append(f"{rows}, {tensors.size(diff.change)}")
    if diff.a_digest and diff.b_digest:
        a, b = (f"{digest.algorithm} {digest.short}" for digest in (diff.a_digest, diff.b_digest))
        parts.append(a if a == b else f"{a} in A, {b} in B")
    return clauses(*parts)


def data(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison; it is complete whatever the verdict."""
    return {
        "scope": comparison.scope,
        "one_file": comparison.one_file,
        "codecs": list(comparison.codecs),
        "copies": copies_object(comparison),
        "a": _side(comparison.a, comparison.order.a),
        "b": _side(comparison.b, comparison.order.b),
        "order": comparison.order.order.value,
        "tensors": [_tensor(diff) for diff in comparison.tensors],
        "rounding_losses": [asdict(loss) for loss in comparison.losses],
        "diagnosis": _diagnosis(comparison.diagnosis) if comparison.diagnosis else None,
        "further_diagnoses": [_diagnosis(diagnosis) for diagnosis in comparison.further],
    }


def _side(side: ComparedFile, record: FileRecord) -> dict[str, Any]:
    return {
        "path": side.path,
        "kind": record.kind.value,
        **named(side, "family prefix never_trained ailments"),
        "digests": digests_object(side.digests),
        "in_front": side.in_front,
    }


def _tensor(diff: TensorDiff) -> dict[str, Any]:
    return {
        **named(diff, "label role verdict judged note rounded_to narrower reading"),
        "a": _stored(diff.a_name, diff.a_dtype, diff.a_shape, diff.a_digest),
        "b": _stored(diff.b_name, diff.b_dtype, diff.b_shape, diff.b_digest),
        "change": named(diff.change, _CHANGE) if diff.change else None,
    }


def _stored(name: str, dtype: str, shape: tuple[int, ...], digest: Digest | None) -> dict[str, Any] | None:
    if not name:
        return None
    return {"name": name, "dtype": dtype, "shape": list(shape), "digest": digest_object(digest)}


def _diagnosis(diagnosis: "Diagnosis") -> dict[str, Any]:
    """Return causes with their evidence, the consequence, and advice; None stands for what was not measured."""
    return {
        **named(diagnosis, "family codes_moved contradicted"),
        "causes": [_cause(cause) for cause in diagnosis.causes],
        "consequence": {
            "displacement": [asdict(displacement) for displacement in diagnosis.displacement],
            "token_flips": _flips(diagnosis.flips) if diagnosis.flips else None,
        },
        "training": {
            letter: named(training, "info epoch steps")
            for letter, training in zip("ab", diagnosis.training, strict=True)
        },
        "advice": [{"code": advice.code, "text": advice.text} for advice in diagnosis.advice],
    }


def _cause(cause: "Cause") -> dict[str, Any]:
    return {
        **named(cause, "code certainty codebook head"),
        "evidence": asdict(cause.evidence),
    }


def _flips(flips: "TokenFlips") -> dict[str, Any]:
    return asdict(flips) | {
        "share": flips.flipped / flips.frames,
        "severity": flips.severity.value,
        "skipped": [{"item": item, "problem": problem} for item, problem in flips.skipped],
    }
