"""`vqcheck tokens` for people: do the tokens come from this checkpoint, on what evidence, and what was left out."""

import os
from collections.abc import Sequence
from typing import Final

from vqcheck.audit.token_audit_result import ItemAudit, TokenAudit, TokenVerdict
from vqcheck.checkpoint.shown import shown
from vqcheck.report.text.page import Page, Style
from vqcheck.report.words import tokens as words
from vqcheck.report.words.share import share

_STYLES: Final = {TokenVerdict.CONSISTENT: "green", TokenVerdict.INCONSISTENT: "bold red"}


def describe(audit: TokenAudit, other: TokenAudit | None, style: Style) -> str:
    """Return the report on an audit, and on that of another checkpoint where one was asked for."""
    page = Page(style)
    word = (audit.verdict, _STYLES.get(audit.verdict, "yellow"))
    page.prose(words.headline(audit), word, "  ", indent=len(audit.verdict) + 2)
    page.blank()
    _facts(page, audit)
    page.blank()
    _frames(page, style, audit)
    for text in words.findings(audit):
        page.blank()
        page.prose(text, indent=0)
    if other is not None:
        page.blank()
        page.prose(words.against(audit, other), indent=0)
    _items(page, style, audit)
    if audit.verdict == TokenVerdict.INCONSISTENT:
        page.blank()
        page.line(("What to do", "bold"))
        page.prose(words.ADVICE, "  - ", indent=4)
    most = len(audit.without_tokens) + len(audit.without_features) + audit.rows if style.verbose else words.NAMED
    notes = words.notes(audit, most)
    if notes:
        page.blank()
        page.line(("Also found", "bold"))
        for note in notes:
            page.prose(note, "  - ", indent=4)
    return page.text()


def _facts(page: Page, audit: TokenAudit) -> None:
    digests = audit.digests
    whole = digests.vq_encoder
    identity = f", VQ encoder {whole.algorithm} {whole.short}" if whole else ""
    for label, text in (
        ("checkpoint", shown(audit.checkpoint)),
        ("", f"{audit.family}{identity}"),
        ("tokens", f"{os.path.join(audit.experiment, audit.files[0])}, {words.recorded(audit)}"),
        ("checked", words.checked(audit)),
        ("precision", words.precision(audit) if audit.verdict == TokenVerdict.CONSISTENT else ""),
    ):
        if label == "precision" and not text:
            continue
        page.line((f"  {label:<12}", "bold"), text, indent=14)


def _frames(page: Page, style: Style, audit: TokenAudit) -> None:
    total = audit.total
    allowed = f"at most {audit.limit} are to be expected" if total.near_ties or style.verbose else ""
    for label, count, note in (
        ("explained", total.explained, ""),
        ("near-tie", total.near_ties, allowed),
        ("mismatch", total.mismatches, ""),
        ("undecided", total.undecided, ""),
    ):
        if count or label in ("explained", "mismatch") or style.verbose:
            page.line(f"  {label:<12}{count:>9}  {share(count, total.frames):>8}   {note}", indent=14)


def _items(page: Page, style: Style, audit: TokenAudit) -> None:
    """Add the items that agree least; with `-v` every item."""
    shown_items: Sequence[ItemAudit] = audit.items if style.verbose else words.worst(audit)[: words.NAMED]
    if not shown_items or (audit.verdict == TokenVerdict.CONSISTENT and not style.verbose):
        return
    page.blank()
    page.line(("Items" if style.verbose else "Items that agree least", "bold"))
    for item in shown_items:
        counts = item.counts
        parts = [f"{counts.explained} of {counts.frames} explained"]
        named = ((counts.near_ties, "near-tie"), (counts.mismatches, "mismatch"), (counts.undecided, "undecided"))
        parts += [f"{count} {what}" for count, what in named if count]
        page.line(f"  {shown(item.item)}  {', '.join(parts)}", indent=4)
