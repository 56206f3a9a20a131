"""An s1 checkpoint against an s2 generator, for people."""

from vqcheck.audit.judgement import StageComparison
from vqcheck.report.text.page import Page, Style, verdict
from vqcheck.report.words.stages import headline


def describe(comparison: StageComparison, style: Style) -> str:
    """Return the verdict on two stages, and the evidence for it."""
    page = Page(style)
    page.line(verdict(comparison.verdict), f"  {headline(comparison)}", indent=2)
    page.line("  s1        ", comparison.s1, indent=12)
    page.line("  s2        ", comparison.s2, indent=12)
    page.line("  evidence  ", comparison.message, indent=12)
    return page.text()
