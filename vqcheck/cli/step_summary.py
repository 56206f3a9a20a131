"""Where the Markdown beside GitHub annotations goes: the summary page of the workflow step, or a file."""

import os

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.cli.replace_file import replace_file
from vqcheck.errors import UsageError


def write_summary(markdown: str, file: str | None) -> None:
    """Write Markdown to `file`; without one add it to the step's summary page, where a workflow is running.

    Raises:
        UsageError: it cannot be written.

    """
    if file is not None:
        replace_file(file, markdown)
        return
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if not page:
        return
    try:
        with open(
            page, "a", encoding="utf-8", errors="backslashreplace", newline="\n", opener=_regular_or_new
        ) as stream:
            stream.write(markdown)
    except OSError as error:
        raise UsageError(f"{page}: the step summary cannot be written: {error.strerror}") from None


def _regular_or_new(path: str, flags: int) -> int:
    """Open a file to write at its end; anything else, such as a pipe, could be waited for without end."""
    try:
        return open_regular_file(path, flags & ~os.O_CREAT)
    except FileNotFoundError:
        return os.open(path, flags | os.O_EXCL, 0o666)
