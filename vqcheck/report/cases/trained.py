"""The rule that a codebook was trained, which several commands look at in passing."""

from vqcheck.report.cases.case import Rule


def trained(command: str) -> Rule:
    """Return the rule under a command's own id."""
    return Rule(
        f"{command}/never-trained",
        "the codebook was trained",
        "A codebook that still waits for its first batch gives tokens that mean nothing. Use a published base model.",
    )
