"""Which codes padded frames are nearest to. All padded frames are alike, so these codes' sums stay proportional.

Training fills up its batches with zeros, of which a projection makes exactly its bias.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from vqcheck.codebook.diagnosis.book import State
from vqcheck.codebook.ema_fit import Array, Mask, lengths

_ALIKE: Final = 1e-2
"""Distance to the bias, relative to its length, within which nothing but padding can have put a code."""


def padded_codes(a: State, b: State, biases: Sequence[Array]) -> Mask | None:
    """Return which codes `[heads, codes]` padding was nearest to in either file, given the projections' biases.

    None where no bias is at hand. Equally near codes are all meant.
    """
    if not biases or a.codes.shape != b.codes.shape:
        return None
    padded = np.zeros(b.codes.shape[:2], bool)
    for bias in biases:
        wide = bias.astype(np.float64)
        length = float(np.linalg.norm(wide))
        for codes in (a.codes, b.codes):
            with np.errstate(all="ignore"):
                distance = lengths(codes - wide)
            distance[~np.isfinite(distance)] = np.inf
            nearest = distance.min(axis=1, keepdims=True)
            padded |= distance <= np.maximum(nearest * (1 + 1e-3), _ALIKE * length)
    return padded
