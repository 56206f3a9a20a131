"""Results as lists of checks: what fails, what could not be checked and the exit status always agree."""

from dataclasses import replace
from itertools import product

import pytest
from vqcheck.report.cases import diff, history
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, PASSED

from vqcheck.audit.history_result import Base, Drift, History, HistoryRow, TrainingRun
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.compare import compare
from vqcheck.codebook.comparison import (
    ALL,
    CHANGED,
    FAULTS,
    IDENTICAL,
    MISSING,
    NOT_STORED,
    OTHER_SHAPE,
    ROUNDED,
    WITHIN_ULPS,
    Comparison,
    Side,
    TensorDiff,
)
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.codebook.family import ROLES
from vqcheck.codebook.kind import FileKind, FileRecord

WHOLE = Digest(F32V1, "a" * 64)
DIGESTS = EncoderDigests((("codes", WHOLE),), WHOLE, WHOLE, WHOLE)
SIDE = Side("a.pth", "gpt-sovits", "", never_trained=False, digests=DIGESTS)


def agrees(run):
    """Say whether the outcomes of the cases that count give the exit status; every document relies on it."""
    counted = {case.outcome for case in run.cases if not case.advisory}
    names = [(case.rule.id, case.name) for case in run.cases]
    assert len(set(names)) == len(names)
    assert all(case.message for case in run.cases)
    if run.exit_code == 2:
        return COULD_NOT_CHECK in counted
    return (FAILED in counted) == (run.exit_code == 1) and (run.exit_code == 1 or COULD_NOT_CHECK not in counted)


def tensor(role, verdict, *, judged=True):
    return TensorDiff(role, role, verdict, judged, "", "a", "b", "F32", "F32", (1,), (1,), WHOLE, WHOLE, None)


@pytest.mark.parametrize("role", ROLES)
def test_each_verdict_on_a_tensor_is_an_outcome(role):
    """Every role has a rule; only a fault in what is judged fails."""
    expected = dict.fromkeys((IDENTICAL, ROUNDED, WITHIN_ULPS), PASSED)
    expected |= dict.fromkeys((CHANGED, MISSING, OTHER_SHAPE), FAILED) | {NOT_STORED: NOT_APPLICABLE}
    for (verdict, outcome), judged in product(expected.items(), (True, False)):
        whole = CHANGED if judged and verdict in FAULTS else IDENTICAL
        run = diff.run(
            Comparison(SIDE, replace(SIDE, path="b.pth"), ALL, (tensor(role, verdict, judged=judged),), whole)
        )
        (case,) = run.cases
        assert case.rule.id == f"diff/{role.replace('_', '-')}-changed"
        assert (case.outcome, case.path) == (outcome if judged else NOT_APPLICABLE, "b.pth")
        assert agrees(run)


def test_a_codebook_that_was_never_trained_is_advice():
    """Identical but never trained is status 0, and no document hides it."""
    side = replace(SIDE, never_trained=True)
    run = diff.run(Comparison(side, side, ALL, (tensor("codes", IDENTICAL),), IDENTICAL))
    assert [case.advisory for case in run.cases if case.rule.id == "diff/never-trained"] == [True, True]
    assert agrees(run)


def test_a_history_agrees_with_its_rows():
    """Moved or not, with a base and without, with unreadable and passed-over files, of one run and of two."""
    still = Drift(("G_0.pth",), IDENTICAL, 0, 8, None, None, "")
    moved = Drift(("G_0.pth",), CHANGED, 3, 8, 0.25, 7, "exact")
    switches = [(True, False)] * 5
    for count, drift, based, skipped, unreadable, untrained, two in product((0, 1, 2, 3), (still, moved), *switches):
        rows = tuple(
            HistoryRow(
                f"G_{n}.pth",
                FileRecord(FileKind.TRAINING, None, n),
                WHOLE,
                "vq_encoder",
                drift if based else None,
                drift if n and not based else None,
                drift if n else None,
            )
            for n in range(count)
        )
        base = Base("base.pth", "option") if based else None
        runs = [TrainingRun("me", base, "", rows, (("G_9.pth", "is damaged"),) * unreadable)]
        if two:
            other = replace(rows[0], name="other.pth", from_base=still) if rows else None
            runs.append(TrainingRun("other", base, "", (other,) if other else (), ()))
        found = History("run", ALL, tuple(runs), (("D_1.pth", "a discriminator"),) * skipped, ("G_0.pth",) * untrained)
        run = history.run(found)
        assert agrees(run)
        failed = {case.name for case in run.cases if case.outcome == FAILED and not case.advisory}
        assert failed == ({row.name for row in rows[not based :]} if drift is moved else set())


def test_what_one_file_does_not_store_is_in_the_headline(checkpoints):
    """An export without a projection is the same as far as it goes, and every format says how far."""
    with (
        open_checkpoint(checkpoints / "base_v2.pth") as a,
        open_checkpoint(checkpoints / "lora_v3_e2_s50_l32.pth") as b,
    ):
        told = diff.run(compare(a, b)).headline
    assert told == (
        "The VQ encoder is the same as far as both files store it "
        "(input_proj not in B: a LoRA export leaves it to its base model)."
    )
    with open_checkpoint(checkpoints / "base_v2.pth") as a, open_checkpoint(checkpoints / "G_400.pth") as b:
        assert diff.run(compare(a, b)).headline == "The VQ encoder is the same."
