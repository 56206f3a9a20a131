"""A run that could not check at all: it has one case, which could not be carried out."""

from typing import Final

from vqcheck.language import tr
from vqcheck.report import blocks as doc
from vqcheck.report.document import Case, CaseOutcome, Document, Rule, Sheet, Status

VERDICT: Final = "could not check"


def view(command: str, message: str, path: str = "", sheet: Sheet | None = None) -> Document:
    """Return the document of a run that ended with a message.

    `path` is the file that the message is about, empty where it is about none; `sheet` is the table that the command
    would have given, without rows.
    """
    rule = Rule(
        f"{command}/could-not-check",
        "the command can be carried out",
        "Nothing was checked, so nothing is known to be right: a file cannot be read, holds no codebook, or the "
        "command line makes no sense. The message says which.",
    )
    nothing = tr("No verdict follows from this page: neither that the VQ encoder is the same nor that it changed.")
    return Document(
        command=command,
        status=Status.NOT_CHECKED,
        verdict=VERDICT,
        headline=message,
        subject=path or command,
        cases=(Case(rule, "the run", CaseOutcome.COULD_NOT_CHECK, message, path),),
        data={"error": message},
        blocks=(doc.Section(tr("Nothing was checked"), (doc.Paragraph(nothing),)),),
        sheet=sheet,
    )
