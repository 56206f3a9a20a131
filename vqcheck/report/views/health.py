"""What makes a VQ encoder unfit for use, in the words that every command says it in."""

from vqcheck.codebook.health import BROKEN, COLLAPSED, NEVER_TRAINED, NOT_FINITE
from vqcheck.report.document import Rule


def unfit_rule(command: str) -> Rule:
    """Return the rule that a VQ encoder is fit for use, under a command's own id."""
    return Rule(
        f"{command}/unfit",
        "the VQ encoder is fit for use",
        "Its values are NaN or infinite, its counts cannot be true, or nearly all frames go to a few codes. Its tokens "
        "are worth little. Use another copy of the file, or an earlier checkpoint.",
    )


def explained(ailment: str) -> str:
    """Return what an ailment means, in a sentence without its full stop."""
    return {
        NEVER_TRAINED: "it is all zero, or its init flag is 0",
        NOT_FINITE: "it holds NaN or infinity",
        BROKEN: "some counts are negative",
        COLLAPSED: "nearly all frames go to a few of its codes",
    }[ailment]


def warning(name: str, ailment: str) -> str:
    """Return what must be said first of a file whose VQ encoder is unfit for use."""
    if ailment == NEVER_TRAINED:
        return f"the codebook of {name} was never trained: {explained(ailment)}"
    return f"the VQ encoder of {name} is {ailment}: {explained(ailment)}"
