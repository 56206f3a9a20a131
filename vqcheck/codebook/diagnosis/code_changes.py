"""Measures one changed codebook code by code: how far each code moved, and how often each is used."""

import numpy as np

from vqcheck.codebook.diagnosis.book import Book
from vqcheck.codebook.diagnosis.result import CodeChanges
from vqcheck.codebook.ema_fit import Array


def measure(book: Book, name: str) -> CodeChanges:
    """Return what became of every code; `name` tells the codebook from others of its file."""
    with np.errstate(all="ignore"):
        difference = np.subtract(book.b.codes, book.a.codes, dtype=np.float64)
        moved = np.sqrt(np.einsum("hcd,hcd->hc", difference, difference))
    return CodeChanges(
        codebook=book.number,
        name=name,
        moved=tuple(moved.ravel().tolist()),
        usage=(_usage(book.a.counts), _usage(book.b.counts)),
    )


def _usage(counts: Array | None) -> tuple[float, ...] | None:
    return None if counts is None else tuple(counts.ravel().tolist())
