"""What happened to a codebook, in one sentence for the whole comparison."""

from vqcheck.codebook.diagnosis import evidence as kind
from vqcheck.codebook.diagnosis.evidence import StepPrecision, UpdateOrder
from vqcheck.codebook.diagnosis.result import Diagnosis
from vqcheck.report.views.words import all_of, roughly


def headline(diagnosis: Diagnosis) -> str:
    """Return what happened in one sentence without its full stop."""
    if not diagnosis.causes:
        return "The two VQ encoders do not store the same tensors"
    found = diagnosis.causes[0].evidence
    match found:
        case kind.NeverTrained(sides=sides):
            if sides == ("A",):
                return "The codebook was filled between A and B: tokens made with A mean nothing"
            if sides == ("B",):
                return "The codebook of B was never trained: tokens made with it mean nothing"
            return "Neither codebook was ever trained: tokens made with it mean nothing"
        case kind.NotFinite(sides=sides):
            return f"The codebook of {all_of(sides)} is broken: it holds NaN or infinity"
        case kind.Initialised():
            return "The codebook was filled anew: no token of A means the same in B"
        case kind.EmaUpdates() if not diagnosis.codes_moved:
            return "Running sums and counts were updated, but the codes are the same"
        case kind.EmaUpdates() as drift:
            return _drifted(drift, diagnosis)
        case kind.Permuted():
            return "The codes are the same but under other numbers: every moved token means something else"
        case kind.Edited(how="bookkeeping only"):
            return "The running sums and counts were edited; the codes themselves did not move"
        case kind.Edited(how="single rows", codes=codes):
            if diagnosis.codes_moved:
                return f"{n_codes(codes)} changed and all others did not: this is an edit, not training"
            return f"Sum or count of {n_codes(codes)} changed and all others did not: this is an edit, not training"
        case kind.Edited():
            return "The codebook was edited or merged by hand; no training leaves it like this"
        case kind.Merged(how="rows"):
            return "Some codes are another file's: the codebook was merged from two files"
        case kind.Merged():
            return "The codebook is an average of several files"
        case kind.Scaled(codes=None):
            return "Sums or counts were multiplied by one number; the codes themselves did not move"
        case kind.Scaled():
            return "The codebook was scaled: every value was multiplied by one number"
        case kind.ZeroSigns():
            return "Only signs of zero or NaN payloads differ; no lookup sees them"
        case kind.Unrelated():
            return "These are two different codebooks: no token of A means the same in B"
        case kind.OtherShape(part=part) if part:
            return f"The codebooks have different shapes: {part} is a part of {other_side(part)}"
        case kind.OtherShape():
            return "The codebooks have different shapes"
        case kind.OtherProjection():
            return "The projections in front of the codebooks are two different ones: tokens mean other things"
        case kind.ProjectionBehind():
            return "A projection that later layers depend on moved: frames may get other tokens there"
        case kind.ProjectionMoved(how="scaled"):
            return "The projection in front of the codebook was scaled: frames may get another token"
        case kind.ProjectionMoved(how="single rows"):
            return "Single rows of the projection in front of the codebook changed: frames may get another token"
        case kind.ProjectionMoved(how="rounding"):
            return "The projection in front of the codebook differs by rounding alone"
        case kind.ProjectionMoved():
            return "The projection in front of the codebook was trained: frames may get another token"
        case kind.MissingBooks(side=side, codebooks=numbers, stored=stored):
            return f"{side} lacks {len(numbers)} of the {stored} codebooks that {other_side(side)} stores"
        case kind.LostByRounding(dtype=dtype, side=side, zero=zero, not_finite=not_finite, equal=equal):
            lost = tuple({*zero, *not_finite, *equal})
            return f"Rounding to {dtype} destroyed {n_codes(lost)} in use of {side}"
        case kind.WithinAStep(dtype=dtype, narrower="", largest=largest):
            return f"A and B differ by less than a step of {dtype}, each way round: by {largest:.2g} at most"
        case kind.WithinAStep(dtype=dtype, narrower=side, largest=largest):
            return (
                f"{other_side(side)} was trained on from {side} and moved by less than a step of {dtype}: "
                f"by {largest:.2g} at most"
            )
        case kind.LastPlaces(ulps=ulps):
            return f"All values moved by a hair, {ulps} ulp at most: averaged with equals, or summed in another order"
        case kind.Rounding(dtype=dtype, narrower=side) if " and " in dtype:
            return f"A and B can be one source rounded to {dtype}"
        case kind.Rounding(dtype=dtype, narrower=side, undecided=True):
            other = other_side(side)
            return (
                f"{side} is {other} rounded to {dtype}: either {side} was exported from {other}, or {other} was "
                f"trained from {side} and moved by less than a step"
            )
        case kind.Rounding(dtype=dtype, narrower=side):
            return f"{side} is {other_side(side)} rounded to {dtype}"
        case _:
            return "The codebook changed, and the files do not tell why"


def _drifted(found: kind.EmaUpdates, diagnosis: Diagnosis) -> str:
    if diagnosis.contradicted:
        return "The codebook drifted, and the files' own step numbers contradict its values"
    if found.order == UpdateOrder.SIBLINGS:
        return "The codebook drifted: A and B come from the same one by separate trainings"
    number = updates(found.steps, found.precision)
    if found.order == UpdateOrder.B_TO_A:
        return f"The codebook drifted: A is {number} later than B"
    if found.order == UpdateOrder.UNKNOWN:
        return f"The codebook drifted: probably {number} ran; the values do not tell which file is later"
    if diagnosis.family != "gpt-sovits":
        if found.precision == StepPrecision.AT_LEAST:
            return f"The codebook drifted: probably {number} ran between A and B"
        return f"The codebook drifted: {number} ran between A and B"
    if found.precision == StepPrecision.AT_LEAST:
        return f"The codebook drifted: probably {number} ran during s2 training"
    return f"The codebook drifted: {number} ran during s2 training"


def updates(steps: int | None, precision: StepPrecision) -> str:
    if steps is None:
        return "EMA updates"
    number = "1 EMA update" if steps == 1 else f"{steps} EMA updates"
    return roughly(number, precision)


def other_side(side: str) -> str:
    return "A" if side == "B" else "B"


def n_codes(codes: tuple[int, ...]) -> str:
    return "1 code" if len(codes) == 1 else f"{len(codes)} codes"
