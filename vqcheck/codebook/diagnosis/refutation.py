"""What rules EMA updates out before anybody names them: one update decays *every* count.

A code whose count is the same to the last bit was therefore not updated. One such code may stand at its fixed point,
because it gets the same number of frames in every step, as the padding's code does; two do not. Dead codes that are set
to one count and one frame again and again, such as a frame of padding, are one witness together. Rounding to a narrow
type hides small movements, so there it takes all counts, or half of the codes standing still with all their sums.
"""

import numpy as np

from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.evidence import EmaUpdates, StepPrecision, UpdateOrder
from vqcheck.codebook.diagnosis.replaced import replaced_with_bookkeeping
from vqcheck.codebook.diagnosis.result import Cause
from vqcheck.codebook.ema_fit import Mask
from vqcheck.codebook.model import Training


def updates_refuted(book: Book) -> bool:
    """Say whether counts that did not move rule out that this book was updated between the two files."""
    if not book.bookkeeping_stored:
        return False
    witnesses = book.testifying & ~replaced_with_bookkeeping(book)
    if not witnesses.any():
        return False
    if (book.untouched & witnesses).sum() >= witnesses.sum() / 2 and _several(book, book.untouched & witnesses):
        return True
    still = witnesses & ~book.counts_moved
    if book.a.narrow and book.b.narrow:
        return np.array_equal(still, witnesses)
    return _several(book, still)


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


def _several(book: Book, mask: Mask) -> bool:
    """Say whether a mask `[heads, codes]` holds two codes of B that are not alike in vector and count."""
    assert book.b.counts is not None
    codes, counts = book.b.codes[mask], book.b.counts[mask]
    return bool(((codes != codes[:1]).any(axis=1) | (counts != counts[:1])).any())
