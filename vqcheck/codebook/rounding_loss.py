"""Says what a rounding destroyed: codes that became zero, infinite, or one and the same as others."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.comparison import EFFECTIVE, RoundingLoss
from vqcheck.codebook.family import CODEBOOK_ROLES, Derivation, Family, Role
from vqcheck.codebook.health import least_count
from vqcheck.codebook.values import Array, as_array, code_vectors, sum_over_count, transformed
from vqcheck.codebook.vq_encoder import Codebook, Place

if TYPE_CHECKING:
    from vqcheck.codebook.tensor_pair import Pair, TensorSide

Codes = npt.NDArray[np.bool_]


def in_use(counts: "Array | None", shape: tuple[int, ...]) -> Codes:
    """Return which codes `[heads, codes]` are in use by their counts; every one where those tell nothing."""
    if counts is None or not counts.any() or not (np.isfinite(counts) & (counts >= 0)).all():
        return np.ones(shape, dtype=bool)
    used = [~(row < least_count(row.tolist())) for row in counts]
    return np.stack(used)


def spoilt(codes: "Array", used: Codes) -> tuple[Codes, Codes, Codes]:
    """Return which codes of `[heads, codes, dim]` are zero, not finite, and equal to another code in use."""
    zero = np.asarray(~codes.any(axis=-1))
    not_finite = np.asarray(~np.isfinite(codes).all(axis=-1))
    equal = np.zeros(codes.shape[:2], dtype=bool)
    for head, rows in enumerate(codes):
        # Adding zero makes one of both zeros; which of them a code holds decides no distance.
        _, group, size = np.unique(rows + 0.0, axis=0, return_inverse=True, return_counts=True)
        group = group.reshape(-1)
        used_in_group = np.bincount(group, weights=used[head], minlength=len(size))
        equal[head] = used_in_group[group] - used[head] > 0
    return zero, not_finite, equal & ~zero & ~not_finite


def measure(
    side: str, place: str, wide: "Array", narrow: "Array", counts: tuple["Array | None", "Array | None"]
) -> RoundingLoss | None:
    """Return what rounding `wide` codes `[heads, codes, dim]` to `narrow` ones destroyed, or None where nothing was.

    `counts` are the wide file's and the narrow file's, `[heads, codes]`, where they store them.
    """
    wide_counts, narrow_counts = counts
    used = in_use(wide_counts if wide_counts is not None else narrow_counts, wide.shape[:2])
    lost = [after & ~before for before, after in zip(spoilt(wide, used), spoilt(narrow, used), strict=True)]
    zero, not_finite, equal = (tuple(np.flatnonzero((each & used).reshape(-1)).tolist()) for each in lost)
    overflowed = underflowed = 0
    if wide_counts is not None and narrow_counts is not None and wide_counts.shape == narrow_counts.shape:
        overflowed = int(np.count_nonzero(np.isfinite(wide_counts) & ~np.isfinite(narrow_counts)))
        underflowed = int(np.count_nonzero((wide_counts != 0) & (narrow_counts == 0)))
    unused = int(np.count_nonzero(np.logical_or.reduce(lost) & ~used))
    found = RoundingLoss(place, side, zero, not_finite, equal, unused, overflowed, underflowed)
    return found if found.of_use or unused or overflowed or underflowed else None


def spoilt_in_use(checkpoint: Checkpoint, family: Family, codebook: Codebook) -> int:
    """Return how many codes in use of one file are zero, not finite, or equal to another code in use."""
    data = {tensor: checkpoint.read(tensor.tensor) for tensor in codebook.tensors}
    counted = codebook.of_role(Role.EMA_COUNT)
    with np.errstate(all="ignore"):
        codes = code_vectors(family, codebook, data)
        used = in_use(as_array(counted, data[counted]) if counted else None, codes.shape[:2])
        return int(np.count_nonzero(np.logical_or.reduce(spoilt(codes, used)) & used))


def of_books(pairs: list["Pair"], rounded: list["Pair"]) -> dict[Place, RoundingLoss]:
    """Return what rounding destroyed, by the place of the codes: stored ones, or those calculated from what is."""
    losses: dict[Place, RoundingLoss] = {}
    for book in dict.fromkeys(pair.place[:3] for pair in rounded):
        of_book = [pair for pair in pairs if pair.place[:3] == book]
        encoder = of_book[0].a.encoder
        where = encoder.where(book)
        sides = {
            letter
            for pair in rounded
            if pair.place[:3] == book and pair.rounded
            for letter in pair.rounded.narrower or "AB"
        }
        with np.errstate(all="ignore"):
            a, b = (_codes_and_counts(encoder.family, of_book, letter) for letter in "ab")
            if a[0] is None or b[0] is None or a[0].shape != b[0].shape:
                continue
            found = [measure("A", where, b[0], a[0], (b[1], a[1]))] if "A" in sides else []
            found += [measure("B", where, a[0], b[0], (a[1], b[1]))] if "B" in sides else []
        if worst := max(filter(None, found), key=lambda loss: loss.of_use, default=None):
            losses[(*book, Role.CODES, EFFECTIVE if encoder.family.derivation == Derivation.TRANSFORMED else "")] = (
                worst
            )
    return losses


def _codes_and_counts(family: Family, pairs: list["Pair"], letter: str) -> tuple["Array | None", "Array | None"]:
    """Return one file's vectors of the lookup, calculated where they are not stored, and its counts."""
    arrays: dict[tuple[str, str], Array] = {}
    for pair in pairs:
        side: TensorSide = getattr(pair, letter)
        if side.tensor and side.tensor.role in CODEBOOK_ROLES:
            arrays[side.tensor.role, side.tensor.part] = as_array(side.tensor, side.data)
    codes, sums, counts = (arrays.get((role, "")) for role in (Role.CODES, Role.EMA_SUM, Role.EMA_COUNT))
    if family.derivation == Derivation.SUM_OVER_COUNT:
        codes = None if sums is None or counts is None else sum_over_count(sums, counts)
    elif family.derivation == Derivation.TRANSFORMED and codes is not None:
        transform = {part: values for (role, part), values in arrays.items() if role == Role.CODE_TRANSFORM}
        vectors = transformed(codes, transform)
        codes = codes if vectors is None else vectors
    return codes, counts
