"""How results show in a notebook: a caption and a small table, with everything that a file says escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from vqcheck.sanitize import sanitize


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table with a cell for each value of each row."""
    head = "".join(f"<th>{_cell(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><caption>{_cell(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    return escape(sanitize(str(value)))
