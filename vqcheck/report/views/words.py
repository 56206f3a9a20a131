"""What several views say in the same way: shares, numbers in a row, and a rule that more than one command looks at."""

from collections.abc import Iterable
from itertools import groupby

from vqcheck.report.document import Rule


def share(part: int, whole: int) -> str:
    """Return a share in percent with as many digits as it needs; neither 0 % nor 100 % unless it is exactly that."""
    percent = 100 * part / whole
    if part in (0, whole):
        return f"{percent:.0f} %"
    if percent > 99:
        return f"{min(percent, 99.99):.2f} %" if percent > 99.5 else f"{percent:.1f} %"
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 0.1 else f"{percent:.2g} %"


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers in short: `0..3, 5`."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), key=lambda each: each[1] - each[0])]
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def trained(command: str) -> Rule:
    """Return the rule that a codebook was trained, under a command's own id."""
    return Rule(
        f"{command}/never-trained",
        "the codebook was trained",
        "A codebook that still waits for its first batch gives tokens that mean nothing. Use a published base model.",
    )
