"""`vqcheck check`: which voices of a place are affected, what that does to the sound, and what to do about it."""

import os
from collections.abc import Iterator, Sequence
from typing import Final

from vqcheck.audit.check_result import (
    ADVICE,
    Answer,
    BaseChoice,
    BaseReason,
    Missing,
    PlaceCheck,
    Question,
    VoiceCheck,
)
from vqcheck.audit.judgement import CheckOutcome
from vqcheck.codebook.diagnosis.result import Severity
from vqcheck.language import capitalized, sentences, tr, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views import check_words as words
from vqcheck.report.views.check_data import RULES, cases, data
from vqcheck.report.views.words import clauses, extract_again, listed

_FEW: Final = 3
"""Voices, and bases that were compared, up to which text shows how a base was chosen."""


def view(check: PlaceCheck) -> Document:
    """Return the document of everything that was asked of a place."""
    return Document(
        command="check",
        status=Status(check.exit_code),
        verdict=check.verdict.value,
        headline=words.headline(check),
        subject=check.path,
        cases=tuple(cases(check)),
        data=data(check),
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


def _figures(check: PlaceCheck) -> tuple[Figure, ...]:
    affected = len(check.affected)
    return (
        Figure(tr("voices"), str(len(check.voices))),
        Figure(tr("affected"), str(affected), Tone.BAD if affected else Tone.GOOD),
        Figure(tr("files compared"), str(sum(len(voice.run.rows) for voice in check.voices if voice.run))),
    )


def _overview(check: PlaceCheck) -> Iterator[doc.Block]:
    if not check.voices:
        return
    asked = [question for question in Question if any(not words.is_missing(v.answer(question)) for v in check.voices)]
    columns = (
        doc.Column(tr("Voice"), Kind.NAME),
        *(doc.Column(_name(question)) for question in asked),
        doc.Column(tr("From"), Kind.NAME),
    )
    rows = [
        (doc.path(words.title(voice)), *(_cell(voice.answer(question)) for question in asked), _chosen_base(voice))
        for voice in check.voices
    ]
    yield doc.Section(tr("Voices"), (doc.Table(tr("Each voice, and what became of each question."), columns, rows),))


def _chosen_base(voice: VoiceCheck) -> doc.Inline:
    """Return the base of a voice, where there were several to choose from."""
    return doc.path(os.path.basename(voice.base.path)) if voice.base and voice.base.candidates else ""


def _name(question: Question) -> str:
    return {
        Question.BASE: tr("Files"),
        Question.TOKENS: tr("Tokens"),
        Question.S1_S2: tr("s1 and s2"),
        Question.LOCK: tr("Lock"),
        Question.HEALTH: tr("Health"),
        Question.RESUME: tr("Resume"),
        Question.FREEZE: tr("Freeze"),
    }[question]


def _cell(answer: Answer) -> doc.Inline:
    if words.is_missing(answer):
        return doc.Word("-", Tone.MUTED)
    if answer.question in ADVICE and answer.outcome is CheckOutcome.FAILED:
        return doc.Word(tr("advice"), Tone.WARNING)
    return {
        CheckOutcome.PASSED: doc.verdict(tr("fine"), Tone.GOOD),
        CheckOutcome.FAILED: doc.verdict(tr("failed"), Tone.BAD),
        CheckOutcome.COULD_NOT_CHECK: doc.verdict(tr("unclear"), Tone.WARNING),
    }[answer.outcome]


def _is_told(voice: VoiceCheck) -> bool:
    """Say whether there is more to say of a voice than its row in the table."""
    return _has_findings(voice) or (voice.base is not None and bool(voice.base.candidates))


def _has_findings(voice: VoiceCheck) -> bool:
    return any(answer.outcome in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK) for answer in voice.answers)


def _voice(voice: VoiceCheck, check: PlaceCheck) -> doc.Section:
    """Return the findings of one voice: what was seen, and what it means for the sound.

    The headline of the page is that of a voice that stands alone.
    """
    alone = len(check.voices) == 1
    facts = [
        doc.Fact(tr("Base model"), _base(voice.base, check)),
        *(_finding(voice, answer) for answer in voice.answers),
    ]
    means = words.meaning(voice)
    return doc.Section(
        words.title(voice),
        (
            doc.Paragraph("" if alone else capitalized(tr("{said}.", said=words.voice_headline(voice)))),
            doc.Facts([fact for fact in facts if fact]),
            *([doc.Paragraph(means)] if means else []),
        ),
        # How the base of a voice that is fine was chosen is of interest where there are few.
        Shown.ALWAYS if _has_findings(voice) or len(check.voices) <= _FEW else Shown.DETAIL,
    )


def _finding(voice: VoiceCheck, answer: Answer) -> doc.Fact | None:
    """Return what was found, where there is something to say."""
    if answer.outcome not in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK):
        return None
    said = words.message(answer)
    if answer.question is Question.BASE and voice.run is not None:
        said = words.first_moved(voice) or said
    return doc.Fact(_name(answer.question), said)


def _base(choice: BaseChoice | None, check: PlaceCheck) -> doc.Inline | None:
    if choice is None:
        return None
    why = {
        BaseReason.OPTION: tr("named with --base"),
        BaseReason.CONFIGURATION: tr("the configuration of the run names it"),
        BaseReason.VERSION: tr("the only base of this version here"),
        BaseReason.NEAREST: tr("the nearest of those that are here"),
        BaseReason.UNDECIDED: tr("not certain"),
    }[choice.reason]
    left = len(choice.candidates) - _FEW
    others = clauses(
        *(words.compared(candidate) for candidate in choice.candidates[:_FEW]),
        tr("and {left} more", left=left) if left > 0 else "",
    )
    said = tr(" ({why}: {others})", why=why, others=others) if others else tr(" ({why})", why=why)
    return (doc.path(words.short(choice.path, check)), said)


def _not_asked(check: PlaceCheck) -> Iterator[doc.Block]:
    """Yield what could not be asked, with what is missing, for the voices that lack it."""
    lacking: dict[tuple[Question, Missing], list[str]] = {}
    for voice in check.voices:
        for answer in voice.answers:
            if answer.missing is not None:
                lacking.setdefault((answer.question, answer.missing), []).append(words.title(voice))
    rows = [
        (_name(question), words.lacks(missing), _named(names, len(check.voices)))
        for (question, missing), names in sorted(lacking.items(), key=lambda item: list(Question).index(item[0][0]))
    ]
    columns = [doc.Column(tr("Question")), doc.Column(tr("What is missing"), Kind.PROSE)]
    columns.append(doc.Column(tr("Voices"), Kind.NAME, Shown.ALWAYS if len(check.voices) > 1 else Shown(0)))
    if rows:
        said = tr("Questions that need something that is not here. They do not count in the status.")
        yield doc.Section(tr("Not asked"), (doc.Table(said, columns, rows),), folded=True)


def _named(names: Sequence[str], of: int) -> str:
    return tr("all") if len(names) == of and of > 1 else listed(names, _FEW)


def _files(check: PlaceCheck) -> Iterator[doc.Block]:
    for heading, said, files in (
        (tr("Not readable"), tr("These files are here, and nothing is known of them."), check.unreadable),
        (tr("Without a codebook"), tr("These files hold no VQ encoder."), check.skipped),
    ):
        rows = [(doc.path(words.short(name, check)), why) for name, why in files]
        columns = (doc.Column(tr("File"), Kind.NAME), doc.Column(tr("Why"), Kind.PROSE))
        table = doc.Table(said, columns, rows, most=5, rest=tr("and more; -v shows all"))
        yield doc.Section(heading, (table,), folded=files is check.skipped)


def _place(check: PlaceCheck) -> doc.Section:
    around = "" if os.path.abspath(check.root) == os.path.abspath(check.path) else check.root
    facts = [
        doc.Fact(tr("Place"), (doc.path(check.path), tr(" ({why})", why=word(check.kind)))),
        doc.Fact(tr("Around it"), doc.path(around)),
    ]
    facts += [
        doc.Fact(tr("Base models") if not number else "", doc.path(words.short(base, check)))
        for number, base in enumerate(check.bases)
    ]
    return doc.Section(tr("What was looked at"), (doc.Facts(facts),))


def _remedies(voice: VoiceCheck, several: bool) -> Iterator[Remedy]:
    """Yield what to do for one voice, the cheapest first."""
    of = words.title(voice) if several else ""
    drifted = words.drift_of(voice)
    base = os.path.basename(voice.base.path) if voice.base else tr("the base")
    if words.fails(voice.answer(Question.HEALTH)):
        yield Remedy(RULES[Question.HEALTH].help, of)
    elif drifted:
        if voice.flips and voice.flips.severity in (Severity.NONE, Severity.SMALL):
            yield Remedy(tr("Keep the voice as it is: few frames get another token."), of)
        newest = voice.newest.name if voice.newest else ""
        yield Remedy(extract_again(newest, voice.exported), of)
        if voice.answer(Question.S1_S2).outcome is CheckOutcome.PASSED:
            yield Remedy(
                tr(
                    "Were they extracted with {newest} already, and s1 trained on them? Then record it: "
                    "vqcheck lock CKPT --experiment DIR --s1 S1.",
                    newest=newest,
                ),
                of,
            )
        yield Remedy(tr("Or train s2 again from {base}, with the quantizer frozen.", base=base), of)
        yield Remedy(
            tr(
                "Or put the VQ encoder of {base} back into {newest} with vqcheck restore, which keeps "
                "the tokens and s1. Its decoder was trained while the codes moved: measure with "
                "--experiment whether it is better.",
                base=base,
                newest=newest,
            ),
            of,
        )
    elif words.other_recordings(voice):
        yield Remedy(tr("Extract the features and the tokens again, from the same recordings."), of)
    elif words.fails(voice.answer(Question.TOKENS)):
        yield Remedy(tr("Extract the tokens again with {base}, and train s1 again.", base=base), of)
    elif words.fails(voice.answer(Question.S1_S2)) or words.fails(voice.answer(Question.LOCK)):
        yield Remedy(RULES[Question.S1_S2].help, of)
    for question in (Question.RESUME, Question.FREEZE):
        if voice.answer(question).outcome is CheckOutcome.FAILED:
            finding = tr("{said}.", said=words.message(voice.answer(question)))
            yield Remedy(sentences(finding, RULES[question].help), of)
