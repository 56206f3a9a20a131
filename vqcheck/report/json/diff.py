"""`vqcheck diff` for machines."""

from typing import Any

from vqcheck.codebook.comparison import Change, Comparison, Side, TensorDiff
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
        a=_side(comparison.a),
        b=_side(comparison.b),
        tensors=[_tensor(diff) for diff in comparison.tensors],
        diagnosis=diagnosis_object(comparison.diagnosis) if comparison.diagnosis else None,
        further_diagnoses=[diagnosis_object(diagnosis) for diagnosis in comparison.further],
    )


def _side(side: Side) -> dict[str, Any]:
    return {
        "path": side.path,
        "family": side.family,
        "prefix": side.prefix,
        "never_trained": side.never_trained,
        "not_judged": list(side.not_judged),
        "digests": digests_object(side.digests),
    }


def _tensor(diff: TensorDiff) -> dict[str, Any]:
    return {
        "label": diff.label,
        "role": diff.role,
        "verdict": diff.verdict,
        "judged": diff.judged,
        "note": diff.note,
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
