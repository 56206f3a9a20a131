"""A document as a table for spreadsheets and plots: its sheet, or else its cases, one a row."""

import csv
import math
from io import StringIO
from typing import Final

from vqcheck.report.document import Case, Document, Sheet

_HEAD: Final = ("check", "name", "outcome", "weight", "message", "path", "line")


def render(document: Document) -> str:
    """Return one table with a head. Values that are not known or not finite are empty."""
    sheet = document.sheet or Sheet(_HEAD, [_row(case) for case in document.cases])
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(sheet.head)
    for row in sheet.rows:
        writer.writerow([_plain(value) for value in row])
    return out.getvalue()


def _row(case: Case) -> tuple[object, ...]:
    return (
        case.rule.id,
        case.name,
        case.outcome.value,
        case.weight.value,
        case.message,
        case.path,
        case.line or None,
    )


def _plain(value: object) -> object:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return int(value) if isinstance(value, bool) else value
