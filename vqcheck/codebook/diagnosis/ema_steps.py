"""Counts the EMA updates between two codebooks by codes that no frame was nearest to.

One update with decay d turns a code's sum S and count c into

    S' = d S + (1 - d) (sum of the frames nearest to it),    c' = d c + (1 - d) (number of those frames).

A code that was *unhit* n times has S' = d^n S in every dimension, and c' = d^n c: a scalar multiple, by one and the
same ratio, so n = ln(ratio) / ln(d). Any other code keeps a greater share of its count, so the ratio of an unhit
code is the smallest of all. A code that only ever got one and the same frame has proportional sums, too, but a ratio of
its own: so nothing is concluded from one code alone, and never from the padding's.
"""

from math import ceil, log
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.book import Book, CountedBook, CountedState, State
from vqcheck.codebook.diagnosis.evidence import DecaySteps, EmaUpdates, StepPrecision, Unexplained, UpdateOrder
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import Mask
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass

_USUAL_DECAYS: Final = (0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.999)
_STRICT: Final = 1e-5
"""Relative tolerance for a scalar multiple in float32: hundreds of roundings stay well below it."""
_ROUNDED_COUNT: Final = 1e-6
"""Relative error of a count in float32 after some updates."""
_TO_A_ROUNDING: Final = 1.1
"""The tolerance where values are rounded to float16, in roundings: what is hit once is off by not much more."""
_AGREEING: Final = 2
"""Unhit codes that must agree before anything is concluded from them."""
_ROUNDED_AGREEING: Final = 4
"""Codes that must agree where rounding makes codes that were hit look unhit."""
_GAP: Final = 4.0
"""Distance to the next code, in the width within which codes agree, from which on fewer will do."""
_OUTLIERS: Final = 3
"""Codes on each side of the unhit ones that make two files siblings; one or two may have been edited."""
_NEAR_WHOLE: Final = 0.04
"""Steps by which agreeing codes of a file that was rounded to float16 miss a whole number at most."""
_ACCURATE: Final = 0.25
"""Steps by which roundings may falsify a number that is still called exact."""

_Vector = npt.NDArray[np.float64]


@quick_dataclass(frozen=True, eq=False)
class _Ratios:
    """B over A for each code with a usable count, flattened over heads."""

    count: _Vector
    sum: _Vector
    """The least-squares factor between the sums."""
    proportional: Mask
    """B's sum is a scalar multiple of A's, by the ratio of the counts, and the code may testify."""
    before: _Vector
    """A's count."""
    tolerance: float


@quick_dataclass(frozen=True)
class _Unhit:
    """Unhit codes that agree on one ratio of B to A."""

    order: UpdateOrder
    ratio: float
    codes: int


def find(book: Book, ignored: Mask | None = None) -> Cause | None:
    """Return the EMA updates that at least two unhit codes prove, or None where they prove none.

    `ignored` are codes `[heads, codes]` whose numbers are known to be somebody's edit.
    """
    if not (isinstance(book, CountedBook) and book.bookkeeping_changed):
        return None
    strict = _ratios(book, _STRICT, ignored)
    if unhit := _unhit(strict):
        return _counted(book, strict, unhit)
    if {book.a.precision, book.b.precision} <= {"float16", "float32"}:
        loose = _ratios(book, _TO_A_ROUNDING * (book.a.roundoff + book.b.roundoff), ignored)
        unhit = _unhit(loose)
        # Rounding makes codes that were hardly hit look unhit: they tell no siblings, and a later file that was not
        # rounded would show a code that really was unhit to the last digits. A step of bfloat16 is nearly as wide as an
        # update, so there such codes tell nothing.
        if (
            unhit
            and unhit.order != UpdateOrder.SIBLINGS
            and (book.a if unhit.order == UpdateOrder.B_TO_A else book.b).narrow
        ):
            return _counted(book, loose, unhit)
    return None


def at_least(book: Book, ignored: Mask | None = None) -> Cause | None:
    """Return EMA updates by the counts alone, where too few codes went unhit to tell number and order.

    The count that fell furthest has a ratio of at least d^n if B is the later file, and the one that rose furthest of
    at most d^-n if A is. The smaller of the two numbers holds in either case.
    """
    if not (isinstance(book, CountedBook) and book.bookkeeping_changed):
        return None
    count = _ratios(book, _STRICT, ignored).count
    decay = book.family.decay
    if not count.size:
        return None
    steps, estimate = None, None
    if decay is not None:
        narrower = max(book.a, book.b, key=lambda state: state.roundoff)
        either = [_fewest(ratio, narrower, decay) for ratio in (float(count.min()), 1 / float(count.max()))]
        estimate = max(min(either), 0.0)
        if max(either) <= 0 and narrower.narrow:
            # Rounding alone explains it.
            return None
        steps = max(ceil(estimate), 1)
    return book.cause(
        Certainty.LIKELY,
        EmaUpdates(
            order=UpdateOrder.UNKNOWN,
            steps=steps,
            precision=StepPrecision.UNKNOWN if steps is None else StepPrecision.AT_LEAST,
            estimate=estimate,
            decay=decay,
            unhit=0,
            codes=book.b.codes.shape[0] * book.b.codes.shape[1],
            rose=_rose(book.a, book.b),
            steps_by_decay=(),
        ),
    )


def _counted(book: CountedBook, ratios: _Ratios, unhit: _Unhit) -> Cause | None:
    """Return the updates that agreeing unhit codes prove, with their number as exactly as it is known."""
    order, decay = unhit.order, book.family.decay
    earlier, later = (book.b, book.a) if order == UpdateOrder.B_TO_A else (book.a, book.b)
    forward = 1 / unhit.ratio if order == UpdateOrder.B_TO_A else unhit.ratio
    to_the_last_digit = ratios.tolerance == _STRICT and not later.narrow
    if not _some_were_hit(book, unhit, earlier, later):
        return None
    if order != UpdateOrder.SIBLINGS and not _frames_arrived(forward, earlier, later, ratios.tolerance):
        return None
    if order == UpdateOrder.SIBLINGS:
        apart = None if decay is None else abs(_steps(forward, decay))
        # Two trainings from one start are a whole number of updates apart, however many each had.
        if not to_the_last_digit or earlier.narrow or (apart is not None and not _whole(apart, decay or 0.0)):
            return None
    estimate = None if order == UpdateOrder.SIBLINGS or decay is None else _steps(forward, decay)
    steps, how, certainty = None, StepPrecision.UNKNOWN, Certainty.LIKELY
    if estimate is not None and decay is not None:
        if to_the_last_digit:
            if _whole(estimate, decay) and _possible(ratios, unhit, round(estimate), decay):
                steps, how, certainty = round(estimate), StepPrecision.EXACT, Certainty.CERTAIN
        elif later.precision == "float16":
            if not (estimate > 0.5 and abs(estimate - round(estimate)) <= _NEAR_WHOLE):
                why = tr(
                    "sums and counts of {codes} codes changed by one factor, but not by that of a whole number of "
                    "updates: averaging files leaves this, or training in a narrow type or with another decay",
                    codes=unhit.codes,
                )
                return book.cause(Certainty.CANNOT_TELL, Unexplained(why))
            steps, how = round(estimate), StepPrecision.ABOUT
        else:
            steps, how = max(ceil(_fewest(forward, later, decay)), 1), StepPrecision.AT_LEAST
    by_decay: tuple[DecaySteps, ...] = ()
    if order != UpdateOrder.SIBLINGS and steps is None:
        counted = [(usual, _steps(forward, usual)) for usual in _USUAL_DECAYS]
        by_decay = tuple(DecaySteps(usual, n, to_the_last_digit and _whole(n, usual)) for usual, n in counted)
    found = EmaUpdates(
        order=order,
        steps=steps,
        precision=how,
        estimate=estimate,
        decay=decay,
        unhit=unhit.codes,
        codes=book.b.codes.shape[0] * book.b.codes.shape[1],
        rose=_rose(earlier, later),
        steps_by_decay=by_decay,
    )
    return book.cause(certainty, found)


def _fewest(ratio: float, later: State, decay: float) -> float:
    """Return a number of updates that are surely needed for a count to fall to this ratio.

    Where a file's values are narrow, each may be off by a rounding, and so may each step of a training that keeps its
    buffers in that type: then one step may take off more than the decay.
    """
    fall, each = -log(ratio), -log(float(np.float32(decay)))
    if later.narrow:
        return (fall - 2 * later.roundoff) / (each + later.roundoff)
    return fall / each * (1 - 1e-4) - 1e-4


def _ratios(book: CountedBook, tolerance: float, ignored: Mask | None) -> _Ratios:
    usable = book.usable if ignored is None else book.usable & ~ignored
    testifying = book.testifying[usable]
    sums_a, sums_b, counts_a, counts_b = (
        array[usable].astype(np.float64) for array in (book.a.sums, book.b.sums, book.a.counts, book.b.counts)
    )
    count = counts_b / counts_a
    size = np.einsum("ij,ij->i", sums_a, sums_a)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.nan_to_num(np.einsum("ij,ij->i", sums_a, sums_b) / size)
    # Below the smallest normal number rounding is absolute, not relative.
    floor = 2.0**-24 if "float16" in (book.a.precision, book.b.precision) else 2.0**-126
    proportional = (factor > 0) & testifying & (np.abs(count - factor) <= tolerance * factor)
    expected = factor[proportional, None] * sums_a[proportional]
    fits = (np.abs(sums_b[proportional] - expected) <= tolerance * np.abs(expected) + floor).all(axis=1)
    proportional[proportional] = fits
    return _Ratios(count, factor, proportional, counts_a, tolerance)


def _unhit(ratios: _Ratios) -> _Unhit | None:
    """Return the unhit codes that agree, and what their ratio says of the files' order; None where too few agree."""
    factors = np.sort(ratios.sum[ratios.proportional])
    if len(factors) < _AGREEING:
        return None
    strict = ratios.tolerance == _STRICT
    # Rounded sums have one factor in common more closely than each value and count has it.
    slack = (2.0 if strict else 0.5) * ratios.tolerance
    single = slack if strict else ratios.tolerance
    least, most = float(factors[0]), float(factors[-1])
    lowest, highest = factors[factors <= least * (1 + slack)], factors[factors >= most * (1 - slack)]
    falls = len(lowest) >= _AGREEING and least < 1 - 2 * single and ratios.count.min() >= least * (1 - single)
    rises = len(highest) >= _AGREEING and most > 1 + 2 * single and ratios.count.max() <= most * (1 + single)
    if not strict:
        # A code that fell further was hit in the earlier file: the two are siblings.
        falls = falls and ratios.sum.min() >= least * (1 - slack) and _stand_out(len(lowest), factors, slack)
        rises = rises and ratios.sum.max() <= most * (1 + slack) and _stand_out(len(highest), factors[::-1], slack)
    if falls and not rises:
        return _Unhit(UpdateOrder.A_TO_B, float(np.median(lowest)), len(lowest))
    if rises and not falls:
        return _Unhit(UpdateOrder.B_TO_A, float(np.median(highest)), len(highest))
    if falls or not strict:
        return None
    agreeing = np.searchsorted(factors, factors * (1 + slack), side="right") - np.arange(len(factors))
    start = int(np.argmax(agreeing))
    members = int(agreeing[start])
    middle = float(np.median(factors[start : start + members]))
    below, above = ratios.count < middle * (1 - slack), ratios.count > middle * (1 + slack)
    if members >= _AGREEING and min(np.count_nonzero(below), np.count_nonzero(above)) >= _OUTLIERS:
        return _Unhit(UpdateOrder.SIBLINGS, middle, members)
    return None


def _stand_out(agreeing: int, alike: _Vector, slack: float) -> bool:
    """Say whether so many codes that agree, the first of those whose sums look proportional, show that they were unhit.

    Rounding makes codes that were hardly hit look so, too: there the agreeing ones must be most, or far from the rest.
    """
    if agreeing < _AGREEING or agreeing == len(alike):
        return agreeing >= _AGREEING
    apart = abs(float(alike[agreeing] / alike[agreeing - 1]) - 1)
    return agreeing >= max(_ROUNDED_AGREEING, len(alike) / 2) or (agreeing > _AGREEING and apart > _GAP * slack)


def _possible(ratios: _Ratios, unhit: _Unhit, steps: int, decay: float) -> bool:
    """Say whether the other codes can have been hit in these updates.

    One frame in the first of n updates adds (1 - d) d^(n - 1) to the count that decay leaves, and no hit adds less.
    (A sixteenth of it is allowed for: copies on several devices are averaged.)
    """
    earlier, later, ratio = ratios.before, ratios.count * ratios.before, unhit.ratio
    if unhit.order == UpdateOrder.B_TO_A:
        earlier, later, ratio = later, earlier, 1 / unhit.ratio
    added = later - ratio * earlier
    hit = added > 4 * ratios.tolerance * later
    return not bool((hit & (added < (1 - decay) * decay ** (steps - 1) / 16)).any())


def _some_were_hit(book: CountedBook, unhit: _Unhit, earlier: CountedState, later: CountedState) -> bool:
    """Say whether frames left a trace: each hits a code, and a code that was hit does not stand still.

    Without a trace somebody scaled sums and counts.
    """
    if ((earlier.counts == 0) & (later.counts > 0)).any():
        return True
    return int(np.count_nonzero(book.usable & (book.sums_moved | book.counts_moved))) > unhit.codes


def _frames_arrived(forward: float, earlier: CountedState, later: CountedState, tolerance: float) -> bool:
    """Say whether the counts hold at least a frame for each step beside what decay by `forward` leaves of them.

    Where the same recordings are trained on again and again and the batch grows, all counts grow by one factor as if
    they had decayed the other way; but then no frame was added.  (Half a frame is allowed for: roundings.)
    """
    before, after = earlier.counts.astype(np.float64), later.counts.astype(np.float64)
    added = after - forward * before
    seen = added > 4 * (_ROUNDED_COUNT if tolerance == _STRICT else tolerance) * after
    return float(added[seen].sum()) >= (1 - forward) / 2


def _rose(earlier: CountedState, later: CountedState) -> tuple[int, ...]:
    before, after = earlier.counts.ravel(), later.counts.ravel()
    rise = after.astype(np.float64) - before
    order = np.argsort(-rise, kind="stable")
    return tuple(int(number) for number in order[: np.count_nonzero(rise > 0)])


def _steps(ratio: float, decay: float) -> float:
    # Training multiplies by the float32 value of the decay.
    return log(ratio) / log(float(np.float32(decay)))


def _whole(steps: float, decay: float) -> bool:
    """Say whether a number of steps is whole within what float32 roundings can do to it.

    A ratio after n roundings is off by at most n 2^-24, which is n 2^-24 / (1 - d) steps. A wider tolerance would take
    one step of a decay of 0.98 for two of 0.99, and a moving average of the files of a training for its first file.
    """
    tolerance = 3e-5 + steps * 2.0**-23 / (1 - decay)
    return steps >= -tolerance and tolerance < _ACCURATE and abs(steps - round(steps)) <= tolerance
