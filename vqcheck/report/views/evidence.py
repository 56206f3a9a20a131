"""The evidence for each cause, a sentence or a few."""

from math import prod

from vqcheck.codebook.diagnosis import evidence as kind
from vqcheck.codebook.diagnosis.evidence import StepPrecision, UpdateOrder
from vqcheck.codebook.diagnosis.result import Cause, Diagnosis
from vqcheck.report.views.causes import n_codes, other_side, updates
from vqcheck.report.views.words import all_of, clauses, listed, ranges

_SHOWN = 8


def evidence(cause: Cause, diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Return (certainty, sentence) lines."""
    said = _sentence(cause)
    if cause.head is not None:
        said = f"Head {cause.head}: {said}"
    if cause.codebook is not None and len(_books(diagnosis)) > 1:
        said = f"Codebook {cause.codebook}: {said}"
    lines = [(str(cause.certainty), said)]
    if isinstance(cause.evidence, kind.EmaUpdates):
        lines += [("", text) for text in (_hits(cause.evidence), _own_count(cause.evidence, diagnosis)) if text]
    return lines


def _sentence(cause: Cause) -> str:
    match cause.evidence:
        case kind.NeverTrained(sides=sides):
            return f"The codebook of {all_of(sides)} is all zero, or its init flag is 0: it waits for a first batch."
        case kind.Initialised(how="filled"):
            return "A waits for its first batch, B has content: k-means or training filled it."
        case kind.Initialised(how="emptied"):
            return "A has content, B is empty: B was started from scratch, not from A."
        case kind.Initialised(frames=frames):
            return (
                f"All counts of B are whole numbers, {frames} frames in all, and its sums are the codes themselves: "
                "fresh from k-means, with no update since."
            )
        case kind.EmaUpdates() as found:
            return _decay(found)
        case kind.DeadCodes() as found:
            rare = f"{len(found.codes)} rarely used codes"
            if found.threshold is not None:
                rare = f"{rare} (count below {found.threshold:g})"
            if found.bookkeeping_reset:
                return (
                    f"{rare} were replaced by random frames; sum and count were set along with them: "
                    f"{_some(found.codes)}."
                )
            return (
                f"{rare} were replaced by random frames: exactly these do not follow from sum and count: "
                f"{_some(found.codes)}."
            )
        case kind.Permuted() as found:
            along = {
                True: "sums and counts moved along",
                False: "sums and counts did not move along",
                None: "",
            }[found.bookkeeping_follows]
            same = f"{found.moved} of {found.codes} codes stand under another number, bit by bit the same"
            return f"{clauses(same, along)}."
        case kind.Edited(how="bookkeeping untouched", codes=codes):
            return f"{n_codes(codes)} moved, but no sum and no count did; an update writes all three: {_some(codes)}."
        case kind.Edited(how="bookkeeping only"):
            return "Sums and counts changed, no code did; an update writes all three."
        case kind.Edited(how="single rows", codes=codes):
            return (
                f"What is stored of {n_codes(codes)} changed, that of all others is the same to the last bit; an "
                f"update decays every count: {_some(codes)}."
            )
        case kind.Edited(how="counts untouched", codes=codes):
            return f"{n_codes(codes)} changed, but no count did; an update decays every count: {_some(codes)}."
        case kind.Edited(codes=[_]) as found:
            return f"1 code does not follow from its sum and count as after an update: {found.codes[0]}."
        case kind.Edited(codes=codes):
            return f"{len(codes)} codes do not follow from their sums and counts as after an update: {_some(codes)}."
        case kind.Scaled() as found:
            scaled = (("codes", found.codes), ("sums", found.sums), ("counts", found.counts))
            factors = listed(f"{name} by {factor:.6g}" for name, factor in scaled if factor is not None)
            return f"Multiplied were {factors}. Frames that hit codes leave no such trace."
        case kind.Merged(how="rows", codes=codes):
            return (
                f"{n_codes(codes)} changed as by updates, the others are the same to the last bit; an update decays "
                f"every count: {_some(codes)}."
            )
        case kind.Merged(how="ranks", codes=codes):
            return (
                f"{n_codes(codes)} miss their sums and counts by as little as copies that are averaged after every "
                f"step: {_some(codes)}."
            )
        case kind.Merged(weight=weight, codes=codes):
            if weight is None:
                return (
                    f"{n_codes(codes)} miss their sums and counts by the little that averaging files leaves, such as a "
                    f"moving average of a training: {_some(codes)}."
                )
            return (
                f"All values agree on one average: {1 - weight:.2f} of A and {weight:.2f} of another file, whose codes "
                "follow from its sums and counts."
            )
        case kind.ZeroSigns():
            return "All numbers are equal. Nothing that calculates with them can tell the files apart."
        case kind.OtherShape() as found:
            return f"A holds {_size(found.shape_a)}, B {_size(found.shape_b)}. {_in_common(found)}"
        case kind.Unrelated(same_number=share):
            return (
                f"Only {share:.1%} of A's codes are nearest to the code of the same number in B; chance gives as much."
            )
        case kind.OtherProjection(cosine=cosine):
            return f"The values of the projections do not resemble each other (cosine {cosine:.2f})."
        case kind.ProjectionBehind(relative=relative, tensors=tensors):
            return (
                f"{all_of(tensors)} moved by {relative:.2g} of the projection's size; what comes out is taken "
                "off the features before the next lookup."
            )
        case kind.ProjectionMoved(relative=relative, tensors=tensors):
            size = f"{all_of(tensors)} moved by {relative:.2g} of the projection's size"
            return {
                "scaled": f"{size}, all values by one factor.",
                "single rows": f"{size}, in single rows, which gradients do not leave alone.",
                "rounding": f"{size}, a few units in the last place.",
            }.get(cause.evidence.how, f"{size}, as gradients move them.")
        case kind.MissingBooks(side=side, codebooks=numbers):
            if len(numbers) == 1:
                return f"{other_side(side)} stores codebook {numbers[0]}, {side} does not."
            return f"{other_side(side)} stores codebooks {ranges(numbers)}, {side} does not."
        case kind.Rounding(dtype=dtype) if " and " in dtype:
            return f"Each value of A and of B has numbers that are rounded to both ({dtype})."
        case kind.Rounding(dtype=dtype, narrower=side):
            return f"{side} is {other_side(side)} rounded to {dtype}, to the last bit."
        case kind.LostByRounding(side=side, zero=zero, not_finite=not_finite, equal=equal):
            parts = (
                f"{len(zero)} became zero ({_some(zero)})" if zero else "",
                f"{len(not_finite)} became NaN or infinite ({_some(not_finite)})" if not_finite else "",
                f"{len(equal)} became equal to another code in use ({_some(equal)})" if equal else "",
            )
            return f"Of the codes in use of {side} {listed(parts)}."
        case kind.WithinAStep(dtype=dtype, narrower=side, tensors=tensors):
            if not side:
                return f"No order of the two makes all of {listed(tensors)} a rounding to {dtype}."
            return (
                f"Rounded to {dtype}, {other_side(side)} gives {side} to the last bit; but {side} was there first, so "
                f"that {listed(tensors)} would be {side}'s own values had nothing moved them."
            )
        case kind.LastPlaces(ulps=ulps, tensors=tensors):
            if ulps == 1:
                return f"{listed(tensors)}: most rows differ, and by no more than 1 unit in the last place."
            return f"{listed(tensors)}: most rows differ, and by no more than {ulps} units in the last place."
        case kind.NotFinite(sides=sides):
            if len(sides) == 2:
                return (
                    "Each file holds NaN or infinity where the other has numbers, which hides what else happened "
                    "there: a damaged file, or a training that diverged."
                )
            return (
                f"{sides[0]} holds NaN or infinity where the other has numbers, which hides what else happened there: "
                "a damaged file, or a training that diverged."
            )
        case kind.Unexplained(why=why):
            return f"Updates in training, an edit, or another codebook: {why}."


def _in_common(found: kind.OtherShape) -> str:
    """Return which codes are in both of two codebooks of different shapes."""
    sides = ("A", found.shape_a), ("B", found.shape_b)
    (smaller, shape), (larger, other) = sorted(sides, key=lambda side: (prod(side[1][:2]), side[1]))
    if not found.shared:
        return f"No code of {smaller} is in {larger}."
    codes = prod(shape[:2])
    number = f"All {codes} codes" if found.shared == codes else f"{found.shared} of the {codes} codes"
    bits = f"rounded to {found.rounded_to}" if found.rounded_to else "to the last bit"
    if shape[2] != other[2]:
        bits = f"{bits} in the {min(shape[2], other[2])} channels that both have"
    if found.in_place:
        return f"{number} of {smaller} are in {larger} too, {bits}, under the same numbers."
    return f"{number} of {smaller} are in {larger} too, {bits}, under other numbers."


def _decay(found: kind.EmaUpdates) -> str:
    if found.precision == StepPrecision.AT_LEAST:
        if found.order != UpdateOrder.UNKNOWN:
            return (
                f"{found.unhit} codes were nearest to no frame. How far their sums and counts shrank takes "
                f"{updates(found.steps, StepPrecision.AT_LEAST)}."
            )
        return (
            "Too few codes went unhit to count the updates, or to tell which file is the later one. How far counts "
            f"fell and rose takes {updates(found.steps, StepPrecision.AT_LEAST)}; codes follow from sums and counts as "
            "after an update."
        )
    if found.order == UpdateOrder.UNKNOWN:
        return (
            "Sums, counts and codes all moved together, as in updates. Too few codes went unhit to count them, or to "
            "tell which file is the later one."
        )
    codes = f"{found.unhit} of {found.codes} codes were nearest to no frame"
    if found.unhit == 1:
        codes = f"1 of {found.codes} codes was nearest to no frame"
    if found.order == UpdateOrder.SIBLINGS:
        return (
            f"{codes} in either training: their running sums differ by one factor alone. But other counts rose or fell "
            "against them, so neither file was trained on from the other."
        )
    if found.precision == StepPrecision.UNKNOWN:
        usual = listed(f"{n.steps:.4g} with {n.decay:g}" for n in found.steps_by_decay)
        if found.decay is None:
            return (
                f"{codes}: their sums and counts shrank by one factor, as in updates, but the decay is up to the "
                f"trainer. Updates: {usual}."
            )
        return (
            f"{codes}: their sums and counts shrank by one factor, as in updates, but that is no whole number of "
            f"updates with this family's decay of {found.decay:g}. Updates: {usual}."
        )
    power = f"{found.decay:g}^{found.steps}"
    if found.precision == StepPrecision.EXACT:
        return f"{codes}: their running sums and counts shrank by one and the same factor, {power}."
    return f"{codes}, or hardly any: their running sums and counts shrank by about {power}; rounding hides the rest."


def _hits(found: kind.EmaUpdates) -> str:
    if not found.rose:
        return ""
    if len(found.rose) == 1:
        return f"The count of 1 code rose: most frames went to {found.rose[0]}."
    return f"The counts of {len(found.rose)} codes rose: most frames went to {_some(found.rose)}."


def _own_count(found: kind.EmaUpdates, diagnosis: Diagnosis) -> str:
    """Return what the files say of their own steps, and whether that fits the values."""
    steps = dict(zip("AB", (training.steps for training in diagnosis.training), strict=True))
    earlier, later = ("B", "A") if found.order == UpdateOrder.B_TO_A else ("A", "B")
    known = [name for name in (earlier, later) if steps[name] is not None]
    if found.order == UpdateOrder.SIBLINGS or not known or (later not in known and not diagnosis.contradicted):
        return ""
    if len(known) == 2 and steps["A"] == steps["B"]:
        said = f"Both files say they were written at step {steps['A']}"
    elif len(known) == 2:
        said = f"{earlier} says it was written at step {steps[earlier]}, {later} at step {steps[later]}"
    else:
        said = f"{known[0]} says it was written at step {steps[known[0]]}"
    if diagnosis.contradicted:
        return (
            f"{said}. That contradicts the values: the files are of different runs, or one is not what it or its name "
            "says."
        )
    every = found.precision == StepPrecision.EXACT and (steps[later] or 0) - (steps[earlier] or 0) == found.steps
    return f"{said}: the codebook moved at every one of these steps." if every else f"{said}."


def _some(codes: tuple[int, ...]) -> str:
    return listed(codes, _SHOWN)


def _size(shape: tuple[int, ...]) -> str:
    codes = f"{shape[0]} x {shape[1]}" if shape[0] > 1 else str(shape[1])
    return f"{codes} codes of {shape[2]} channels"


def _books(diagnosis: Diagnosis) -> set[int]:
    return {cause.codebook for cause in diagnosis.causes if cause.codebook is not None} | {
        found.codebook for found in diagnosis.displacement
    }
