"""Says how the projections around the lookup moved: trained on, or other ones altogether."""

import numpy as np

from vqcheck.codebook.diagnosis.evidence import OtherProjection, Projection, ProjectionBehind
from vqcheck.codebook.diagnosis.result import CERTAIN, LIKELY, Cause
from vqcheck.codebook.ema_fit import Array

_UNRELATED = 0.5
"""Cosine below which two projections are not one that was trained on."""


def find_behind(tensors: dict[str, tuple[Array, Array]]) -> Cause | None:
    """Return what became of output projections that decide tokens, given label -> (A's values, B's values)."""
    cause = find(tensors)
    if cause is None or not isinstance(cause.evidence, Projection):
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
    cosine = min(float(a @ b) / (size_a * size_b), 1.0)
    relative = float(np.linalg.norm(b - a)) / size_a
    if cosine < _UNRELATED:
        return Cause(LIKELY, OtherProjection(tuple(tensors), relative, cosine))
    # Training moves nearly every value; a few lone ones are somebody's edit.
    share = float(np.count_nonzero(a != b)) / a.size
    return Cause(CERTAIN if share > 0.5 else LIKELY, Projection(tuple(tensors), relative, cosine))
