"""What a change does to the tokens, in words."""

from typing import Final

from vqcheck.codebook.diagnosis.result import Diagnosis, Displacement, TokenFlips
from vqcheck.report.words.share import share

_TAKES_FEATURES: Final = "The effect on tokens was not measured: that takes features of real recordings."


def not_measured(diagnosis: Diagnosis) -> str:
    """Return that nothing is known of real tokens, and how to learn it where that is possible."""
    if diagnosis.family != "gpt-sovits":
        return f"{_TAKES_FEATURES} How far codes moved says what to expect."
    return (
        f"{_TAKES_FEATURES} Run this again with --features logs/<name>/4-cnhubert to learn how many of your frames get "
        "another token."
    )


def moved(found: Displacement, *, alone: bool) -> str:
    """Return how far the codes of one codebook moved; `alone` where the file has no other."""
    name = "The codes" if alone else f"The codes of codebook {found.codebook}"
    text = (
        f"{name} moved by {found.median:.2g} (median), {found.p99:.2g} (99th percentile) and at most "
        f"{found.maximum:.2g} (code {found.maximum_code}) of half the distance to their nearest neighbour; "
        f"{found.above_one} of {found.codes} moved further than that."
    )
    if found.retained < found.codes:
        kept = share(found.retained, found.codes)
        text += f" {kept} of the codes are still nearest to themselves (codes, not frames: frames flip earlier)."
    return text


def flipped(flips: TokenFlips) -> str:
    """Return how many frames of real recordings get another token."""
    text = (
        f"{flips.flipped} of {flips.frames} frames ({share(flips.flipped, flips.frames)}) in {flips.items} recordings "
        "get another token from B than from A."
    )
    if flips.borrowed:
        other = "B" if flips.borrowed == "A" else "A"
        text += f" {flips.borrowed} stores no projection; {other}'s was taken for both."
    return text
