"""One codebook of both files as numbers, with what several causes need to know about it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vqcheck.codebook.ema_fit import ROUNDOFF, Array, Mask, are_unit_vectors, precision, rows_off
from vqcheck.codebook.family import EMA_COUNT, EMA_SUM, STORED, Family


@dataclass(frozen=True, eq=False)
class State:
    """The codebook in one file."""

    codes: Array
    """`[heads, codes, dim]`"""
    sums: Array | None
    """`[heads, codes, dim]`, None where the file lacks them."""
    counts: Array | None
    """`[heads, codes]`, None where the file lacks them."""

    @cached_property
    def precision(self) -> str:
        """The precision its values were last rounded to, whatever they are stored in now."""
        return precision(*(array for array in (self.codes, self.sums, self.counts) if array is not None))

    @property
    def roundoff(self) -> float:
        return ROUNDOFF[self.precision]

    @property
    def narrow(self) -> bool:
        return self.precision != "float32"

    def off(self, epsilon: float) -> Mask:
        """Return which codes `[heads, codes]` do not follow from sum and count; none where these are not stored."""
        if self.sums is None or self.counts is None:
            return np.zeros(self.codes.shape[:2], bool)
        return rows_off(self.codes, self.sums, self.counts, epsilon)


@dataclass(frozen=True, eq=False)
class Book:
    """The same codebook in file A and in file B."""

    number: int
    family: Family
    a: State
    b: State
    changed: frozenset[str]
    """Roles whose values differ by more than a declared rounding."""

    @property
    def bookkeeping_stored(self) -> bool:
        """Both files hold sums and counts."""
        return all(array is not None for state in (self.a, self.b) for array in (state.sums, state.counts))

    @property
    def bookkeeping_changed(self) -> bool:
        return EMA_SUM in self.changed or EMA_COUNT in self.changed

    @property
    def broken(self) -> tuple[str, ...]:
        """The sides, as letters, with NaN or infinity where the other one has numbers."""
        return tuple(
            letter
            for letter, one, other in (("A", self.a, self.b), ("B", self.b, self.a))
            if any(
                bool((~np.isfinite(mine) & np.isfinite(theirs)).any())
                for mine, theirs in ((one.codes, other.codes), (one.sums, other.sums), (one.counts, other.counts))
                if mine is not None and theirs is not None
            )
        )

    @cached_property
    def off_a(self) -> Mask:
        return self._off(self.a)

    @cached_property
    def off_b(self) -> Mask:
        return self._off(self.b)

    def _off(self, state: State) -> Mask:
        if self.family.derivation != STORED or not self.family.smoothed or are_unit_vectors(state.codes):
            # Such codes are not their sum over their smoothed count to begin with.
            return np.zeros(state.codes.shape[:2], bool)
        return state.off(self.family.epsilon)

    @cached_property
    def moved(self) -> Mask:
        """Which codes `[heads, codes]` differ at all."""
        moved: Mask = (self.a.codes != self.b.codes).any(axis=2)
        return moved

    @cached_property
    def dead(self) -> Mask:
        """Which codes `[heads, codes]` an update of B would find dead; none where the threshold is not known."""
        threshold = self.family.dead_code_threshold
        if threshold is None or self.b.counts is None:
            return np.zeros(self.b.codes.shape[:2], bool)
        # Rounding may have lifted a count onto the threshold.
        dead: Mask = self.b.counts < threshold * (1 + (2 * self.b.roundoff if self.b.narrow else 0.0))
        return dead


def numbers(mask: Mask) -> tuple[int, ...]:
    """Return the numbers of the codes in a mask `[heads, codes]`, counted through all heads."""
    return tuple(int(number) for number in np.flatnonzero(mask))
