"""One codebook of both files as numbers, with what several causes need to know about it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.evidence import Evidence
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import (
    AT_ONCE,
    ROUNDOFF,
    SMALLEST_NORMAL,
    Mask,
    are_unit_vectors,
    coarsest,
    lengths,
    rows_off,
    smoothed,
)
from vqcheck.codebook.family import Derivation, Family, Role
from vqcheck.codebook.values import Array

_BY_ROUNDING: Final = 1e-5
"""Way, relative to its length, that a code is moved by roundings alone."""
_AVERAGED: Final = 8.0
"""Roundings by which an average of rounded codes, sums and counts misses at most, of the length of both codes."""
_ALIKE: Final = 1e-2
"""Distance to the bias, relative to its length, within which nothing but padding can have put a code."""


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
        """The coarsest type that codes, sums or counts were last rounded to, whatever they are stored in now."""
        return coarsest(self.codes, self.sums, self.counts)

    @property
    def roundoff(self) -> float:
        return ROUNDOFF[self.precision]

    @property
    def narrow(self) -> bool:
        return self.precision != "float32"

    def head(self, head: int) -> "State":
        """Return one head as a codebook of its own."""
        sums, counts = (None if array is None else array[head : head + 1] for array in (self.sums, self.counts))
        return replace(self, codes=self.codes[head : head + 1], sums=sums, counts=counts)

    def off(self, epsilon: float) -> Mask:  # noqa: ARG002 - what codes follow from is not stored
        """Return which codes `[heads, codes]` do not follow from sum and count; none where these are not stored."""
        return np.zeros(self.codes.shape[:2], bool)


@dataclass(frozen=True, eq=False)
class CountedState(State):
    """The codebook in a file that has its sums and counts."""

    sums: Array
    counts: Array

    def off(self, epsilon: float) -> Mask:
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
    padding: Mask | None = None
    """Codes `[heads, codes]` that padded frames, all alike, are nearest to; None where it is not known."""
    head: int | None = None
    """Which head of the codebook this is; None where there is but one."""

    def heads(self) -> Iterator["Book"]:
        """Yield each head as a book of its own, with the roles that changed in it."""
        count = self.b.codes.shape[0]
        if count == 1 or self.a.codes.shape != self.b.codes.shape:
            yield self
            return
        for head in range(count):
            a, b = self.a.head(head), self.b.head(head)
            pairs = (
                (Role.CODES, a.codes, b.codes),
                (Role.EMA_SUM, a.sums, b.sums),
                (Role.EMA_COUNT, a.counts, b.counts),
            )
            changed = frozenset(role for role, one, other in pairs if role in self.changed and differ(one, other))
            padding = None if self.padding is None else self.padding[head : head + 1]
            yield replace(self, a=a, b=b, changed=changed, padding=padding, head=head)

    def cause(self, certainty: Certainty, evidence: Evidence) -> Cause:
        """Return something that happened to this book."""
        return Cause(certainty, evidence, self.number, self.head)

    @cached_property
    def testifying(self) -> Mask:
        """Which codes `[heads, codes]` may bear witness to updates: those with usable numbers, but the padding's."""
        usable = self.usable
        return usable if self.padding is None else usable & ~self.padding

    @cached_property
    def usable(self) -> Mask:
        """Which codes `[heads, codes]` have finite sums, and counts that are normal numbers, in both files."""
        usable = np.ones(self.b.codes.shape[:2], bool)
        for state in (self.a, self.b):
            if isinstance(state, CountedState):
                usable &= (state.counts >= SMALLEST_NORMAL[state.precision]) & np.isfinite(state.counts)
                usable &= np.isfinite(state.sums).all(axis=2)
        return usable

    @cached_property
    def untouched(self) -> Mask:
        """Which codes `[heads, codes]` have the same vector, sum and count in both files."""
        same: Mask = ~self.moved
        if isinstance(self, CountedBook):
            same = same & ~self.sums_moved & ~self.counts_moved
        return same

    @property
    def bookkeeping_changed(self) -> bool:
        return Role.EMA_SUM in self.changed or Role.EMA_COUNT in self.changed

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
        if self.family.derivation != Derivation.STORED or not self.family.smoothed or are_unit_vectors(state.codes):
            # Such codes are not their sum over their smoothed count to begin with.
            return np.zeros(state.codes.shape[:2], bool)
        return state.off(self.family.epsilon)

    @cached_property
    def moved(self) -> Mask:
        """Which codes `[heads, codes]` differ at all."""
        moved: Mask = (self.a.codes != self.b.codes).any(axis=2)
        return moved

    @cached_property
    def way(self) -> npt.NDArray[np.float64]:
        """How far each code `[heads, codes]` went."""
        return lengths(np.subtract(self.b.codes, self.a.codes, dtype=np.float64))

    @cached_property
    def missed(self) -> npt.NDArray[np.float64]:
        """How far each code `[heads, codes]` of B is from what its sum and count say; 0 where these are not stored."""
        if not isinstance(self.b, CountedState):
            return np.zeros(self.b.codes.shape[:2])
        with np.errstate(all="ignore"):
            return lengths(self.b.codes - self.b.sums / smoothed(self.b.counts, self.family.epsilon)[..., None])

    @cached_property
    def shifted(self) -> Mask:
        """Which codes `[heads, codes]` went further than roundings move them."""
        shifted: Mask = self.way > max(_BY_ROUNDING, 4 * self.roundoff if self.narrow else 0) * lengths(self.a.codes)
        return shifted

    @property
    def narrow(self) -> bool:
        """One of the files at least is rounded."""
        return self.a.narrow or self.b.narrow

    @property
    def roundoff(self) -> float:
        return max(self.a.roundoff, self.b.roundoff)

    @cached_property
    def clearly_off(self) -> Mask:
        """Which codes `[heads, codes]` of B miss their sums and counts by more than averaging rounded values leaves."""
        if not self.narrow:
            return self.off_b
        allowed = _AVERAGED * self.roundoff * (lengths(self.a.codes) + lengths(self.b.codes))
        return self.off_b & ~(self.missed <= allowed)

    @cached_property
    def dead(self) -> Mask:
        """Which codes `[heads, codes]` an update of B would find dead; none where the threshold is not known."""
        threshold = self.family.dead_code_threshold
        if threshold is None or self.b.counts is None:
            return np.zeros(self.b.codes.shape[:2], bool)
        # Rounding may have lifted a count onto the threshold.
        dead: Mask = self.b.counts < threshold * (1 + (2 * self.b.roundoff if self.b.narrow else 0.0))
        return dead


@dataclass(frozen=True, eq=False)
class CountedBook(Book):
    """A codebook of which both files hold sums and counts."""

    a: CountedState
    b: CountedState

    @cached_property
    def sums_moved(self) -> Mask:
        moved: Mask = (self.a.sums != self.b.sums).any(axis=2)
        return moved

    @cached_property
    def counts_moved(self) -> Mask:
        moved: Mask = self.a.counts != self.b.counts
        return moved


_Of = TypeVar("_Of", bound=Book)
_Found = TypeVar("_Found", bound=npt.NDArray[Any])


def once_a_book(find: Callable[[_Of], _Found]) -> Callable[[_Of], _Found]:
    """Return a function that finds a fact about each code of a book once: several causes ask for the same."""
    known: WeakKeyDictionary[_Of, _Found] = WeakKeyDictionary()

    @wraps(find)
    def found(book: _Of) -> _Found:
        if book not in known:
            known[book] = find(book)
            known[book].setflags(write=False)
        return known[book]

    return found


def state_of(codes: Array, sums: Array | None, counts: Array | None) -> State:
    """Return the codebook of one file, given what it stores of it; shapes are those of `State`."""
    return State(codes, sums, counts) if sums is None or counts is None else CountedState(codes, sums, counts)


def book_of(
    number: int, family: Family, a: State, b: State, changed: frozenset[str], padding: Mask | None = None
) -> Book:
    """Return the codebook of two files."""
    if isinstance(a, CountedState) and isinstance(b, CountedState):
        return CountedBook(number, family, a, b, changed, padding)
    return Book(number, family, a, b, changed, padding)


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
                # Some codes at a time, whose numbers stay in a cache.
                some = [codes[:, start : start + AT_ONCE] for start in range(0, codes.shape[1] or 1, AT_ONCE)]
                distance = np.concatenate([lengths(each - wide) for each in some], axis=1)
            distance[~np.isfinite(distance)] = np.inf
            nearest = distance.min(axis=1, keepdims=True)
            padded |= distance <= np.maximum(nearest * (1 + 1e-3), _ALIKE * length)
    return padded


def differ(one: Array | None, other: Array | None) -> bool:
    """Say whether two arrays differ in any value; NaN equals NaN."""
    if one is None or other is None:
        return one is not other
    return not np.array_equal(one, other, equal_nan=True)


def numbers(mask: Mask) -> tuple[int, ...]:
    """Return the numbers of the codes in a mask `[heads, codes]`, counted through all heads."""
    return tuple(int(number) for number in np.flatnonzero(mask))
