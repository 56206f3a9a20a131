"""What happened to a codebook, in one sentence for the whole comparison."""

from vqcheck.codebook.diagnosis import evidence as kind
from vqcheck.codebook.diagnosis.evidence import StepPrecision, UpdateOrder
from vqcheck.codebook.diagnosis.result import Diagnosis
from vqcheck.language import tr, trn
from vqcheck.report.views.words import all_of, roughly, types


def headline(diagnosis: Diagnosis) -> str:
    """Return what happened in one sentence without its full stop."""
    if not diagnosis.causes:
        return tr("The two VQ encoders do not store the same tensors")
    found = diagnosis.causes[0].evidence
    match found:
        case kind.NeverTrained(sides=sides):
            if sides == ("A",):
                return tr("The codebook was filled between A and B: tokens made with A mean nothing")
            if sides == ("B",):
                return tr("The codebook of B was never trained: tokens made with it mean nothing")
            return tr("Neither codebook was ever trained: tokens made with it mean nothing")
        case kind.NotFinite(sides=sides):
            return tr("The codebook of {files} is broken: it holds NaN or infinity", files=all_of(sides))
        case kind.Initialised():
            return tr("The codebook was filled anew: no token of A means the same in B")
        case kind.EmaUpdates() if not diagnosis.codes_moved:
            return tr("Running sums and counts were updated, but the codes are the same")
        case kind.EmaUpdates() as drift:
            return _drifted(drift, diagnosis)
        case kind.Permuted():
            return tr("The codes are the same but under other numbers: every moved token means something else")
        case kind.Edited(how="bookkeeping only"):
            return tr("The running sums and counts were edited; the codes themselves did not move")
        case kind.Edited(how="single rows", codes=codes):
            if diagnosis.codes_moved:
                return tr("{codes} changed and all others did not: this is an edit, not training", codes=n_codes(codes))
            return tr(
                "Sum or count of {codes} changed and all others did not: this is an edit, not training",
                codes=n_codes(codes),
            )
        case kind.Edited():
            return tr("The codebook was edited or merged by hand; no training leaves it like this")
        case kind.Merged(how="rows"):
            return tr("Some codes are another file's: the codebook was merged from two files")
        case kind.Merged():
            return tr("The codebook is an average of several files")
        case kind.Scaled(codes=None):
            return tr("Sums or counts were multiplied by one number; the codes themselves did not move")
        case kind.Scaled():
            return tr("The codebook was scaled: every value was multiplied by one number")
        case kind.ZeroSigns():
            return tr("Only signs of zero or NaN payloads differ; no lookup sees them")
        case kind.Unrelated():
            return tr("These are two different codebooks: no token of A means the same in B")
        case kind.OtherShape(part=part) if part:
            return tr(
                "The codebooks have different shapes: {part} is a part of {whole}", part=part, whole=other_side(part)
            )
        case kind.OtherShape():
            return tr("The codebooks have different shapes")
        case kind.OtherProjection():
            return tr("The projections in front of the codebooks are two different ones: tokens mean other things")
        case kind.ProjectionBehind():
            return tr("A projection that later layers depend on moved: frames may get other tokens there")
        case kind.ProjectionMoved(how="scaled"):
            return tr("The projection in front of the codebook was scaled: frames may get another token")
        case kind.ProjectionMoved(how="single rows"):
            return tr("Single rows of the projection in front of the codebook changed: frames may get another token")
        case kind.ProjectionMoved(how="rounding"):
            return tr("The projection in front of the codebook differs by rounding alone")
        case kind.ProjectionMoved():
            return tr("The projection in front of the codebook was trained: frames may get another token")
        case kind.MissingBooks(side=side, codebooks=numbers, stored=stored):
            return tr(
                "{file} lacks {lacking} of the {stored} codebooks that {other} stores",
                file=side,
                lacking=len(numbers),
                stored=stored,
                other=other_side(side),
            )
        case kind.LostByRounding(dtype=dtype, side=side, zero=zero, not_finite=not_finite, equal=equal):
            lost = tuple({*zero, *not_finite, *equal})
            return tr(
                "Rounding to {dtype} destroyed {codes} in use of {file}", dtype=dtype, codes=n_codes(lost), file=side
            )
        case kind.WithinAStep(dtype=dtype, narrower="", largest=largest):
            return tr(
                "A and B differ by less than a step of {dtype}, each way round: by {largest:.2g} at most",
                dtype=types(dtype),
                largest=largest,
            )
        case kind.WithinAStep(dtype=dtype, narrower=side, largest=largest):
            return tr(
                "{later} was trained on from {earlier} and moved by less than a step of {dtype}: by "
                "{largest:.2g} at most",
                later=other_side(side),
                earlier=side,
                dtype=types(dtype),
                largest=largest,
            )
        case kind.LastPlaces(ulps=ulps):
            return tr(
                "All values moved by a hair, {ulps} ulp at most: averaged with equals, or summed in another order",
                ulps=ulps,
            )
        case kind.Rounding(dtype=dtype, narrower=side) if " and " in dtype:
            return tr("A and B can be one source rounded to {dtype}", dtype=types(dtype))
        case kind.Rounding(dtype=dtype, narrower=side, undecided=True):
            return tr(
                "{narrow} is {wide} rounded to {dtype}: either {narrow} was exported from {wide}, or "
                "{wide} was trained from {narrow} and moved by less than a step",
                narrow=side,
                wide=other_side(side),
                dtype=dtype,
            )
        case kind.Rounding(dtype=dtype, narrower=side):
            return tr("{narrow} is {wide} rounded to {dtype}", narrow=side, wide=other_side(side), dtype=dtype)
        case _:
            return tr("The codebook changed, and the files do not tell why")


def _drifted(found: kind.EmaUpdates, diagnosis: Diagnosis) -> str:
    if diagnosis.contradicted:
        return tr("The codebook drifted, and the files' own step numbers contradict its values")
    if found.order == UpdateOrder.SIBLINGS:
        return tr("The codebook drifted: A and B come from the same one by separate trainings")
    number = updates(found.steps, found.precision)
    if found.order == UpdateOrder.B_TO_A:
        return tr("The codebook drifted: A is {updates} later than B", updates=number)
    if found.order == UpdateOrder.UNKNOWN:
        return tr(
            "The codebook drifted: probably {updates} ran; the values do not tell which file is later", updates=number
        )
    if diagnosis.family != "gpt-sovits":
        if found.precision == StepPrecision.AT_LEAST:
            return tr("The codebook drifted: probably {updates} ran between A and B", updates=number)
        return tr("The codebook drifted: {updates} ran between A and B", updates=number)
    if found.precision == StepPrecision.AT_LEAST:
        return tr("The codebook drifted: probably {updates} ran during s2 training", updates=number)
    return tr("The codebook drifted: {updates} ran during s2 training", updates=number)


def updates(steps: int | None, precision: StepPrecision) -> str:
    if steps is None:
        return tr("EMA updates")
    return roughly(trn("{number} EMA update", "{number} EMA updates", steps), precision)


def other_side(side: str) -> str:
    return "A" if side == "B" else "B"


def n_codes(codes: tuple[int, ...]) -> str:
    return trn("{number} code", "{number} codes", len(codes))
