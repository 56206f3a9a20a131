"""The diagnosis of two VQ encoders for people: what happened, what it does, and what to do about it."""

import textwrap
from typing import Final

from vqcheck.codebook.diagnosis.result import Diagnosis, Displacement, TokenFlips
from vqcheck.report.text.causes import evidence
from vqcheck.report.text.page import Page, Span, Style

_PROSE: Final = 80
"""Columns of prose where the page has no width of its own."""
_SHOWN: Final = 5


def prose(page: Page, style: Style, text: str, *first: Span, indent: int, look: str = "") -> None:
    """Add a paragraph, broken into lines also in a file or a pipe; `first` stands in front of it, `indent` wide."""
    room = max((style.width or _PROSE) - indent, 20)
    for number, line in enumerate(textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)):
        if number == 0:
            page.line(*first, (line, look), indent=indent)
        else:
            page.line(" " * indent, (line, look), indent=indent)


def sections(page: Page, style: Style, diagnosis: Diagnosis) -> None:
    """Add evidence, consequence and advice."""
    found = [line for cause in diagnosis.causes for line in evidence(cause, diagnosis)]
    if found:
        page.line(("What happened", "bold"))
        for certainty, text in found:
            prose(page, style, text, (f"  {certainty:<11}  ", "bold"), indent=15)
        page.blank()
    if diagnosis.displacement or diagnosis.flips:
        page.line(("What it does to the tokens", "bold"))
        _effect(page, style, diagnosis)
        page.blank()
    page.line(("What to do", "bold"))
    for advice in diagnosis.advice:
        prose(page, style, advice.text, "  - ", indent=4)


def share(part: int, whole: int) -> str:
    """Return a share in percent with as many digits as it needs; neither 0 % nor 100 % unless it is exactly that."""
    percent = 100 * part / whole
    if part in (0, whole):
        return f"{percent:.0f} %"
    if percent > 99:
        return f"{min(percent, 99.99):.2f} %" if percent > 99.5 else f"{percent:.1f} %"
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 0.1 else f"{percent:.2g} %"


def _effect(page: Page, style: Style, diagnosis: Diagnosis) -> None:
    if diagnosis.flips:
        _flips(page, style, diagnosis.flips)
    else:
        prose(
            page,
            style,
            "The effect on tokens was not measured: that takes features of real recordings. Run this again with "
            "--features logs/<name>/4-cnhubert to learn how many of your frames get another token.",
            "  ",
            indent=2,
        )
    worst = sorted(diagnosis.displacement, key=lambda found: -found.median)
    for displacement in worst[:_SHOWN]:
        prose(page, style, _moved(displacement, alone=len(worst) == 1), "  ", indent=2)
    if len(worst) > _SHOWN:
        prose(page, style, f"{len(worst) - _SHOWN} more codebooks moved less.", "  ", indent=2)


def _moved(found: Displacement, *, alone: bool) -> str:
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


def _flips(page: Page, style: Style, flips: TokenFlips) -> None:
    text = (
        f"{flips.flipped} of {flips.frames} frames ({share(flips.flipped, flips.frames)}) in {flips.items} recordings "
        "get another token from B than from A."
    )
    if flips.borrowed:
        other = "B" if flips.borrowed == "A" else "A"
        text += f" {flips.borrowed} stores no projection; {other}'s was taken for both."
    prose(page, style, text, "  ", indent=2)
    shown = len(flips.codes) if style.verbose else _SHOWN
    for code in flips.codes[:shown]:
        page.line(
            f"    token {code.code}: {code.flipped} of {code.frames} frames flip, mostly to {code.mostly}", indent=6
        )
    for item in flips.worst[:shown]:
        part = share(item.flipped, item.frames)
        page.line(f"    {item.item}: {item.flipped} of {item.frames} frames flip ({part})", indent=6)
    if flips.skipped:
        names = "; ".join(f"{item} ({problem})" for item, problem in flips.skipped[:_SHOWN])
        more = ", ..." if len(flips.skipped) > _SHOWN else ""
        count = len(flips.skipped)
        were = "recording was" if count == 1 else "recordings were"
        page.line(f"    {count} {were} left out: {names}{more}", indent=6)
