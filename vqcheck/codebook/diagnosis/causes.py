"""Weighs the evidence on one codebook: which causes are told, and which stay silent."""

from typing import Final

import numpy as np

from vqcheck.codebook.diagnosis import dead_codes, edited, ema_steps, initialised, permutation
from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.displacement import same_number
from vqcheck.codebook.diagnosis.evidence import Edited, NotFinite, Unexplained, Unrelated
from vqcheck.codebook.diagnosis.result import CANNOT_TELL, CERTAIN, LIKELY, Cause
from vqcheck.codebook.family import GRADIENT

_KEPT: Final = 0.5
"""Share of codes that must still be nearest to themselves for one codebook to come from the other."""
_LOST: Final = 0.05
"""Share below which they have nothing to do with each other."""


def of_codebook(book: Book) -> list[Cause]:
    """Return what happened to one codebook of which some values changed, most certain first."""
    if book.broken and not ema_steps.find(book):
        # Whatever else happened hides behind such values; only unhit codes prove updates past them.
        return [Cause(CERTAIN, NotFinite(book.broken), book.number)]
    if cause := permutation.find(book):
        return [cause]
    if cause := initialised.find(book):
        return [cause]
    against = edited.find(book)
    if against and _how(against) == "bookkeeping untouched":
        return [against]
    updates, replaced = ema_steps.find(book), dead_codes.find(book)
    if updates and _how(against) == "bookkeeping only":
        # Some trainers track sums and counts and write the codes by other means.
        against = None
    if updates and _share_against(book) <= (0.5 if updates.certainty == CERTAIN else 0.05):
        return [cause for cause in (updates, replaced, against) if cause]
    return _without_unhit_code(book, replaced, against)


def _without_unhit_code(book: Book, replaced: Cause | None, against: Cause | None) -> list[Cause]:
    """Tell updates that left no code unhit from another codebook, by whether codes stayed near themselves."""
    share = same_number(book, ~book.dead & ~book.off_b)
    if share is None:
        share = same_number(book, np.ones_like(book.dead))
    assert share is not None
    if share <= max(_LOST, 4 / book.a.codes.shape[1]):
        return [Cause(LIKELY, Unrelated(share, book.a.codes.shape, book.b.codes.shape), book.number)]
    if against:
        return [against]
    updates = ema_steps.at_least(book) if share >= _KEPT else None
    if updates:
        return [cause for cause in (updates, replaced) if cause]
    if book.bookkeeping_stored and share < _KEPT:
        why = (
            f"{share:.0%} of the codes are still nearest to themselves, too few for a short training and too many for "
            "another codebook"
        )
    elif book.family.update == GRADIENT:
        why = "gradients train the codes of this family and leave no count behind"
    else:
        why = "a file stores no sums and counts, which would tell training from an edit"
    return [Cause(CANNOT_TELL, Unexplained(why), book.number)]


def _share_against(book: Book) -> float:
    """Return the share of codes in use that do not follow from their sums and counts, as after merging two files.

    Between rounded files a merge can look like updates: then only these codes tell.
    """
    live = ~book.dead
    return float(edited.against_bookkeeping(book)[live].mean()) if live.any() else 0.0


def _how(cause: Cause | None) -> str:
    return cause.evidence.how if cause and isinstance(cause.evidence, Edited) else ""
