"""The diagnosis of two VQ encoders for machines."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Cause, Diagnosis, TokenFlips
    from vqcheck.codebook.model import Training


def diagnosis_object(diagnosis: "Diagnosis") -> dict[str, Any]:
    """Return causes with their evidence, the consequence, and advice; None stands for what was not measured."""
    return {
        "family": diagnosis.family,
        "codes_moved": diagnosis.codes_moved,
        "contradicted": diagnosis.contradicted,
        "causes": [_cause(cause) for cause in diagnosis.causes],
        "consequence": {
            "displacement": [asdict(displacement) for displacement in diagnosis.displacement],
            "token_flips": _flips(diagnosis.flips) if diagnosis.flips else None,
        },
        "training": {letter: _training(training) for letter, training in zip("ab", diagnosis.training, strict=True)},
        "advice": [asdict(advice) for advice in diagnosis.advice],
    }


def _cause(cause: "Cause") -> dict[str, Any]:
    return {
        "code": cause.code,
        "certainty": cause.certainty,
        "codebook": cause.codebook,
        "head": cause.head,
        "evidence": asdict(cause.evidence),
    }


def _flips(flips: "TokenFlips") -> dict[str, Any]:
    return asdict(flips) | {
        "share": flips.flipped / flips.frames,
        "skipped": [{"item": item, "problem": problem} for item, problem in flips.skipped],
    }


def _training(training: "Training") -> dict[str, Any]:
    return {"info": training.info, "epoch": training.epoch, "steps": training.steps}
