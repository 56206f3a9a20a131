"""A comparison of two VQ encoders for machines: what `vqcheck/diff/1` holds."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vqcheck.codebook.comparison import Change, ComparedFile, Comparison, TensorDiff
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.file_record import FileRecord
from vqcheck.report.views.json_objects import copies_object, digest_object, digests_object

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Cause, Diagnosis, TokenFlips
    from vqcheck.codebook.model import Training


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
        "family": side.family,
        "prefix": side.prefix,
        "never_trained": side.never_trained,
        "ailments": list(side.ailments),
        "digests": digests_object(side.digests),
        "in_front": side.in_front,
    }


def _tensor(diff: TensorDiff) -> dict[str, Any]:
    return {
        "label": diff.label,
        "role": diff.role,
        "verdict": diff.verdict,
        "judged": diff.judged,
        "note": diff.note,
        "rounded_to": diff.rounded_to,
        "narrower": diff.narrower,
        "reading": diff.reading.value if diff.reading else None,
        "a": _stored(diff.a_name, diff.a_dtype, diff.a_shape, diff.a_digest),
        "b": _stored(diff.b_name, diff.b_dtype, diff.b_shape, diff.b_digest),
        "change": _change(diff.change) if diff.change else None,
    }


def _stored(name: str, dtype: str, shape: tuple[int, ...], digest: Digest | None) -> dict[str, Any] | None:
    if not name:
        return None
    return {"name": name, "dtype": dtype, "shape": list(shape), "digest": digest_object(digest)}


def _change(change: Change) -> dict[str, Any]:
    return {
        "rows_changed": change.rows_changed,
        "rows": change.rows,
        "max_abs": change.max_abs,
        "max_abs_index": list(change.max_abs_index),
        "max_rel": change.max_rel,
        "max_rel_index": list(change.max_rel_index),
        "not_finite": change.not_finite,
    }


def _diagnosis(diagnosis: "Diagnosis") -> dict[str, Any]:
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
