"""What must be said of two files whatever the verdict on them."""

import os
from typing import Final

from vqcheck.codebook.comparison import Comparison

ONE_FILE: Final = "both names are of one file, which was compared with itself"


def warnings(comparison: Comparison) -> list[str]:
    """Return what must be said first."""
    names = _short_names(comparison)
    lines = [
        f"WARNING: the codebook of {names[side is comparison.b]} was never trained (all zero, or its init flag is 0): "
        "every frame gets a meaningless token"
        for side in comparison.never_trained
    ]
    broken = {
        diff.label: diff.change.not_finite for diff in comparison.tensors if diff.change and diff.change.not_finite
    }
    if broken:
        where = ", ".join(f"{count} in {label}" for label, count in broken.items())
        lines.append(f"WARNING: values that changed are NaN or infinite ({where}): one of the files is damaged")
    return list(dict.fromkeys(lines))


def left_out(comparison: Comparison) -> str:
    """Return what one of two files does not store, and why it need not; empty where both store everything."""
    if not comparison.not_stored:
        return ""
    roles = sorted({diff.role for diff in comparison.not_stored})
    return f"{', '.join(roles)} {comparison.not_stored[0].note}"


def not_judged(comparison: Comparison) -> list[str]:
    """Return what the files hold besides, and the comparison does not cover."""
    names = _short_names(comparison)
    return [
        f"not judged: {other} in {name}"
        for name, side in zip(names, (comparison.a, comparison.b), strict=True)
        for other in side.not_judged
    ]


def _short_names(comparison: Comparison) -> tuple[str, str]:
    """Return the files' base names, or their paths where the base names are equal."""
    a, b = comparison.a.path, comparison.b.path
    base = os.path.basename(a), os.path.basename(b)
    return base if base[0] != base[1] else (a, b)
