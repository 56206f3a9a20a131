"""Compares the VQ encoders of two checkpoints, tensor by tensor and bit by bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, effective, health, pair
from vqcheck.codebook.comparison import (
    ALL,
    CHANGED,
    FAULTS,
    IDENTICAL,
    ROUNDED,
    WITHIN_ULPS,
    Comparison,
    Side,
    TensorDiff,
)
from vqcheck.codebook.family import CODEBOOK_ROLES, Family
from vqcheck.codebook.find import find_vq_encoders
from vqcheck.codebook.pair import Pair
from vqcheck.codebook.vq_encoder import Place, VQEncoder
from vqcheck.errors import NoCodebookError

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Diagnosis

OnTensor = Callable[[int, int], None]
"""Called as (tensors done, tensors in all) after each tensor."""


def compare(
    a: Checkpoint,
    b: Checkpoint,
    scope: str = ALL,
    on_tensor: OnTensor | None = None,
    own: tuple[Family, ...] = (),
) -> Comparison:
    """Return what differs between the VQ encoders of two open checkpoints.

    With `scope="tokens"` the bookkeeping tensors are shown, but not judged. Where both files hold further codecs of
    the same families, these are judged, too; a moving average of the model is not. `own` are rows of the user's that
    are tried before the family table.

    Raises:
        NoCodebookError: a file holds no VQ encoder, or the two have no token-relevant tensor in common.
        CheckpointError: a tensor cannot be read.

    """
    encoders_a, encoders_b = find_vq_encoders(a, own), find_vq_encoders(b, own)
    together = _together(encoders_a, encoders_b)
    places = [_places(one, other) for one, other in together]
    total, done = sum(map(len, places)), 0
    if not any(_in_common(one, other) for one, other in together[:1]):
        raise NoCodebookError(f"{a.path} and {b.path}: have no codebook in common")
    all_pairs: list[list[Pair]] = []
    for (one, other), their_places in zip(together, places, strict=True):
        side_a, side_b = _sides(a, one), _sides(b, other)
        pairs: list[Pair] = []
        for place in their_places:
            pairs.append(Pair(place, side_a(place), side_b(place)))
            done += 1
            if on_tensor:
                on_tensor(done, total)
        all_pairs.append(pairs)
    judged = [effective.judge(pairs, scope) for pairs in all_pairs]
    diffs = judged[0].diffs + tuple(
        replace(diff, label=f"{one.family.name} {diff.label}")
        for (one, _), more in zip(together[1:], judged[1:], strict=True)
        for diff in more.diffs
    )
    covered_a, covered_b = zip(*together, strict=True)
    comparison = Comparison(
        a=_side([each.a for each in all_pairs[0]], covered_a, _others(encoders_a, covered_a)),
        b=_side([each.b for each in all_pairs[0]], covered_b, _others(encoders_b, covered_b)),
        scope=scope,
        tensors=diffs,
        verdict=_whole(diffs),
        codecs=tuple(encoder.family.name for encoder in covered_a),
    )
    found = [_diagnosis(pairs, each) for pairs, each in zip(all_pairs, judged, strict=True) if _is_ill(pairs, each)]
    if found:
        comparison = replace(comparison, diagnosis=found[0], further=tuple(found[1:]))
    a.check_unchanged()
    b.check_unchanged()
    return replace(comparison, one_file=a.is_same_file(b))


def _together(
    encoders_a: tuple[VQEncoder, ...], encoders_b: tuple[VQEncoder, ...]
) -> list[tuple[VQEncoder, VQEncoder]]:
    """Return which VQ encoders of the two files to compare: the first ones, and others of equal families."""
    rest_b = {other.family.name: other for other in encoders_b[1:] if not other.is_shadow}
    return [(encoders_a[0], encoders_b[0])] + [
        (one, rest_b[one.family.name]) for one in encoders_a[1:] if not one.is_shadow and one.family.name in rest_b
    ]


def _others(encoders: tuple[VQEncoder, ...], covered: tuple[VQEncoder, ...]) -> tuple[str, ...]:
    return tuple(each.prefix or each.family.title for each in encoders if each not in covered)


def _places(a: VQEncoder, b: VQEncoder) -> list[Place]:
    """Return every place once, in order; one that both files tie to another is compared there."""
    return list(dict.fromkeys(tensor.place for encoder in (a, b) for tensor in encoder.tensors))


def _in_common(a: VQEncoder, b: VQEncoder) -> bool:
    """Say whether both hold what the same codes come from, under whatever spelling."""
    sources = [
        {place[:4] for place in encoder.by_place() if place[3] == encoder.family.source_of_codes} for encoder in (a, b)
    ]
    return not sources[0].isdisjoint(sources[1])


def _sides(file: Checkpoint, encoder: VQEncoder) -> Callable[[Place], pair.Side]:
    """Return what gives one file's part of each pair."""
    tensors = encoder.by_place()
    books = {place[:3] for place in tensors if place[3] in CODEBOOK_ROLES}

    def side(place: Place) -> pair.Side:
        return pair.Side(file, encoder, tensors.get(place), has_codebook=place[:3] in books)

    return side


def _is_ill(pairs: list[Pair], judged: effective.Judged) -> bool:
    """Say whether one codec of the two files needs a diagnosis: it differs, or was never trained."""
    if _whole(judged.diffs) not in (IDENTICAL, WITHIN_ULPS):
        return True
    return any(_never_trained(side.file, side.encoder) for side in (pairs[0].a, pairs[0].b))


def _diagnosis(pairs: list[Pair], judged: effective.Judged) -> "Diagnosis":
    import numpy as np

    from vqcheck.codebook.diagnosis.diagnose import Reading, diagnose

    a, b = (
        Reading(sides[0].file, sides[0].encoder, {side.tensor: side for side in sides if side.tensor})
        for sides in ([each.a for each in pairs], [each.b for each in pairs])
    )
    # A file may hold any bits; what they come to is said by the verdicts, not by warnings on stderr.
    with np.errstate(all="ignore"):
        return diagnose(a, b, judged.verdicts)


def _never_trained(file: Checkpoint, encoder: VQEncoder) -> bool:
    return any(health.never_trained(file, codebook) for codebook in encoder.codebooks)


def _whole(diffs: tuple[TensorDiff, ...]) -> str:
    verdicts = {diff.verdict for diff in diffs if diff.judged}
    if verdicts & FAULTS:
        return CHANGED
    return next((verdict for verdict in (ROUNDED, WITHIN_ULPS) if verdict in verdicts), IDENTICAL)


def _side(sides: list[pair.Side], covered: tuple[VQEncoder, ...], others: tuple[str, ...]) -> Side:
    file, encoder = sides[0].file, sides[0].encoder
    digests = {side.tensor: side.digest for side in sides if side.tensor and side.digest}
    return Side(
        path=file.path,
        family=encoder.family.name,
        prefix=encoder.prefix,
        never_trained=any(_never_trained(file, each) for each in covered),
        not_judged=others,
        digests=digest.combine(encoder, digests, digest.F32V1),
    )
