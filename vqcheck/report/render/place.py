"""Where a file is, as code hosts and editors want to be told: relative to the repository, in URI form."""

import os
from pathlib import PurePath
from urllib.parse import quote_from_bytes


def in_workspace(path: str) -> PurePath:
    """Return a path relative to the workflow's workspace, or to the working directory; as it is where it lies outside.

    Annotations and code scanning look for files from the root of the repository, wherever the command was run.
    """
    absolute = os.path.abspath(path)
    root = os.path.abspath(os.environ.get("GITHUB_WORKSPACE") or os.getcwd())
    try:
        relative = os.path.relpath(absolute, root)
    except ValueError:  # another drive
        return PurePath(absolute)
    return PurePath(absolute if relative.split(os.sep)[0] == os.pardir else relative)


def uri(path: PurePath) -> str:
    """Return a path as a percent-encoded URI, relative where the path is; of Windows paths, too."""
    text = path.as_posix()
    if not path.is_absolute():
        # A colon in the first segment would read as a scheme, so it is encoded, too.
        return _quoted(text)
    if text.startswith("//"):  # a Windows share: //server/share/folder
        return f"file:{_quoted(text)}"
    root = f"/{path.drive}" if path.drive else ""
    return f"file://{root}{_quoted(text[len(path.drive) :])}"


def _quoted(text: str) -> str:
    return quote_from_bytes(os.fsencode(text), safe="/")
