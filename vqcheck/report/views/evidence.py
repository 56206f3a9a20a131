"""The evidence for each cause, a sentence or a few."""

from math import prod

from vqcheck.codebook.diagnosis import evidence as kind
from vqcheck.codebook.diagnosis.result import Cause, Diagnosis
from vqcheck.language import tr, trn, word
from vqcheck.report.views.causes import n_codes, other_side
from vqcheck.report.views.ema_words import decay, own_step_numbers
from vqcheck.report.views.words import all_of, clauses, listed, ranges, sentence, types

_SHOWN = 8


def evidence(cause: Cause, diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Return (certainty, sentence) lines."""
    said = _sentence(cause)
    if cause.head is not None:
        said = tr("Head {head}: {said}", head=cause.head, said=said)
    if cause.codebook is not None and len(_books(diagnosis)) > 1:
        said = tr("Codebook {codebook}: {said}", codebook=cause.codebook, said=said)
    lines = [(word(cause.certainty), said)]
    if isinstance(cause.evidence, kind.EmaUpdates):
        lines += [("", text) for text in (_hits(cause.evidence), own_step_numbers(cause.evidence, diagnosis)) if text]
    return lines


def _sentence(cause: Cause) -> str:
    match cause.evidence:
        case kind.NeverTrained(sides=sides):
            return tr(
                "The codebook of {files} is all zero, or its init flag is 0: it waits for a first batch.",
                files=all_of(sides),
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
            return decay(found)
        case kind.DeadCodes() as found:
            rare = tr("{number} rarely used codes", number=len(found.codes))
            if found.threshold is not None:
                rare = tr("{rare} (count below {threshold:g})", rare=rare, threshold=found.threshold)
            if found.bookkeeping_reset:
                return tr(
                    "{rare} were replaced by random frames; sum and count were set along with them: {numbers}.",
                    rare=rare,
                    numbers=_some(found.codes),
                )
            return tr(
                "{rare} were replaced by random frames: exactly these do not follow from sum and count: {numbers}.",
                rare=rare,
                numbers=_some(found.codes),
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
            return sentence(clauses(same, along))
        case kind.Edited(how="bookkeeping untouched", codes=codes):
            return tr(
                "{codes} moved, but no sum and no count did; an update writes all three: {numbers}.",
                codes=n_codes(codes),
                numbers=_some(codes),
            )
        case kind.Edited(how="bookkeeping only"):
            return tr("Sums and counts changed, no code did; an update writes all three.")
        case kind.Edited(how="single rows", codes=codes):
            return tr(
                "What is stored of {codes} changed, that of all others is the same to the last bit; "
                "an update decays every count: {numbers}.",
                codes=n_codes(codes),
                numbers=_some(codes),
            )
        case kind.Edited(how="counts untouched", codes=codes):
            return tr(
                "{codes} changed, but no count did; an update decays every count: {numbers}.",
                codes=n_codes(codes),
                numbers=_some(codes),
            )
        case kind.Edited(codes=[_]) as found:
            return tr("1 code does not follow from its sum and count as after an update: {code}.", code=found.codes[0])
        case kind.Edited(codes=codes):
            return tr(
                "{codes} do not follow from their sums and counts as after an update: {numbers}.",
                codes=n_codes(codes),
                numbers=_some(codes),
            )
        case kind.Scaled() as found:
            scaled = ((tr("codes"), found.codes), (tr("sums"), found.sums), (tr("counts"), found.counts))
            factors = listed(
                tr("{name} by {factor:.6g}", name=name, factor=factor) for name, factor in scaled if factor is not None
            )
            return tr("Multiplied were {factors}. Frames that hit codes leave no such trace.", factors=factors)
        case kind.Merged(how="rows", codes=codes):
            return tr(
                "{codes} changed as by updates, the others are the same to the last bit; an update "
                "decays every count: {numbers}.",
                codes=n_codes(codes),
                numbers=_some(codes),
            )
        case kind.Merged(how="ranks", codes=codes):
            return tr(
                "{codes} miss their sums and counts by as little as copies that are averaged after every step: "
                "{numbers}.",
                codes=n_codes(codes),
                numbers=_some(codes),
            )
        case kind.Merged(weight=weight, codes=codes):
            if weight is None:
                return tr(
                    "{codes} miss their sums and counts by the little that averaging files leaves, such "
                    "as a moving average of a training: {numbers}.",
                    codes=n_codes(codes),
                    numbers=_some(codes),
                )
            return tr(
                "All values agree on one average: {weight:.2f} of A and {other_weight:.2f} of another file, "
                "whose codes follow from its sums and counts.",
                weight=1 - weight,
                other_weight=weight,
            )
        case kind.ZeroSigns():
            return tr("All numbers are equal. Nothing that calculates with them can tell the files apart.")
        case kind.OtherShape() as found:
            return tr(
                "A holds {codes_a}, B {codes_b}. {in_common}",
                codes_a=_size(found.shape_a),
                codes_b=_size(found.shape_b),
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
                "{tensors} moved by {relative:.2g} of the projection's size; what comes out is taken "
                "off the features before the next lookup.",
                tensors=all_of(tensors),
                relative=relative,
            )
        case kind.ProjectionMoved(relative=relative, tensors=tensors):
            moved = tr(
                "{tensors} moved by {relative:.2g} of the projection's size", tensors=all_of(tensors), relative=relative
            )
            return {
                "scaled": tr("{moved}, all values by one factor.", moved=moved),
                "single rows": tr("{moved}, in single rows, which gradients do not leave alone.", moved=moved),
                "rounding": tr("{moved}, a few units in the last place.", moved=moved),
            }.get(cause.evidence.how, tr("{moved}, as gradients move them.", moved=moved))
        case kind.MissingBooks(side=side, codebooks=numbers):
            if len(numbers) == 1:
                return tr(
                    "{fuller} stores codebook {number}, {lacking} does not.",
                    fuller=other_side(side),
                    number=numbers[0],
                    lacking=side,
                )
            return tr(
                "{fuller} stores codebooks {numbers}, {lacking} does not.",
                fuller=other_side(side),
                numbers=ranges(numbers),
                lacking=side,
            )
        case kind.Rounding(dtype=dtype) if " and " in dtype:
            return tr("Each value of A and of B has numbers that are rounded to both ({types}).", types=types(dtype))
        case kind.Rounding(dtype=dtype, narrower=side):
            return tr(
                "{narrow} is {wide} rounded to {dtype}, to the last bit.",
                narrow=side,
                wide=other_side(side),
                dtype=dtype,
            )
        case kind.LostByRounding(side=side, zero=zero, not_finite=not_finite, equal=equal):
            parts = (
                tr("{count} became zero ({numbers})", count=len(zero), numbers=_some(zero)) if zero else "",
                tr("{count} became NaN or infinite ({numbers})", count=len(not_finite), numbers=_some(not_finite))
                if not_finite
                else "",
                tr("{count} became equal to another code in use ({numbers})", count=len(equal), numbers=_some(equal))
                if equal
                else "",
            )
            return tr("Of the codes in use of {file} {lost}.", file=side, lost=listed(parts))
        case kind.WithinAStep(dtype=dtype, narrower=side, tensors=tensors):
            if not side:
                return tr(
                    "No order of the two makes all of {tensors} a rounding to {dtype}.",
                    tensors=listed(tensors),
                    dtype=types(dtype),
                )
            return tr(
                "Rounded to {dtype}, {wide} gives {narrow} to the last bit; but {narrow} was there "
                "first, so that {tensors} would be {narrow}'s own values had nothing moved them.",
                dtype=types(dtype),
                wide=other_side(side),
                narrow=side,
                tensors=listed(tensors),
            )
        case kind.LastPlaces(ulps=ulps, tensors=tensors):
            return trn(
                "{tensors}: most rows differ, and by no more than {number} unit in the last place.",
                "{tensors}: most rows differ, and by no more than {number} units in the last place.",
                ulps,
                tensors=listed(tensors),
            )
        case kind.NotFinite(sides=sides):
            if len(sides) == 2:
                return tr(
                    "Each file holds NaN or infinity where the other has numbers, which hides what else happened "
                    "there: a damaged file, or a training that diverged."
                )
            return tr(
                "{file} holds NaN or infinity where the other has numbers, which hides what else "
                "happened there: a damaged file, or a training that diverged.",
                file=sides[0],
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
        bits = tr("{bits} in the {channels} channels that both have", bits=bits, channels=min(shape[2], other[2]))
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


def _hits(found: kind.EmaUpdates) -> str:
    if not found.rose:
        return ""
    if len(found.rose) == 1:
        return tr("The count of 1 code rose: most frames went to {code}.", code=found.rose[0])
    return tr(
        "The counts of {codes} rose: most frames went to {numbers}.",
        codes=n_codes(found.rose),
        numbers=_some(found.rose),
    )


def _some(codes: tuple[int, ...]) -> str:
    return listed(codes, _SHOWN)


def _size(shape: tuple[int, ...]) -> str:
    codes = f"{shape[0]} x {shape[1]}" if shape[0] > 1 else str(shape[1])
    return tr("{codes} codes of {channels} channels", codes=codes, channels=shape[2])


def _books(diagnosis: Diagnosis) -> set[int]:
    return {cause.codebook for cause in diagnosis.causes if cause.codebook is not None} | {
        found.codebook for found in diagnosis.displacement
    }
