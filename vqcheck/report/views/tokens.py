"""`vqcheck tokens`: whether the recorded tokens come from a checkpoint, on what evidence, and what was not checked."""

import os
from collections.abc import Iterable, Sequence
from typing import Final

from vqcheck.audit.token_audit_result import FrameCounts, ItemAudit, TokenAudit, TokenVerdict
from vqcheck.audit.token_decision import Decider, TokenDecision
from vqcheck.codebook.comparison import Verdict
from vqcheck.language import tr
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views.tokens_data import NAMED, cases, data, tsv
from vqcheck.report.views.tokens_words import disagreement, findings, headline, on_device, precision, unseen
from vqcheck.report.views.words import extract_again, listed, of_all, share

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
        subject=tr("{checkpoint} and {experiment}", checkpoint=audit.checkpoint, experiment=audit.experiment),
        cases=cases(decision),
        data=data(decision),
        warnings=(disagreement(decision.device),) if decision.device and not decision.device.agrees else (),
        figures=_figures(audit),
        blocks=(
            doc.Section(tr("What was compared"), (_compared(decision),), heading=Shown.PAGE),
            doc.Section(tr("Frames"), _frames(audit, other), heading=Shown.PAGE),
            doc.Section(tr("What was found"), tuple(map(doc.Paragraph, findings(audit))), heading=Shown.PAGE),
            *_by_item(audit),
            doc.Section(tr("Also found"), _also_found(decision)),
        ),
        remedies=tuple(map(Remedy, _remedies(decision))),
    )


def _remedies(decision: TokenDecision) -> Iterable[str]:
    audit = decision.audit
    if decision.decided_by is Decider.NOTHING:
        yield tr("Compare with more recordings.")
        yield tr("Make a lock when tokens are extracted: vqcheck lock CKPT --experiment DIR.")
        return
    if decision.decided_by is Decider.LOCK and decision.verdict is TokenVerdict.INCONCLUSIVE and not audit.gaps:
        yield tr("Choose the copy to judge: --copy NAME.")
        return
    if decision.verdict is TokenVerdict.INCONSISTENT and audit.verdict is not TokenVerdict.INCONSISTENT:
        yield extract_again(audit.checkpoint, decision.exported)
        yield tr("Or start s2 from the checkpoint that the tokens come from.")
        return
    if audit.only_lengths:
        yield tr("Extract the features and the tokens of these items again, from the same recordings.")
        return
    if audit.verdict == TokenVerdict.INCONSISTENT:
        yield extract_again(audit.checkpoint, decision.exported)
        yield tr("Or start s2 from the checkpoint that the tokens come from.")
        return
    if {"overflow", "coarse"} & set(audit.gaps):
        yield tr("Extract the tokens in float32 (is_half=False), then check them.")
    if "coverage" in audit.gaps and not audit.without_features:
        yield tr("Ask for less coverage.")
    elif "coverage" in audit.gaps or "unreadable" in audit.gaps:
        yield tr("Extract the missing features again: 4-cnhubert must hold one file for each item.")
    if "malformed" in audit.gaps:
        yield tr("Extract the tokens again: some lines of the tsv hold none.")


def _figures(audit: TokenAudit) -> tuple[Figure, ...]:
    total = audit.total
    return (
        Figure(tr("Tokens that agree"), share(total.explained, total.frames) if total.frames else "-"),
        Figure(tr("Mismatches"), str(total.mismatches), Tone.BAD if total.mismatches else Tone.GOOD),
        Figure(tr("Items checked"), of_all(len(audit.items), audit.rows)),
    )


def _compared(decision: TokenDecision) -> doc.Facts:
    audit, other = decision.audit, decision.other
    configured = tr(", which the configuration names as the base") if decision.other_is_configured else ""
    digest, total = audit.digests.widest, audit.total
    items = (
        tr("{rows} items in {files} parts", rows=audit.rows, files=len(audit.files))
        if len(audit.files) > 1
        else tr("{rows} items", rows=audit.rows)
    )
    sample = (
        tr("{items} items (a sample)", items=len(audit.items))
        if audit.sampled
        else tr("{items} items", items=len(audit.items))
    )
    return doc.Facts(
        (
            doc.Fact(tr("Checkpoint"), doc.path(audit.checkpoint)),
            doc.Fact(tr("Codec"), audit.family),
            doc.Fact(tr("VQ encoder"), doc.code(f"{digest.algorithm} {digest.short}"), Shown.BRIEF),
            doc.Fact(tr("VQ encoder"), doc.code(str(digest)), Shown.DETAIL),
            doc.Fact(tr("Tokens"), (doc.path(tsv(audit)), tr(", {items}", items=items))),
            doc.Fact(tr("Checked"), tr("{sample}, {frames} frames", sample=sample, frames=total.frames)),
            doc.Fact(tr("Precision"), precision(audit) if audit.verdict == TokenVerdict.CONSISTENT else None),
            doc.Fact(
                tr("Near-ties"),
                tr("at most {limit} are to be expected", limit=audit.limit),
                Shown.ALWAYS if total.near_ties else Shown.DETAIL,
            ),
            doc.Fact(tr("Compared with"), (doc.path(other.checkpoint), configured) if other else None),
            doc.Fact(tr("Lock"), _lock(decision)),
            doc.Fact(tr("Power"), unseen(decision)),
            doc.Fact(tr("On a device"), on_device(decision.device) if decision.device else None),
        )
    )


def _lock(decision: TokenDecision) -> str:
    lock = decision.lock
    if lock is None:
        return ""
    if not lock.binds:
        return tr("{lock} binds other tokens than these, so it says nothing of them", lock=lock.path)
    if lock.verdict == Verdict.UNDECIDED:
        return tr("{lock} binds these tokens, and copies in the file contradict each other", lock=lock.path)
    if lock.verdict == Verdict.CHANGED:
        return tr("{lock} binds these tokens to another VQ encoder", lock=lock.path)
    return tr("{lock} binds these tokens to this VQ encoder", lock=lock.path)


def _frames(audit: TokenAudit, other: TokenAudit | None) -> tuple[doc.Proportions | doc.Table, ...]:
    kinds = (
        (tr("explained"), tr("the recorded token is the one computed here"), Tone.GOOD),
        (tr("near-tie"), tr("it is another one, but rounding can explain it"), Tone.NEUTRAL),
        (tr("mismatch"), tr("nothing can explain it"), Tone.BAD),
        (tr("undecided"), tr("half precision overflows there, or cannot tell the codes apart"), Tone.WARNING),
    )
    total = audit.total
    parts = tuple(doc.Part(name, count, tone) for (name, _, tone), count in zip(kinds, _numbers(total), strict=True))
    said = listed(tr("{count} {kind}", count=part.number, kind=part.name) for part in parts)
    bar = doc.Proportions(
        tr("Frames by kind"), tr("Of {frames} frames: {said}.", frames=total.frames, said=said), parts
    )
    audits = [(tr("Frames"), audit)] if other is None else [(os.path.basename(a.checkpoint), a) for a in (audit, other)]
    columns = [doc.Column(tr("Kind"))]
    for name, _ in audits:
        columns += [doc.Column(name, Kind.NUMBER), doc.Column(tr("Share"), Kind.NUMBER)]
    rows = []
    for number, (name, meaning, _) in enumerate(kinds):
        counts = [(_numbers(each.total)[number], each.total.frames) for _, each in audits]
        cells = [text for count, frames in counts for text in (str(count), share(count, frames) if frames else "-")]
        rows.append((name, *cells, meaning))
    caption = tr("The token of every frame is computed again: in float32, and in half precision as a GPU does it.")
    table = doc.Table(caption, (*columns, doc.Column(tr("Meaning"), Kind.PROSE, Shown.DETAIL)), rows)
    return (bar, table) if total.frames else (table,)


def _numbers(counts: FrameCounts) -> tuple[int, int, int, int]:
    return counts.explained, counts.near_ties, counts.mismatches, counts.undecided


def _by_item(audit: TokenAudit) -> tuple[doc.Section, ...]:
    """Return the items that agree least, and every item for those who want all."""
    worst = sorted(
        (item for item in audit.items if item.counts.explained < item.counts.frames),
        key=lambda item: (item.counts.explained / item.counts.frames, item.item),
    )
    caption = tr(
        "{worst} of {items} items have tokens that are not explained. Those that agree least "
        "come first. Tokens: the recorded ones, and how many the features give where that "
        "differs.",
        worst=len(worst),
        items=len(audit.items),
    )
    brief = Shown.PAGE if audit.verdict == TokenVerdict.CONSISTENT else Shown.BRIEF | Shown.PAGE
    least = _item_table(
        caption, worst, brief, tr("{left} more items have tokens that are not explained.", left=len(worst) - NAMED)
    )
    return (
        doc.Section(tr("Items that agree least"), (least,), shown=brief),
        doc.Section(
            tr("Items"), (_item_table(tr("Every item."), audit.items, Shown.VERBOSE, ""),), shown=Shown.VERBOSE
        ),
    )


def _item_table(caption: str, items: Sequence[ItemAudit], shown: Shown, rest: str) -> doc.Table:
    columns = (
        doc.Column(tr("Item"), Kind.NAME),
        *doc.numbers(tr("Explained"), tr("Near-tie"), tr("Mismatch"), tr("Undecided")),
        doc.Column(tr("Share explained"), Kind.NUMBER, Shown.PAGE),
        doc.Column(tr("Tokens"), Kind.NUMBER, Shown.PAGE),
        doc.Column(tr("Line"), Kind.WORD, Shown.PAGE),
    )
    rows: list[Sequence[doc.Inline]] = []
    for item in items:
        counts = item.counts
        length = (
            tr("{recorded} for {derived}", recorded=item.recorded, derived=item.derived)
            if item.recorded != item.derived
            else str(item.recorded)
        )
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
        (tr("features but no tokens, so s1 never sees the item"), audit.without_tokens),
        (tr("tokens but no features, so the tokens could not be checked"), audit.without_features),
        (tr("several rows"), audit.repeated),
        (tr("one token more or fewer than the features give (harmless)"), off_by_one),
        (tr("features that cannot be used"), [_with_reason(item, why) for item, why in audit.unreadable]),
        (tr("lines of the tsv without tokens"), [_with_reason(line, why) for line, why in audit.malformed]),
    )
    notes = [
        tr("{what} ({number}): {names}", what=what, number=len(names), names=listed(names, most))
        for what, names in lists
        if names
    ]
    if audit.headless:
        notes.append(tr("the tsv has no header line: s1 reads its first item as the header and loses it"))
    if audit.leftover_parts:
        notes.append(
            tr("nothing reads the parts beside the merged tsv: {parts}", parts=listed(audit.leftover_parts, most))
        )
    return notes


def _with_reason(name: str, why: str) -> str:
    return tr("{name} ({why})", name=name, why=why)
