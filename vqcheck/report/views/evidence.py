"""The evidence for each cause, a sentence or a few."""

from math import prod

from vqcheck.codebook.diagnosis import evidence as kind
from vqcheck.codebook.diagnosis.evidence import StepPrecision, UpdateOrder
from vqcheck.codebook.diagnosis.result import Cause, Diagnosis
from vqcheck.language import tr
from vqcheck.report.views.causes import n_codes, other_side, updates
from vqcheck.report.views.words import all_of, clauses, listed, ranges

_SHOWN = 8


def evidence(cause: Cause, diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Return (certainty, sentence) lines."""
    said = _sentence(cause)
    if cause.head is not None:
        said = tr("Head {head}: {said}", head=cause.head, said=said)
    if cause.codebook is not None and len(_books(diagnosis)) > 1:
        said = tr("Codebook {codebook}: {said}", codebook=cause.codebook, said=said)
    lines = [(str(cause.certainty), said)]
    if isinstance(cause.evidence, kind.EmaUpdates):
        lines += [("", text) for text in (_hits(cause.evidence), _own_count(cause.evidence, diagnosis)) if text]
    return lines


def _sentence(cause: Cause) -> str:
    match cause.evidence:
        case kind.NeverTrained(sides=sides):
            return tr(
                "The codebook of {all_of} is all zero, or its init flag is 0: it waits for a first batch.",
                all_of=all_of(sides),
            )
        case kind.Initialised(how="filled"):
            return tr("A waits for its first batch, B has content: k-means or training filled it.")
        case kind.Initialised(how="emptied"):
            return tr("A has content, B is empty: B was started from scratch, not from A.")
        case kind.Initialised(frames=frames):
            return tr(
                "All counts of B are whole numbers, {frames} frames in all, and its sums are the "
                "codes themselves: fresh from k-means, with no update since.",
                frames=frames,
            )
        case kind.EmaUpdates() as found:
            return _decay(found)
        case kind.DeadCodes() as found:
            rare = tr("{codes} rarely used codes", codes=len(found.codes))
            if found.threshold is not None:
                rare = tr("{rare} (count below {threshold:g})", rare=rare, threshold=found.threshold)
            if found.bookkeeping_reset:
                return tr(
                    "{rare} were replaced by random frames; sum and count were set along with them: {some}.",
                    rare=rare,
                    some=_some(found.codes),
                )
            return tr(
                "{rare} were replaced by random frames: exactly these do not follow from sum and count: {some}.",
                rare=rare,
                some=_some(found.codes),
            )
        case kind.Permuted() as found:
            along = {
                True: tr("sums and counts moved along"),
                False: tr("sums and counts did not move along"),
                None: "",
            }[found.bookkeeping_follows]
            same = tr(
                "{moved} of {codes} codes stand under another number, bit by bit the same",
                moved=found.moved,
                codes=found.codes,
            )
            return f"{clauses(same, along)}."
        case kind.Edited(how="bookkeeping untouched", codes=codes):
            return tr(
                "{n_codes} moved, but no sum and no count did; an update writes all three: {some}.",
                n_codes=n_codes(codes),
                some=_some(codes),
            )
        case kind.Edited(how="bookkeeping only"):
            return tr("Sums and counts changed, no code did; an update writes all three.")
        case kind.Edited(how="single rows", codes=codes):
            return tr(
                "What is stored of {n_codes} changed, that of all others is the same to the last bit; "
                "an update decays every count: {some}.",
                n_codes=n_codes(codes),
                some=_some(codes),
            )
        case kind.Edited(how="counts untouched", codes=codes):
            return tr(
                "{n_codes} changed, but no count did; an update decays every count: {some}.",
                n_codes=n_codes(codes),
                some=_some(codes),
            )
        case kind.Edited(codes=[_]) as found:
            return tr(
                "1 code does not follow from its sum and count as after an update: {value}.", value=found.codes[0]
            )
        case kind.Edited(codes=codes):
            return tr(
                "{codes} codes do not follow from their sums and counts as after an update: {some}.",
                codes=len(codes),
                some=_some(codes),
            )
        case kind.Scaled() as found:
            scaled = (("codes", found.codes), ("sums", found.sums), ("counts", found.counts))
            factors = listed(
                tr("{name} by {factor:.6g}", name=name, factor=factor) for name, factor in scaled if factor is not None
            )
            return tr("Multiplied were {factors}. Frames that hit codes leave no such trace.", factors=factors)
        case kind.Merged(how="rows", codes=codes):
            return tr(
                "{n_codes} changed as by updates, the others are the same to the last bit; an update "
                "decays every count: {some}.",
                n_codes=n_codes(codes),
                some=_some(codes),
            )
        case kind.Merged(how="ranks", codes=codes):
            return tr(
                "{n_codes} miss their sums and counts by as little as copies that are averaged after "
                "every step: {some}.",
                n_codes=n_codes(codes),
                some=_some(codes),
            )
        case kind.Merged(weight=weight, codes=codes):
            if weight is None:
                return tr(
                    "{n_codes} miss their sums and counts by the little that averaging files leaves, such "
                    "as a moving average of a training: {some}.",
                    n_codes=n_codes(codes),
                    some=_some(codes),
                )
            return tr(
                "All values agree on one average: {value:.2f} of A and {weight:.2f} of another file, "
                "whose codes follow from its sums and counts.",
                value=1 - weight,
                weight=weight,
            )
        case kind.ZeroSigns():
            return tr("All numbers are equal. Nothing that calculates with them can tell the files apart.")
        case kind.OtherShape() as found:
            return tr(
                "A holds {size}, B {size2}. {in_common}",
                size=_size(found.shape_a),
                size2=_size(found.shape_b),
                in_common=_in_common(found),
            )
        case kind.Unrelated(same_number=share):
            return tr(
                "Only {share:.1%} of A's codes are nearest to the code of the same number in B; chance gives as much.",
                share=share,
            )
        case kind.OtherProjection(cosine=cosine):
            return tr("The values of the projections do not resemble each other (cosine {cosine:.2f}).", cosine=cosine)
        case kind.ProjectionBehind(relative=relative, tensors=tensors):
            return tr(
                "{all_of} moved by {relative:.2g} of the projection's size; what comes out is taken "
                "off the features before the next lookup.",
                all_of=all_of(tensors),
                relative=relative,
            )
        case kind.ProjectionMoved(relative=relative, tensors=tensors):
            size = tr(
                "{all_of} moved by {relative:.2g} of the projection's size", all_of=all_of(tensors), relative=relative
            )
            return {
                "scaled": tr("{size}, all values by one factor.", size=size),
                "single rows": tr("{size}, in single rows, which gradients do not leave alone.", size=size),
                "rounding": tr("{size}, a few units in the last place.", size=size),
            }.get(cause.evidence.how, tr("{size}, as gradients move them.", size=size))
        case kind.MissingBooks(side=side, codebooks=numbers):
            if len(numbers) == 1:
                return tr(
                    "{other_side} stores codebook {value}, {side} does not.",
                    other_side=other_side(side),
                    value=numbers[0],
                    side=side,
                )
            return tr(
                "{other_side} stores codebooks {ranges}, {side} does not.",
                other_side=other_side(side),
                ranges=ranges(numbers),
                side=side,
            )
        case kind.Rounding(dtype=dtype) if " and " in dtype:
            return tr("Each value of A and of B has numbers that are rounded to both ({dtype}).", dtype=dtype)
        case kind.Rounding(dtype=dtype, narrower=side):
            return tr(
                "{side} is {other_side} rounded to {dtype}, to the last bit.",
                side=side,
                other_side=other_side(side),
                dtype=dtype,
            )
        case kind.LostByRounding(side=side, zero=zero, not_finite=not_finite, equal=equal):
            parts = (
                tr("{zero} became zero ({some})", zero=len(zero), some=_some(zero)) if zero else "",
                tr("{not_finite} became NaN or infinite ({some})", not_finite=len(not_finite), some=_some(not_finite))
                if not_finite
                else "",
                tr("{equal} became equal to another code in use ({some})", equal=len(equal), some=_some(equal))
                if equal
                else "",
            )
            return tr("Of the codes in use of {side} {listed}.", side=side, listed=listed(parts))
        case kind.WithinAStep(dtype=dtype, narrower=side, tensors=tensors):
            if not side:
                return tr(
                    "No order of the two makes all of {listed} a rounding to {dtype}.",
                    listed=listed(tensors),
                    dtype=dtype,
                )
            return tr(
                "Rounded to {dtype}, {other_side} gives {side} to the last bit; but {side} was there "
                "first, so that {listed} would be {side}'s own values had nothing moved them.",
                dtype=dtype,
                other_side=other_side(side),
                side=side,
                listed=listed(tensors),
            )
        case kind.LastPlaces(ulps=ulps, tensors=tensors):
            if ulps == 1:
                return tr(
                    "{listed}: most rows differ, and by no more than 1 unit in the last place.", listed=listed(tensors)
                )
            return tr(
                "{listed}: most rows differ, and by no more than {ulps} units in the last place.",
                listed=listed(tensors),
                ulps=ulps,
            )
        case kind.NotFinite(sides=sides):
            if len(sides) == 2:
                return tr(
                    "Each file holds NaN or infinity where the other has numbers, which hides what else happened "
                    "there: a damaged file, or a training that diverged."
                )
            return tr(
                "{value} holds NaN or infinity where the other has numbers, which hides what else "
                "happened there: a damaged file, or a training that diverged.",
                value=sides[0],
            )
        case kind.Unexplained(why=why):
            return tr("Updates in training, an edit, or another codebook: {why}.", why=why)


def _in_common(found: kind.OtherShape) -> str:
    """Return which codes are in both of two codebooks of different shapes."""
    sides = ("A", found.shape_a), ("B", found.shape_b)
    (smaller, shape), (larger, other) = sorted(sides, key=lambda side: (prod(side[1][:2]), side[1]))
    if not found.shared:
        return tr("No code of {smaller} is in {larger}.", smaller=smaller, larger=larger)
    codes = prod(shape[:2])
    number = (
        tr("All {codes} codes", codes=codes)
        if found.shared == codes
        else tr("{shared} of the {codes} codes", shared=found.shared, codes=codes)
    )
    bits = tr("rounded to {rounded_to}", rounded_to=found.rounded_to) if found.rounded_to else tr("to the last bit")
    if shape[2] != other[2]:
        bits = tr("{bits} in the {value} channels that both have", bits=bits, value=min(shape[2], other[2]))
    if found.in_place:
        return tr(
            "{number} of {smaller} are in {larger} too, {bits}, under the same numbers.",
            number=number,
            smaller=smaller,
            larger=larger,
            bits=bits,
        )
    return tr(
        "{number} of {smaller} are in {larger} too, {bits}, under other numbers.",
        number=number,
        smaller=smaller,
        larger=larger,
        bits=bits,
    )


def _decay(found: kind.EmaUpdates) -> str:
    if found.precision == StepPrecision.AT_LEAST:
        if found.order != UpdateOrder.UNKNOWN:
            return tr(
                "{unhit} codes were nearest to no frame. How far their sums and counts shrank takes {updates}.",
                unhit=found.unhit,
                updates=updates(found.steps, StepPrecision.AT_LEAST),
            )
        return tr(
            "Too few codes went unhit to count the updates, or to tell which file is the later "
            "one. How far counts fell and rose takes {updates}; codes follow from sums and counts "
            "as after an update.",
            updates=updates(found.steps, StepPrecision.AT_LEAST),
        )
    if found.order == UpdateOrder.UNKNOWN:
        return tr(
            "Sums, counts and codes all moved together, as in updates. Too few codes went unhit to count them, or to "
            "tell which file is the later one."
        )
    codes = tr("{unhit} of {codes} codes were nearest to no frame", unhit=found.unhit, codes=found.codes)
    if found.unhit == 1:
        codes = tr("1 of {codes} codes was nearest to no frame", codes=found.codes)
    if found.order == UpdateOrder.SIBLINGS:
        return tr(
            "{codes} in either training: their running sums differ by one factor alone. But other "
            "counts rose or fell against them, so neither file was trained on from the other.",
            codes=codes,
        )
    if found.precision == StepPrecision.UNKNOWN:
        usual = listed(tr("{steps:.4g} with {decay:g}", steps=n.steps, decay=n.decay) for n in found.steps_by_decay)
        if found.decay is None:
            return tr(
                "{codes}: their sums and counts shrank by one factor, as in updates, but the decay is "
                "up to the trainer. Updates: {usual}.",
                codes=codes,
                usual=usual,
            )
        return tr(
            "{codes}: their sums and counts shrank by one factor, as in updates, but that is no "
            "whole number of updates with this family's decay of {decay:g}. Updates: {usual}.",
            codes=codes,
            decay=found.decay,
            usual=usual,
        )
    power = f"{found.decay:g}^{found.steps}"
    if found.precision == StepPrecision.EXACT:
        return tr(
            "{codes}: their running sums and counts shrank by one and the same factor, {power}.",
            codes=codes,
            power=power,
        )
    return tr(
        "{codes}, or hardly any: their running sums and counts shrank by about {power}; rounding hides the rest.",
        codes=codes,
        power=power,
    )


def _hits(found: kind.EmaUpdates) -> str:
    if not found.rose:
        return ""
    if len(found.rose) == 1:
        return tr("The count of 1 code rose: most frames went to {value}.", value=found.rose[0])
    return tr(
        "The counts of {rose} codes rose: most frames went to {some}.", rose=len(found.rose), some=_some(found.rose)
    )


def _own_count(found: kind.EmaUpdates, diagnosis: Diagnosis) -> str:
    """Return what the files say of their own steps, and whether that fits the values."""
    steps = dict(zip("AB", (training.steps for training in diagnosis.training), strict=True))
    earlier, later = ("B", "A") if found.order == UpdateOrder.B_TO_A else ("A", "B")
    known = [name for name in (earlier, later) if steps[name] is not None]
    if found.order == UpdateOrder.SIBLINGS or not known or (later not in known and not diagnosis.contradicted):
        return ""
    if len(known) == 2 and steps["A"] == steps["B"]:
        said = tr("Both files say they were written at step {value}", value=steps["A"])
    elif len(known) == 2:
        said = tr(
            "{earlier} says it was written at step {value}, {later} at step {value2}",
            earlier=earlier,
            value=steps[earlier],
            later=later,
            value2=steps[later],
        )
    else:
        said = tr("{value} says it was written at step {value2}", value=known[0], value2=steps[known[0]])
    if diagnosis.contradicted:
        return tr(
            "{said}. That contradicts the values: the files are of different runs, or one is not "
            "what it or its name says.",
            said=said,
        )
    every = found.precision == StepPrecision.EXACT and (steps[later] or 0) - (steps[earlier] or 0) == found.steps
    return tr("{said}: the codebook moved at every one of these steps.", said=said) if every else f"{said}."


def _some(codes: tuple[int, ...]) -> str:
    return listed(codes, _SHOWN)


def _size(shape: tuple[int, ...]) -> str:
    codes = f"{shape[0]} x {shape[1]}" if shape[0] > 1 else str(shape[1])
    return tr("{codes} codes of {value} channels", codes=codes, value=shape[2])


def _books(diagnosis: Diagnosis) -> set[int]:
    return {cause.codebook for cause in diagnosis.causes if cause.codebook is not None} | {
        found.codebook for found in diagnosis.displacement
    }
