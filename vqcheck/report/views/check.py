"""`vqcheck check`: which voices of a place are affected, what that does to the sound, and what to do about it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from vqcheck.audit.check_result import (
    ADVICE,
    Answer,
    BaseChoice,
    BaseReason,
    Candidate,
    Missing,
    PlaceCheck,
    Question,
    VoiceCheck,
)
from vqcheck.audit.history_result import Drift, HistoryRow
from vqcheck.audit.judgement import CheckOutcome
from vqcheck.audit.token_power import Power, power, sentence
from vqcheck.codebook.comparison import CHANGED
from vqcheck.codebook.diagnosis.result import Severity, TokenFlips
from vqcheck.experiment.place import PlaceKind
from vqcheck.report import blocks
from vqcheck.report.blocks import (
    Block,
    Column,
    Fact,
    Facts,
    Inline,
    Kind,
    Paragraph,
    Section,
    Shown,
    Table,
    Tone,
    Word,
    path,
    verdict,
)
from vqcheck.report.document import Case, CaseOutcome, Document, Figure, Remedy, Rule, Status, Weight
from vqcheck.report.views.s1_s2 import evidence
from vqcheck.report.views.tokens_data import power_object
from vqcheck.report.views.words import effect, extract_again, share

_FEW: Final = 3
"""Voices, and bases that were compared, up to which text shows how a base was chosen."""

_RULES: Final = {
    question: Rule(f"check/{question.value}", title, help_)
    for question, title, help_ in (
        (
            Question.BASE,
            "every file of the voice has the VQ encoder of its base",
            (
                "Training wrote the codebook. Tokens that were made with the base mean something else to this file. "
                "Extract the tokens again and train s1 again, or train s2 again from the base, with the quantizer "
                "frozen."
            ),
        ),
        (
            Question.TOKENS,
            "the recorded tokens agree with the base",
            (
                "s1 learns the recorded tokens, and s2 starts from the base. Extract the tokens again with the base, "
                "and train s1 again."
            ),
        ),
        (
            Question.S1_S2,
            "the newest s1 and the newest s2 speak the same tokens",
            "The two stages mean different things by one token. Extract the tokens again and train s1 again.",
        ),
        (
            Question.LOCK,
            "the newest s2 agrees with the lock",
            "The lock records the VQ encoder that the tokens were made with. Train s2 again from that one.",
        ),
        (
            Question.HEALTH,
            "the VQ encoders are trained and finite",
            "Such a codebook gives tokens that mean nothing. Start again from a published base model.",
        ),
        (
            Question.RESUME,
            "the next training does not go on from a checkpoint that has drifted",
            "Training resumes from the latest checkpoint without a word. Move it away before you train again.",
        ),
        (
            Question.FREEZE,
            "the configuration freezes the quantizer",
            "Set freeze_quantizer to true before you train again, and use training code that obeys it.",
        ),
    )
}
_UNREADABLE: Final = Rule(
    "check/unreadable", "the file can be read", "Copy the file again, or move it out of the folder."
)
_NO_BASE: Final = Rule(
    "check/no-base",
    "a base was compared with a file",
    "Without the base nothing says whether a VQ encoder moved. Name the base with --base, such as s2G2333k.pth.",
)


def view(check: PlaceCheck) -> Document:
    """Return the document of everything that was asked of a place."""
    return Document(
        command="check",
        status=Status(check.exit_code),
        verdict=check.verdict.value,
        headline=_headline(check),
        subject=check.path,
        cases=tuple(_cases(check)),
        data=_data(check),
        figures=_figures(check),
        blocks=(
            *_overview(check),
            *(_voice(voice, check) for voice in check.voices if _is_told(voice)),
            *_not_asked(check),
            *_files(check),
            _place(check),
        ),
        remedies=tuple(remedy for voice in check.voices for remedy in _remedies(voice, len(check.voices) > 1)),
    )


def title(voice: VoiceCheck) -> str:
    """Return what a voice is called in a row of voices: `me (v2)`."""
    parts = [voice.version, f"LoRA rank {voice.rank}" if voice.rank else ""]
    also = ", ".join(part for part in parts if part)
    return f"{voice.name} ({also})" if also else voice.name


def _headline(check: PlaceCheck) -> str:
    if not check.voices:
        if len(check.unreadable) == 1:
            file, why = check.unreadable[0]
            return f"{_short(file, check)} {why}"
        return f"{check.path} holds no voice that can be checked"
    if not any(voice.compared for voice in check.voices):
        if not check.bases:
            return "no base model was found, so nothing says whether a VQ encoder moved; name it with --base"
        return "no file of a voice could be compared with a base"
    if len(check.voices) == 1 and not check.unreadable:
        return f"{check.voices[0].name}: {_voice_headline(check.voices[0])}"
    affected, unsure = len(check.affected), [voice for voice in check.voices if voice.exit_code == 2]
    said = f"{affected} of {len(check.voices)} voice{'s' * (len(check.voices) != 1)} "
    said += f"{'is' if affected == 1 else 'are'} affected"
    if unsure:
        said += f", {len(unsure)} could not be checked"
    if check.unreadable:
        count = len(check.unreadable)
        said += f"; {count} file{'s' * (count != 1)} cannot be read"
    return said


def _voice_headline(voice: VoiceCheck) -> str:
    """Return what a voice comes to, in a clause."""
    if _fails(voice.answer(Question.HEALTH)):
        return f"a VQ encoder is not fit for use ({_first_name(voice.answer(Question.HEALTH))})"
    drifted = _drifted(voice)
    if drifted is not None:
        effect = f"; {_effect(voice.flips)}" if voice.flips else "; the effect on the tokens was not measured"
        return f"the newest s2 file {_moved_by(drifted)}{effect}"
    failed = [answer.question for answer in voice.answers if _fails(answer)]
    if Question.BASE in failed:
        return "an earlier s2 file has another VQ encoder than the base, the newest has not"
    if failed[:1] == [Question.TOKENS] and _other_recordings(voice):
        return "the features are of other recordings than the tokens"
    if failed:
        return {
            Question.TOKENS: "the recorded tokens do not agree with the base",
            Question.S1_S2: "s1 and s2 do not speak the same tokens",
            Question.LOCK: "s2 does not agree with the lock",
        }[failed[0]]
    if voice.exit_code == 2:
        return "could not be checked completely"
    return "fine" if voice.compared else "not compared with a base"


def _other_recordings(voice: VoiceCheck) -> bool:
    """Say whether the tokens fail by their lengths alone, which says nothing of a VQ encoder."""
    audit = voice.answer(Question.TOKENS).audit
    return audit is not None and audit.only_lengths


def _first_name(answer: Answer) -> str:
    return os.path.basename(answer.files[0]) if answer.files else ""


def _drifted(voice: VoiceCheck) -> Drift | None:
    """Return how far the newest file is from the base, where it is not the base's rounding."""
    drift = voice.newest.from_base if voice.newest else None
    return drift if drift and drift.verdict == CHANGED else None


def _moved_by(drift: Drift) -> str:
    if drift.ema_steps is None:
        return "has another VQ encoder than its base"
    count = {"exact": "", "about": "about ", "at least": "at least "}.get(drift.precision, "")
    return f"drifted by {count}{drift.ema_steps} update{'s' * (drift.ema_steps != 1)}"


def _effect(flips: TokenFlips) -> str:
    return f"{effect(flips)}: {share(flips.flipped, flips.frames)} of the frames get another token"


def _figures(check: PlaceCheck) -> tuple[Figure, ...]:
    affected = len(check.affected)
    return (
        Figure("voices", str(len(check.voices))),
        Figure("affected", str(affected), Tone.BAD if affected else Tone.GOOD),
        Figure("files compared", str(sum(len(voice.run.rows) for voice in check.voices if voice.run))),
    )


def _overview(check: PlaceCheck) -> Iterator[Block]:
    if not check.voices:
        return
    asked = [question for question in Question if any(not _is_missing(v.answer(question)) for v in check.voices)]
    columns = (Column("Voice", Kind.NAME), *(Column(_NAMES[question]) for question in asked), Column("From", Kind.NAME))
    rows = [
        (path(title(voice)), *(_cell(voice.answer(question)) for question in asked), _chosen_base(voice))
        for voice in check.voices
    ]
    yield Section("Voices", (Table("Each voice, and what became of each question.", columns, rows),))


def _chosen_base(voice: VoiceCheck) -> Inline:
    """Return the base of a voice, where there were several to choose from."""
    return path(os.path.basename(voice.base.path)) if voice.base and voice.base.candidates else ""


_NAMES: Final = {
    Question.BASE: "Files",
    Question.TOKENS: "Tokens",
    Question.S1_S2: "s1 and s2",
    Question.LOCK: "Lock",
    Question.HEALTH: "Health",
    Question.RESUME: "Resume",
    Question.FREEZE: "Freeze",
}
_WORDS: Final = {
    CheckOutcome.PASSED: ("fine", Tone.GOOD),
    CheckOutcome.FAILED: ("failed", Tone.BAD),
    CheckOutcome.COULD_NOT_CHECK: ("unclear", Tone.WARNING),
}


def _cell(answer: Answer) -> Inline:
    if _is_missing(answer):
        return Word("-", Tone.MUTED)
    word, tone = _WORDS[answer.outcome]
    if answer.question in ADVICE and answer.outcome is CheckOutcome.FAILED:
        return Word("advice", Tone.WARNING)
    return verdict(word, tone)


def _is_missing(answer: Answer) -> bool:
    return answer.outcome is CheckOutcome.NOT_APPLICABLE


def _fails(answer: Answer) -> bool:
    return answer.outcome is CheckOutcome.FAILED and answer.question not in ADVICE


def _is_told(voice: VoiceCheck) -> bool:
    """Say whether there is more to say of a voice than its row in the table."""
    return _has_findings(voice) or (voice.base is not None and bool(voice.base.candidates))


def _has_findings(voice: VoiceCheck) -> bool:
    return any(answer.outcome in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK) for answer in voice.answers)


def _voice(voice: VoiceCheck, check: PlaceCheck) -> Section:
    """Return the findings of one voice: what was seen, and what it means for the sound.

    The headline of the page is that of a voice that stands alone.
    """
    alone = len(check.voices) == 1
    facts = [Fact("Base model", _base(voice.base, check)), *(_finding(voice, answer) for answer in voice.answers)]
    means = _meaning(voice)
    return Section(
        title(voice),
        (
            Paragraph("" if alone else blocks.sentence(f"{_voice_headline(voice)}.")),
            Facts([fact for fact in facts if fact]),
            *([Paragraph(means)] if means else []),
        ),
        # How the base of a voice that is fine was chosen is of interest where there are few.
        Shown.ALWAYS if _has_findings(voice) or len(check.voices) <= _FEW else Shown.DETAIL,
    )


def _finding(voice: VoiceCheck, answer: Answer) -> Fact | None:
    """Return what was found, where there is something to say."""
    if answer.outcome not in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK):
        return None
    said = message(answer)
    if answer.question is Question.BASE and voice.run is not None:
        said = _first_moved(voice) or said
    return Fact(_NAMES[answer.question], said)


def message(answer: Answer) -> str:
    """Return what became of a question, in one sentence."""
    names = ", ".join(os.path.basename(file) for file in answer.files[:3])
    names += f" and {len(answer.files) - 3} more" if len(answer.files) > 3 else ""
    if answer.missing is not None:
        return _lacks(answer.missing)
    if answer.outcome is CheckOutcome.COULD_NOT_CHECK:
        return answer.message or f"It could not be decided: {names}"
    passed = answer.outcome is CheckOutcome.PASSED
    if answer.stages is not None:
        return evidence(answer.stages)
    if answer.audit is not None and answer.audit.only_lengths:
        count = len(answer.audit.wrong_lengths)
        return f"{count} items have another number of tokens than their features give"
    if answer.audit is not None and answer.outcome is CheckOutcome.FAILED and not answer.audit.contradictions:
        # The tokens pass with the base, which decides over a newest file that agrees with little data, too.
        name = os.path.basename(answer.audit.checkpoint)
        return f"The tokens of s1 agree with {name}, and {os.path.basename(answer.files[-1])} has drifted from it"
    if answer.audit is not None:
        total, name = answer.audit.total, os.path.basename(answer.audit.checkpoint)
        agree = f"{total.explained + total.near_ties} of {total.frames} tokens agree with {name}"
        if not passed:
            return f"The tokens do not come from {name}: {agree}"
        found = power(answer.audit)
        return f"{agree}; {sentence(found)}" if found else agree
    return {
        Question.BASE: "Every file has the VQ encoder of the base" if passed else f"Another VQ encoder: {names}",
        Question.TOKENS: answer.message,
        Question.S1_S2: answer.message,
        Question.LOCK: f"{'It agrees' if passed else 'It does not agree'}: {names}",
        Question.HEALTH: _health(passed, names),
        Question.RESUME: "Nothing that has drifted would be resumed from"
        if passed
        else f"The next training would resume from {names}, {answer.message}",
        Question.FREEZE: f"freeze_quantizer is {'true' if passed else 'not true'} in {names}",
    }[answer.question]


def _power(answer: Answer) -> Power | None:
    """Return what tokens that agree could not have shown; None where they do not decide."""
    audit = answer.audit or (answer.stages.tokens if answer.stages else None)
    return power(audit) if audit and answer.outcome is CheckOutcome.PASSED else None


def _health(passed: bool, names: str) -> str:
    if not passed:
        return f"Not trained, not finite or broken: {names}"
    return f"Use is concentrated on few codes: {names}" if names else "Every VQ encoder is in order"


def _first_moved(voice: VoiceCheck) -> str:
    assert voice.run is not None
    first: HistoryRow | None = voice.run.first_moved
    if first is None or len(voice.run.rows) == 1:
        return ""
    moved = [row for row in voice.run.rows if row.moved]
    return f"{len(moved)} of {len(voice.run.rows)} files moved; the first is {first.name}"


def _meaning(voice: VoiceCheck) -> str:
    """Return what the findings mean for the sound; empty where nothing follows."""
    if _fails(voice.answer(Question.HEALTH)):
        return "Every frame may get a meaningless token. This voice cannot be trusted."
    drifted = _drifted(voice)
    if drifted is None:
        of_tokens = () if _other_recordings(voice) else (Question.TOKENS,)
        if any(_fails(voice.answer(question)) for question in (*of_tokens, Question.S1_S2)):
            return "s1 was trained on tokens that mean something else to s2. Speech may be slurred or mispronounced."
        return ""
    if voice.flips and not voice.flips.flipped:
        return "The codes moved, but every frame of this experiment keeps its token. Nothing is to be heard of that."
    if voice.flips and voice.flips.severity is Severity.SMALL:
        return "Few sounds are decoded as others. Most people hear no difference."
    return "s1 predicts tokens of the base, and s2 decodes them with codes that moved. Speech may be slurred or wrong."


def _base(choice: BaseChoice | None, check: PlaceCheck) -> Inline | None:
    if choice is None:
        return None
    why = {
        BaseReason.OPTION: "named with --base",
        BaseReason.CONFIGURATION: "the configuration of the run names it",
        BaseReason.VERSION: "the only base of this version here",
        BaseReason.NEAREST: "the nearest of those that are here",
        BaseReason.UNDECIDED: "not certain",
    }[choice.reason]
    others = "; ".join(_compared(candidate) for candidate in choice.candidates[:_FEW])
    if len(choice.candidates) > _FEW:
        others += f"; and {len(choice.candidates) - _FEW} more"
    return (path(_short(choice.path, check)), f" ({why}{': ' + others if others else ''})")


def _compared(candidate: Candidate) -> str:
    name = os.path.basename(candidate.path)
    if candidate.verdict != CHANGED:
        return f"{name} {candidate.verdict}"
    if candidate.ema_steps is not None:
        about = "" if candidate.precision == "exact" else f"{candidate.precision} "
        return f"{name} {about}{candidate.ema_steps} updates away"
    return f"{name} another codebook"


def _lacks(missing: Missing) -> str:
    return {
        Missing.BASE: "no base of this version is here; name it with --base",
        Missing.GENERATOR: "no s2 file of this voice is here",
        Missing.TOKENS: "there is no 6-name2semantic.tsv",
        Missing.FEATURES: "there are too few features in 4-cnhubert",
        Missing.RECORDINGS: "the features in 4-cnhubert are of other recordings than the tokens",
        Missing.PROJECTION: "the file leaves ssl_proj to its base, which is not here",
        Missing.S1: "no s1 file of this voice is here",
        Missing.EVIDENCE: "there is neither a lock nor 4-cnhubert",
        Missing.LOCK: "there is no vqcheck.lock; make one after token extraction: vqcheck lock",
        Missing.TRAINING: "there are no training files (logs_s2...)",
        Missing.CONFIGURATION: "no s2 JSON of this voice is here",
    }[missing]


def _not_asked(check: PlaceCheck) -> Iterator[Block]:
    """Yield what could not be asked, with what is missing, for the voices that lack it."""
    lacking: dict[tuple[Question, Missing], list[str]] = {}
    for voice in check.voices:
        for answer in voice.answers:
            if answer.missing is not None:
                lacking.setdefault((answer.question, answer.missing), []).append(title(voice))
    rows = [
        (_NAMES[question], _lacks(missing), _named(names, len(check.voices)))
        for (question, missing), names in sorted(lacking.items(), key=lambda item: list(Question).index(item[0][0]))
    ]
    columns = [Column("Question"), Column("What is missing", Kind.PROSE)]
    columns.append(Column("Voices", Kind.NAME, Shown.ALWAYS if len(check.voices) > 1 else Shown(0)))
    if rows:
        said = "Questions that need something that is not here. They do not count in the status."
        yield Section("Not asked", (Table(said, columns, rows),), folded=True)


def _named(names: Sequence[str], of: int) -> str:
    if len(names) == of and of > 1:
        return "all"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _files(check: PlaceCheck) -> Iterator[Block]:
    for heading, said, files in (
        ("Not readable", "These files are here, and nothing is known of them.", check.unreadable),
        ("Without a codebook", "These files hold no VQ encoder.", check.skipped),
    ):
        rows = [(path(_short(name, check)), why) for name, why in files]
        columns = (Column("File", Kind.NAME), Column("Why", Kind.PROSE))
        table = Table(said, columns, rows, most=5, rest="and more; -v shows all")
        yield Section(heading, (table,), folded=files is check.skipped)


def _short(file: str, check: PlaceCheck) -> str:
    """Return a path from the place on, or from the GPT-SoVITS folder around it, where it lies in one and is shorter."""
    place = os.path.abspath(check.path)
    for folder in (os.path.dirname(place) if check.kind is PlaceKind.FILE else place, check.root):
        if folder and (inner := _inside(file, folder)) and len(inner) < len(file):
            return inner
    return file


def _inside(file: str, folder: str) -> str:
    """Return the path of a file from a folder on; empty where it lies elsewhere."""
    front = os.path.join(os.path.normcase(os.path.abspath(folder)), "")
    whole = os.path.abspath(file)
    return whole[len(front) :] if os.path.normcase(whole).startswith(front) else ""


def _place(check: PlaceCheck) -> Section:
    around = "" if os.path.realpath(check.root) == os.path.realpath(check.path) else check.root
    facts = [Fact("Place", (path(check.path), f" ({check.kind.value})")), Fact("Around it", path(around))]
    facts += [
        Fact("Base models" if not number else "", path(_short(base, check))) for number, base in enumerate(check.bases)
    ]
    return Section("What was looked at", (Facts(facts),))


def _remedies(voice: VoiceCheck, several: bool) -> Iterator[Remedy]:
    """Yield what to do for one voice, the cheapest first."""
    of = title(voice) if several else ""
    drifted = _drifted(voice)
    base = os.path.basename(voice.base.path) if voice.base else "the base"
    if _fails(voice.answer(Question.HEALTH)):
        yield Remedy(_RULES[Question.HEALTH].help, of)
    elif drifted:
        if voice.flips and voice.flips.severity in (Severity.NONE, Severity.SMALL):
            yield Remedy("Keep the voice as it is: few frames get another token.", of)
        newest = voice.newest.name if voice.newest else ""
        yield Remedy(extract_again(newest, voice.exported), of)
        yield Remedy(f"Or train s2 again from {base}, with the quantizer frozen.", of)
        yield Remedy(
            f"Or put the VQ encoder of {base} back into {newest} with vqcheck restore, which keeps the tokens and s1. "
            "Its decoder was trained while the codes moved: measure with --experiment whether it is better.",
            of,
        )
    elif _other_recordings(voice):
        yield Remedy("Extract the features and the tokens again, from the same recordings.", of)
    elif _fails(voice.answer(Question.TOKENS)):
        yield Remedy(f"Extract the tokens again with {base}, and train s1 again.", of)
    elif _fails(voice.answer(Question.S1_S2)) or _fails(voice.answer(Question.LOCK)):
        yield Remedy(_RULES[Question.S1_S2].help, of)
    for question in (Question.RESUME, Question.FREEZE):
        if voice.answer(question).outcome is CheckOutcome.FAILED:
            yield Remedy(f"{message(voice.answer(question))}. {_RULES[question].help}", of)


_OUTCOMES: Final = {
    CheckOutcome.PASSED: CaseOutcome.PASSED,
    CheckOutcome.FAILED: CaseOutcome.FAILED,
    CheckOutcome.COULD_NOT_CHECK: CaseOutcome.COULD_NOT_CHECK,
    CheckOutcome.NOT_APPLICABLE: CaseOutcome.NOT_APPLICABLE,
    CheckOutcome.SKIPPED: CaseOutcome.SKIPPED,
}


def _cases(check: PlaceCheck) -> Iterator[Case]:
    for voice in check.voices:
        for answer in voice.answers:
            weight = Weight.ADVICE if answer.question in ADVICE else Weight.REQUIRED
            file = answer.files[0] if answer.files else voice.experiment or check.path
            yield Case(
                _RULES[answer.question], title(voice), _OUTCOMES[answer.outcome], message(answer), file, weight=weight
            )
    for file, why in check.unreadable:
        yield Case(_UNREADABLE, os.path.basename(file), CaseOutcome.COULD_NOT_CHECK, why, file)
    if not any(voice.compared for voice in check.voices):
        yield Case(_NO_BASE, "base", CaseOutcome.COULD_NOT_CHECK, _headline(check), check.path)


def _data(check: PlaceCheck) -> dict[str, Any]:
    return {
        "path": check.path,
        "kind": check.kind.value,
        "root": check.root or None,
        "bases": list(check.bases),
        "voices": [_voice_data(voice) for voice in check.voices],
        "unreadable": [{"path": file, "why": why} for file, why in check.unreadable],
        "skipped": [{"path": file, "why": why} for file, why in check.skipped],
    }


def _voice_data(voice: VoiceCheck) -> dict[str, Any]:
    flips = voice.flips
    return {
        "name": voice.name,
        "version": voice.version,
        "lora_rank": voice.rank or None,
        "experiment": voice.experiment,
        "exit_code": voice.exit_code,
        "base": _base_data(voice.base),
        "files": [_row_data(row) for row in voice.run.rows] if voice.run else [],
        "first_moved": voice.run.first_moved.name if voice.run and voice.run.first_moved else None,
        "effect": {"frames": flips.frames, "flipped": flips.flipped, "severity": flips.severity.value}
        if flips
        else None,
        "answers": [
            {
                "question": answer.question.value,
                "outcome": answer.outcome.value,
                "advisory": answer.question in ADVICE,
                "message": message(answer),
                "missing": answer.missing.value if answer.missing else None,
                "files": list(answer.files),
                "power": power_object(_power(answer)),
            }
            for answer in voice.answers
        ],
    }


def _base_data(choice: BaseChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    candidates = [asdict(candidate) for candidate in choice.candidates]
    return {"path": choice.path, "reason": choice.reason.value, "candidates": candidates}


def _row_data(row: HistoryRow) -> dict[str, Any]:
    drift = row.from_base
    return {
        "name": row.name,
        "kind": row.record.kind.value,
        "epoch": row.record.epoch,
        "steps": row.record.steps,
        "digest": str(row.digest),
        "verdict": drift.verdict if drift else None,
        "ema_steps": drift.ema_steps if drift else None,
        "precision": drift.precision if drift else None,
    }
