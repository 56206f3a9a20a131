"""What rules EMA updates out before anybody names them: one update decays *every* count.

A code whose count is the same to the last bit was therefore not updated. One such code may stand at its fixed point,
because it gets the same number of frames in every step, as the padding's code does; two do not. Rounding to a narrow
type hides small movements, so there it takes all counts, or half of the codes standing still with all their sums.
"""

import numpy as np

from vqcheck.codebook.diagnosis.book import Book


def updates_refuted(book: Book) -> bool:
    """Say whether counts that did not move rule out that this book was updated between the two files."""
    if not book.bookkeeping_stored:
        return False
    witnesses = book.testifying
    if not witnesses.any():
        return False
    if (book.untouched & witnesses).sum() >= max(2, witnesses.sum() / 2):
        return True
    still = int(np.count_nonzero(witnesses & ~book.counts_moved))
    if book.a.narrow and book.b.narrow:
        return still == int(np.count_nonzero(witnesses))
    return still >= 2
