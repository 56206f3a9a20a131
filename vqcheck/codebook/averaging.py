"""Tells the noise of averaging equals from a change: an average of equal values is a few last places off them."""

from typing import Final

from vqcheck.codebook.family import INIT_FLAG
from vqcheck.codebook.pair import Pair

MOST_ULPS: Final = 16
"""Units in the last place; an average that decays by 0.99 a step settles within 15, a step of training goes further."""
_WIDE: Final = ("float32", "float64")


def is_noise(pairs: list[Pair], scope: str) -> bool:
    """Say whether two copies of one file differ by no more than averaging equals leaves.

    Only of wide types: a last place of float16 is a step that training takes.
    """
    return all(_is_near(pair) for pair in pairs if pair.is_judged(scope))


def _is_near(pair: Pair) -> bool:
    a, b = pair.a.tensor, pair.b.tensor
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or pair.a.digest == pair.b.digest:
        return a.shape == b.shape
    if a.role == INIT_FLAG or a.tensor.dtype != b.tensor.dtype or a.tensor.dtype not in _WIDE:
        return False
    import numpy as np

    from vqcheck.codebook.values import as_array

    values_a, values_b = as_array(a, pair.a.data), as_array(b, pair.b.data)
    if not (np.isfinite(values_a).all() and np.isfinite(values_b).all()):
        return False
    step = np.spacing(np.maximum(np.abs(values_a), np.abs(values_b)))
    return bool((np.abs(values_a.astype(np.float64) - values_b) <= MOST_ULPS * step.astype(np.float64)).all())
