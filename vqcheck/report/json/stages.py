"""An s1 checkpoint against an s2 generator, for machines: a document of `vqcheck diff`."""

from vqcheck.audit.judgement import StageComparison
from vqcheck.report.json.document import dump


def document(comparison: StageComparison) -> str:
    """Return the verdict on two stages as one JSON document."""
    return dump(
        "diff",
        comparison.verdict,
        comparison.exit_code,
        s1=comparison.s1,
        s2=comparison.s2,
        evidence=comparison.evidence,
        message=comparison.message,
    )
