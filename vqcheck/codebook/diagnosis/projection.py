"""Says how the projections around the lookup moved: as training moves it, by an edit, or to another one."""

from typing import Final

import numpy as np

from vqcheck.codebook.diagnosis.evidence import OtherProjection, ProjectionBehind, ProjectionChange, ProjectionMoved
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import precision
from vqcheck.codebook.values import Array

_UNRELATED: Final = 0.5
"""Cosine below which two projections are not one that was trained on."""
_FIRST: Final = 4096
_FEW_ULPS: Final = 4
"""Units in the last place that averaging or another order of summation moves a value by."""


def find_behind(tensors: dict[str, tuple[Array, Array]]) -> Cause | None:
    """Return what became of output projections that decide tokens, given label -> (A's values, B's values)."""
    cause = find(tensors)
    if cause is None or not isinstance(cause.evidence, ProjectionMoved):
        return None
    moved = cause.evidence
    return Cause(cause.certainty, ProjectionBehind(moved.tensors, moved.relative, moved.cosine))


def find(tensors: dict[str, tuple[Array, Array]]) -> Cause | None:
    """Return what became of a projection, given label -> (A's values, B's values) of what changed."""
    if not tensors:
        return None
    a, b = (np.concatenate([pair[side].ravel() for pair in tensors.values()]).astype(np.float64) for side in (0, 1))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    size_a, size_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not (size_a and size_b):
        return None
    cosine = max(min(float(a @ b) / (size_a * size_b), 1.0), -1.0)
    relative = float(np.linalg.norm(b - a)) / size_a
    how = _how(a, b, tensors)
    if cosine < _UNRELATED and how != ProjectionChange.SCALED:
        return Cause(Certainty.LIKELY, OtherProjection(tuple(tensors), relative, cosine))
    return Cause(Certainty.LIKELY, ProjectionMoved(tuple(tensors), relative, cosine, how))


def _how(a: Array, b: Array, tensors: dict[str, tuple[Array, Array]]) -> ProjectionChange:
    # A few values settle nearly every case.
    if _by_few_ulps(a[:_FIRST], b[:_FIRST]) and _by_few_ulps(a, b):
        return ProjectionChange.ROUNDING
    factor = float(a @ b) / float(a @ a)
    if np.abs(factor - 1) > 1e-4 and _multiples(a[:_FIRST], b[:_FIRST], factor) and _multiples(a, b, factor):
        return ProjectionChange.SCALED
    rows = [
        (x != y).reshape(len(x), -1).any(axis=1).mean()
        for x, y in tensors.values()
        if x.ndim > 1 and x.shape == y.shape
    ]
    # Training moves every row; a few lone ones are somebody's edit.
    few = bool(rows) and max(rows) <= 0.5
    return ProjectionChange.SINGLE_ROWS if few else ProjectionChange.MOVED


def _multiples(a: Array, b: Array, factor: float) -> bool:
    return bool((np.abs(b - factor * a) <= 4e-3 * np.abs(factor * a) + 1e-7).all())


def _by_few_ulps(a: Array, b: Array) -> bool:
    width = np.float16 if precision(a) == precision(b) == "float16" else np.float32
    ulp = np.spacing(np.maximum(np.abs(a), np.abs(b)).astype(width)).astype(np.float64)
    return bool((np.abs(b - a) <= _FEW_ULPS * ulp).all())
