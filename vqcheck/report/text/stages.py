"""An s1 checkpoint against an s2 generator, for people."""

from vqcheck.experiment.stages import StageComparison
from vqcheck.report.text.page import Page, Style, verdict


def describe(comparison: StageComparison, style: Style) -> str:
    """Return the verdict on two stages, and the evidence for it."""
    page = Page(style)
    headline = {
        # Equal tokens do not prove an equal VQ encoder, but they are what the two stages have to share.
        0: "the two stages share one VQ encoder"
        if comparison.evidence == "lock"
        else "the VQ encoder of s2 gives the tokens that s1 was trained on",
        1: "the two stages do not share one VQ encoder: tokens of s1 mean something else in s2",
    }.get(comparison.exit_code, "whether the two stages share one VQ encoder is not known")
    page.line(verdict(comparison.verdict), f"  {headline}", indent=2)
    page.line("  s1        ", comparison.s1, indent=12)
    page.line("  s2        ", comparison.s2, indent=12)
    page.line("  evidence  ", comparison.message, indent=12)
    return page.text()
