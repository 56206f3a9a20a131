"""Compares the VQ encoders of two checkpoints, tensor by tensor and bit by bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import file_record, health, judge_tensors
from vqcheck.codebook.comparison import ComparedFile, Comparison, CopyPair, Scope, TensorDiff, Verdict, titles
from vqcheck.codebook.copies import Copies, Copy, Partners, choose, pair_up
from vqcheck.codebook.copy_verdict import DigestsOfCopies, answered, combined, lone_copies, verdict_on, whole
from vqcheck.codebook.family import Family, Role
from vqcheck.codebook.file_record import FileOrder, Order, RoundingReading
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.tensor_pair import Pair, TensorSide, in_common, pairs_of, places
from vqcheck.codebook.vq_encoder import InFront, VQEncoder
from vqcheck.errors import CheckpointError, NoCodebookError
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.codebook.diagnosis.result import Diagnosis

OnTensor = Callable[[int, int], None]
"""Called as (tensors done, tensors in all) after each tensor."""


def compare(
    a: Checkpoint,
    b: Checkpoint,
    scope: str = Scope.ALL,
    on_tensor: OnTensor | None = None,
    own: tuple[Family, ...] = (),
    copies: tuple[str, ...] = (),
    order: Order | None = None,
) -> Comparison:
    """Return what differs between the VQ encoders of two open checkpoints.

    Every copy of A is compared with the copy of B that answers to it, see `pair_up`. `copies` chooses one by its name,
    or one of each file by two. With `scope="tokens"` the bookkeeping tensors are shown, but not judged. `own` are rows
    of the user's that are tried before the family table. `order` says which file came first, where the caller knows
    it; else what the files say of themselves decides.

    Raises:
        ValueError: there is no such scope.
        NoCodebookError: a file holds no VQ encoder, or the two have no token-relevant tensor in common.
        CheckpointError: a tensor cannot be read, or neither file holds the projection in front of the codebook.
        UsageError: a file has no copy of that name.

    """
    scope = Scope(scope)
    held_a, held_b = choose(find_copies(a, own), find_copies(b, own), copies)
    partners = partners_of(held_a, held_b)
    together = [(held_a.sound[each.a], held_b.sound[each.b]) for each in partners]
    if not any(in_common(one.encoder, other.encoder) for one, other in together):
        raise NoCodebookError(tr("{file} and {other}: have no codebook in common", file=str(a.path), other=str(b.path)))
    for one, other in together:
        if a is not b:  # a file beside itself is described, and nothing is said of another
            _require_projection(one, other)
    total, done = sum(len(places(one.encoder, other.encoder)) for one, other in together), 0
    all_pairs: list[list[Pair]] = []
    for one, other in together:
        pairs: list[Pair] = []
        for each in pairs_of(one, other):
            pairs.append(each)
            done += 1
            if on_tensor:
                on_tensor(done, total)
        all_pairs.append(pairs)
    orders = [_order(one, other, pairs, order) for (one, other), pairs in zip(together, all_pairs, strict=True)]
    judged = [judge_tensors.judge(pairs, scope, known) for pairs, known in zip(all_pairs, orders, strict=True)]
    copy_pairs = tuple(
        CopyPair(one.encoder.family.name, one.name, other.name, whole(each.diffs), partner.guessed)
        for (one, other), each, partner in zip(together, judged, partners, strict=True)
    )
    digests = DigestsOfCopies(held_a, held_b)
    for (one, other), pairs in zip(together, all_pairs, strict=True):
        digests.put("A", one, [each.a for each in pairs])
        digests.put("B", other, [each.b for each in pairs])
    lone_a = lone_copies("A", held_a, [one for one, _ in together], scope, digests)
    lone_b = lone_copies("B", held_b, [other for _, other in together], scope, digests)
    equal = digests.equal(together)
    lone = answered(lone_a, lone_b, equal)
    comparison = Comparison(
        a=_side([[each.a for each in pairs] for pairs in all_pairs], [one for one, _ in together]),
        b=_side([[each.b for each in pairs] for pairs in all_pairs], [other for _, other in together]),
        scope=scope,
        tensors=_labelled(copy_pairs, [each.diffs for each in judged]),
        verdict=verdict_on(copy_pairs, lone, equal),
        pairs=copy_pairs,
        lone=lone,
        equal=equal,
        codecs=tuple(dict.fromkeys(each.family for each in copy_pairs)),
        order=orders[0],
        losses=tuple(loss for each in judged for loss in each.losses.values()),
    )
    found = [
        replace(_diagnosis(pairs, each), copy=copy_pair.name if len(copy_pairs) > 1 else "")
        for pairs, each, copy_pair in zip(all_pairs, judged, copy_pairs, strict=True)
        if _is_ill(pairs, each)
    ]
    if found:
        comparison = replace(comparison, diagnosis=found[0], further=tuple(found[1:]))
    a.check_unchanged()
    b.check_unchanged()
    return replace(comparison, one_file=a.is_same_file(b))


def _require_projection(a: Copy, b: Copy) -> None:
    """Raise CheckpointError where neither copy holds the projection in front, unless both are made to be without."""
    lacking = [copy for copy in (a, b) if copy.encoder.in_front == InFront.ABSENT]
    if len(lacking) == 2 and not all(map(_may_lack_projection, lacking)):
        template = next(key.template for key in a.encoder.family.keys if key.role == Role.INPUT_PROJ)
        raise CheckpointError(
            tr(
                "holds no projection in front of the codebook ({template}), nor does {other}; it "
                "decides tokens as much as the codebook does",
                template=template,
                other=str(b.file.path),
            ),
            a.file.path,
        )


def _may_lack_projection(copy: Copy) -> bool:
    return file_record.may_leave_out(file_record.record(copy.file), copy.encoder.family, Role.INPUT_PROJ)


def first_pair(a: Checkpoint, b: Checkpoint, own: tuple[Family, ...], copies: tuple[str, ...]) -> tuple[Copy, Copy]:
    """Return the copies that a comparison describes first; raises as `compare`."""
    held_a, held_b = choose(find_copies(a, own), find_copies(b, own), copies)
    first = partners_of(held_a, held_b)[0]
    return held_a.sound[first.a], held_b.sound[first.b]


def partners_of(a: Copies, b: Copies) -> list[Partners]:
    """Return which copies of two files belong together; where no codec is in both, the first of each."""
    found = pair_up([copy.label for copy in a.sound], [copy.label for copy in b.sound])
    return found or [Partners(0, 0, guessed=len(a.sound) > 1 or len(b.sound) > 1)]


def _order(one: Copy, other: Copy, pairs: list[Pair], told: Order | None) -> FileOrder:
    """Return which of two copies came first."""
    records = file_record.record(one.file), file_record.record(other.file)
    known = FileOrder(*records, told or file_record.order(*records))
    return replace(known, both_ways=_both_ways(pairs, known)) if known.order is Order.UNKNOWN else known


def _both_ways(pairs: list[Pair], order: FileOrder) -> bool:
    """Say whether A is B's rounding in one tensor and B is A's in another, where only the order tells what that is."""
    undecided = [pair for pair in pairs if pair.rounded and order.reading(pair.rounded) is RoundingReading.UNDECIDED]
    return len({pair.rounded.narrower for pair in undecided if pair.rounded}) > 1


def _labelled(pairs: tuple[CopyPair, ...], diffs: list[tuple[TensorDiff, ...]]) -> tuple[TensorDiff, ...]:
    """Return the diffs of all pairs, those of every pair but the first with its codec or its copy in front."""
    return diffs[0] + tuple(
        replace(diff, label=f"{title} {diff.label}")
        for title, more in zip(titles(pairs)[1:], diffs[1:], strict=True)
        for diff in more
    )


def _is_ill(pairs: list[Pair], judged: judge_tensors.JudgedTensors) -> bool:
    """Say whether one codec of the two files needs a diagnosis: it differs, or was never trained."""
    if whole(judged.diffs) not in (Verdict.IDENTICAL, Verdict.WITHIN_ULPS):
        return True
    return any(_never_trained(side.file, side.encoder) for side in (pairs[0].a, pairs[0].b))


def _diagnosis(pairs: list[Pair], judged: judge_tensors.JudgedTensors) -> "Diagnosis":
    import numpy as np

    from vqcheck.codebook.diagnosis.diagnose import diagnose
    from vqcheck.codebook.diagnosis.stored_encoder import StoredEncoder

    a, b = (
        StoredEncoder(sides[0].file, sides[0].encoder, {side.tensor: side for side in sides if side.tensor})
        for sides in ([each.a for each in pairs], [each.b for each in pairs])
    )
    # A file may hold any bits; what they come to is said by the verdicts, not by warnings on stderr.
    with np.errstate(all="ignore"):
        return diagnose(a, b, judged)


def _never_trained(file: Checkpoint, encoder: VQEncoder) -> bool:
    return any(health.never_trained(file, codebook) for codebook in encoder.codebooks)


def _side(sides: list[list[TensorSide]], covered: list[Copy]) -> ComparedFile:
    """Return what is said of one file, given its part of each pair of each copy."""
    first = sides[0]
    file, encoder = first[0].file, first[0].encoder
    examined = {side.tensor: side for copy in sides for side in copy if side.tensor and health.is_examined(side.tensor)}
    encoders = tuple(copy.encoder for copy in covered)
    ailments = health.ailments_of(file, encoders, sum(side.not_finite for side in examined.values()))
    return ComparedFile(
        path=file.path,
        family=encoder.family.name,
        prefix=encoder.prefix,
        never_trained=health.Condition.NEVER_TRAINED in ailments,
        digests=combined(first),
        ailments=tuple(ailment for ailment in ailments if ailment != health.Condition.NEVER_TRAINED),
        in_front=encoder.in_front,
        unplaced=encoder.unplaced,
        missing_files=file.missing_files,
        module_classes=file.module_classes,
    )
