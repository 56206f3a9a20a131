"""A comparison of two VQ encoders as checks: one a tensor."""

from typing import Final

from vqcheck.codebook.comparison import FAULTS, NOT_STORED, Comparison, TensorDiff
from vqcheck.codebook.family import (
    CODE_TRANSFORM,
    CODES,
    EMA_COUNT,
    EMA_SUM,
    INIT_FLAG,
    INPUT_PROJ,
    OUTPUT_PROJ,
)
from vqcheck.codebook.health import EXPLAINED
from vqcheck.report.cases.case import FAILED, NOT_APPLICABLE, PASSED, Case, Rule, Run
from vqcheck.report.cases.trained import trained
from vqcheck.report.words.diff import headline, size

_DRIFT: Final = (
    "Stage 1 was trained on tokens of the one codebook, and stage 2 would speak the other. Extract the tokens again "
    "and train s1 again, or start s2 from the checkpoint that the tokens came from; freeze the quantizer in training."
)
_BOOKKEEPING: Final = (
    "They decide no token today, but only updates of the codebook in training write them: it was not frozen. "
    "--scope tokens leaves them out of the verdict."
)
_RULES: Final = {
    role: Rule(f"diff/{role.replace('_', '-')}-changed", f"{what} the same in both files", help_)
    for role, what, help_ in (
        (CODES, "the codes are", f"These vectors are what tokens mean. {_DRIFT}"),
        (INPUT_PROJ, "the projection in front of the codebook is", f"It decides which code a frame gets. {_DRIFT}"),
        (CODE_TRANSFORM, "the transform of the codes is", f"The codes are calculated with it. {_DRIFT}"),
        (INIT_FLAG, "the init flag is", f"It says whether the codebook still waits for its first batch. {_DRIFT}"),
        (EMA_SUM, "the running sums are", _BOOKKEEPING),
        (EMA_COUNT, "the running counts are", _BOOKKEEPING),
        (OUTPUT_PROJ, "the projection behind the codebook is", "It decides no token, and is shown but not judged."),
    )
}
_TRAINED: Final = trained("diff")


def run(comparison: Comparison) -> Run:
    """Return a comparison as one case a tensor, and one for whatever makes a file's codebook unfit for use."""
    a, b = comparison.a.path, comparison.b.path
    untrained = [
        Case(
            _TRAINED,
            f"never trained: {letter}",
            FAILED,
            f"the codebook of {side.path} was never trained",
            side.path,
            advisory=True,
        )
        for letter, side in (("A", comparison.a), ("B", comparison.b))
        if side.never_trained
    ]
    unfit = [
        Case(
            _TRAINED, f"{ailment}: {letter}", FAILED, f"{side.path} is {ailment}: {EXPLAINED[ailment]}", side.path, True
        )
        for letter, side in (("A", comparison.a), ("B", comparison.b))
        for ailment in side.ailments
    ]
    return Run(
        "diff",
        f"{a} and {b}",
        comparison.verdict,
        comparison.exit_code,
        headline(comparison),
        (*(_tensor(diff, b) for diff in comparison.tensors), *untrained, *unfit),
    )


def _tensor(diff: TensorDiff, path: str) -> Case:
    if not diff.judged:
        outcome, why = NOT_APPLICABLE, ", not judged"
    elif diff.verdict in FAULTS:
        outcome, why = FAILED, ""
    else:
        outcome, why = (NOT_APPLICABLE if diff.verdict == NOT_STORED else PASSED), ""
    return Case(_RULES[diff.role], diff.label, outcome, f"{diff.verdict}{why}{_evidence(diff)}", path)


def _evidence(diff: TensorDiff) -> str:
    parts = []
    if diff.note:
        parts.append(diff.note)
    if diff.change:
        parts.append(f"{diff.change.rows_changed} of {diff.change.rows} rows changed, {size(diff.change)}")
    if diff.a_digest and diff.b_digest:
        a, b = (f"{digest.algorithm} {digest.short}" for digest in (diff.a_digest, diff.b_digest))
        parts.append(a if a == b else f"{a} in A, {b} in B")
    return f": {'; '.join(parts)}" if parts else ""
