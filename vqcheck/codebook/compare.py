"""Compares the VQ encoders of two checkpoints, tensor by tensor and bit by bit."""

from collections.abc import Callable

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, health, pair
from vqcheck.codebook.comparison import ALL, CHANGED, FAULTS, IDENTICAL, ROUNDED, Comparison, Side, TensorDiff
from vqcheck.codebook.family import CODES
from vqcheck.codebook.find import find_vq_encoder
from vqcheck.codebook.pair import Pair
from vqcheck.codebook.vq_encoder import VQEncoder
from vqcheck.errors import NoCodebookError

OnTensor = Callable[[int, int], None]
"""Called as (tensors done, tensors in all) after each tensor."""


def compare(a: Checkpoint, b: Checkpoint, scope: str = ALL, on_tensor: OnTensor | None = None) -> Comparison:
    """Return what differs between the VQ encoders of two open checkpoints.

    With `scope="tokens"` the bookkeeping tensors are shown, but not judged.

    Raises:
        NoCodebookError: a file holds no VQ encoder, or the two have no token-relevant tensor in common.
        CheckpointError: a tensor cannot be read.

    """
    encoder_a, encoder_b = find_vq_encoder(a), find_vq_encoder(b)
    in_b = {tensor.place: tensor for tensor in encoder_b.tensors}
    in_a = {tensor.place: tensor for tensor in encoder_a.tensors}
    places = [*in_a, *(place for place in in_b if place not in in_a)]
    if not any(in_a[place].role == CODES for place in in_a.keys() & in_b.keys()):
        raise NoCodebookError(f"{a.path} and {b.path}: have no codebook in common")
    pairs: list[Pair] = []
    for done, place in enumerate(places, start=1):
        pairs.append(
            Pair(pair.Side(a, encoder_a, in_a.get(place)), pair.Side(b, encoder_b, in_b.get(place))),
        )
        if on_tensor:
            on_tensor(done, len(places))
    diffs = tuple(each.diff(scope) for each in pairs)
    comparison = Comparison(
        a=_side(encoder_a, [each.a for each in pairs]),
        b=_side(encoder_b, [each.b for each in pairs]),
        scope=scope,
        tensors=diffs,
        verdict=_whole(diffs),
    )
    if comparison.verdict != IDENTICAL or comparison.never_trained:
        comparison = _diagnosed(comparison, pairs)
    a.check_unchanged()
    b.check_unchanged()
    return comparison


def _diagnosed(comparison: Comparison, pairs: list[Pair]) -> Comparison:
    from dataclasses import replace

    from vqcheck.codebook.diagnosis.diagnose import Reading, diagnose

    a, b = (
        Reading(sides[0].file, sides[0].encoder, {side.tensor: side for side in sides if side.tensor})
        for sides in ([each.a for each in pairs], [each.b for each in pairs])
    )
    verdicts = {each.place: diff.verdict for each, diff in zip(pairs, comparison.tensors, strict=True)}
    return replace(comparison, diagnosis=diagnose(a, b, verdicts))


def _whole(diffs: tuple[TensorDiff, ...]) -> str:
    verdicts = {diff.verdict for diff in diffs if diff.judged}
    if verdicts & FAULTS:
        return CHANGED
    return ROUNDED if ROUNDED in verdicts else IDENTICAL


def _side(encoder: VQEncoder, sides: list[pair.Side]) -> Side:
    file = sides[0].file
    digests = {side.tensor: side.digest for side in sides if side.tensor and side.digest}
    return Side(
        path=file.path,
        family=encoder.family.name,
        prefix=encoder.prefix,
        never_trained=any(health.never_trained(file, codebook) for codebook in encoder.codebooks),
        digests=digest.combine(encoder, digests, digest.F32V1),
    )
