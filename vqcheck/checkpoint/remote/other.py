"""Remote files of every other kind (s3://, gs://, sftp://, ...) through fsspec: they come along, and are not tested."""

from typing import Any, Final

from vqcheck.checkpoint.remote.address import Address
from vqcheck.checkpoint.remote.web_requests import CHANGED, not_installed
from vqcheck.errors import CheckpointError
from vqcheck.language import tr

_LOCAL: Final = ("file", "local")
_TELLING: Final = (
    "ETag",
    "etag",
    "e_tag",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
    "generation",
    "md5Hash",
    "content_md5",
    "VersionId",
)
"""What the file systems say of a file by which a change of it shows."""


class OtherSource:
    """One file of a file system that fsspec knows.

    Raises:
        CheckpointError: the kind is not known, its package is not there, or the file cannot be read.

    """

    def __init__(self, address: Address) -> None:
        self._address = address
        if address.scheme in _LOCAL:
            raise self._error(tr("is a file of this machine; name its path"))
        if "::" in address.target:
            raise self._error(tr("is an address inside an address, which vqcheck does not read"))
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise self._error(not_installed("fsspec", address.scheme)) from None
        try:
            self._system, self._path = url_to_fs(address.target)
        except ImportError as error:
            raise self._error(
                tr("reading {scheme}:// needs a package more: {error}", scheme=address.scheme, error=str(error))
            ) from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            raise self._error(tr("is not opened by fsspec ({kind})", kind=type(error).__name__)) from None
        self._seen = self._state()
        self.size = int(self._seen["size"])
        if len(self._seen) < 2:
            raise self._error(tr("its server says nothing by which a change of the file would show; download it first"))

    def fetch(self, start: int, size: int) -> bytes:
        try:
            data = self._system.cat_file(self._path, start=start, end=start + size)
        except Exception as error:  # noqa: BLE001 - as above
            raise self._error(tr("cannot be read ({kind})", kind=type(error).__name__)) from None
        if self._state() != self._seen:
            raise self._error(CHANGED)
        if not isinstance(data, bytes) or len(data) != size:
            raise self._error(tr("its server sends other bytes than it was asked for; download it first"))
        return data

    def close(self) -> None:
        pass

    def _state(self) -> dict[str, Any]:
        try:
            self._system.invalidate_cache()
            found = self._system.info(self._path)
        except FileNotFoundError:
            raise self._error(tr("no such file")) from None
        except Exception as error:  # noqa: BLE001 - as above
            raise self._error(tr("cannot be read ({kind})", kind=type(error).__name__)) from None
        if found.get("type") == "directory" or not isinstance(found.get("size"), int):
            raise self._error(tr("is not a file"))
        return {name: found[name] for name in ("size", *_TELLING) if found.get(name) is not None}

    def _error(self, reason: str) -> CheckpointError:
        return CheckpointError(reason, self._address)
