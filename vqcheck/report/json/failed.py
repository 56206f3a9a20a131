"""A run that could not check, for machines."""

from vqcheck.report.json.document import dump


def document(command: str, message: str) -> str:
    """Return the document of a run that could not check."""
    return dump(command, "could not check", 2, error=message)
