"""An s1 checkpoint against an s2 generator, as a page of `vqcheck diff`."""

import os

from vqcheck.audit.judgement import StageComparison
from vqcheck.report.html.markup import Node
from vqcheck.report.html.page import page
from vqcheck.report.html.parts import facts, paragraph, path, section
from vqcheck.report.words.stages import headline


def document(comparison: StageComparison) -> str:
    """Return the verdict on two stages as one page."""
    what = {"lock": "a lock of the experiment", "tokens": "the tokens that s1 names, derived again"}
    return page(
        "diff",
        comparison.exit_code,
        comparison.verdict,
        headline(comparison),
        section(
            "What was compared",
            facts(
                ("Stage 1 (GPT)", path(comparison.s1)),
                ("Stage 2 (SoVITS)", path(comparison.s2)),
                ("Decided by", what.get(comparison.evidence, "nothing: there was no evidence")),
            ),
        ),
        section("Evidence", paragraph(comparison.message), _advice(comparison)),
    )


def _advice(comparison: StageComparison) -> Node:
    if comparison.exit_code != 1:
        return None
    s2 = os.path.basename(comparison.s2)
    return paragraph(
        f"Extract the tokens again with {s2}, or the weight exported at its step if it is a G_*.pth, and train s1 on "
        "them, or start s2 from the file that s1's tokens were made with."
    )
