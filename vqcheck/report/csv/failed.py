"""A run that could not check, as a table: there are no rows."""

from vqcheck.report.csv.replay import table


def document(command: str, message: str) -> str:  # noqa: ARG001 - a table has no place for it; stderr says it
    """Return the heading of a trace, and nothing below it; other commands have no tables."""
    return table(()) if command == "replay" else ""
