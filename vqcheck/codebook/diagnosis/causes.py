"""Weighs the evidence on one codebook: which causes are told, and which stay silent.

What rules a cause out is looked for before the cause is named.
"""

from dataclasses import replace
from math import ceil, sqrt
from typing import Final

import numpy as np

from vqcheck.codebook.diagnosis import edited, ema_steps, merged, replaced, roundings, same_codes
from vqcheck.codebook.diagnosis.book import Book, CountedBook, differ
from vqcheck.codebook.diagnosis.displacement import near_others, same_number
from vqcheck.codebook.diagnosis.evidence import (
    Edited,
    EditTrace,
    EmaUpdates,
    Merged,
    MergeKind,
    NotFinite,
    StepPrecision,
    Unexplained,
    Unrelated,
    UpdateOrder,
    ZeroSigns,
)
from vqcheck.codebook.diagnosis.refutation import Updates, updates_of
from vqcheck.codebook.diagnosis.result import Cause, Certainty
from vqcheck.codebook.ema_fit import Mask
from vqcheck.codebook.family import Update
from vqcheck.codebook.values import Array
from vqcheck.language import tr

_KEPT: Final = 0.5
"""Share of codes that must still be nearest to themselves for one codebook to come from the other."""
_LOST: Final = 0.05
"""Share below which they have nothing to do with each other."""
_FEW: Final = 0.1
"""Share of the codes that may have been edited beside updates of all of them."""
_MOSTLY: Final = 0.8
"""Share of the codes that moved whose counts moved along, as when whole rows are another file's."""
_ROUNDED_OFF: Final = 0.03
"""Share of the codes that miss their sums and counts by a little more than rounding makes them."""
_STANDING: Final = tr(
    "some codes moved as in training and all others are the same to the last bit: two trainings of one length leave "
    "this, a training that rounding hides, or rows taken from another file"
)
_RENUMBERED: Final = tr(
    "codes lie near those of other numbers: one codebook that was renumbered and trained, or another of the same data"
)
_BY_LITTLE: Final = tr("some codes miss their sums and counts, by as little as averaged copies leave, or an edit")
_MISFIT: Final = tr("codes miss their sums and counts by no more than averaging rounded files leaves, or an edit")
_HANDFUL: Final = 5
"""Codes that somebody may have edited one by one."""
_SOME: Final = 3
"""Codes whose counts differ up and down before two files are called siblings."""
_DEVIATIONS: Final = 4.5
"""Standard deviations that chance does not reach in millions of pairs."""
_ALSO: Final = 1.5
"""Standard deviations that do where something else shows it, too."""
_SAME_TOTAL: Final = 1e-6
"""Share by which the roundings of many updates let the totals of two books differ."""


def of_codebook(book: Book) -> list[Cause]:
    """Return what happened to one codebook of which some values changed, most certain first.

    Each head is looked at by itself; where the same happened to all of them it is told once.
    """
    heads = [(head, _of_head(head)) for head in book.heads() if head.changed]
    if len(heads) == book.b.codes.shape[0] > 1 and len({_kinds(causes) for _, causes in heads}) == 1:
        return [_of_all_heads(same) for same in zip(*(causes for _, causes in heads), strict=True)]
    return [cause for _, causes in heads for cause in causes]


def _of_head(book: Book) -> list[Cause]:
    if not _differs(book):
        return [book.cause(Certainty.CERTAIN, ZeroSigns())]
    if book.broken:
        # What else happened hides behind such values; only unhit codes prove updates past them.
        past = ema_steps.find(book) if updates_of(book) is Updates.POSSIBLE else None
        return [book.cause(Certainty.CERTAIN, NotFinite(book.broken)), *([past] if past else [])]
    for find in (same_codes.permuted, edited.scaled, roundings.of_book, replaced.by_k_means):
        if cause := find(book):
            return [cause]
    if not isinstance(book, CountedBook):
        return _without_unhit_code(book, None, None)
    if not book.bookkeeping_changed:
        return [cause] if (cause := edited.find(book)) else []
    updates = updates_of(book)
    if updates is Updates.REFUTED:
        return [_refuted(book)]
    if updates is Updates.HIDDEN:
        return [_unexplained(book, _STANDING)]
    if exchanged := same_codes.exchanged(book):
        in_order, cause = exchanged
        return [*_moved(in_order), cause]
    return _moved(book)


def _differs(book: Book) -> bool:
    pairs = ((book.a.codes, book.b.codes), (book.a.sums, book.b.sums), (book.a.counts, book.b.counts))
    return any(differ(a, b) for a, b in pairs)


def _refuted(book: CountedBook) -> Cause:
    """Return what happened to a book that was not updated between the files, as its counts show."""
    moved_only = ema_steps.find(book, ~(book.sums_moved | book.counts_moved))
    if not merged.rows(book, moved_only) and (apart := _separate_trainings(book)):
        return apart
    few = edited.single_rows(book)
    if few and np.count_nonzero(~book.untouched) <= max(_FEW * book.untouched.size, _HANDFUL):
        return few
    if cause := merged.rows(book, moved_only):
        return cause
    if few:
        touched = ~book.untouched
        whole = touched & book.counts_moved & ~book.clearly_off
        return _unexplained(book, _STANDING) if book.narrow or whole.sum() >= _MOSTLY * touched.sum() else few
    if cause := merged.average(book):
        return cause
    return edited.find(book) or edited.without_counts(book) or _unexplained(book, "")


def _separate_trainings(book: CountedBook) -> Cause | None:
    """Return that both files were trained, for equally long, from one codebook: codes that neither run hit are alike.

    Every code that moved then follows from its sum and count, and counts went both ways. Batches of one size leave the
    same total of counts; those of any sizes hit some codes equally often, with other frames, and leave the rarest codes
    unhit, while rows of another file may be any. Where nothing of it shows, neither is told.
    """
    a, b = book.a.counts, book.b.counts
    touched = ~book.untouched & book.usable
    both_ways = min(np.count_nonzero((b < a) & touched), np.count_nonzero((b > a) & touched))
    if both_ways < _SOME or (book.off_b & touched & ~book.dead).any():
        return None
    if not book.narrow:
        # Two runs may have hit a code equally often, with other frames; an edit of codes leaves most counts alone.
        equally = np.count_nonzero(touched & ~book.counts_moved & book.shifted)
        if equally > 2 * both_ways:
            return None
        rarest = _DEVIATIONS if not equally and not _equal_totals(a, b) else _ALSO
        if equally >= _SOME or _rarest_stood_still(book, rarest):
            codes, decay = book.b.codes.shape[0] * book.b.codes.shape[1], book.family.decay
            unhit = int(np.count_nonzero(~book.counts_moved & book.testifying))
            evidence = EmaUpdates(UpdateOrder.SIBLINGS, None, StepPrecision.UNKNOWN, None, decay, unhit, codes, (), ())
            return book.cause(Certainty.LIKELY, evidence)
    return _unexplained(book, _STANDING)


def _equal_totals(a: Array, b: Array) -> bool:
    """Say whether two sets of counts have one sum, but for the roundings of many updates."""
    total = float(a.sum(dtype=np.float64))
    return abs(float(b.sum(dtype=np.float64)) - total) <= _SAME_TOTAL * total


def _rarest_stood_still(book: CountedBook, deviations: float) -> bool:
    """Say whether the codes that stand still are those of the smallest counts, by more than any choice of rows gives.

    The number of pairs in which a code that moved has the greater count is distributed normally if rows were chosen
    regardless of their counts (Mann and Whitney 1947).
    """
    still = book.untouched[book.testifying]
    counts = np.maximum(book.a.counts, book.b.counts)[book.testifying]
    ranks = np.empty(counts.size)
    ranks[np.argsort(counts, kind="stable")] = np.arange(1, counts.size + 1)
    n, m = int(still.sum()), int((~still).sum())
    greater = float(ranks[~still].sum()) - m * (m + 1) / 2
    return greater - n * m / 2 > deviations * sqrt(n * m * (n + m + 1) / 12)


def _moved(book: CountedBook) -> list[Cause]:
    """Return the updates that counts prove, with whatever else happened beside them."""
    against = edited.find(book)
    off = edited.against_bookkeeping(book)
    updates, refilled = ema_steps.find(book, off), replaced.dead_codes(book)
    if updates and _how(against) == EditTrace.BOOKKEEPING_ONLY:
        # Some trainers track sums and counts and write the codes by other means.
        against = None
    together = merged.average(book)
    if _how(against) == EditTrace.CODES_OFF_BOOKKEEPING and merged.missed_by_little(book, off):
        against = _unexplained(book, _BY_LITTLE)
    if updates and updates.certainty == Certainty.CANNOT_TELL:
        return [together or updates]
    if updates and together:
        return _of_several_runs(updates, together)
    if together:
        return [together]
    if book.narrow and _is_misfit(book, off):
        return [_unexplained(book, _MISFIT)]
    if updates and _share_against(book) <= (0.5 if updates.certainty == Certainty.CERTAIN else 0.05):
        return [cause for cause in (updates, refilled, against) if cause]
    return _without_unhit_code(book, refilled, against)


def _is_misfit(book: Book, edits: Mask) -> bool:
    """Say whether more codes miss their sums and counts than a few edits explain, and none says by what."""
    off = book.off_b & book.moved & ~replaced.replaced_after_update(book) & ~replaced.replaced_with_bookkeeping(book)
    return float(edits.mean()) > _FEW or float((off & ~edits).mean()) > _ROUNDED_OFF


def _of_several_runs(updates: Cause, together: Cause) -> list[Cause]:
    """Return what updates of merged files come to.

    Copies that had equally many keep that number in their average. Otherwise at least one file had as many as the
    average shows, if it is later than A; if it seems earlier, A and the other file may be two runs from one start.
    """
    found = updates.evidence
    if not isinstance(found, EmaUpdates):
        return [together]
    if found.precision == StepPrecision.EXACT:
        of_ranks = isinstance(together.evidence, Merged) and together.evidence.how == MergeKind.RANKS
        return [replace(updates, certainty=updates.certainty if of_ranks else Certainty.LIKELY), together]
    if found.order != UpdateOrder.A_TO_B:
        return [together]
    steps = None if found.estimate is None else max(ceil(found.estimate * (1 - 1e-4)), 1)
    how = StepPrecision.UNKNOWN if steps is None else StepPrecision.AT_LEAST
    return [replace(updates, certainty=Certainty.LIKELY, evidence=replace(found, steps=steps, precision=how)), together]


def _without_unhit_code(book: Book, refilled: Cause | None, against: Cause | None) -> list[Cause]:
    """Tell updates that left no code unhit from another codebook, by whether codes stayed near themselves."""
    live = ~book.dead & ~book.off_b
    share = same_number(book, live if live.any() else np.ones_like(live))
    # Where codes are few, chance alone leaves many at their numbers.
    if share < _KEPT and share <= max(_LOST, 6 / book.a.codes.shape[1]):
        if near_others(book) > _LOST:
            return [_unexplained(book, _RENUMBERED)]
        return [book.cause(Certainty.LIKELY, Unrelated(share))]
    off = edited.against_bookkeeping(book)
    updates = ema_steps.at_least(book, off) if share >= _KEPT else None
    if against:
        few = _how(against) == EditTrace.CODES_OFF_BOOKKEEPING and off.mean() <= _FEW
        return [updates, against] if updates and few else [against]
    if updates:
        return [cause for cause in (updates, refilled) if cause]
    if isinstance(book, CountedBook) and share < _KEPT:
        why = tr(
            "{share:.0%} of the codes are still nearest to themselves, too few for a short training and too many for "
            "another codebook",
            share=share,
        )
    elif book.family.update == Update.GRADIENT:
        why = tr("gradients train the codes of this family and leave no count behind")
    elif not isinstance(book, CountedBook):
        if few := _few_rows(book):
            return [few]
        why = tr("a file stores no sums and counts, which would tell training from an edit")
    else:
        why = tr("the values moved by less than their rounding hides")
    return [_unexplained(book, why)]


def _few_rows(book: Book) -> Cause | None:
    """Return single codes that were edited, where nothing counts frames: training moves more than a few."""
    return edited.single_rows(book) if book.family.update != Update.GRADIENT else None


def _unexplained(book: Book, why: str) -> Cause:
    why = why or tr("counts that did not move rule updates out, and the values fit nothing else")
    return book.cause(Certainty.CANNOT_TELL, Unexplained(why))


def _share_against(book: Book) -> float:
    """Return the share of codes in use that do not follow from their sums and counts, as after merging two files.

    Between rounded files a merge can look like updates: then only these codes tell.
    """
    live = ~book.dead
    return float(edited.against_bookkeeping(book)[live].mean()) if live.any() else 0.0


def _how(cause: Cause | None) -> EditTrace | None:
    return cause.evidence.how if cause and isinstance(cause.evidence, Edited) else None


def _kinds(causes: list[Cause]) -> tuple[object, ...]:
    """Return what the causes of two heads have in common where the same happened to both."""
    return tuple(
        (cause.code, cause.certainty, getattr(cause.evidence, "how", ""), *_of_updates(cause)) for cause in causes
    )


def _of_updates(cause: Cause) -> tuple[object, ...]:
    found = cause.evidence
    if not isinstance(found, EmaUpdates):
        return ()
    return found.order, found.steps, found.precision, *(round(usual.steps, 1) for usual in found.steps_by_decay)


def _of_all_heads(same: tuple[Cause, ...]) -> Cause:
    """Return one cause for all heads, its codes numbered through all of them."""
    first = same[0].evidence
    if isinstance(first, EmaUpdates):
        found = [cause.evidence for cause in same if isinstance(cause.evidence, EmaUpdates)]
        rose = tuple(code + head * first.codes for head, each in enumerate(found) for code in each.rose)
        whole = replace(
            first, unhit=sum(each.unhit for each in found), codes=sum(each.codes for each in found), rose=rose
        )
        return Cause(same[0].certainty, whole, same[0].codebook)
    return Cause(same[0].certainty, first, same[0].codebook)
