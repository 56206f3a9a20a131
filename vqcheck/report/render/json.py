"""A document as JSON: complete whatever the verdict, ASCII only so that every console can show it."""

import json

from vqcheck import __version__
from vqcheck.report.document import Document


def render(document: Document) -> str:
    """Return schema, version, verdict and exit code, and the data of the document."""
    head = {
        "schema": f"vqcheck/{document.command}/1",
        "vqcheck": __version__,
        "verdict": document.verdict,
        "exit_code": document.exit_code,
    }
    return json.dumps(head | dict(document.data), indent=2, allow_nan=False) + "\n"
