"""One array of numpy (.npy): a bare codebook, or a dictionary of arrays that numpy.save made an object of."""

from typing import Final

from vqcheck.checkpoint import numpy_pickle
from vqcheck.checkpoint.numpy_types import MAGIC, OBJECTS, read_header, stored_array
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.source import Source

BARE: Final = "array"
"""What a bare array is called: a row of the user's own names it so."""


def recognises(source: Source) -> bool:
    """Say whether a file begins as an array of numpy."""
    return source.head.startswith(MAGIC)


def open_source(source: Source) -> Checkpoint:
    """Return an open array; raises CheckpointError where it is not written as numpy writes it, or not plain data."""
    file = source.file
    header = read_header(lambda start, size: file.read(start, size, "header"), file.size, file.error)
    if header.descr == OBJECTS and header.shape == ():
        return numpy_pickle.open_pickle(file, header.start)
    tensor = stored_array(BARE, BARE, header, file.size, file.error)
    return Checkpoint([file], file.path, "npy", {BARE: tensor}, file.read_extent)
