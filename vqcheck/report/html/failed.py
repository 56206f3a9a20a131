"""The page of a run that could not check."""

from vqcheck.report.html.page import page
from vqcheck.report.html.parts import paragraph, section


def document(command: str, message: str) -> str:
    """Return the page that says why nothing could be checked."""
    return page(
        command,
        2,
        "could not check",
        "Nothing was checked",
        section(
            "Why",
            paragraph(message),
            paragraph(
                "No verdict follows from this page: neither that the VQ encoder is the same nor that it changed."
            ),
        ),
    )
