"""The checks of `vqcheck check`, and what JSON holds of them."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from vqcheck.audit.check_result import (
    ADVICE,
    BaseChoice,
    PlaceCheck,
    Question,
    VoiceCheck,
)
from vqcheck.audit.history_result import HistoryRow
from vqcheck.audit.judgement import CheckOutcome
from vqcheck.language import tr
from vqcheck.report.document import Case, CaseOutcome, Rule, Weight
from vqcheck.report.views.check_words import headline, message, power_of, title
from vqcheck.report.views.tokens_data import power_object

RULES: Final = {
    question: Rule(f"check/{question.value}", title, help_)
    for question, title, help_ in (
        (
            Question.BASE,
            "every file of the voice has the VQ encoder of its base",
            tr(
                "Training wrote the codebook. Tokens that were made with the base mean something else to this file. "
                "Extract the tokens again and train s1 again, or train s2 again from the base, with the quantizer "
                "frozen."
            ),
        ),
        (
            Question.TOKENS,
            "the recorded tokens agree with the base",
            tr(
                "s1 learns the recorded tokens, and s2 starts from the base. Extract the tokens again with the base, "
                "and train s1 again."
            ),
        ),
        (
            Question.S1_S2,
            "the newest s1 and the newest s2 speak the same tokens",
            tr("The two stages mean different things by one token. Extract the tokens again and train s1 again."),
        ),
        (
            Question.LOCK,
            "the newest s2 agrees with the lock",
            tr("The lock records the VQ encoder that the tokens were made with. Train s2 again from that one."),
        ),
        (
            Question.HEALTH,
            "the VQ encoders are trained and finite",
            tr("Such a codebook gives tokens that mean nothing. Start again from a published base model."),
        ),
        (
            Question.RESUME,
            "the next training does not go on from a checkpoint that has drifted",
            tr("Training resumes from the latest checkpoint without a word. Move it away before you train again."),
        ),
        (
            Question.FREEZE,
            "the configuration freezes the quantizer",
            tr("Set freeze_quantizer to true before you train again, and use training code that obeys it."),
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


_OUTCOMES: Final = {
    CheckOutcome.PASSED: CaseOutcome.PASSED,
    CheckOutcome.FAILED: CaseOutcome.FAILED,
    CheckOutcome.COULD_NOT_CHECK: CaseOutcome.COULD_NOT_CHECK,
    CheckOutcome.NOT_APPLICABLE: CaseOutcome.NOT_APPLICABLE,
    CheckOutcome.SKIPPED: CaseOutcome.SKIPPED,
}


def cases(check: PlaceCheck) -> Iterator[Case]:
    for voice in check.voices:
        for answer in voice.answers:
            weight = Weight.ADVICE if answer.question in ADVICE else Weight.REQUIRED
            file = answer.files[0] if answer.files else voice.experiment or check.path
            yield Case(
                RULES[answer.question], title(voice), _OUTCOMES[answer.outcome], message(answer), file, weight=weight
            )
    for file, why in check.unreadable:
        yield Case(_UNREADABLE, os.path.basename(file), CaseOutcome.COULD_NOT_CHECK, why, file)
    if not check.compared:
        yield Case(_NO_BASE, "base", CaseOutcome.COULD_NOT_CHECK, headline(check), check.path)


def data(check: PlaceCheck) -> dict[str, Any]:
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
                "power": power_object(power_of(answer)),
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
