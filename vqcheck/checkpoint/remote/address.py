"""Addresses of remote files, and the names they have in reports: what opens a file must not stand in what is shown."""

import re
from dataclasses import replace
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from vqcheck.errors import UsageError
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.sanitize import without_credentials

_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
"""Two letters at least: with one it is a drive of Windows."""
_HUB_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HUB_KINDS: Final = {"datasets": "dataset", "spaces": "space"}
_HUB_FORM: Final = tr("is no address of a file on a hub: hf://OWNER/REPO/FILE[@REVISION]")


class Address(str):  # noqa: SLOT000 - has an attribute of its own
    """The address of a remote file. As a text it is the name to show, without login and query; `target` opens it."""

    target: str

    def __new__(cls, named: str) -> "Address":
        """Return the address that a user named; one that is an `Address` already stays what it is."""
        self = super().__new__(cls, named if isinstance(named, Address) else _shown(named))
        self.target = named.target if isinstance(named, Address) else named
        return self

    @property
    def scheme(self) -> str:
        """Its kind in lower case: `https`, `hf`, ..."""
        return scheme_of(self)

    @property
    def place(self) -> str:
        """What it lies on, for a text: the host or the bucket."""
        return "the hub" if self.scheme == "hf" else urlsplit(self).netloc


def scheme_of(path: str) -> str:
    """Return the scheme of an address in lower case; empty where the path is none."""
    match = _SCHEME.match(path)
    return match[1].lower() if match else ""


def is_address(path: object) -> bool:
    """Say whether a path is the address of a remote file, whatever lies on this machine under such a name."""
    return isinstance(path, str) and bool(scheme_of(path))


@quick_dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository on a hub."""

    kind: str
    """`model`, `dataset` or `space`."""
    repo: str
    file: str
    revision: str | None
    """Branch, tag or commit; None for the branch that is the repository's own."""

    @property
    def name(self) -> str:
        """The address as the hub's own library spells it, so that it ends with the file's name."""
        kinds = {kind: f"{prefix}/" for prefix, kind in _HUB_KINDS.items()}
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"hf://{kinds.get(self.kind, '')}{self.repo}{revision}/{self.file}"

    def beside(self, name: str) -> "HubFile":
        """Return the file of this name in the same folder."""
        folder = self.file.rpartition("/")[0]
        return replace(self, file=f"{folder}/{name}" if folder else name)


def hub_file(named: str) -> HubFile:
    """Return what an address `hf://OWNER/REPO/FILE[@REVISION]` names; the revision may stand behind REPO as well.

    Raises:
        UsageError: it is none.

    """
    parts = named[len("hf://") :].split("/")
    kind = _HUB_KINDS.get(parts[0], "model")
    parts = parts if kind == "model" else parts[1:]
    owner, repo, file = parts[0], "".join(parts[1:2]), "/".join(parts[2:])
    repo, at, behind_repo = repo.partition("@")
    revision = unquote(behind_repo)
    if not at:
        file, at, revision = file.rpartition("@") if "@" in file else (file, "", "")
    inner = file.split("/")
    if (
        not (_HUB_PART.fullmatch(owner) and _HUB_PART.fullmatch(repo))
        or any(part in ("", ".", "..") for part in (*inner, *(revision.split("/") if at else ())))
        or any(sign in f"{file}{revision}" for sign in "\\\0?")
    ):
        raise UsageError(_HUB_FORM, without_credentials(named))
    return HubFile(kind, f"{owner}/{repo}", file, revision if at else None)


@quick_dataclass(frozen=True, slots=True)
class WebPlace:
    """Where a file lies on a web server, and the login that the address has."""

    url: str
    login: tuple[str, str] | None = None

    def beside(self, name: str) -> str:
        """Return the address of the file of this name in the same folder, with the same login.

        The query stays behind: a signature in it is of one file.
        """
        parts = urlsplit(self.url)
        login = f"{quote(self.login[0], safe='')}:{quote(self.login[1], safe='')}@" if self.login else ""
        path = f"{parts.path.rpartition('/')[0]}/{quote(name, safe='')}"
        return urlunsplit((parts.scheme, f"{login}{parts.netloc}", path, "", ""))


def web_place(address: Address) -> WebPlace:
    """Return where an http(s) address leads.

    Raises:
        UsageError: it has no host, or an impossible port.

    """
    try:
        parts = urlsplit(address.target)
        netloc = _host(parts) if parts.hostname else ""
    except ValueError:
        netloc = ""
    if not netloc:
        raise UsageError(tr("is no address of a file: https://HOST/PATH"), address)
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username is not None else None
    return WebPlace(urlunsplit((parts.scheme.lower(), netloc, parts.path, parts.query, "")), login)


def _shown(named: str) -> str:
    if scheme_of(named) == "hf":
        try:
            return hub_file(named).name
        except UsageError:
            return without_credentials(named)
    try:
        parts = urlsplit(named)
        return urlunsplit((parts.scheme, _host(parts), parts.path, "", ""))
    except ValueError:
        return without_credentials(named)


def _host(parts: SplitResult) -> str:
    """Return host and port; raises ValueError where the port is none."""
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}{f':{parts.port}' if parts.port is not None else ''}"
