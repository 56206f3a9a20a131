"""`vqcheck tokens`: whether the recorded tokens come from a checkpoint, on what evidence, and what was not checked."""

import os
from collections.abc import Iterable, Sequence
from typing import Final

from vqcheck.audit.token_audit_result import (
    RISK,
    FrameCounts,
    ItemAudit,
    TokenAudit,
    TokenPrecision,
    TokenVerdict,
)
from vqcheck.audit.token_decision import Decider, TokenDecision
from vqcheck.codebook.comparison import Verdict
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views.tokens_data import NAMED, cases, data, tsv
from vqcheck.report.views.tokens_words import disagreement, headline, on_device, unseen
from vqcheck.report.views.words import extract_again, listed, share

_ON_A_PAGE: Final = 20
"""Items that a page names of a list; text without -v names `NAMED`, and with -v all."""


def view(decision: TokenDecision) -> Document:
    """Return the document of an audit and what else decides."""
    audit, other = decision.audit, decision.other
    return Document(
        command="tokens",
        status=Status(decision.exit_code),
        verdict=decision.verdict.value,
        headline=headline(decision),
        subject=f"{audit.checkpoint} and {audit.experiment}",
        cases=cases(decision),
        data=data(decision),
        warnings=(disagreement(decision.device),) if decision.device and not decision.device.agrees else (),
        figures=_figures(audit),
        blocks=(
            doc.Section("What was compared", (_compared(decision),), heading=Shown.PAGE),
            doc.Section("Frames", _frames(audit, other), heading=Shown.PAGE),
            doc.Section("What was found", tuple(map(doc.Paragraph, findings(audit))), heading=Shown.PAGE),
            *_by_item(audit),
            doc.Section("Also found", _also_found(decision)),
        ),
        remedies=tuple(map(Remedy, _remedies(decision))),
    )


def findings(audit: TokenAudit) -> list[str]:
    """Return what speaks against the checkpoint, or keeps the audit from a verdict."""
    total, found = audit.total, []
    if total.mismatches:
        found.append(
            f"{total.mismatches} of {total.frames} tokens name a code that is not the nearest one. No rounding in "
            "float32, TF32 or float16 explains such a distance."
        )
    for group in audit.groups:
        if group.surplus:
            count, limit = group.exceeded
            rounding = "float32 rounding" if group.precision == TokenPrecision.FLOAT32 else "rounding"
            found.append(
                f"{count} tokens name a code that is nearly the nearest one. That is too many: {rounding} gives at "
                f"most {limit} on these features (binomial limit; a right file exceeds it with a probability of "
                f"{RISK:g}). The codebook or the projection has drifted, before or after the tokens were extracted."
            )
    if audit.wrong_lengths:
        names = listed([item.item for item in audit.wrong_lengths], NAMED)
        found.append(
            f"{len(audit.wrong_lengths)} items have at least two tokens more or fewer than their features give. Their "
            f"features belong to other recordings: {names}."
        )
    if "overflow" in audit.gaps:
        found.append(
            f"On {total.undecided - total.coarse} of {total.frames} frames the half-precision distances exceed 65504. "
            f"What a GPU makes of them does not depend on the codebook. {_float_tokens()}"
        )
    if "coarse" in audit.gaps:
        found.append(
            f"On {total.coarse} of {total.frames} frames half precision cannot tell apart more than a tenth of the "
            f"codes. A GPU may choose any of them. {_float_tokens()}"
        )
    return found


def _float_tokens() -> str:
    return "Tokens extracted in float32 (is_half=False) can be checked."


def _remedies(decision: TokenDecision) -> Iterable[str]:
    audit = decision.audit
    if decision.decided_by is Decider.NOTHING:
        yield "Compare with more recordings."
        yield "Make a lock when tokens are extracted: vqcheck lock CKPT --experiment DIR."
        return
    if decision.decided_by is Decider.LOCK and decision.verdict is TokenVerdict.INCONCLUSIVE and not audit.gaps:
        yield "Choose the copy to judge: --copy NAME."
        return
    if decision.verdict is TokenVerdict.INCONSISTENT and audit.verdict is not TokenVerdict.INCONSISTENT:
        yield extract_again(audit.checkpoint, decision.exported)
        yield "Or start s2 from the checkpoint that the tokens come from."
        return
    if audit.only_lengths:
        yield "Extract the features and the tokens of these items again, from the same recordings."
        return
    if audit.verdict == TokenVerdict.INCONSISTENT:
        yield extract_again(audit.checkpoint, decision.exported)
        yield "Or start s2 from the checkpoint that the tokens come from."
        return
    if {"overflow", "coarse"} & set(audit.gaps):
        yield "Extract the tokens in float32 (is_half=False), then check them."
    if "coverage" in audit.gaps and not audit.without_features:
        yield "Ask for less coverage."
    elif "coverage" in audit.gaps or "unreadable" in audit.gaps:
        yield "Extract the missing features again: 4-cnhubert must hold one file for each item."
    if "malformed" in audit.gaps:
        yield "Extract the tokens again: some lines of the tsv hold none."


def _figures(audit: TokenAudit) -> tuple[Figure, ...]:
    total = audit.total
    return (
        Figure("Tokens that agree", share(total.explained, total.frames) if total.frames else "-"),
        Figure("Mismatches", str(total.mismatches), Tone.BAD if total.mismatches else Tone.GOOD),
        Figure("Items checked", f"{len(audit.items)} of {audit.rows}"),
    )


def _compared(decision: TokenDecision) -> doc.Facts:
    audit, other = decision.audit, decision.other
    configured = ", which the configuration names as the base" if decision.other_is_configured else ""
    digest, total = audit.digests.widest, audit.total
    items = f"{audit.rows} items in {len(audit.files)} parts" if len(audit.files) > 1 else f"{audit.rows} items"
    sample = f"{len(audit.items)} items (a sample)" if audit.sampled else f"{len(audit.items)} items"
    return doc.Facts(
        (
            doc.Fact("Checkpoint", doc.path(audit.checkpoint)),
            doc.Fact("Codec", audit.family),
            doc.Fact("VQ encoder", doc.code(f"{digest.algorithm} {digest.short}"), Shown.BRIEF),
            doc.Fact("VQ encoder", doc.code(str(digest)), Shown.DETAIL),
            doc.Fact("Tokens", (doc.path(tsv(audit)), f", {items}")),
            doc.Fact("Checked", f"{sample}, {total.frames} frames"),
            doc.Fact("Precision", precision(audit) if audit.verdict == TokenVerdict.CONSISTENT else None),
            doc.Fact(
                "Near-ties",
                f"at most {audit.limit} are to be expected",
                Shown.ALWAYS if total.near_ties else Shown.DETAIL,
            ),
            doc.Fact("Compared with", (doc.path(other.checkpoint), configured) if other else None),
            doc.Fact("Lock", _lock(decision)),
            doc.Fact("Power", unseen(decision)),
            doc.Fact("On a device", on_device(decision.device) if decision.device else None),
        )
    )


def _lock(decision: TokenDecision) -> doc.Inline | None:
    lock = decision.lock
    if lock is None:
        return None
    if not lock.binds:
        return (doc.path(lock.path), " binds other tokens than these, so it says nothing of them")
    if lock.verdict == Verdict.UNDECIDED:
        return (doc.path(lock.path), " binds these tokens, and copies in the file contradict each other")
    if lock.verdict == Verdict.CHANGED:
        return (doc.path(lock.path), " binds these tokens to another VQ encoder")
    return (doc.path(lock.path), " binds these tokens to this VQ encoder")


def precision(audit: TokenAudit) -> str:
    """Return which precision the tokens fit."""
    found = audit.total.precision
    words = {
        TokenPrecision.HALF: "half precision fits the tokens best",
        TokenPrecision.FLOAT32: "float32 fits the tokens best",
        TokenPrecision.MIXED: "half precision fits some items best, float32 fits others best",
    }.get(found, "float32 and half precision give the same tokens")
    tf32 = found in (TokenPrecision.FLOAT32, TokenPrecision.MIXED) and audit.float_arithmetic != TokenPrecision.FLOAT32
    return f"{words} ({audit.float_arithmetic})" if tf32 else words


def _frames(audit: TokenAudit, other: TokenAudit | None) -> tuple[doc.Proportions | doc.Table, ...]:
    kinds = (
        ("explained", "the recorded token is the one computed here", Tone.GOOD),
        ("near-tie", "it is another one, but rounding can explain it", Tone.NEUTRAL),
        ("mismatch", "nothing can explain it", Tone.BAD),
        ("undecided", "half precision overflows there, or cannot tell the codes apart", Tone.WARNING),
    )
    total = audit.total
    parts = tuple(doc.Part(name, count, tone) for (name, _, tone), count in zip(kinds, _numbers(total), strict=True))
    said = listed(f"{part.number} {part.name}" for part in parts)
    bar = doc.Proportions("Frames by kind", f"Of {total.frames} frames: {said}.", parts)
    audits = [("Frames", audit)] if other is None else [(os.path.basename(a.checkpoint), a) for a in (audit, other)]
    columns = [doc.Column("Kind")]
    for name, _ in audits:
        columns += [doc.Column(name, Kind.NUMBER), doc.Column("Share", Kind.NUMBER)]
    rows = []
    for number, (name, meaning, _) in enumerate(kinds):
        counts = [(_numbers(each.total)[number], each.total.frames) for _, each in audits]
        cells = [text for count, frames in counts for text in (str(count), share(count, frames) if frames else "-")]
        rows.append((name, *cells, meaning))
    caption = "The token of every frame is computed again: in float32, and in half precision as a GPU does it."
    table = doc.Table(caption, (*columns, doc.Column("Meaning", Kind.PROSE, Shown.DETAIL)), rows)
    return (bar, table) if total.frames else (table,)


def _numbers(counts: FrameCounts) -> tuple[int, int, int, int]:
    return counts.explained, counts.near_ties, counts.mismatches, counts.undecided


def _by_item(audit: TokenAudit) -> tuple[doc.Section, ...]:
    """Return the items that agree least, and every item for those who want all."""
    worst = sorted(
        (item for item in audit.items if item.counts.explained < item.counts.frames),
        key=lambda item: (item.counts.explained / item.counts.frames, item.item),
    )
    caption = (
        f"{len(worst)} of {len(audit.items)} items have tokens that are not explained. Those that agree least come "
        "first. Tokens: the recorded ones, and how many the features give where that differs."
    )
    brief = Shown.PAGE if audit.verdict == TokenVerdict.CONSISTENT else Shown.BRIEF | Shown.PAGE
    least = _item_table(caption, worst, brief, f"{len(worst) - NAMED} more items have tokens that are not explained.")
    return (
        doc.Section("Items that agree least", (least,), shown=brief),
        doc.Section("Items", (_item_table("Every item.", audit.items, Shown.VERBOSE, ""),), shown=Shown.VERBOSE),
    )


def _item_table(caption: str, items: Sequence[ItemAudit], shown: Shown, rest: str) -> doc.Table:
    columns = (
        doc.Column("Item", Kind.NAME),
        *doc.numbers("Explained", "Near-tie", "Mismatch", "Undecided"),
        doc.Column("Share explained", Kind.NUMBER, Shown.PAGE),
        doc.Column("Tokens", Kind.NUMBER, Shown.PAGE),
        doc.Column("Line", Kind.WORD, Shown.PAGE),
    )
    rows: list[Sequence[doc.Inline]] = []
    for item in items:
        counts = item.counts
        length = f"{item.recorded} for {item.derived}" if item.recorded != item.derived else str(item.recorded)
        explained = share(counts.explained, counts.frames) if counts.frames else "-"
        rows.append((doc.path(item.item), *map(str, _numbers(counts)), explained, length, doc.code(item.line)))
    return doc.Table(caption, columns, rows, shown, most=NAMED if rest else None, rest=rest)


def _also_found(decision: TokenDecision) -> tuple[doc.Bullets, ...]:
    audit = decision.audit
    return (
        doc.Bullets(_notes(audit, NAMED), Shown.BRIEF),
        doc.Bullets(_notes(audit, None), Shown.VERBOSE),
        doc.Bullets(_notes(audit, _ON_A_PAGE), Shown.PAGE),
    )


def _notes(audit: TokenAudit, most: int | None) -> list[str]:
    """Return what else was found; of each list at most `most` names."""
    off_by_one = [item.item for item in audit.items if item.off_by_one]
    lists: tuple[tuple[str, Sequence[str]], ...] = (
        ("features but no tokens, so s1 never sees the item", audit.without_tokens),
        ("tokens but no features, so the tokens could not be checked", audit.without_features),
        ("several rows", audit.repeated),
        ("one token more or fewer than the features give (harmless)", off_by_one),
        ("features that cannot be used", [f"{item} ({why})" for item, why in audit.unreadable]),
        ("lines of the tsv without tokens", [f"{line} ({why})" for line, why in audit.malformed]),
    )
    notes = [f"{what} ({len(names)}): {listed(names, most)}" for what, names in lists if names]
    if audit.headless:
        notes.append("the tsv has no header line: s1 reads its first item as the header and loses it")
    if audit.leftover_parts:
        notes.append(f"nothing reads the parts beside the merged tsv: {listed(audit.leftover_parts, most)}")
    return notes
