"""Judges values that a codec calculates from several stored tensors: derived codes, and weight-normed layers.

What decides tokens there is the result. A layer may be stored plain in one file and weight-normed in the other, or its
direction may be rescaled; Mimi's sums and counts may both be halved. So where sources differ, results are compared.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vqcheck.codebook.comparison import EFFECTIVE, FAULTS, Change, RoundingLoss, TensorDiff, Verdict
from vqcheck.codebook.family import CODEBOOK_ROLES, Derivation, Role
from vqcheck.codebook.file_record import FileOrder, Order, RoundingReading
from vqcheck.codebook.vq_encoder import Place
from vqcheck.language import tr

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vqcheck.codebook.tensor_pair import Pair, TensorSide

MOST_ULPS: Final = 16
"""Units in the last place that two ways of calculating may differ by; a step of training moves values much further."""
_HALVES: Final = frozenset({"float16", "bfloat16"})
MOST_NARROW_ULPS: Final = 4
"""The same where a source was rounded to 16 bits: each of the few roundings moves the result by half a unit."""


class JudgedTensors(NamedTuple):
    """Every tensor's diff, and what a diagnosis goes by."""

    diffs: tuple[TensorDiff, ...]
    verdicts: dict[Place, str]
    losses: dict[Place, RoundingLoss]
    """What rounding destroyed, by the place of the codes."""
    readings: dict[Place, TensorDiff]
    """The diffs of tensors of which one is the other's rounding."""


def judge(pairs: list["Pair"], scope: str, order: FileOrder) -> JudgedTensors:
    """Return the verdicts on stored tensors, with those on calculated values behind their sources."""
    own = {pair.place: pair.diff(scope, order) for pair in pairs}
    losses = _losses(pairs, own)
    for place, loss in losses.items():
        if loss.of_use and place in own:
            note = tr("{rounded}, which destroyed codes in use", rounded=own[place].note)
            own[place] = replace(own[place], verdict=Verdict.CHANGED, note=note)
    readings = {place: diff for place, diff in own.items() if diff.reading}
    verdicts: dict[Place, str] = {place: diff.verdict for place, diff in own.items()}
    behind: dict[Place, list[TensorDiff]] = {}
    # A layer that is spelled otherwise on the other side is one line, not three that are missing.
    spelled_otherwise: set[Place] = set()
    for place, sources in _calculated(pairs):
        result = _result(place, sources, [own[source.place] for source in sources], losses.get(place), order)
        if result is None:
            continue
        behind.setdefault(sources[-1].place, []).append(result)
        verdicts[place] = result.verdict
        if not _is_of_bookkeeping(place):
            # The sources mean nothing by themselves. (Sums and counts do: they betray updates.)
            for source in sources:
                own[source.place] = replace(own[source.place], judged=False)
                if result.verdict not in FAULTS:
                    verdicts[source.place] = result.verdict
                if own[source.place].verdict == Verdict.MISSING:
                    spelled_otherwise.add(source.place)
    diffs: list[TensorDiff] = []
    for pair in pairs:
        diffs += [own[pair.place]] * (pair.place not in spelled_otherwise)
        diffs += behind.get(pair.place, [])
    return JudgedTensors(tuple(diffs), verdicts, losses, readings)


def _losses(pairs: list["Pair"], own: dict[Place, TensorDiff]) -> dict[Place, RoundingLoss]:
    """Return what rounding destroyed, by the place of the codes; nothing is imported where nothing is rounded."""
    rounded = [pair for pair in pairs if own[pair.place].verdict == Verdict.ROUNDED and pair.place[3] in CODEBOOK_ROLES]
    if not rounded:
        return {}
    from vqcheck.codebook.rounding_loss import of_books

    return of_books(pairs, rounded)


def _calculated(pairs: list["Pair"]) -> Iterator[tuple[Place, list["Pair"]]]:
    """Yield (place of a calculated value, its sources) for derived codes and weight-normed layers."""
    layers: dict[Place, list[Pair]] = {}
    for pair in pairs:
        stem, _, last = pair.place[4].rpartition(".")
        if last in ("weight", "g", "v"):
            part = f"{stem}.weight" if stem else "weight"
            layers.setdefault((*pair.place[:4], part), []).append(pair)
    for place, sources in layers.items():
        if any(source.place != place for source in sources):
            yield place, sources
    books: dict[tuple[int, int, int], list[Pair]] = {}
    for pair in pairs:
        books.setdefault(pair.place[:3], []).append(pair)
    for book, sources in books.items():
        derivation = sources[0].a.encoder.family.derivation
        if derivation == Derivation.SUM_OVER_COUNT:
            parts = [source for source in sources if source.place[3] in (Role.EMA_SUM, Role.EMA_COUNT)]
            if parts:
                yield (*book, Role.CODES, ""), parts
        elif derivation == Derivation.TRANSFORMED:
            parts = [source for source in sources if source.place[3] in (Role.CODES, Role.CODE_TRANSFORM)]
            if parts:
                yield (*book, Role.CODES, EFFECTIVE), parts


def _result(
    place: Place, sources: list["Pair"], diffs: list[TensorDiff], loss: RoundingLoss | None, order: FileOrder
) -> TensorDiff | None:
    """Return the verdict on a calculated value, or None where its sources say all there is to say."""
    seen = {diff.verdict for diff in diffs}
    whole = seen <= {Verdict.IDENTICAL, Verdict.ROUNDED}
    if loss is not None and loss.of_use:
        verdict, note, change = Verdict.CHANGED, tr("rounding destroyed codes in use"), None
    elif whole and not _is_of_bookkeeping(place):
        return None
    elif whole:
        verdict, note, change = (Verdict.ROUNDED if Verdict.ROUNDED in seen else Verdict.IDENTICAL), "", None
    elif Verdict.OTHER_SHAPE in seen:
        verdict, note, change = Verdict.OTHER_SHAPE, "", None
    else:
        import numpy as np

        narrow = {dtype for diff in diffs for dtype in (diff.a_dtype, diff.b_dtype)}
        # A file may hold any bits; what they come to is said by the verdict, not by warnings on stderr.
        with np.errstate(all="ignore"):
            values = [_values(place, sources, side) for side in "ab"]
            if values[0] is None or values[1] is None:
                return None
            verdict, note, change = _compare(
                values[0], values[1], place, set() if _wide_is_later(diffs, order) else narrow
            )
    labels = sources[0].a.encoder
    where = labels.where(place[:3])
    name = f"{place[3]}.{place[4]}" if place[4] else place[3]
    a_names, b_names = ([getattr(diff, f"{side}_name") for diff in diffs] for side in "ab")
    return TensorDiff(
        label=f"{where} {name}".strip(),
        role=Role(place[3]),
        verdict=verdict,
        judged=place[3] != Role.OUTPUT_PROJ or any(diff.judged for diff in diffs),
        note=note,
        a_name=", ".join(filter(None, a_names)),
        b_name=", ".join(filter(None, b_names)),
        a_dtype="float32",
        b_dtype="float32",
        a_shape=_shape(sources, "a"),
        b_shape=_shape(sources, "b"),
        a_digest=None,
        b_digest=None,
        change=change,
    )


def _wide_is_later(diffs: list[TensorDiff], order: FileOrder) -> bool:
    """Say whether one side's sources are narrow and were there first: then no rounding lies between the two."""
    if any(diff.reading is RoundingReading.TRAINED for diff in diffs):
        return True
    narrow = [{diff.a_dtype for diff in diffs} & _HALVES, {diff.b_dtype for diff in diffs} & _HALVES]
    first = {Order.A_FIRST: (True, False), Order.B_FIRST: (False, True)}.get(order.order)
    return first == tuple(map(bool, narrow))


def _is_of_bookkeeping(place: Place) -> bool:
    """Say whether these are codes made of sums and counts, which are judged for themselves as well."""
    return place[3] == Role.CODES and not place[4]


def _shape(sources: list["Pair"], side: str) -> tuple[int, ...]:
    """Return the shape of the widest source, which the result has, too."""
    tensors = [getattr(source, side).tensor for source in sources if source.place[4] != "g"]
    return next((tensor.shape for tensor in tensors if tensor and tensor.role != Role.EMA_COUNT), ())


def _values(place: Place, sources: list["Pair"], letter: str) -> "npt.NDArray[np.floating] | None":
    """Return the calculated values on one side, or None where a source of them is missing."""
    from vqcheck.codebook.values import as_array, layer_weight, sum_over_count, transformed

    sides: list[TensorSide] = [getattr(source, letter) for source in sources]
    stem = place[4].removesuffix("weight")
    arrays = {
        (side.tensor.role, side.tensor.part.removeprefix(stem)): as_array(side.tensor, side.data)
        for side in sides
        if side.tensor
    }
    if _is_of_bookkeeping(place):
        if (Role.EMA_SUM, "") not in arrays or (Role.EMA_COUNT, "") not in arrays:
            return None
        return sum_over_count(arrays[Role.EMA_SUM, ""], arrays[Role.EMA_COUNT, ""])
    if place[3] == Role.CODES:
        codes = arrays.get((Role.CODES, ""))
        transform = {part: array for (role, part), array in arrays.items() if role == Role.CODE_TRANSFORM}
        return None if codes is None else transformed(codes, transform)
    return layer_weight({part: array for (_, part), array in arrays.items()})


def _compare(
    a: "npt.NDArray[np.floating]", b: "npt.NDArray[np.floating]", place: Place, dtypes: set[str]
) -> tuple[Verdict, str, Change | None]:
    import numpy as np

    from vqcheck.codebook.tensor_change import measure, same_bits

    if a.shape != b.shape:
        return Verdict.OTHER_SHAPE, "", None
    if same_bits(a, b):
        return Verdict.IDENTICAL, tr("calculated values are equal to the last bit"), None
    change = measure(a, b, 2 if place[3] == Role.CODES else min(1, a.ndim))
    largest = np.maximum(np.abs(a), np.abs(b)).astype(np.float32)
    if place[4] == EFFECTIVE:
        # A matrix product is only as exact as the largest values of its row.
        largest = np.broadcast_to(largest.max(axis=-1, keepdims=True), largest.shape)
    width, coarser = ("bfloat16", 2.0**16) if "bfloat16" in dtypes else ("float32", 1.0)
    if "float16" in dtypes and width == "float32":
        width, coarser = "float16", 2.0**13
    most = MOST_ULPS if width == "float32" else MOST_NARROW_ULPS
    with np.errstate(all="ignore"):
        apart = np.abs(a.astype(np.float64) - b) / (np.spacing(largest) * coarser)
    ulps = float(np.ceil(apart.max())) if np.isfinite(apart).all() else np.inf
    if ulps <= most:
        note = tr("calculated values are at most {ulps} ulp of {width} apart", ulps=int(ulps), width=width)
        return Verdict.WITHIN_ULPS, note, change
    return Verdict.CHANGED, "", change
