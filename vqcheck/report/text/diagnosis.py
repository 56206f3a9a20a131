"""The diagnosis of two VQ encoders for people: what happened, what it does, and what to do about it."""

from typing import Final

from vqcheck.codebook.diagnosis.result import Diagnosis, TokenFlips
from vqcheck.report.text.page import Page, Style
from vqcheck.report.words.causes import evidence
from vqcheck.report.words.diagnosis import NOT_MEASURED, flipped, moved
from vqcheck.report.words.share import share

_SHOWN: Final = 5


def sections(page: Page, style: Style, diagnosis: Diagnosis) -> None:
    """Add evidence, consequence and advice."""
    found = [line for cause in diagnosis.causes for line in evidence(cause, diagnosis)]
    if found:
        page.line(("What happened", "bold"))
        for certainty, text in found:
            page.prose(text, (f"  {certainty:<11}  ", "bold"), indent=15)
        page.blank()
    if diagnosis.displacement or diagnosis.flips:
        page.line(("What it does to the tokens", "bold"))
        _effect(page, style, diagnosis)
        page.blank()
    page.line(("What to do", "bold"))
    for advice in diagnosis.advice:
        page.prose(advice.text, "  - ", indent=4)


def _effect(page: Page, style: Style, diagnosis: Diagnosis) -> None:
    if diagnosis.flips:
        _flips(page, style, diagnosis.flips)
    else:
        page.prose(
            NOT_MEASURED,
            "  ",
            indent=2,
        )
    worst = sorted(diagnosis.displacement, key=lambda found: -found.median)
    for displacement in worst[:_SHOWN]:
        page.prose(moved(displacement, alone=len(worst) == 1), "  ", indent=2)
    if len(worst) > _SHOWN:
        page.prose(f"{len(worst) - _SHOWN} more codebooks moved less.", "  ", indent=2)


def _flips(page: Page, style: Style, flips: TokenFlips) -> None:
    page.prose(flipped(flips), "  ", indent=2)
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
