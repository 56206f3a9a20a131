"""A document as JSON: complete whatever the verdict, ASCII only so that every console can show it."""

import json

from vqcheck.report.document import Document


def render(document: Document) -> str:
    """Return the document as one object."""
    return json.dumps(document.as_object(), indent=2, allow_nan=False) + "\n"
