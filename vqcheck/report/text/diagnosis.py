"""The diagnosis of two VQ encoders for people: what happened, what it does, and what to do about it."""

from typing import Final

from vqcheck.codebook.diagnosis.evidence import EmaUpdates
from vqcheck.codebook.diagnosis.result import Cause, Diagnosis, TokenFlips
from vqcheck.report.text.page import Page, Style
from vqcheck.report.views.causes import evidence
from vqcheck.report.views.diagnosis import flipped, moved, not_measured
from vqcheck.report.words.ranges import ranges
from vqcheck.report.words.share import share

_SHOWN: Final = 5
_MOVED: Final = 3
"""Codebooks whose displacement is told, where there are more."""


def sections(page: Page, style: Style, diagnosis: Diagnosis, codec: str = "") -> None:
    """Add evidence, consequence and advice; `codec` where the files hold several."""
    of = f" ({codec})" if codec else ""
    if diagnosis.causes:
        page.line((f"What happened{of}", "bold"))
        _causes(page, style, diagnosis)
        page.blank()
    if diagnosis.displacement or diagnosis.flips:
        page.line((f"What it does to the tokens{of}", "bold"))
        _effect(page, style, diagnosis)
        page.blank()
    page.line((f"What to do{of}", "bold"))
    for advice in diagnosis.advice:
        page.prose(advice.text, "  - ", indent=4)


def _causes(page: Page, style: Style, diagnosis: Diagnosis) -> None:
    """Add the evidence; of codebooks to which the same happened that of the first, unless all are asked for."""
    alike: dict[object, list[Cause]] = {}
    for number, cause in enumerate(diagnosis.causes):
        alike.setdefault(number if style.verbose else _kind(cause), []).append(cause)
    for causes in alike.values():
        lines = evidence(causes[0], diagnosis)
        others = [cause.codebook for cause in causes[1:] if cause.codebook is not None]
        if others:
            more = f"{len(others)} more codebook{'s' * (len(others) > 1)}"
            lines.append(("", f"The same happened in {more} ({ranges(others)}); -v shows each."))
        for certainty, text in lines:
            page.prose(text, (f"  {certainty:<11}  ", "bold"), indent=15)


def _kind(cause: Cause) -> object:
    """Return what causes have in common that differ in the codebook and in figures alone."""
    found = cause.evidence
    told = (found.order, found.steps, found.precision) if isinstance(found, EmaUpdates) else ()
    how = getattr(found, "how", "")
    return cause.code, cause.certainty, told, how


def _effect(page: Page, style: Style, diagnosis: Diagnosis) -> None:
    if diagnosis.flips:
        _flips(page, style, diagnosis.flips)
    else:
        page.prose(not_measured(diagnosis), "  ", indent=2)
    worst = sorted(diagnosis.displacement, key=lambda found: -found.median)
    shown = len(worst) if style.verbose else _MOVED
    for displacement in worst[:shown]:
        page.prose(moved(displacement, alone=len(worst) == 1), "  ", indent=2)
    if len(worst) > shown:
        page.prose(f"{len(worst) - shown} more codebooks moved less.", "  ", indent=2)


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
