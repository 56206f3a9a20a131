"""What a changed codebook does to the tokens: how far codes moved against their neighbours, and which frames flip."""

from collections.abc import Sequence

from vqcheck.codebook.diagnosis.result import Diagnosis, Displacement, TokenFlips
from vqcheck.report.html.markup import Node
from vqcheck.report.html.parts import bullets, paragraph, path, section, table
from vqcheck.report.views.diagnosis import flipped, moved, not_measured
from vqcheck.report.words.share import share


def effect(diagnosis: Diagnosis, of: str) -> Node:
    """Return the section on one codec, or nothing where nothing was measured; `of` tells its title from another's."""
    flips = diagnosis.flips
    worst = sorted(diagnosis.displacement, key=lambda found: -found.median)
    if not flips and not worst:
        return None
    key = "".join(each for each in of if each.isascii() and each.isalnum())
    return section(
        f"What it does to the tokens{of}",
        paragraph(flipped(flips) if flips else not_measured(diagnosis)),
        paragraph(moved(worst[0], alone=True)) if len(worst) == 1 else _displacement(worst, key),
        *(_flips(flips, key) if flips else ()),
    )


def _displacement(found: Sequence[Displacement], key: str) -> Node:
    if not found:
        return None
    rows = [
        (
            str(each.codebook),
            str(each.codes),
            *(f"{value:.2g}" for value in (each.median, each.p99, each.maximum)),
            str(each.above_one),
            share(each.retained, each.codes),
        )
        for each in found
    ]
    caption = (
        "How far codes moved, in half the distance to their nearest neighbour, most first. Still nearest: codes that "
        "are nearest to themselves (codes, not frames: frames flip earlier)."
    )
    head = ("Codebook", "Codes", "Median", "99th percentile", "At most", "Above 1", "Still nearest")
    return table(f"displacement{key}", caption, head, rows, "k" + "n" * (len(head) - 1), left_out="codebooks are")


def _flips(flips: TokenFlips, key: str) -> tuple[Node, ...]:
    """Return the tokens and the recordings that change most, and the recordings that were left out."""
    codes = [(str(each.code), str(each.frames), str(each.flipped), str(each.mostly)) for each in flips.codes]
    items = [
        (path(each.item), str(each.frames), str(each.flipped), share(each.flipped, each.frames)) for each in flips.worst
    ]
    parts: list[Node] = []
    if codes:
        head: tuple[str, ...] = ("Token in A", "Frames", "that flip", "mostly to")
        parts.append(table(f"flipped-codes{key}", "Tokens that flip most often.", head, codes, "knnn", most=4_000))
    if items:
        head = ("Recording", "Frames", "that flip", "share")
        parts.append(table(f"flipped-items{key}", "Recordings that change most.", head, items, "wnnn", most=5_000))
    if flips.skipped:
        parts.append(paragraph(f"{len(flips.skipped)} recordings were left out:"))
        parts.append(bullets((f"{item}: {why}" for item, why in flips.skipped), "more recordings", most=4_000))
    return tuple(parts)
