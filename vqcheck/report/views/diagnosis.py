"""Why two VQ encoders differ and what that does to the tokens: evidence and measures."""

from collections.abc import Iterator, Sequence
from typing import Final

from vqcheck.codebook.diagnosis.evidence import EmaUpdates
from vqcheck.codebook.diagnosis.result import Cause, Diagnosis, Displacement, TokenFlips
from vqcheck.language import capitalized, sentences, tr, trn
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown
from vqcheck.report.views.evidence import evidence
from vqcheck.report.views.words import effect, ranges, share

_SHOWN: Final = 5
"""Tokens and recordings that text without -v names."""
_MOVED: Final = 3
"""Codebooks of which text without -v says how far their codes moved."""


def sections(diagnosis: Diagnosis, which: str, shown: Shown) -> Iterator[doc.Section]:
    """Return evidence and consequence; `which` names the codec or copy where there are several."""
    yield doc.Section(
        tr("What happened ({which})", which=which) if which else tr("What happened"), _causes(diagnosis), shown
    )
    if diagnosis.flips or diagnosis.displacement:
        title = tr("What it does to the tokens ({which})", which=which) if which else tr("What it does to the tokens")
        yield doc.Section(title, _effect(diagnosis), shown)


def _causes(diagnosis: Diagnosis) -> tuple[doc.Block, ...]:
    """Return the evidence; in short, of codebooks to which the same happened that of the first."""
    # What holds for all codebooks is said once.
    every = dict.fromkeys(line for cause in diagnosis.causes for line in evidence(cause, diagnosis))
    alike: dict[object, list[Cause]] = {}
    for cause in diagnosis.causes:
        alike.setdefault(_kind(cause), []).append(cause)
    short: list[tuple[str, str]] = []
    for causes in alike.values():
        short += evidence(causes[0], diagnosis)
        others = [cause.codebook for cause in causes[1:] if cause.codebook is not None]
        if others:
            said = trn(
                "The same happened in {number} more codebook ({codebooks}); -v shows each.",
                "The same happened in {number} more codebooks ({codebooks}); -v shows each.",
                len(others),
                codebooks=ranges(others),
            )
            short.append(("", said))
    return (
        doc.Bullets([_evidence(*line) for line in short], Shown.BRIEF),
        doc.Bullets([_evidence(*line) for line in every], Shown.DETAIL),
    )


def _evidence(certainty: str, sentence: str) -> doc.Inline:
    return (doc.strong(tr("{certainty}: ", certainty=certainty)), sentence) if certainty else sentence


def _kind(cause: Cause) -> object:
    """Return what causes have in common that differ in the codebook and in figures alone."""
    found = cause.evidence
    steps = (found.order, found.steps, found.precision) if isinstance(found, EmaUpdates) else ()
    return cause.code, cause.certainty, steps, getattr(found, "how", "")


def _effect(diagnosis: Diagnosis) -> tuple[doc.Block, ...]:
    flips = diagnosis.flips
    worst = sorted(diagnosis.displacement, key=lambda found: -found.median)
    several = len(worst) > 1
    return (
        doc.Paragraph(flipped(flips) if flips else not_measured(diagnosis)),
        *(_flips(flips) if flips else ()),
        doc.Bullets(
            [moved(each) for each in worst],
            Shown.TEXT,
            most=_MOVED,
            rest=trn("{number} more codebook moved less.", "{number} more codebooks moved less.", len(worst) - _MOVED),
        )
        if several
        else doc.Paragraph(moved(worst[0], alone=True) if worst else ""),
        _displacement(worst if several else ()),
    )


def not_measured(diagnosis: Diagnosis) -> str:
    """Return that nothing is known of real tokens, and how to learn it where that is possible."""
    if diagnosis.family != "gpt-sovits":
        return tr(
            "The effect on tokens was not measured: that takes features of real recordings. How far codes moved says "
            "what to expect."
        )
    return tr(
        "The effect on tokens was not measured: that takes features of real recordings. Run this again with --features "
        "logs/<name>/4-cnhubert to learn how many of your frames get another token."
    )


def moved(found: Displacement, *, alone: bool = False) -> str:
    """Return how far the codes of one codebook moved; `alone` where the file has no other."""
    name = tr("The codes") if alone else tr("The codes of codebook {codebook}", codebook=found.codebook)
    distances = tr(
        "{name} moved by {median:.2g} (median), {p99:.2g} (99th percentile) and at most "
        "{maximum:.2g} (code {maximum_code}) of half the distance to their nearest neighbour; "
        "{above_one} of {codes} moved further than that.",
        name=name,
        median=found.median,
        p99=found.p99,
        maximum=found.maximum,
        maximum_code=found.maximum_code,
        above_one=found.above_one,
        codes=found.codes,
    )
    if found.retained == found.codes:
        return distances
    kept = tr(
        "{kept} of the codes are still nearest to themselves (codes, not frames: frames flip earlier).",
        kept=share(found.retained, found.codes),
    )
    return sentences(distances, kept)


def flipped(flips: TokenFlips) -> str:
    """Return how many frames of real recordings get another token."""
    text = tr(
        "{effect}: {flipped} of {frames} frames ({share}) in {items} recordings get another token from B than from A.",
        effect=capitalized(effect(flips)),
        flipped=flips.flipped,
        frames=flips.frames,
        share=share(flips.flipped, flips.frames),
        items=flips.items,
    )
    if not flips.borrowed:
        return text
    other = "B" if flips.borrowed == "A" else "A"
    borrowed = tr("{lacking} stores no projection; {other}'s was taken for both.", lacking=flips.borrowed, other=other)
    return sentences(text, borrowed)


def _displacement(found: Sequence[Displacement]) -> doc.Table:
    columns = (
        doc.Column(tr("Codebook")),
        *doc.numbers(
            tr("Codes"), tr("Median"), tr("99th percentile"), tr("At most"), tr("Above 1"), tr("Still nearest")
        ),
    )
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
    caption = tr(
        "How far codes moved, in half the distance to their nearest neighbour, most first. Still nearest: codes that "
        "are nearest to themselves (codes, not frames: frames flip earlier)."
    )
    return doc.Table(caption, columns, rows, Shown.PAGE)


def _flips(flips: TokenFlips) -> Iterator[doc.Block]:
    """Return the tokens and the recordings that change most, and the recordings that were left out."""
    yield doc.Table(
        tr("Tokens that flip most often."),
        doc.numbers(tr("Token in A"), tr("frames"), tr("that flip"), tr("mostly to")),
        [(str(each.code), str(each.frames), str(each.flipped), str(each.mostly)) for each in flips.codes],
        most=_SHOWN,
    )
    yield doc.Table(
        tr("Recordings that change most."),
        (
            doc.Column(tr("Recording"), Kind.NAME),
            *doc.numbers(tr("frames"), tr("that flip"), tr("share")),
        ),
        [
            (doc.path(each.item), str(each.frames), str(each.flipped), share(each.flipped, each.frames))
            for each in flips.worst
        ],
        most=_SHOWN,
    )
    if flips.skipped:
        yield doc.Paragraph(
            trn("{number} recording was left out:", "{number} recordings were left out:", len(flips.skipped))
        )
        yield doc.Bullets(
            [(doc.path(item), tr(": {why}", why=why)) for item, why in flips.skipped],
            most=_SHOWN,
            rest=tr("-v lists the others"),
        )
