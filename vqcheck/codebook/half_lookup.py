"""Upstream's token extraction as a GPU does it in half precision, emulated with float32 matrix products.

Upstream converts the whole model and the features to half precision (3-get-semantic; quantizer section of the
synthesizer's facts) and takes, for a frame x of the projection and codes e_j,

    argmax_j  -( (sum x^2 - (2 x) @ E^T) + sum e_j^2 )

A GPU multiplies half values exactly, adds them up in float32 and rounds a product's result once; every elementwise
result is rounded, too. So with h() for rounding to half precision:

    c   = h(W f)            convolution
    x   = h(c + b)          its bias is added afterwards
    X   = h(sum h(x^2))     P_j = h((2 x) . e_j)      E_j = h(sum h(e_j^2))
    H_j = h(h(X - P_j) + E_j)

and the token is the first code of least H_j, or the first where H_j is not a number.
"""

from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.language import tr

Array = npt.NDArray[np.float32]

LARGEST: Final = 65504.0
"""Greatest finite value."""
UNIT: Final = 2.0**-11
"""Relative rounding error: |half(v) - v| <= UNIT |v| for normal values."""

_SMALLEST_NORMAL: Final = 2.0**-14
_OVERFLOWS: Final = 65520.0
"""Half way from the greatest value to the next power of two: from here on rounding gives infinity."""
_GRID: Final = np.float32(0.75)
"""A number whose float32 neighbours are 2^-24 apart, as subnormal half values are."""


def half(values: npt.NDArray[np.floating]) -> Array:
    """Return the values rounded to half precision, to nearest and ties to even, kept in float32.

    The same as `values.astype(float16).astype(float32)`, five times as fast.
    """
    exact = np.ascontiguousarray(values, np.float32)
    bits = exact.view(np.uint32)
    # Half keeps 10 of 23 fraction bits. Adding 0xfff, and 1 more where the last kept bit is odd, carries as needed.
    kept = bits >> np.uint32(13)
    kept &= np.uint32(1)
    kept += bits
    kept += np.uint32(0xFFF)
    kept &= np.uint32(0xFFFFE000)
    rounded = kept.view(np.float32)
    size = np.abs(exact)
    tiny = size < _SMALLEST_NORMAL
    if tiny.any():
        rounded[tiny] = np.copysign((size[tiny] + _GRID) - _GRID, exact[tiny])
    huge = ~(size < _OVERFLOWS)
    if huge.any():
        rounded[huge] = np.copysign(np.where(np.isnan(size[huge]), np.float32(np.nan), np.float32(np.inf)), exact[huge])
    return rounded


def is_half(values: npt.NDArray[np.floating]) -> bool:
    """Say whether every value is a half-precision value, so that rounding would change none."""
    return values.dtype == np.float16 or bool((half(values) == values).all())


def spacing(values: npt.NDArray[np.floating], largest: float = LARGEST) -> npt.NDArray[np.float64]:
    """Return the distance between neighbouring half values at these magnitudes; infinite beyond the largest.

    For 2^e <= |v| < 2^(e+1) it is 2^(e-10), and never below 2^-24. Rounding errs by at most half of it.
    """
    size = np.abs(np.asarray(values, np.float64))
    exponent = np.frexp(np.maximum(np.where(size <= largest, size, 1.0), _SMALLEST_NORMAL))[1] - 1
    return np.where(size <= largest, np.exp2(exponent - 10.0), np.inf)


Tokens = npt.NDArray[np.intp]

SAFE: Final = LARGEST * (1 - 2.0**-8)
"""Terms below this stay finite in every order of accumulation."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """One way to carry out half-precision matrix products; which one a GPU takes depends on chip and library."""

    half_sums: int = 1
    """Slices of the inner axis whose products in the lookup are rounded to half precision before they are added up.

    cuBLAS may do so (a "reduced precision reduction") unless a program forbids it, which upstream does not.
    """
    slices: int = 1
    """Slices that are added up in float32."""
    fused_bias: bool = False
    """The convolution adds its bias before it rounds."""
    truncates: bool = False
    """Sums lose about 2^-18 of themselves, as in tensor cores, which cut low bits off with every 16 products."""

    @property
    def variants(self) -> "tuple[Arithmetic, ...]":
        """The same roundings after slightly different sums: what two GPUs with this arithmetic may differ by."""
        return replace(self, slices=4), replace(self, truncates=True)

    def __str__(self) -> str:
        sums = tr("one sum in float32")
        if self.half_sums > 1:
            sums = tr("{number} partial sums in half precision", number=self.half_sums)
        return tr("{sums}, bias fused", sums=sums) if self.fused_bias else sums


ARITHMETICS: Final = (
    Arithmetic(),
    Arithmetic(fused_bias=True),
    Arithmetic(half_sums=2),
    Arithmetic(half_sums=3),
    Arithmetic(half_sums=4),
)
"""What a tsv may have been made with, the usual one first."""


@dataclass(frozen=True, eq=False)
class HalfLookup:
    """The terms of half-precision distances from `frames` to every code."""

    norms: Array
    """X, `[frames, 1]`"""
    products: Array
    """P, `[frames, codes]`"""
    distances: Array
    """H, `[frames, codes]`"""

    @property
    def tokens(self) -> Tokens:
        """`[frames]`: the first of the best codes; like torch.max, not-a-number counts as the greatest value."""
        tokens: Tokens = np.argmax(-self.distances, axis=1)
        return tokens

    @property
    def last_tokens(self) -> Tokens:
        """`[frames]`: the last of the best codes, which another backend may choose."""
        tokens: Tokens = self.distances.shape[1] - 1 - np.argmax(-self.distances[:, ::-1], axis=1)
        return tokens

    def is_best(self, tokens: Tokens) -> npt.NDArray[np.bool_]:
        """Say for each frame whether no code is nearer than this one, in distances that are finite."""
        least = self.distances.min(axis=1)
        at = np.take_along_axis(self.distances, tokens[:, None], axis=1)[:, 0]
        best: npt.NDArray[np.bool_] = (at == least) & np.isfinite(least)
        return best

    @property
    def overflows(self) -> npt.NDArray[np.bool_]:
        """Say for which frames half distances mean nothing: terms overflow that decide the token.

        A far code whose distance becomes infinite is harmless, since it is not chosen while another's is finite; an
        infinite norm makes all codes equal, and an infinite product makes a code the best, or not a number.
        """
        inside = (self.norms[:, 0] <= SAFE) & (self.products.max(axis=1) <= SAFE) & (self.distances.min(axis=1) <= SAFE)
        outside: npt.NDArray[np.bool_] = ~inside
        return outside

    def finite(self, tokens: Tokens) -> npt.NDArray[np.bool_]:
        """Say for which frames the distance of this code is finite in every order of accumulation."""
        at = np.take_along_axis(self.distances, tokens[:, None], axis=1)[:, 0]
        finite: npt.NDArray[np.bool_] = at <= SAFE
        return finite


class HalfEncoder:
    """A VQ encoder in half precision.

    Takes the projection's weight as a matrix `[inputs, dim]`, its bias `[dim]` and codes `[codes, dim]`, in float32.
    """

    def __init__(self, weight: Array, bias: Array, codes: Array) -> None:
        self.weight = half(weight)
        self.bias = half(bias)
        self.codes = half(codes)
        self._codes_t = np.ascontiguousarray(self.codes.T)
        with np.errstate(over="ignore"):
            self.squares = half(half(self.codes**2).sum(axis=1))
        """E, `[codes]`"""

    def frames(self, patches: Array, arithmetic: Arithmetic) -> Array:
        """Return x, `[frames, dim]`, for half-precision inputs `[frames, inputs]`."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.add_bias(_product(patches, self.weight, arithmetic), arithmetic)

    def add_bias(self, sums: Array, arithmetic: Arithmetic) -> Array:
        """Return x for the convolution's float32 sums `[frames, dim]`."""
        with np.errstate(over="ignore", invalid="ignore"):
            return half((sums if arithmetic.fused_bias else half(sums)) + self.bias)

    def look_up(self, frames: Array, arithmetic: Arithmetic) -> HalfLookup:
        """Return the half-precision distances of frames x `[frames, dim]`."""
        with np.errstate(over="ignore", invalid="ignore"):
            norms = half(half(frames**2).sum(axis=1, keepdims=True))
            products = half(_product(half(2 * frames), self._codes_t, arithmetic, arithmetic.half_sums))
            return HalfLookup(norms, products, half(half(norms - products) + self.squares))


def _product(a: Array, b: Array, arithmetic: Arithmetic, half_sums: int = 1) -> Array:
    parts = [_sum(a, b, outer, arithmetic) for outer in _cut(slice(0, len(b)), half_sums)]
    return (
        parts[0] if half_sums == 1 else reduce(lambda total, part: half(total + half(part)), parts[1:], half(parts[0]))
    )


def _sum(a: Array, b: Array, inside: slice, arithmetic: Arithmetic) -> Array:
    """Return the product over a range of the inner axis, as float32 sums."""
    first, *others = (a[:, inner] @ b[inner] for inner in _cut(inside, arithmetic.slices))
    total: Array = sum(others, start=first)
    return total * np.float32(1 - 2.0**-18) if arithmetic.truncates else total


def _cut(whole: slice, count: int) -> list[slice]:
    """Return a range in equal slices."""
    start, length = whole.start, whole.stop - whole.start
    return [slice(a, b) for a, b in pairwise(start + length * number // count for number in range(count + 1))]
