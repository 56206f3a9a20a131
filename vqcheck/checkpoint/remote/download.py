"""A file of a web server that is downloaded whole, where it cannot be read in parts, and read where it was put."""

import contextlib
import os
import shutil
import tempfile
from typing import BinaryIO, Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.remote.address import Address, WebPlace
from vqcheck.checkpoint.remote.transfers import transfers
from vqcheck.checkpoint.remote.web import pieces
from vqcheck.checkpoint.remote.web_requests import TryAgainError, WebRequests, pause
from vqcheck.errors import CheckpointError
from vqcheck.language import tr

_SPARE: Final = 64 << 20
"""Bytes that are left free on the disk."""


class DownloadedFile(PositionedFile):
    """A copy in the folder for temporary files, which goes when it is closed.

    Raises:
        CheckpointError: the file is not there, does not come whole, or does not fit on the disk.

    """

    def __init__(self, address: Address, place: WebPlace) -> None:
        server = WebRequests(address, place)
        try:
            descriptor, self._copy = tempfile.mkstemp(prefix="vqcheck-", suffix=".download")
        except OSError as error:
            raise CheckpointError(
                tr("cannot be put into a temporary file: {reason}", reason=error.strerror), address
            ) from None
        try:
            with open(descriptor, "wb") as file:
                _download(server, file, os.path.dirname(self._copy))
            super().__init__(address, self._copy)
        except OSError as error:
            self._remove()
            raise CheckpointError(
                tr("cannot be put into {file}: {reason}", file=self._copy, reason=error.strerror), address
            ) from None
        except BaseException:
            self._remove()
            raise
        finally:
            server.close()
        self.siblings = lambda name: Address(place.beside(name))

    def close(self) -> None:
        super().close()
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._copy)


def _download(server: WebRequests, file: BinaryIO, folder: str) -> None:
    limits = transfers().limits
    for tried in range(1, limits.tries + 1):
        file.seek(0)
        file.truncate()
        try:
            _receive(server, file, folder)
        except TryAgainError as again:
            if tried == limits.tries:
                raise server.error(tr("{reason} ({tries} tries)", reason=again.reason, tries=tried)) from None
            pause(again.wait, tried, server.error)
        else:
            return


def _receive(server: WebRequests, file: BinaryIO, folder: str) -> None:
    with server.ask() as response:
        length = response.headers.get("Content-Length", "")
        if response.status_code != 200:
            server.refuse(response)
        server.refuse_page(response)
        server.refuse_packed(response)
        if not length.isdecimal() and response.headers.get("Transfer-Encoding", "").lower() != "chunked":
            raise server.error(tr("{host} does not say how long the file is, so it may come cut off", host=server.host))
        expected = int(length) if length.isdecimal() else None
        free = shutil.disk_usage(folder).free - _SPARE
        for piece in pieces(server, response, expected):
            if file.tell() + len(piece) > free or (expected or 0) > free:
                raise server.error(tr("does not fit on the disk of {folder}, where it would be put", folder=folder))
            file.write(piece)
