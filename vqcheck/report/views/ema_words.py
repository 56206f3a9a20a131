"""The evidence for EMA updates: how sums and counts shrank, and what the files say of their own steps."""

from vqcheck.codebook.diagnosis import evidence as kind
from vqcheck.codebook.diagnosis.evidence import StepPrecision, UpdateOrder
from vqcheck.codebook.diagnosis.result import Diagnosis
from vqcheck.language import tr, trn
from vqcheck.report.views.causes import updates
from vqcheck.report.views.words import listed, sentence


def decay(found: kind.EmaUpdates) -> str:
    """Return how far sums and counts of codes that no frame hit shrank, and which updates that takes."""
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
    codes = trn(
        "{number} of {codes} codes was nearest to no frame",
        "{number} of {codes} codes were nearest to no frame",
        found.unhit,
        codes=found.codes,
    )
    if found.order == UpdateOrder.SIBLINGS:
        return tr(
            "{unhit} in either training: their running sums differ by one factor alone. But other "
            "counts rose or fell against them, so neither file was trained on from the other.",
            unhit=codes,
        )
    if found.precision == StepPrecision.UNKNOWN:
        usual = listed(tr("{steps:.4g} with {decay:g}", steps=n.steps, decay=n.decay) for n in found.steps_by_decay)
        if found.decay is None:
            return tr(
                "{unhit}: their sums and counts shrank by one factor, as in updates, but the decay is "
                "up to the trainer. Updates: {usual}.",
                unhit=codes,
                usual=usual,
            )
        return tr(
            "{unhit}: their sums and counts shrank by one factor, as in updates, but that is no "
            "whole number of updates with this family's decay of {decay:g}. Updates: {usual}.",
            unhit=codes,
            decay=found.decay,
            usual=usual,
        )
    power = f"{found.decay:g}^{found.steps}"
    if found.precision == StepPrecision.EXACT:
        return tr(
            "{unhit}: their running sums and counts shrank by one and the same factor, {power}.",
            unhit=codes,
            power=power,
        )
    return tr(
        "{unhit}, or hardly any: their running sums and counts shrank by about {power}; rounding hides the rest.",
        unhit=codes,
        power=power,
    )


def own_step_numbers(found: kind.EmaUpdates, diagnosis: Diagnosis) -> str:
    """Return what the files say of their own steps, and whether that fits the values."""
    steps = dict(zip("AB", (training.steps for training in diagnosis.training), strict=True))
    earlier, later = ("B", "A") if found.order == UpdateOrder.B_TO_A else ("A", "B")
    known = [name for name in (earlier, later) if steps[name] is not None]
    if found.order == UpdateOrder.SIBLINGS or not known or (later not in known and not diagnosis.contradicted):
        return ""
    if len(known) == 2 and steps["A"] == steps["B"]:
        said = tr("Both files say they were written at step {step}", step=steps["A"])
    elif len(known) == 2:
        said = tr(
            "{earlier} says it was written at step {step}, {later} at step {later_step}",
            earlier=earlier,
            step=steps[earlier],
            later=later,
            later_step=steps[later],
        )
    else:
        said = tr("{file} says it was written at step {step}", file=known[0], step=steps[known[0]])
    if diagnosis.contradicted:
        return tr(
            "{said}. That contradicts the values: the files are of different runs, or one is not "
            "what it or its name says.",
            said=said,
        )
    every = found.precision == StepPrecision.EXACT and (steps[later] or 0) - (steps[earlier] or 0) == found.steps
    return tr("{said}: the codebook moved at every one of these steps.", said=said) if every else sentence(said)
