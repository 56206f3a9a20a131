"""Files on a Hugging Face hub: which commit is meant is asked once, and what lies in the hub's local cache is read."""

import os
import re
from typing import Any, Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.remote.address import Address, HubFile, WebPlace, hub_file
from vqcheck.checkpoint.remote.remote_file import RemoteFile
from vqcheck.checkpoint.remote.transfers import transfers
from vqcheck.checkpoint.remote.web import WebSource
from vqcheck.checkpoint.remote.web_requests import not_installed, pause, require_encrypted
from vqcheck.errors import CheckpointError
from vqcheck.language import tr

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_BLOB: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_AGAIN: Final = (429, 500, 502, 503, 504)


def open_hub_file(address: Address) -> PositionedFile:
    """Open a file of a hub: from the local cache where it is there, else over the network.

    Raises:
        CheckpointError: it is not there, access is refused, or the hub cannot be reached and the cache lacks it.
        UsageError: the address names no file.

    """
    asked = hub_file(address.target)
    try:
        from huggingface_hub import constants, get_token, hf_hub_url
    except ImportError:
        raise CheckpointError(not_installed("huggingface_hub", "hf"), address) from None
    if asked.revision and _COMMIT.fullmatch(asked.revision):
        place = _cached(asked)
        if place:
            return _local(address, place, asked)
    if constants.HF_HUB_OFFLINE:
        return _offline(address, asked, tr("HF_HUB_OFFLINE is set"))
    require_encrypted(address, constants.ENDPOINT)
    token = get_token()
    try:
        found = _metadata(address, asked, token)
    except _UnreachableError as error:
        return _offline(address, asked, error.reason)
    commit, size = found.commit_hash, found.size
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise CheckpointError(tr("its hub does not say which commit it sends"), address)
    if asked.revision and _COMMIT.fullmatch(asked.revision) and commit != asked.revision:
        raise CheckpointError(tr("its hub sends another commit than the one that was named"), address)
    pinned = HubFile(asked.kind, asked.repo, asked.file, commit)
    place = _cached(pinned) or _blob(pinned, found.etag, size)
    if not place and transfers().download:
        place = _downloaded(address, pinned, token)
    if place:
        return _local(address, place, pinned)
    url = hf_hub_url(
        pinned.repo,
        pinned.file,
        repo_type=pinned.kind,
        revision=commit,
        endpoint=constants.ENDPOINT,
    )
    source = WebSource(address, WebPlace(url), token or "")
    if size is not None and source.size != size:
        source.close()
        raise CheckpointError(tr("has {size} bytes, and the hub says {other}", size=source.size, other=size), address)
    return RemoteFile(address, source, lambda name: Address(pinned.beside(name).name))


class _UnreachableError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _metadata(address: Address, file: HubFile, token: str | None) -> Any:
    """Return what the hub says of a file; raises _UnreachableError where it cannot be asked."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        url = hf_hub_url(file.repo, file.file, repo_type=file.kind, revision=file.revision, endpoint=constants.ENDPOINT)
    except HFValidationError:
        raise CheckpointError(tr("names no repository as a hub knows them"), address) from None
    limits = transfers().limits
    for tried in range(1, limits.tries + 1):
        try:
            return get_hf_file_metadata(url, token=token or False, timeout=limits.connect)
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            if status not in _AGAIN:
                raise CheckpointError(_refused(error, status), address) from None
            wait = error.response.headers.get("Retry-After", "")
            reason = tr("the hub answers {status}", status=status)
            asked = float(wait) if wait.isdecimal() and len(wait) < 10 else None
        except Exception as error:  # noqa: BLE001 - its HTTP library differs from version to version
            # No word of theirs: the text may have the address with a token in it.
            reason, asked = tr("the hub cannot be reached ({kind})", kind=type(error).__name__), None
            if tried == 2:
                break
        if tried < limits.tries:
            pause(asked, tried, lambda text: CheckpointError(text, address))
    raise _UnreachableError(reason)


def _refused(error: Exception, status: int | None) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return tr("its repository is gated: ask for access on its page, and set HF_TOKEN")
    if isinstance(error, errors.RepositoryNotFoundError):
        return tr("the hub has no such repository, or it is private: HF_TOKEN or 'hf auth login' gives access")
    if isinstance(error, errors.RevisionNotFoundError):
        return tr("its repository has no such revision")
    if isinstance(error, errors.EntryNotFoundError):
        return tr("its repository has no such file")
    return tr("the hub answers {status}", status=status)


def _cached(file: HubFile) -> str:
    """Return where the local cache has a file of a commit, or of what a branch was last; empty where it lacks it."""
    from huggingface_hub import try_to_load_from_cache

    place = try_to_load_from_cache(file.repo, file.file, revision=file.revision, repo_type=file.kind)
    return place if isinstance(place, str) else ""


def _blob(file: HubFile, etag: object, size: int | None) -> str:
    """Return where the cache has the same bytes, which came with another commit; empty where it lacks them."""
    from huggingface_hub import constants

    if not isinstance(etag, str) or not _BLOB.fullmatch(etag):
        return ""
    folder = f"{file.kind}s--{file.repo.replace('/', '--')}"
    place = os.path.join(constants.HF_HUB_CACHE, folder, "blobs", etag)
    return place if os.path.isfile(place) and os.path.getsize(place) == size else ""


def _downloaded(address: Address, file: HubFile, token: str | None) -> str:
    from huggingface_hub import hf_hub_download

    try:
        return str(
            hf_hub_download(file.repo, file.file, repo_type=file.kind, revision=file.revision, token=token or False)
        )
    except Exception as error:  # noqa: BLE001 - of whatever HTTP library
        raise CheckpointError(tr("cannot be downloaded ({kind})", kind=type(error).__name__), address) from None


def _offline(address: Address, file: HubFile, why: str) -> PositionedFile:
    place = _cached(file)
    if not place:
        raise CheckpointError(tr("{why}, and the local cache of the hub lacks this file", why=why), address)
    commit = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", place)
    of_commit = HubFile(file.kind, file.repo, file.file, commit[1] if commit else file.revision)
    transfers().note(
        tr(
            "{address}: {why}; the copy in the local cache is read ({revision})",
            address=address,
            why=why,
            revision=of_commit.revision,
        )
    )
    return _local(address, place, of_commit)


def _local(address: Address, place: str, pinned: HubFile) -> PositionedFile:
    opened = PositionedFile(address, place)
    opened.siblings = lambda name: Address(pinned.beside(name).name)
    return opened
