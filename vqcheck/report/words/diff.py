"""What two compared VQ encoders come to, in words."""

from collections.abc import Sequence

from vqcheck.codebook.comparison import CHANGED, FAULTS, MISSING, UNDECIDED, WITHIN_ULPS, Change, Comparison, Side
from vqcheck.codebook.diagnosis.evidence import Rounding
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.effective import EFFECTIVE
from vqcheck.codebook.family import CODES
from vqcheck.codebook.vq_encoder import UNKNOWN
from vqcheck.report.views import copies
from vqcheck.report.words import caveats
from vqcheck.report.words.causes import headline as what_happened
from vqcheck.report.words.caveats import front, left_out
from vqcheck.report.words.share import share

_SHOWN = 3
"""Tensors named in a headline."""


def headline(comparison: Comparison) -> str:
    """Return what two files come to, in one sentence, or that they are one, in another."""
    itself = f" {caveats.ONE_FILE[:1].upper()}{caveats.ONE_FILE[1:]}." if comparison.one_file else ""
    return f"{_sentence(comparison)}{itself}"


def _sentence(comparison: Comparison) -> str:
    if comparison.verdict == UNDECIDED:
        return f"{copies.undecided(comparison)}."
    if comparison.diagnosis is None:
        lacking = left_out(comparison)
        if comparison.verdict == WITHIN_ULPS:
            return "The VQ encoders are equal but for last places of what is calculated."
        if comparison.verdict != CHANGED and front(comparison):
            return f"The codebook is the same; {front(comparison)}."
        return f"The VQ encoder is the same{f' as far as both files store it ({lacking})' if lacking else ''}."
    if comparison.verdict != CHANGED and comparison.never_trained:
        return "The two VQ encoders agree, but there is nothing in them to agree on."
    flips = comparison.diagnosis.flips
    effect = ""
    if flips:
        some = f"{share(flips.flipped, flips.frames)} of your frames now mean another token"
        effect = f"; {some if flips.flipped else 'none of your frames now means another token'}"
    what = _faults(comparison) or what_happened(comparison.diagnosis)
    which = copies.of_which(comparison.diagnosis, comparison)
    if which:
        what = f"{which}: {what}"
    also = [copies.of_which(diagnosis, comparison) for diagnosis in comparison.further]
    same = [each for each in comparison.equal if each.a == comparison.pairs[0].a]
    if same:
        effect += f"; {copies.equal(same[0])}"
    too = f"; {' and '.join(also)} differ{'s' * (len(also) == 1)}, too" if also else ""
    return f"{what}{effect}{too}."


def _faults(comparison: Comparison) -> str:
    """Return what is wrong where no cause tells: tensors that one file lacks, or values that changed."""
    diagnosis = comparison.diagnosis
    faults = [diff for diff in comparison.tensors if diff.judged and diff.verdict in FAULTS]
    told = diagnosis is not None and any(not isinstance(cause.evidence, Rounding) for cause in diagnosis.causes)
    if told or not faults:
        return ""
    absent = [diff.label for diff in faults if diff.verdict == MISSING]
    if absent:
        return f"The two VQ encoders do not store the same tensors: only one of them has {_some(absent)}"
    calculated = any(diff.role == CODES and diff.label.endswith(f".{EFFECTIVE}") for diff in faults)
    what = "The calculated codes" if calculated else _some([diff.label for diff in faults])
    return f"{what} changed: frames may get another token"


def _some(labels: Sequence[str]) -> str:
    more = len(labels) - _SHOWN
    return f"{', '.join(labels[:_SHOWN])}{f' and {more} more' if more > 0 else ''}"


def identity(side: Side) -> str:
    """Return what one file's VQ encoder is, and its digest."""
    digest, what = whole(side)
    prefix = f", names begin with {side.prefix}" if side.prefix else ""
    unknown = ", what is in front is not known" if side.in_front == UNKNOWN else ""
    return f"{side.family}, {what} {digest.algorithm} {digest.short}{prefix}{unknown}"


def whole(side: Side) -> tuple[Digest, str]:
    """Return the widest digest that a file has, and what it covers."""
    digests = side.digests
    return (digests.vq_encoder, "VQ encoder") if digests.vq_encoder else (digests.widest, "codebook alone")


def size(change: Change) -> str:
    """Return how far values are apart."""
    return "; ".join(sizes(change))


def sizes(change: Change) -> list[str]:
    """Return how far values are apart, in parts that can stand below each other."""
    parts = []
    if change.max_abs:
        parts.append(f"max |b-a| {change.max_abs:.3g}{_at(change.max_abs_index)}")
    if change.max_rel:
        parts.append(f"max |b-a|/|a| {change.max_rel:.3g}{_at(change.max_rel_index)}")
    if change.not_finite:
        parts.append(f"{change.not_finite} changed values are NaN or infinite")
    return parts or ["only signs of zero or NaN payloads differ"]


def greatest(changes: Sequence[Change]) -> list[str]:
    """Return how far the values of several tensors are apart at most."""
    parts = [
        f"max {what} {most:.3g}"
        for what, most in (
            ("|b-a|", max(change.max_abs for change in changes)),
            ("|b-a|/|a|", max(change.max_rel for change in changes)),
        )
        if most
    ]
    if not_finite := sum(change.not_finite for change in changes):
        parts.append(f"{not_finite} changed values are NaN or infinite")
    return parts or ["only signs of zero or NaN payloads differ"]


def _at(index: tuple[int, ...]) -> str:
    """Return where a value stands; a single value stands nowhere."""
    return f" at {list(index)}" if index else ""
