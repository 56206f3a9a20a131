"""Judges frames: derives each one's token in float32 and in half precision and compares it with the recorded one."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.float_lookup import FloatArithmetic, FloatEncoder, FloatLookup, float_excess
from vqcheck.codebook.half_bound import HalfReach, excess
from vqcheck.codebook.half_lookup import Arithmetic, Array, HalfEncoder, HalfLookup, Tokens, half
from vqcheck.codebook.tokenizer import Tokenizer
from vqcheck.experiment.features import FrameBatch

KINDS: Final = 9
(BOTH, ONLY_FLOAT32, ONLY_HALF, NEAR, FAR, HOT_FLOAT32, HOT_OTHER, COARSE_FLOAT32, COARSE_OTHER) = range(KINDS)
"""What a recorded token is.

BOTH, ONLY_FLOAT32, ONLY_HALF: the token derived in both precisions, or in one of them.
NEAR, FAR: neither, inside and outside the bound.
HOT_FLOAT32, HOT_OTHER: the float32 token alone, and another one, where terms overflow in half precision.
COARSE_FLOAT32, COARSE_OTHER: the same where half precision cannot tell apart so many codes that it says nothing.
"""

_TOO_MANY: Final = 0.1
"""Share of the codes that a frame's bound may admit and still say something."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class JudgedFrames:
    """What became of the frames of a batch."""

    kinds: npt.NDArray[np.intp]
    """`[frames]`"""
    beyond: Flags
    """Where the token is another one than in float32, and farther from it than float32 rounding, `[frames]`"""
    second_tie: Flags
    """Where the token is the second of two codes that half precision finds equally near, and not float32's"""
    varied: npt.NDArray[np.intp]
    """Frames whose token another order of summation may change in float32, and by each variant of half precision"""


@dataclass(frozen=True, eq=False)
class _Half:
    """What is needed for half precision."""

    sums: Array
    """The convolution of half-precision inputs, before its bias"""
    frames: Array
    fragile: Tokens
    """Indices of frames in which half precision may find another code the nearest"""
    coarse: Flags
    """Where half precision may find nearly any code the nearest, `[frames]`"""


class FrameJudge:
    """Judges batches by the VQ encoder of one checkpoint, one float32 and one half-precision arithmetic."""

    def __init__(self, tokenizer: Tokenizer, floats: FloatArithmetic, arithmetic: Arithmetic) -> None:
        self.floats = floats
        self.arithmetic = arithmetic
        out, channels, self.taps = tokenizer.projection.weight.shape
        self.channels = channels
        # Inputs are one frame behind the other, so that a frame's channels lie side by side.
        weight = tokenizer.projection.weight.transpose(2, 1, 0).reshape(-1, out)
        weight = np.ascontiguousarray(weight, np.float32)
        bias = tokenizer.projection.bias
        bias = np.zeros(out, np.float32) if bias is None else bias.astype(np.float32, copy=False)
        codes = tokenizer.codes.astype(np.float32, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            self._plain = FloatEncoder(weight, bias, codes, FloatArithmetic())
            self._float = self._plain if floats == FloatArithmetic() else FloatEncoder(weight, bias, codes, floats)
            self._half = HalfEncoder(weight, bias, codes)
            self._reach = HalfReach(codes, self._plain.squares, self._half)
        self._weight_is_half = np.array_equal(self._half.weight, weight)
        self._codes = len(codes)

    def judge(self, batch: FrameBatch) -> JudgedFrames:
        """Return what each frame of a batch is."""
        with np.errstate(over="ignore", invalid="ignore"):
            plain = self._plain.look_up(batch.patches)
            named = plain if self._float is self._plain else self._float.look_up(batch.patches)
            tokens, changed = self._float.settle(batch.patches, named)
            in_half = self._halve(batch, plain)
            return self._compare(batch, tokens, changed, plain.tokens, in_half)

    def _halve(self, batch: FrameBatch, plain: FloatLookup) -> _Half:
        sums = plain.sums
        if not (batch.in_half and self._weight_is_half):
            sums = half(batch.patches) @ self._half.weight
        frames = self._half.add_bias(sums, self.arithmetic)
        admitted, fragile = self._reach.look(plain.x, frames, plain.distances, plain.tokens)
        return _Half(sums, frames, np.flatnonzero(fragile), admitted > _TOO_MANY * self._codes)

    def _compare(
        self, batch: FrameBatch, tokens: Tokens, changed: int, nearest: Tokens, derived: _Half
    ) -> JudgedFrames:
        """Return the kinds of a batch; `tokens` are those of the float32 arithmetic, `nearest` those of plain float32.

        The nearest code that half precision can choose takes the place of one that it cannot, because it overflows.
        """
        recorded = batch.recorded
        is_token = recorded < self._codes
        safe = np.where(is_token, recorded, 0)
        in_float32 = is_token & (safe == tokens)
        in_half = is_token & (safe == nearest)
        second_tie = np.zeros(len(safe), bool)
        hot, coarse, nearest = np.zeros(len(safe), bool), derived.coarse, nearest.copy()
        varied = np.zeros(1 + len(self.arithmetic.variants), np.intp)
        varied[0] = changed
        at = derived.fragile
        if len(at):
            lookup = self._half.look_up(derived.frames[at], self.arithmetic)
            hot[at] = lookup.overflows
            # Where nearly all codes tie, to be among them is no sign of half precision.
            ties = lookup.is_best(safe[at]) & ~coarse[at]
            in_half[at] = is_token[at] & ((safe[at] == lookup.tokens) | ties)
            second_tie[at] = ties & ~hot[at] & (safe[at] != lookup.tokens) & ~in_float32[at]
            nearest[at] = np.where(lookup.finite(nearest[at]), nearest[at], lookup.tokens)
            for number, off in enumerate(self._vary(batch.patches[at], lookup), 1):
                varied[number] = np.count_nonzero(off & ~hot[at])
        kinds = np.select(
            [
                ~is_token,
                in_float32 & in_half,
                hot & in_float32,
                hot,
                coarse & in_float32,
                coarse,
                in_float32,
                in_half,
            ],
            [FAR, BOTH, HOT_FLOAT32, HOT_OTHER, COARSE_FLOAT32, COARSE_OTHER, ONLY_FLOAT32, ONLY_HALF],
            NEAR,
        )
        beyond = np.zeros(len(safe), bool)
        other = np.flatnonzero(is_token & ~in_float32)
        if len(other):
            token, codes = safe[other], self._half.codes
            by_float = float_excess(self._float, batch.patches[other], token, tokens[other])
            beyond[other] = ~(by_float.probable <= 0)
            by_half = excess(derived.sums[other], self._half.bias, codes[token], codes[nearest[other]])
            far = (kinds[other] == NEAR) & ~(by_half <= 0) & ~(by_float.certain <= 0)
            kinds[other[far]] = FAR
        return JudgedFrames(kinds, beyond, second_tie, varied)

    def _vary(self, patches: Array, lookup: HalfLookup) -> list[Flags]:
        """Return for each variant where it does not give the best code of `lookup`."""
        inputs, found = half(patches), []
        for variant in self.arithmetic.variants:
            varied = self._half.look_up(self._half.frames(inputs, variant), variant)
            # Of codes that tie, the first and the last are the likeliest to be another arithmetic's choice.
            found.append(~(lookup.is_best(varied.tokens) & lookup.is_best(varied.last_tokens)))
        return found
