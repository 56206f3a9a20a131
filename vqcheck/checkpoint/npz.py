"""numpy's archives (.npz): a zip archive with a numpy file for each array, called like it."""

from vqcheck.checkpoint.numpy_types import read_header, stored_array
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.source import Source
from vqcheck.checkpoint.stored_tensor import StoredTensor
from vqcheck.checkpoint.zip_archive import ZipArchive
from vqcheck.errors import CheckpointError
from vqcheck.language import tr

_ENDING = ".npy"


def recognises(source: Source) -> bool:
    """Say whether a zip archive holds arrays of numpy and no index of torch."""
    return any(name.endswith(_ENDING) for name in source.archive.members) and not source.archive.ending("data.pkl")


def open_source(source: Source) -> Checkpoint:
    """Return an open archive of arrays; its tensors are called as `numpy.load` calls the arrays.

    Raises:
        CheckpointError: a member that is no array, or is not written as numpy writes it.

    """
    archive = source.archive
    if source.header_code:
        raise archive.error(
            tr("holds arrays of numpy, and its first two bytes were overwritten; numpy does not load it")
        )
    tensors = {}
    for name in archive.members:
        if not name.endswith(_ENDING):
            # numpy finds an array under its name with and without the ending.
            raise archive.error(tr("is no array (.npy), where numpy keeps nothing else"), name)
        tensors[name.removesuffix(_ENDING)] = _array(archive, name)
    return Checkpoint(
        [source.file],
        source.file.path,
        "npz",
        tensors,
        lambda extent, start, size: archive.read(extent.member, extent.start + start, size),
    )


def _array(archive: ZipArchive, name: str) -> StoredTensor:
    member = archive.members[name]

    def wrong(reason: str) -> CheckpointError:
        return archive.error(reason, name)

    header = read_header(lambda start, size: archive.read(name, start, size), member.size, wrong)
    return stored_array(name.removesuffix(_ENDING), name, header, member.size, wrong, packed=member.is_packed)
