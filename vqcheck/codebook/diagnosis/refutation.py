"""What rules EMA updates out before anybody names them: one update decays *every* count.

A code whose count is the same to the last bit was therefore not updated. One such code may stand at its fixed point,
because it gets the same number of frames in every step, as the padding's code does; two do not. Dead codes that are set
to one count and one frame again and again, such as a frame of padding, are one witness together. Rounding to a narrow
type hides small movements, so there it takes all counts, or many codes standing still with all their sums.
"""

from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.codebook.diagnosis.book import Book, CountedBook
from vqcheck.codebook.diagnosis.evidence import EmaUpdates, StepPrecision, UpdateOrder
from vqcheck.codebook.diagnosis.replaced import replaced_with_bookkeeping
from vqcheck.codebook.diagnosis.result import Cause
from vqcheck.codebook.ema_fit import Mask, lengths
from vqcheck.codebook.model import Training

_HALF: Final = 0.5
_SOME: Final = 0.125
"""Share of codes that stand still with their sums and counts, which training leaves where rounding hides it."""
_FAR: Final = 32.0
"""Roundings by which the others moved, so that no rounding hides that a code was hit."""


class Updates(Enum):
    """What counts that stand still say of updates."""

    POSSIBLE = 0
    HIDDEN = 1
    """Rounding may hide them: some codes stand still with their sums and counts, as if nobody had updated them."""
    REFUTED = 2


def updates_of(book: Book) -> Updates:
    """Return whether counts that did not move rule out that this book was updated between the two files."""
    if not isinstance(book, CountedBook):
        return Updates.POSSIBLE
    witnesses = book.testifying & ~replaced_with_bookkeeping(book)
    if not witnesses.any():
        return Updates.POSSIBLE
    standing = book.untouched & witnesses
    share = float(standing.sum() / witnesses.sum()) if _several(book, standing) else 0.0
    if not (book.a.narrow and book.b.narrow):
        return Updates.REFUTED if share >= _HALF or _several(book, witnesses & ~book.counts_moved) else Updates.POSSIBLE
    went = _went(book)[witnesses & ~standing]
    far = bool(np.median(went) > _FAR * book.roundoff) if went.size else False
    if share >= _HALF or (share >= _HALF / 2 and far) or not (witnesses & book.counts_moved).any():
        return Updates.REFUTED
    return Updates.HIDDEN if share >= _SOME or (share and far) else Updates.POSSIBLE


def _went(book: CountedBook) -> npt.NDArray[np.float64]:
    """Return by which share of its length the sum of each code `[heads, codes]` moved."""
    with np.errstate(all="ignore"):
        return lengths(np.subtract(book.b.sums, book.a.sums, dtype=np.float64)) / lengths(book.a.sums)


def contradicts(cause: Cause, training: tuple[Training, Training]) -> bool:
    """Say whether the updates found cannot be those of the steps that the files say lie between them.

    Fewer updates than steps are no contradiction: a codebook may have been frozen for a while. A file without a step
    number, as a base is, counts as step 0.
    """
    found = cause.evidence
    steps_a, steps_b = (each.steps for each in training)
    if not isinstance(found, EmaUpdates) or found.order not in (UpdateOrder.A_TO_B, UpdateOrder.B_TO_A):
        return False
    if steps_a is None and steps_b is None:
        return False
    apart = (steps_b or 0) - (steps_a or 0)
    if found.order == UpdateOrder.B_TO_A:
        apart = -apart
    return apart < 0 or (found.precision == StepPrecision.EXACT and found.steps is not None and apart < found.steps)


def _several(book: CountedBook, mask: Mask) -> bool:
    """Say whether a mask `[heads, codes]` holds two codes of B that are not alike in vector and count."""
    codes, counts = book.b.codes[mask], book.b.counts[mask]
    return bool(((codes != codes[:1]).any(axis=1) | (counts != counts[:1])).any())
