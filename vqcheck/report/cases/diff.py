"""A comparison of two VQ encoders as checks: one a tensor."""

from typing import Final

from vqcheck.codebook.comparison import CHANGED, FAULTS, NOT_STORED, UNDECIDED, Comparison, TensorDiff
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
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, PASSED, Case, Rule, Run
from vqcheck.report.cases.trained import trained
from vqcheck.report.views import copies
from vqcheck.report.words.diff import headline, size

_DRIFT: Final = (
    "Stage 1 was trained on tokens of the one codebook, and stage 2 would speak the other. Extract the tokens again "
    "and train s1 again, or start s2 from the checkpoint that the tokens came from; freeze the quantizer in training."
)
_CHAIN: Final = (
    "Later layers get what it leaves of the features, so it decides their tokens. (Behind the last layer it decides "
    "none, and is shown but not judged.)"
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
        (
            OUTPUT_PROJ,
            "the projection behind the codebook is",
            f"{_CHAIN} {_DRIFT}",
        ),
    )
}
_TRAINED: Final = trained("diff")
_COPIES: Final = Rule(
    "diff/copy-undecided",
    "no copy of the VQ encoder contradicts the one that was judged",
    "A file may hold several: raw and averaged weights, the best state, a teacher. Whoever loads a copy that the other "
    "file has nothing to answer to gets other tokens. Name the copy that will be used: --copy NAME.",
)


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
        (*(_tensor(diff, b) for diff in comparison.tensors), *_copies(comparison), *untrained, *unfit),
    )


def _copies(comparison: Comparison) -> list[Case]:
    """Return a case for each copy without a partner, and one where it is not clear which belong together."""
    advisory = comparison.verdict == CHANGED
    cases = [
        Case(
            _COPIES,
            f"{copy.side}: {copy.name}",
            PASSED if copy.agrees else COULD_NOT_CHECK,
            copies.lone(copy),
            (comparison.a if copy.side == "A" else comparison.b).path,
            advisory=advisory,
        )
        for copy in comparison.lone
    ]
    if comparison.verdict == UNDECIDED and not comparison.contradicting:
        message = copies.undecided(comparison)
        cases.append(Case(_COPIES, "which belong together", COULD_NOT_CHECK, message, comparison.b.path))
    return cases


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
