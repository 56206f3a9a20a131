"""An s1 checkpoint against an s2 generator as one check."""

from typing import Final

from vqcheck.audit.judgement import StageComparison
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, PASSED, Case, Rule, Run
from vqcheck.report.words.stages import headline

_RULE: Final = Rule(
    "diff/other-stage",
    "s1 and s2 share one VQ encoder",
    "Stage 1 was trained on tokens that another codebook made, so they mean something else in stage 2. Train s1 again "
    "on tokens of this s2, or take the s2 that its tokens came from.",
)


def run(comparison: StageComparison) -> Run:
    """Return the verdict on two stages as one case."""
    outcome = {0: PASSED, 1: FAILED}.get(comparison.exit_code, COULD_NOT_CHECK)
    return Run(
        "diff",
        f"{comparison.s1} and {comparison.s2}",
        comparison.verdict,
        comparison.exit_code,
        headline(comparison),
        (Case(_RULE, "s1 and s2", outcome, comparison.message, comparison.s2),),
    )
