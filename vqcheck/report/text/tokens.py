"""`vqcheck tokens` for people: do the tokens come from this checkpoint, on what evidence, and what was left out."""

import os
from collections.abc import Sequence
from typing import Final

from vqcheck.checkpoint.shown import shown
from vqcheck.experiment.token_audit_result import (
    CONSISTENT,
    EITHER,
    FLOAT32,
    HALF,
    INCONSISTENT,
    MIXED,
    RISK,
    ItemAudit,
    TokenAudit,
)
from vqcheck.report.text.diagnosis import prose, share
from vqcheck.report.text.page import Page, Style

_NAMED: Final = 5
"""Items that are named where there are more."""
_STYLES: Final = {CONSISTENT: "green", INCONSISTENT: "bold red"}
_PRECISION: Final = {
    HALF: "extracted in half precision",
    FLOAT32: "extracted in float32",
    MIXED: "some items extracted in half precision, some in float32",
    EITHER: "float32 and half precision give the same tokens",
}


def describe(audit: TokenAudit, other: TokenAudit | None, style: Style) -> str:
    """Return the report on an audit, and on that of another checkpoint where one was asked for."""
    page = Page(style)
    word = (audit.verdict, _STYLES.get(audit.verdict, "yellow"))
    prose(page, style, _headline(audit), word, "  ", indent=len(audit.verdict) + 2)
    page.blank()
    _facts(page, audit)
    page.blank()
    _frames(page, style, audit)
    for text in _findings(audit):
        page.blank()
        prose(page, style, text, indent=0)
    if other is not None:
        page.blank()
        prose(page, style, _against(audit, other), indent=0)
    _items(page, style, audit)
    if audit.verdict == INCONSISTENT:
        page.blank()
        page.line(("What to do", "bold"))
        advice = "Extract the tokens again with this checkpoint and train s1 again on them, or start s2 from the one"
        prose(page, style, f"{advice} that they come from.", "  - ", indent=4)
    notes = _notes(audit, style)
    if notes:
        page.blank()
        page.line(("Also found", "bold"))
        for note in notes:
            prose(page, style, note, "  - ", indent=4)
    return page.text()


def _headline(audit: TokenAudit) -> str:
    name = os.path.basename(audit.checkpoint)
    if audit.verdict == CONSISTENT:
        unchecked = f" as far as they can be checked: {len(audit.without_features)} of {audit.rows} items lack features"
        return f"The tokens come from {name}{unchecked if audit.without_features else ''}."
    if audit.verdict == INCONSISTENT:
        return f"The tokens do not come from {name}."
    if "overflow" in audit.gaps:
        return f"Half precision overflows on {share(audit.total.undecided, audit.total.frames)} of the frames."
    if "coverage" in audit.gaps:
        return f"Nothing contradicts {name}, but {len(audit.without_features)} of {audit.rows} items have no features."
    return f"Nothing contradicts {name}, but not everything could be read."


def _facts(page: Page, audit: TokenAudit) -> None:
    digests = audit.digests
    whole = digests.vq_encoder
    identity = f", VQ encoder {whole.algorithm} {whole.short}" if whole else ""
    rows = f"{audit.rows} items" + (f" in {len(audit.files)} parts" if len(audit.files) > 1 else "")
    chosen = " (a sample)" if audit.sampled else ""
    for label, text in (
        ("checkpoint", shown(audit.checkpoint)),
        ("", f"{audit.family}{identity}"),
        ("tokens", f"{os.path.join(audit.experiment, audit.files[0])}, {rows}"),
        ("checked", f"{len(audit.items)} items{chosen}, {audit.total.frames} frames"),
        ("precision", _PRECISION[audit.total.precision] if audit.verdict == CONSISTENT else ""),
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


def _findings(audit: TokenAudit) -> list[str]:
    total, found = audit.total, []
    if total.mismatches:
        found.append(
            f"{total.mismatches} of {total.frames} tokens name a code that is farther from the frame than another one, "
            "by more than rounding can explain in any precision."
        )
    if "near-ties" in audit.contradictions:
        found.append(
            f"{total.near_ties} tokens are not the nearest code, though nearly: too many for rounding, which gives at "
            f"most {audit.limit} on these features (a binomial limit that a right file exceeds with a probability of "
            f"{RISK:g}). The codebook or the projection has drifted since the tokens were extracted, or before."
        )
    if audit.wrong_lengths:
        found.append(
            f"{len(audit.wrong_lengths)} items have more than one token too many or too few for their features, so the "
            f"features belong to other recordings: {_names([item.item for item in audit.wrong_lengths])}."
        )
    if "overflow" in audit.gaps:
        found.append(
            f"On {total.undecided} of {total.frames} frames half-precision distances exceed 65504, and what a GPU "
            "makes of them does not depend on the codebook. Tokens extracted in float32 (is_half=False) can be checked."
        )
    return found


def _against(audit: TokenAudit, other: TokenAudit) -> str:
    mine, theirs = (share(a.total.explained, a.total.frames) for a in (audit, other))
    names = os.path.basename(audit.checkpoint), os.path.basename(other.checkpoint)
    a, b = names if names[0] != names[1] else (audit.checkpoint, other.checkpoint)
    better = audit.better_than(other)
    if better == "equal":
        same = audit.digests.vq_encoder == other.digests.vq_encoder
        why = "they hold the same VQ encoder" if same else "these recordings do not tell them apart"
        return f"{a} and {b} explain equally many tokens ({mine}): {why}."
    first, second = ((a, mine), (b, theirs)) if better == "checkpoint" else ((b, theirs), (a, mine))
    winner = audit if better == "checkpoint" else other
    doubt = "" if winner.verdict == CONSISTENT else ", but is not consistent with them either"
    return f"{first[0]} explains the tokens better ({first[1]}) than {second[0]} ({second[1]}){doubt}."


def _items(page: Page, style: Style, audit: TokenAudit) -> None:
    """Add the items that agree least; with `-v` every item."""

    def off(item: ItemAudit) -> float:
        return (item.counts.frames - item.counts.explained) / max(item.counts.frames, 1)

    worst = sorted((item for item in audit.items if off(item)), key=lambda item: (-off(item), item.item))
    shown_items: Sequence[ItemAudit] = audit.items if style.verbose else worst[:_NAMED]
    if not shown_items or (audit.verdict == CONSISTENT and not style.verbose):
        return
    page.blank()
    page.line(("Items" if style.verbose else "Items that agree least", "bold"))
    for item in shown_items:
        counts = item.counts
        parts = [f"{counts.explained} of {counts.frames} explained"]
        named = ((counts.near_ties, "near-tie"), (counts.mismatches, "mismatch"), (counts.undecided, "undecided"))
        parts += [f"{count} {what}" for count, what in named if count]
        page.line(f"  {shown(item.item)}  {', '.join(parts)}", indent=4)


def _notes(audit: TokenAudit, style: Style) -> list[str]:
    several = {
        "features but no tokens, so s1 never sees them": audit.without_tokens,
        "tokens but no features, so the tokens could not be checked": audit.without_features,
        "several rows": audit.repeated,
        "one token more or fewer than the features give (harmless)": tuple(
            item.item for item in audit.items if item.off_by_one
        ),
    }
    most = len(audit.without_tokens) + len(audit.without_features) + audit.rows if style.verbose else _NAMED
    notes = [f"{what} ({len(names)}): {_names(names, most)}" for what, names in several.items() if names]
    for problems, what in (
        (audit.unreadable, "features that cannot be used"),
        (audit.malformed, "lines of the tsv without tokens"),
    ):
        if problems:
            listed = [f"{where} ({why})" for where, why in problems]
            notes.append(f"{what} ({len(problems)}): {_names(listed, most)}")
    if audit.headless:
        notes.append("the tsv has no header line, so s1 takes its first item for one and loses it")
    if audit.leftover_parts:
        notes.append(f"nothing reads the parts beside the merged tsv: {_names(audit.leftover_parts, most)}")
    return notes


def _names(names: Sequence[str], most: int = _NAMED) -> str:
    """Return names in a row, of very many only the first."""
    listed = ", ".join(shown(name) for name in names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed
