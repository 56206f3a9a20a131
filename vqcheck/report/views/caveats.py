"""What must be said of two files whatever the verdict on them."""

import os
from typing import Final

from vqcheck.codebook.comparison import Comparison
from vqcheck.codebook.health import NOT_FINITE
from vqcheck.codebook.vq_encoder import ABSENT, UNKNOWN
from vqcheck.report.views.words import explained

ONE_FILE: Final = "both names are of one file, which was compared with itself"


def warnings(comparison: Comparison) -> list[str]:
    """Return what must be said first."""
    names = _short_names(comparison)
    lines = [
        f"WARNING: the codebook of {names[side is comparison.b]} was never trained (all zero, or its init flag is 0): "
        "every frame gets a meaningless token"
        for side in comparison.never_trained
    ]
    lines += [
        f"WARNING: the VQ encoder of {names[side is comparison.b]} is {ailment}: {explained(ailment)}"
        for side in (comparison.a, comparison.b)
        for ailment in side.ailments
        if ailment != NOT_FINITE or not any(diff.change and diff.change.not_finite for diff in comparison.tensors)
    ]
    broken = {
        diff.label: diff.change.not_finite for diff in comparison.tensors if diff.change and diff.change.not_finite
    }
    if broken:
        where = ", ".join(f"{count} in {label}" for label, count in broken.items())
        lines.append(f"WARNING: values that changed are NaN or infinite ({where}): one of the files is damaged")
    return list(dict.fromkeys(lines))


def remarks(comparison: Comparison) -> list[str]:
    """Return what a rounding destroyed that decides no verdict: codes that are not in use, and counts."""
    lines = []
    for loss in comparison.losses:
        where = f" of {loss.place}" if loss.place else ""
        told = (
            (loss.unused, "unused codes", "became zero, infinite or equal to others"),
            (loss.overflowed, "counts", "overflowed"),
            (loss.underflowed, "counts", "became zero"),
        )
        lines += [f"{count} {what}{where} {did} in {loss.side}" for count, what, did in told if count]
    return lines


def left_out(comparison: Comparison) -> str:
    """Return what one of two files does not store, and why it need not; empty where both store everything."""
    if not comparison.not_stored:
        return ""
    roles = sorted({diff.role for diff in comparison.not_stored})
    return f"{', '.join(roles)} {comparison.not_stored[0].note}"


def front(comparison: Comparison) -> str:
    """Return what is not known of the layers in front of the codebook; empty where a difference there would show."""
    known = {comparison.a.in_front, comparison.b.in_front}
    if UNKNOWN in known:
        unplaced = comparison.a.unplaced or comparison.b.unplaced
        why = f"it may be {unplaced}" if unplaced else "no known codec has these names"
        return f"what is in front of it is not known: {why}"
    return "neither file stores the projection in front of it" if known == {ABSENT} else ""


def _short_names(comparison: Comparison) -> tuple[str, str]:
    """Return the files' base names, or their paths where the base names are equal."""
    a, b = comparison.a.path, comparison.b.path
    base = os.path.basename(a), os.path.basename(b)
    return base if base[0] != base[1] else (a, b)
