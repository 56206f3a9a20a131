"""Upstream's token extraction in float32 and in TF32: the tokens, and what other orders of summation make of them.

Float32 sums depend on the order in which a processor adds up. Where two codes are nearly the same, that decides which
of them is the nearest, so the reference here is the nearest code in float64 on the same inputs, and each way to sum up
is measured against it. In TF32 a GPU keeps 10 fraction bits of a product's inputs and adds up in float32; torch allows
it for convolutions, and for matrix products where a program asks for it. Half values keep all their bits.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.half_lookup import Array
from vqcheck.language import tr

Tokens = npt.NDArray[np.intp]
Wide = npt.NDArray[np.float64]

UNIT: Final = 2.0**-24
"""Relative rounding error of float32."""
SURE: Final = 8
"""Rounding errors of n operations add up to more than this times sqrt(n) UNIT with a probability below 1e-13."""
_RIVALS: Final = 8
"""Nearest codes of a frame among which other orders of summation choose."""
_AT_ONCE: Final = 256
"""Frames whose rivals are summed up together, which keeps their vectors in a cache."""


class Products(Enum):
    """What a product keeps of its inputs."""

    FLOAT32 = "float32"
    TF32 = "TF32"
    TF32_CUT = "TF32, cut off"
    """Low bits are cut off instead of rounded, as tensor cores do with what they are not given rounded."""

    def of(self, values: Array) -> Array:
        """Return the inputs as they are multiplied."""
        if self is Products.FLOAT32:
            return values
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        if self is Products.TF32:
            bits = bits + np.uint32(0x1000)
        kept: Array = (bits & np.uint32(0xFFFFE000)).view(np.float32)
        return kept

    @property
    def error(self) -> float:
        """Relative error of an input, at most."""
        return {Products.FLOAT32: 0.0, Products.TF32: 2.0**-11, Products.TF32_CUT: 2.0**-10}[self]


@dataclass(frozen=True, slots=True)
class FloatArithmetic:
    """One way to carry out the products of a float32 run."""

    convolution: Products = Products.FLOAT32
    lookup: Products = Products.FLOAT32

    def __str__(self) -> str:
        if self.convolution is self.lookup:
            return self.convolution.value
        return tr(
            "{lookup}, convolution in {convolution}", lookup=self.lookup.value, convolution=self.convolution.value
        )


FLOAT_ARITHMETICS: Final = (
    FloatArithmetic(),
    FloatArithmetic(Products.TF32),
    FloatArithmetic(Products.TF32_CUT),
    FloatArithmetic(Products.TF32, Products.TF32),
    FloatArithmetic(Products.TF32_CUT, Products.TF32_CUT),
)
"""What a tsv may have been made with, the usual one first."""


@dataclass(frozen=True, eq=False)
class FloatLookup:
    """Frames looked up in float32."""

    sums: Array
    """The convolution before its bias, `[frames, dim]`"""
    x: Array
    """`[frames, dim]`"""
    distances: Array
    """|x - e|^2 - |x|^2, `[frames, codes]`: what is the same for all codes is left out, and takes no digits away"""
    tokens: Tokens
    """`[frames]`"""


class FloatEncoder:
    """A VQ encoder in float32 or TF32.

    Takes the projection's weight as a matrix `[inputs, dim]`, its bias `[dim]` and codes `[codes, dim]`, in float32.
    """

    def __init__(self, weight: Array, bias: Array, codes: Array, arithmetic: FloatArithmetic) -> None:
        self.arithmetic = arithmetic
        self.weight = arithmetic.convolution.of(weight)
        self.bias = bias
        self.codes = codes
        self.factors = arithmetic.lookup.of(codes)
        """The codes as they are multiplied."""
        self.squares: Array = (codes * codes).sum(axis=1)
        self._minus_twice_t = np.ascontiguousarray(-2 * self.factors.T)
        wide = self.codes.astype(np.float64)
        self._exact_squares: Wide = np.einsum("ij,ij->i", wide, wide)
        self._greatest_column = float(np.sqrt(np.einsum("ij,ij->j", self.weight, self.weight).max()))
        self._greatest_bias = float(np.abs(bias).max())
        self._longest = float(np.sqrt(self.squares.max()))

    def look_up(self, patches: Array) -> FloatLookup:
        """Return the lookup of inputs `[frames, inputs]`, as this machine's library sums up."""
        sums = self.arithmetic.convolution.of(patches) @ self.weight
        x = sums + self.bias
        distances = self.arithmetic.lookup.of(x) @ self._minus_twice_t
        distances += self.squares
        return FloatLookup(sums, x, distances, np.argmin(distances, axis=1))

    def settle(self, patches: Array, found: FloatLookup) -> tuple[Tokens, int]:
        """Return the nearest code of each frame in float64, and how many frames another order of summation may change.

        The second is the greatest number of frames to which one of the orders tried gives another code.
        """
        tokens = found.tokens.copy()
        fragile = self._fragile(patches, found)
        others = np.zeros(3, np.intp)
        for start in range(0, len(fragile), _AT_ONCE):
            at = fragile[start : start + _AT_ONCE]
            exact = self._exact(patches[at])
            tokens[at] = np.argmin(exact, axis=1)
            rivals = _nearest(exact)
            for number, distances in enumerate(self._summed(found.x[at], found.distances[at], rivals)):
                others[number] += np.count_nonzero(_choose(rivals, distances) != tokens[at])
        return tokens, int(others.max())

    def _fragile(self, patches: Array, found: FloatLookup) -> Tokens:
        """Return the frames in which rounding may find another code the nearest.

        Rounding errors are taken to be independent, so that n of them grow as sqrt(n). The frame's own error moves
        the difference of two distances by at most 2 |x|-error times their codes' distance, which is at most twice the
        longest code; the products' and squares' errors add to it.
        """
        size, norm = _lengths(patches), _lengths(found.x)
        inputs, dim = self.weight.shape
        moved = SURE * np.sqrt(inputs + 1) * UNIT * (self._greatest_column * size + self._greatest_bias)
        moved = moved + 2 * self.arithmetic.lookup.error * norm
        summed = SURE * np.sqrt(dim + 3) * UNIT * (norm + self._longest) ** 2
        reach = 4 * moved * self._longest + 2 * summed
        nearest = found.distances[np.arange(len(norm)), found.tokens]
        rivals = np.count_nonzero(found.distances <= (nearest + reach)[:, None], axis=1)
        return np.flatnonzero(rivals > 1)

    def _exact(self, patches: Array) -> Wide:
        """Return distances less |x|^2 in float64, `[frames, codes]`."""
        wide = self.arithmetic.convolution.of(patches).astype(np.float64)
        x = wide @ self.weight.astype(np.float64) + self.bias
        if self.arithmetic.lookup is not Products.FLOAT32:
            x = self.arithmetic.lookup.of(x.astype(np.float32)).astype(np.float64)
        exact: Wide = self._exact_squares - 2 * (x @ self.factors.T.astype(np.float64))
        return exact

    def _summed(self, x: Array, distances: Array, rivals: Tokens) -> tuple[Array, ...]:
        """Return distances `[frames, rivals]` in upstream's order of operations, by three orders of summation.

        One is this machine's library's, which sums up in blocks. The others take one product after the other, as a
        plain loop does, with a rounding for the product or without (a fused multiply-add). Squares are no product, and
        torch sums them up pairwise, as numpy does.
        """
        here = np.take_along_axis(distances, rivals, axis=1) - self.squares[rivals]
        norms = np.einsum("ij,ij->i", x, x)[:, None]
        squares = self.squares[rivals]
        twice = np.ascontiguousarray(2 * self.arithmetic.lookup.of(x).T)[:, :, None]
        factors = np.ascontiguousarray(np.moveaxis(self.factors[rivals], 2, 0))
        return (
            (norms + here) + squares,
            (norms - _rounded_products(twice, factors)) + squares,
            (norms - _fused(twice, factors)) + squares,
        )


def _nearest(distances: Wide) -> Tokens:
    """Return the nearest codes, `[frames, rivals]`, in the order of their numbers."""
    count = min(_RIVALS, distances.shape[1])
    nearest: Tokens = np.argpartition(distances, count - 1, axis=1)[:, :count]
    return np.sort(nearest, axis=1)


def _choose(rivals: Tokens, distances: npt.NDArray[np.floating]) -> Tokens:
    """Return the first of the nearest rivals, `[frames]`."""
    chosen: Tokens = np.take_along_axis(rivals, np.argmin(distances, axis=1)[:, None], axis=1)[:, 0]
    return chosen


def _rounded_products(a: Array, b: Array) -> Array:
    """Return the sum over the first axis, one rounded product after the other."""
    total: Array = a[0] * b[0]
    for left, right in zip(a[1:], b[1:], strict=True):
        total += left * right
    return total


def _fused(a: Array, b: Array) -> Array:
    """Return the sum over the first axis, each sum rounded once: products of float32 values are exact in float64."""
    total: Array = a[0] * b[0]
    for left, right in zip(a[1:], b[1:], strict=True):
        total = (total + left.astype(np.float64) * right).astype(np.float32)
    return total


def _lengths(rows: Array) -> Array:
    lengths: Array = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return lengths


_ENLARGED = 1 + 1 / 64
"""Magnitudes are taken of the exact terms, from which the rounded ones differ a little."""


@dataclass(frozen=True, eq=False)
class Excess:
    """By how much D_r - D_t exceeds a bound, `[frames]`; not above 0 where rounding can explain it."""

    certain: Wide
    probable: Wide


def float_excess(encoder: FloatEncoder, patches: Array, recorded: Tokens, nearest: Tokens) -> Excess:
    """Return by how much D_r - D_t exceeds either bound.

    Takes inputs `[frames, inputs]` and the recorded and the nearest token of each.
    """
    inputs, dim = encoder.weight.shape
    convolution, lookup = encoder.arithmetic.convolution, encoder.arithmetic.lookup
    taken = convolution.of(patches)
    x: Wide = taken.astype(np.float64) @ encoder.weight.astype(np.float64) + encoder.bias
    magnitude = (np.abs(taken) @ np.abs(encoder.weight) + np.abs(encoder.bias)).astype(np.float64)
    (r, r_factors), (t, t_factors) = (
        (encoder.codes[token].astype(np.float64), encoder.factors[token].astype(np.float64))
        for token in (recorded, nearest)
    )
    size, norm = np.abs(x), _dot(x, x)
    rounded, apart = lookup.error * size, np.abs(r_factors - t_factors)
    certain = 2 * _dot(_growth(inputs + 1, convolution) * magnitude + rounded, apart)
    moved = _probable(inputs + 1, convolution) * magnitude * apart
    probable = 2 * np.sqrt(_dot(moved, moved)) + 2 * _dot(rounded, apart)
    for code, factors in ((r, r_factors), (t, t_factors)):
        square, product = _dot(code, code), 2 * _dot(x, factors)
        summed = 2 * _dot(size, np.abs(factors)) + square
        rest = UNIT * (np.abs(norm - product) + np.abs(norm - product + square))
        certain = certain + _growth(dim, lookup) * summed + rest
        probable = probable + _probable(dim, lookup) * summed + rest
    gap: Wide = _dot(r - t, r + t) - 2 * _dot(x, r_factors - t_factors)
    return Excess(gap - _ENLARGED * certain, gap - _ENLARGED * probable)


def _unit(products: Products) -> float:
    return UNIT if products is Products.FLOAT32 else 4 * UNIT


def _growth(count: int, products: Products) -> float:
    return count * _unit(products) / (1 - count * _unit(products))


def _probable(count: int, products: Products) -> float:
    return SURE * math.sqrt(count) * _unit(products)


def _dot(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Wide:
    product: Wide = np.einsum("ij,ij->i", a, b)
    return product
