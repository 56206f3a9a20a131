"""`vqcheck diff` for machines."""

from dataclasses import asdict
from typing import Any

from vqcheck.codebook.comparison import Change, ComparedFile, Comparison, TensorDiff
from vqcheck.codebook.file_record import FileRecord
from vqcheck.report.json.copies import copies_object
from vqcheck.report.json.diagnosis import diagnosis_object
from vqcheck.report.json.digests import digest_object, digests_object
from vqcheck.report.json.document import dump


def document(comparison: Comparison) -> str:
    """Return a comparison as one JSON document; it is complete whatever the verdict."""
    return dump(
        "diff",
        comparison.verdict,
        comparison.exit_code,
        scope=comparison.scope,
        one_file=comparison.one_file,
        codecs=list(comparison.codecs),
        copies=copies_object(comparison),
        a=_side(comparison.a, comparison.order.a),
        b=_side(comparison.b, comparison.order.b),
        order=comparison.order.order.value,
        tensors=[_tensor(diff) for diff in comparison.tensors],
        rounding_losses=[asdict(loss) for loss in comparison.losses],
        diagnosis=diagnosis_object(comparison.diagnosis) if comparison.diagnosis else None,
        further_diagnoses=[diagnosis_object(diagnosis) for diagnosis in comparison.further],
    )


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


def _stored(name: str, dtype: str, shape: tuple[int, ...], digest: Any) -> dict[str, Any] | None:
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
