"""Opens a remote file, by the kind of its address, for the reads that local files are read by."""

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.remote.address import Address, web_place
from vqcheck.checkpoint.remote.remote_file import RemoteFile
from vqcheck.checkpoint.remote.transfers import transfers


def open_remote(address: Address) -> PositionedFile:
    """Open a remote file. Nothing but its first part is read yet, unless it is to be downloaded.

    Raises:
        CheckpointError: it is not there, cannot be read in parts, or a package is missing.
        UsageError: the address names no file.

    """
    if address.scheme == "hf":
        from vqcheck.checkpoint.remote.hub import open_hub_file

        return open_hub_file(address)
    if address.scheme in ("http", "https"):
        from vqcheck.checkpoint.remote.web import WebSource

        place = web_place(address)
        if transfers().download:
            from vqcheck.checkpoint.remote.download import DownloadedFile

            return DownloadedFile(address, place)
        return RemoteFile(address, WebSource(address, place), lambda name: Address(place.beside(name)))
    from vqcheck.checkpoint.remote.other import OtherSource

    folder = address.target.rpartition("/")[0]
    return RemoteFile(address, OtherSource(address), lambda name: Address(f"{folder}/{name}"))
