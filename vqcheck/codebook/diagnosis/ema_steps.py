"""Counts the EMA updates between two codebooks by a code that no frame was nearest to.

One update with decay d turns a code's sum S and count c into

    S' = d S + (1 - d) (sum of the frames nearest to it),    c' = d c + (1 - d) (number of those frames).

A code that was *unhit* n times has S' = d^n S in every dimension, and c' = d^n c: a scalar multiple, by one and the
same ratio, so n = ln(ratio) / ln(d). Any other code keeps a greater share of its count, so the ratio of an unhit
code is the smallest of all.
"""

from dataclasses import dataclass
from math import ceil, log
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.book import Book, State
from vqcheck.codebook.diagnosis.evidence import (
    A_TO_B,
    ABOUT,
    AT_LEAST,
    B_TO_A,
    EXACT,
    SIBLINGS,
    UNKNOWN,
    DecaySteps,
    EmaUpdates,
)
from vqcheck.codebook.diagnosis.result import CERTAIN, LIKELY, Cause
from vqcheck.codebook.ema_fit import SMALLEST_NORMAL, Mask

_USUAL_DECAYS: Final = (0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.999)
_STRICT: Final = 1e-5
"""Relative tolerance for a scalar multiple in float32: hundreds of roundings stay well below it."""

_Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Ratios:
    """B over A for each code with a usable count, flattened over heads."""

    count: _Vector
    sum: _Vector
    """The least-squares factor between the sums."""
    proportional: Mask
    """B's sum is a scalar multiple of A's, by the ratio of the counts."""
    tolerance: float


def find(book: Book) -> Cause | None:
    """Return the EMA updates that sums and counts prove, or None where they prove none."""
    if not (book.bookkeeping_stored and book.bookkeeping_changed):
        return None
    strict = _ratios(book, _STRICT)
    if strict.proportional.any():
        return _by_unhit(book, strict, strict=True)
    if book.a.narrow or book.b.narrow:
        loose = _ratios(book, 2 * (book.a.roundoff + book.b.roundoff))
        if loose.proportional.any():
            return _by_unhit(book, loose, strict=False)
    return None


def at_least(book: Book) -> Cause | None:
    """Return EMA updates without an unhit code: by the count that fell furthest, whose ratio is at least d^n."""
    if not (book.bookkeeping_stored and book.bookkeeping_changed):
        return None
    count = _ratios(book, _STRICT).count
    decay = book.family.decay
    if not count.size:
        return None
    steps, estimate = None, None
    if decay is not None:
        estimate = max(_steps(float(count.min()), decay), 0.0)
        slack = (book.a.roundoff + book.b.roundoff + 1e-7 * estimate) / -log(decay)
        steps = max(ceil(estimate - slack), 1)
    return Cause(
        LIKELY,
        EmaUpdates(
            order=A_TO_B,
            steps=steps,
            precision=UNKNOWN if steps is None else AT_LEAST,
            estimate=estimate,
            decay=decay,
            unhit=0,
            codes=book.b.codes.shape[0] * book.b.codes.shape[1],
            rose=_rose(book.a, book.b),
            steps_by_decay=(),
        ),
        book.number,
    )


def _by_unhit(book: Book, ratios: _Ratios, *, strict: bool) -> Cause | None:
    order, ratio = _order(ratios)
    unhit = ratios.proportional & (np.abs(ratios.sum - ratio) <= 2 * ratios.tolerance * ratio)
    earlier, later = (book.b, book.a) if order == B_TO_A else (book.a, book.b)
    if not strict and (order == SIBLINGS or not later.narrow):
        # Rounding makes codes that were hardly hit look unhit: they prove no order, and a file that was not rounded
        # would show a code that really was unhit to the last digits.
        return None
    if bool(unhit.all()) and not _grew_from_nothing(earlier, later):
        # A batch has frames, and each frame hits a code: this is a rescaled file, not an update.
        return None
    decay = book.family.decay
    forward = 1 / ratio if order == B_TO_A else ratio
    estimate = None if order == SIBLINGS or decay is None else _steps(forward, decay)
    steps, how, certainty = None, UNKNOWN, CERTAIN if strict else LIKELY
    if estimate is not None and strict and not later.narrow:
        if _whole(estimate):
            steps, how = round(estimate), EXACT
        else:
            certainty = LIKELY
    elif estimate is not None and decay is not None:
        # Hits can only make the number look smaller, so it is rounded up, after what rounding values may have added.
        steps, how = max(ceil(estimate - ratios.tolerance / -log(decay)), 1), ABOUT
    by_decay: tuple[DecaySteps, ...] = ()
    if order != SIBLINGS and steps is None:
        counted = [(usual, _steps(forward, usual)) for usual in _USUAL_DECAYS]
        by_decay = tuple(DecaySteps(usual, n, strict and not later.narrow and _whole(n)) for usual, n in counted)
    return Cause(
        certainty,
        EmaUpdates(
            order=order,
            steps=steps,
            precision=how,
            estimate=estimate,
            decay=decay,
            unhit=int(np.count_nonzero(unhit)),
            codes=book.b.codes.shape[0] * book.b.codes.shape[1],
            rose=_rose(earlier, later),
            steps_by_decay=by_decay,
        ),
        book.number,
    )


def _ratios(book: Book, tolerance: float) -> _Ratios:
    sums_a, sums_b, counts_a, counts_b = (
        array.astype(np.float64).reshape(-1, *array.shape[2:])
        for array in (book.a.sums, book.b.sums, book.a.counts, book.b.counts)
        if array is not None
    )
    usable = (
        (counts_a >= SMALLEST_NORMAL[book.a.precision])
        & (counts_b >= SMALLEST_NORMAL[book.b.precision])
        & np.isfinite(counts_a)
        & np.isfinite(counts_b)
        & np.isfinite(sums_a).all(axis=1)
        & np.isfinite(sums_b).all(axis=1)
    )
    sums_a, sums_b = sums_a[usable], sums_b[usable]
    count = counts_b[usable] / counts_a[usable]
    size = np.einsum("ij,ij->i", sums_a, sums_a)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.nan_to_num(np.einsum("ij,ij->i", sums_a, sums_b) / size)
    expected = factor[:, None] * sums_a
    # Below the smallest normal number rounding is absolute, not relative.
    floor = 2.0**-24 if "float16" in (book.a.precision, book.b.precision) else 2.0**-126
    proportional = (
        (factor > 0)
        & (np.abs(count - factor) <= tolerance * factor)
        & (np.abs(sums_b - expected) <= tolerance * np.abs(expected) + floor).all(axis=1)
    )
    return _Ratios(count, factor, proportional, tolerance)


def _order(ratios: _Ratios) -> tuple[str, float]:
    """Return which file is the later one, and the unhit codes' ratio of B to A."""
    factors = ratios.sum[ratios.proportional]
    slack = 2 * ratios.tolerance
    least, most = float(factors.min()), float(factors.max())
    if least < 1 and float(ratios.count.min()) >= least * (1 - slack):
        return A_TO_B, least
    if most > 1 and float(ratios.count.max()) <= most * (1 + slack):
        return B_TO_A, most
    return SIBLINGS, float(np.median(factors))


def _grew_from_nothing(earlier: State, later: State) -> bool:
    assert earlier.counts is not None
    assert later.counts is not None
    return bool(((earlier.counts == 0) & (later.counts > 0)).any())


def _rose(earlier: State, later: State) -> tuple[int, ...]:
    assert earlier.counts is not None
    assert later.counts is not None
    before, after = earlier.counts.ravel(), later.counts.ravel()
    rise = after.astype(np.float64) - before
    order = np.argsort(-rise, kind="stable")
    return tuple(int(number) for number in order[: np.count_nonzero(rise > 0)])


def _steps(ratio: float, decay: float) -> float:
    # Training multiplies by the float32 value of the decay.
    return log(ratio) / log(float(np.float32(decay)))


def _whole(steps: float) -> bool:
    """Say whether a number of steps is whole within what float32 roundings can do to it.

    A ratio after n roundings is off by at most n 2^-24, which is n 6e-6 steps of a decay of 0.99. A wider tolerance
    would take one step of a decay of 0.98 for two of 0.99.
    """
    return steps >= 0.5 and abs(steps - round(steps)) <= min(0.001 + 1e-5 * steps, 0.02)
