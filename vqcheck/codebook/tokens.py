"""From features to tokens: the projection, then the nearest code, all in float32 matrix products."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Tokens = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Features:
    """The speech features of one recording; or why there are none."""

    item: str
    values: Array | None
    """`[channels, time]`"""
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Projection:
    """A convolution whose stride equals its kernel, so that each output frame is one matrix product."""

    weight: Array
    """`[channels out, channels in, kernel]`"""
    bias: Array | None
    """`[channels out]`"""

    def patches(self, features: Array) -> Array:
        """Return the values under each position of the kernel, `[time // kernel, channels in x kernel]`.

        What is left over at the end of features `[channels in, time]` is dropped.
        """
        _, channels, kernel = self.weight.shape
        steps = features.shape[1] // kernel
        values = features[:, : steps * kernel].reshape(channels, steps, kernel).transpose(1, 0, 2)
        patches: Array = values.reshape(steps, channels * kernel).astype(np.float32, copy=False)
        return patches

    def frames(self, patches: Array) -> Array:
        """Return the frames `[time // kernel, channels out]` that the lookup gets."""
        frames: Array = patches @ self.weight.reshape(len(self.weight), -1).T
        return frames if self.bias is None else frames + self.bias


def nearest_codes(frames: Array, codes: Array) -> Tokens:
    """Return the number of the nearest code for each of frames `[time, dim]`, codes being `[codes, dim]`.

    |x - e|^2 = |x|^2 - 2 x.e + |e|^2, of which the first term is the same for all codes.
    """
    tokens: Tokens = np.argmin(np.einsum("ij,ij->i", codes, codes) - 2 * (frames @ codes.T), axis=1)
    return tokens
