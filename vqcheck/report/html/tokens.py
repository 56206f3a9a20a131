"""`vqcheck tokens` as a page: do the tokens come from the checkpoint, what are the frames, which items differ."""

import os
from collections.abc import Sequence
from typing import Final

from vqcheck.audit.token_audit_result import FrameCounts, TokenAudit, TokenVerdict
from vqcheck.report.html.charts import picture
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.page import page
from vqcheck.report.html.parts import bullets, code, facts, paragraph, path, section, table
from vqcheck.report.words import tokens as words
from vqcheck.report.words.share import share

_KINDS: Final = (
    ("explained", "the recorded token is the one derived here"),
    ("near-tie", "it is not, but rounding can explain it"),
    ("mismatch", "nothing can explain it"),
    ("undecided", "half precision overflows there, or cannot tell the codes apart"),
)


def document(audit: TokenAudit, other: TokenAudit | None) -> str:
    """Return the report on an audit, and on that of another checkpoint where one was asked for, as one page."""
    findings = words.findings(audit)
    notes = words.notes(audit, 20)
    return page(
        "tokens",
        audit.exit_code,
        audit.verdict,
        words.headline(audit),
        _compared(audit, other),
        _frames(audit, other),
        section("What was found", *map(paragraph, findings)) if findings else None,
        section("Against the other checkpoint", paragraph(words.against(audit, other))) if other else None,
        _items(audit),
        section("What to do", paragraph(words.ADVICE)) if audit.verdict == TokenVerdict.INCONSISTENT else None,
        section("Also found", bullets(notes, "more")) if notes else None,
    )


def _compared(audit: TokenAudit, other: TokenAudit | None) -> Element:
    consistent = audit.verdict == TokenVerdict.CONSISTENT
    return section(
        "What was compared",
        facts(
            ("Checkpoint", path(audit.checkpoint)),
            ("Codec", audit.family),
            ("VQ encoder", code(str(audit.digests.widest))),
            ("Tokens", path(os.path.join(audit.experiment, audit.files[0]))),
            ("Recorded", words.recorded(audit)),
            ("Checked", words.checked(audit)),
            ("Precision", words.precision(audit) if consistent else None),
            ("Near-ties to expect", f"at most {audit.limit}"),
            ("Other checkpoint", path(other.checkpoint) if other else None),
        ),
    )


def _frames(audit: TokenAudit, other: TokenAudit | None) -> Element:
    audits = [("Frames", audit)] if other is None else [(os.path.basename(a.checkpoint), a) for a in (audit, other)]
    head = ("Kind", "Meaning", *(part for name, _ in audits for part in (name, "Share")))
    rows: list[Sequence[Node]] = []
    for number, (name, meaning) in enumerate(_KINDS):
        counts = [(_counts(each.total)[number], each.total.frames) for _, each in audits]
        numbers = [text for count, frames in counts for text in (str(count), share(count, frames) if frames else "-")]
        rows.append((element("span", _swatch(number), name, class_="with-swatch"), meaning, *numbers))
    bar = _bar(audit.total) if audit.total.frames else None
    looks = ("k", "w", *("n" for _ in audits for _ in "cs"))
    return section(
        "Frames",
        element("figure", bar) if bar else None,
        table(
            "frames", "Every frame is derived again, in float32 and as a GPU does in half precision.", head, rows, looks
        ),
    )


def _counts(total: FrameCounts) -> tuple[int, int, int, int]:
    return total.explained, total.near_ties, total.mismatches, total.undecided


def _bar(total: FrameCounts) -> Element:
    width, parts, at = 640.0, [], 0.0
    counts = _counts(total)
    for number, count in enumerate(counts):
        long = width * count / total.frames
        if count:
            # However few there are, they must be seen.
            parts.append(
                element(
                    "rect",
                    x=f"{min(at, width - 2):.1f}",
                    y=0,
                    width=f"{max(long, 2):.1f}",
                    height=26,
                    class_=f"p{number}",
                )
            )
        at += long
    said = ", ".join(f"{count} {name}" for (name, _), count in zip(_KINDS, counts, strict=True))
    return picture("frames-bar", "Frames by kind", f"Of {total.frames} frames: {said}.", (640, 26), *parts)


def _swatch(number: int) -> Element:
    rect = element("rect", x=0, y=0, width=14, height=14, class_=f"p{number}")
    return element("svg", rect, viewBox="0 0 14 14", class_="swatch", aria_hidden="true")


def _items(audit: TokenAudit) -> Node:
    worst = words.worst(audit)
    if not worst:
        return None
    rows: list[Sequence[Node]] = []
    for item in worst:
        counts = _counts(item.counts)
        length = f"{item.recorded} for {item.derived}" if item.recorded != item.derived else str(item.recorded)
        rows.append(
            (path(item.item), *map(str, counts), share(counts[0], max(item.counts.frames, 1)), length, code(item.line))
        )
    head = ("Item", "Explained", "Near-tie", "Mismatch", "Undecided", "Share explained", "Tokens", "Line")
    caption = (
        f"{len(worst)} of {len(audit.items)} items have tokens that are not explained; those that agree least first. "
        "Tokens: recorded, and how many the features give where that differs."
    )
    looks = ("w", "n", "n", "n", "n", "n", "n", "k")
    return section(
        "Items that agree least", table("items", caption, head, rows, looks, left_out="items are", most=30_000)
    )
