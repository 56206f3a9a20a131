"""Judges frames: derives each one's token in float32 and in half precision and compares it with the recorded one."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.half import Array, half, is_half, spacing
from vqcheck.codebook.half_bound import excess, float32_excess
from vqcheck.codebook.half_lookup import SAFE, Arithmetic, HalfEncoder, Lookup, Tokens
from vqcheck.codebook.tokenizer import Tokenizer
from vqcheck.experiment.feature_batches import Batch

KINDS: Final = 7
BOTH, ONLY_FLOAT32, ONLY_HALF, NEAR, FAR, HOT_FLOAT32, HOT_OTHER = range(KINDS)
"""What a recorded token is.

BOTH, ONLY_FLOAT32, ONLY_HALF: the token derived in both precisions, or in one of them.
NEAR, FAR: neither, inside and outside the bound.
HOT_FLOAT32, HOT_OTHER: the float32 token and another one, where half precision tells nothing, because terms overflow or
the bound admits too many codes.
"""

_TOO_MANY: Final = 0.1
"""Share of the codes that a frame's bound may admit and still tell something."""
_MARGIN: Final = 1.02
"""For second-order terms and for magnitudes that rounding moves into the next binade."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Judged:
    """What became of the frames of a batch."""

    kinds: npt.NDArray[np.intp]
    """`[frames]`"""
    varied: npt.NDArray[np.intp]
    """Frames whose token would be off, had it been derived in TF32, and by each variant of half precision"""


@dataclass(frozen=True, eq=False)
class _Derived:
    """The float32 tokens of a batch, and what is needed for half precision."""

    x: Array
    sums: Array
    """The convolution of half-precision inputs, before its bias"""
    half_frames: Array
    tokens: Tokens
    fragile: Tokens
    """Indices of frames in which half precision may find another code the nearest"""
    admitted: npt.NDArray[np.intp]
    """Codes that may be nearest in half precision, `[frames]`"""


class FrameJudge:
    """Judges batches by the VQ encoder of one checkpoint and one half-precision arithmetic."""

    def __init__(self, tokenizer: Tokenizer, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        out, channels, self.taps = tokenizer.projection.weight.shape
        self.channels = channels
        # Inputs are one frame behind the other, so that a frame's channels lie side by side.
        weight = tokenizer.projection.weight.transpose(2, 1, 0).reshape(-1, out)
        self._weight = np.ascontiguousarray(weight, np.float32)
        bias = tokenizer.projection.bias
        self._bias = np.zeros(out, np.float32) if bias is None else bias.astype(np.float32)
        self._codes = tokenizer.codes.astype(np.float32)
        self._minus_twice_codes_t = np.ascontiguousarray(-2 * self._codes.T)
        self._squares = _squares(self._codes)
        self._half = HalfEncoder(self._weight, self._bias, self._codes)
        self._weight_is_half = is_half(self._weight)
        self._lengths = _Lengths.of(self._codes, self._squares, self._half)

    def judge(self, batch: Batch) -> Judged:
        """Return what each frame of a batch is."""
        recorded = batch.recorded
        with np.errstate(over="ignore", invalid="ignore"):
            derived = self._derive(batch)
            is_token = recorded < len(self._codes)
            safe = np.where(is_token, recorded, 0)
            in_float32 = is_token & (safe == derived.tokens)
            in_half = in_float32.copy()
            hot = derived.admitted > _TOO_MANY * len(self._codes)
            varied = np.zeros(len(self.arithmetic.variants) + 1, np.intp)
            at = derived.fragile
            if len(at):
                lookup = self._half.look_up(derived.half_frames[at], self.arithmetic)
                overflows = lookup.overflows(derived.tokens[at])
                hot[at] |= overflows
                in_half[at] = is_token[at] & ((safe[at] == lookup.tokens) | lookup.is_best(safe[at]))
                varied = self._vary(batch, derived, lookup, ~overflows)
            kinds = np.select(
                [~is_token, in_float32 & in_half, hot & in_float32, hot, in_float32, in_half],
                [FAR, BOTH, HOT_FLOAT32, HOT_OTHER, ONLY_FLOAT32, ONLY_HALF],
                NEAR,
            )
            neither = np.flatnonzero(kinds == NEAR)
            kinds[neither[~self._is_near(derived, safe, neither)]] = FAR
        return Judged(kinds, varied)

    def _derive(self, batch: Batch) -> _Derived:
        sums = batch.patches @ self._weight
        x = sums + self._bias
        if not (batch.in_half and self._weight_is_half):
            sums = half(batch.patches) @ self._half.weight
        half_frames = self._half.add_bias(sums, self.arithmetic)
        # |x|^2 is the same for all codes: left out, distances lose no digits to it.
        distances = x @ self._minus_twice_codes_t
        distances += self._squares
        tokens: Tokens = np.argmin(distances, axis=1)
        nearest = np.take_along_axis(distances, tokens[:, None], axis=1)[:, 0].astype(np.float32)
        reach, hot = self._lengths.reach(x, half_frames, nearest)
        admitted = np.count_nonzero(distances <= (nearest + reach)[:, None], axis=1)
        return _Derived(x, sums, half_frames, tokens, np.flatnonzero((admitted > 1) | hot), admitted)

    def _is_near(self, derived: _Derived, recorded: Tokens, at: Tokens) -> Flags:
        nearest, token = derived.tokens[at], recorded[at]
        in_half = excess(derived.sums[at], self._half.bias, self._half.codes[token], self._half.codes[nearest]) <= 0
        in_float32 = float32_excess(derived.x[at], self._codes[token], self._codes[nearest]) <= 0
        near: Flags = in_half | in_float32
        return near

    def _vary(self, batch: Batch, derived: _Derived, lookup: Lookup, finite: Flags) -> npt.NDArray[np.intp]:
        """Return how many frames get another token in TF32, and not the best of `lookup` by each variant."""
        at = derived.fragile
        inputs = half(batch.patches[at])
        # TF32, which a GPU may use for the convolution of a float32 run, rounds its inputs as half precision does.
        tf32 = (derived.sums[at] + self._half.bias) @ self._minus_twice_codes_t + self._squares
        counts = [np.count_nonzero(np.argmin(tf32, axis=1) != derived.tokens[at])]
        for variant in self.arithmetic.variants:
            varied = self._half.look_up(self._half.frames(inputs, variant), variant)
            # Of codes that tie, the first and the last are the likeliest to be another arithmetic's choice.
            off = ~(lookup.is_best(varied.tokens) & lookup.is_best(varied.last_tokens)) & finite
            counts.append(np.count_nonzero(off))
        return np.array(counts, np.intp)


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Lengths in one codebook, which tell how far half precision can move any frame's distances."""

    longest: float
    squares: tuple[float, float]
    """Least and greatest |e|^2"""
    diameter: float
    """At least the distance between any two codes"""
    rounding: float
    """Greatest |h(e) - e|"""
    squares_rounding: float
    """Greatest |E - |e|^2|"""

    @classmethod
    def of(cls, codes: Array, squares: Array, in_half: HalfEncoder) -> "_Lengths":
        from_centre = float(np.sqrt(_squares(codes - codes.mean(axis=0)).max()))
        rounding = float(np.sqrt(_squares(in_half.codes - codes).max()))
        return cls(
            longest=float(np.sqrt(squares.max())) + rounding,
            squares=(float(squares.min()), float(squares.max())),
            diameter=2 * (from_centre + rounding),
            rounding=rounding,
            squares_rounding=float(np.abs(in_half.squares - squares).max()),
        )

    def reach(self, x: Array, half_frames: Array, nearest: Array) -> tuple[Array, Flags]:
        """Return how far above the nearest code's a distance may lie and yet be the least in half precision.

        With d = h(x) - x known, the emulated distances of two codes differ from the exact ones by at most
        2 |d| diameter + 4 |h(x)| max |h(e) - e| + 2 max |E_j - |e_j|^2|, and half a spacing for each rounding of each
        code: of P, X - P and H. At codes that are candidates, these terms are no larger than computed here; farther
        off, their roundings grow 500 times more slowly than the distances.

        Also return for which frames terms may come near overflow: (|x| + |e|)^2 bounds all of them. `nearest` is the
        least distance less |x|^2; all arrays are `[frames]`.
        """
        norm = _squares(x)
        half_norm = np.sqrt(_squares(half_frames))
        moved = np.sqrt(_squares(half_frames - x))
        reach = 2 * moved * self.diameter + 4 * half_norm * self.rounding + 2 * self.squares_rounding
        least, greatest = self.squares
        product = np.maximum(abs(greatest - nearest), abs(least - nearest)) + reach
        distance = np.maximum(norm + nearest, 0) + reach + norm / 1024
        difference = np.maximum(greatest, distance)
        reach = reach + sum(spacing(_MARGIN * term) for term in (product, difference, distance))
        hot = ~((half_norm + self.longest) ** 2 <= SAFE)
        return (_MARGIN * reach).astype(np.float32), hot


def _squares(rows: Array) -> Array:
    squares: Array = np.einsum("ij,ij->i", rows, rows)
    return squares
