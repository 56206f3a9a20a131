"""What rules EMA updates out before anybody names them: one update decays *every* count.

A code whose count is the same to the last bit was therefore not updated. One such code may stand at its fixed point,
because it gets the same number of frames in every step, as the padding's code does; two do not. Dead codes that are set
to one count and one frame again and again, such as a frame of padding, are one witness together. Rounding to a narrow
type hides small movements, so there it takes all counts, or half of the codes standing still with all their sums.
"""

import numpy as np

from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.dead_codes import replaced_with_bookkeeping
from vqcheck.codebook.ema_fit import Mask


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


def _several(book: Book, mask: Mask) -> bool:
    """Say whether a mask `[heads, codes]` holds two codes of B that are not alike in vector and count."""
    assert book.b.counts is not None
    codes, counts = book.b.codes[mask], book.b.counts[mask]
    return bool(((codes != codes[:1]).any(axis=1) | (counts != counts[:1])).any())
