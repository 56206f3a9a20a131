"""Results as lists of checks: what fails, what could not be checked and the exit status always agree."""

from dataclasses import replace
from itertools import product

import pytest
from vqcheck.report.cases import diff, gate, history, replay, tokens
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, PASSED

from vqcheck.audit.history_result import Base, Drift, History, HistoryRow, TrainingRun
from vqcheck.audit.judgement import Judgement
from vqcheck.audit.token_audit_result import (
    FrameCounts,
    ItemAudit,
    TokenAudit,
    TokenPrecision,
)
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
    ComparedFile,
    Comparison,
    TensorDiff,
)
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.codebook.family import ROLES
from vqcheck.codebook.file_record import FileKind, FileRecord
from vqcheck.gate.checks import CHECKS
from vqcheck.gate.result import CheckResult, GateReport
from vqcheck.replay.trace import (
    DRIFTED,
    FROZEN,
    Arm,
    Extent,
    FirstWrite,
    Replay,
    Setting,
    SourceLine,
    StepTrace,
    TensorStep,
)

WHOLE = Digest(F32V1, "a" * 64)
DIGESTS = EncoderDigests((("codes", WHOLE),), WHOLE, WHOLE, WHOLE)
SIDE = ComparedFile("a.pth", "gpt-sovits", "", never_trained=False, digests=DIGESTS)


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


def test_a_gate_agrees_with_its_checks():
    """Over every pair of findings, required or not; a gate that checked nothing says so in a case of its own."""
    words = ("passed", "failed", "could not check", "not applicable", "skipped")
    for a, b, a_required, b_required in product(words, words, (True, False), (True, False)):
        outcomes = tuple(
            CheckResult(check.code, check.title, required, Judgement(found, "words"))
            for check, found, required in zip(CHECKS, (a, b), (a_required, b_required), strict=False)
        )
        assert agrees(gate.run(GateReport("s2.json", outcomes)))
    nothing = gate.run(GateReport("s2.json", (CheckResult("lock", "t", True, Judgement("skipped", "words")),)))
    assert [case.rule.id for case in nothing.cases] == ["gate/lock", "gate/nothing-checked"]
    assert {case.rule.help for case in nothing.cases} > {next(each.why for each in CHECKS if each.code == "lock")}


def test_a_gate_that_was_asked_for_less_says_so():
    """Training may start as far as was asked: whoever reads only the headline must know that checks were left out."""
    outcomes = tuple(
        CheckResult(check.code, check.title, check.required, Judgement(found, "words"))
        for check, found in zip(CHECKS, ("passed", "skipped"), strict=False)
    )
    assert gate.run(GateReport("s2.json", outcomes)).headline == "s2 training may start (1 of 2 checks asked for)"
    assert gate.run(GateReport("s2.json", outcomes[:1])).headline == "s2 training may start"


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


def test_an_audit_agrees_with_its_items():
    """Over every combination of contradiction and gap."""
    for mismatch, ties, length, overflow, coarse, unreadable, malformed, coverage, notes in product(
        (False, True), repeat=9
    ):
        undecided = 20 * overflow + 20 * coarse
        counts = FrameCounts(400, 300 - mismatch, 90 * ties, int(mismatch), undecided, TokenPrecision.HALF, 20 * coarse)
        audit = TokenAudit(
            checkpoint="base.pth",
            family="gpt-sovits",
            digests=DIGESTS,
            experiment="logs/me",
            files=("6-name2semantic.tsv",),
            rows=4,
            items=(ItemAudit("1.wav", "6-name2semantic.tsv:2", 400 + 5 * length, 400, counts),),
            sampled=False,
            arithmetic="",
            predicted=(0, 0),
            without_tokens=("7.wav",) * notes,
            without_features=("8.wav", "9.wav", "10.wav") if coverage else ("8.wav",) * notes,
            repeated=("1.wav",) * notes,
            unreadable=(("2.wav", "is damaged"),) * unreadable,
            malformed=(("6-name2semantic.tsv:3", "holds no tokens"),) * malformed,
            headless=notes,
            leftover_parts=("6-name2semantic-0.tsv",) * notes,
        )
        run = tokens.run(audit, audit if notes else None)
        assert agrees(run), audit
        item = next(case for case in run.cases if case.name.startswith("1.wav"))
        assert item.path.replace("\\", "/") == "logs/me/6-name2semantic.tsv"
        assert (item.line, item.outcome) == (2, FAILED if mismatch or length else PASSED)


def arm(*, expected, written, ranks, complete, uses_codebook, name="as-is"):
    codes = TensorStep("codes", written, written, 8 * written, 8, 1.0 * written, 1.0 * written)
    step = StepTrace(1, 1, {}, {}, 0.0, "computed", 0.0, (codes,), 0, 0.1, None, ())
    place = SourceLine("/home/me/train.py", 31, "step")
    write = FirstWrite("codes", 1, 1, "aten.copy_.default", "/site-packages/vq.py", 12, "forward", place)
    return Arm(
        strategy=name,
        stops="Nothing.",
        expected=expected,
        steps_run=1,
        complete=complete,
        steps=(step,),
        kept_every=1,
        commit_loss=Extent(0.0, 0.0),
        shadow_commit_loss=Extent(0.0, 0.0),
        first_writes=(write,) if written else (),
        digest_at_start=DIGESTS,
        digest_at_first_change=DIGESTS if written else None,
        digest_at_end=DIGESTS,
        rank_differences=int(ranks),
        median_seconds=None,
        tracing_seconds=None,
        uses_codebook=uses_codebook,
    )


def replay_of(*arms, complete=True, processes=1):
    setting = Setting("tiny", "fresh", "6 items", 1, 2, 1, "cpu", "fp32", processes, "2.13", 0)
    return Replay(setting, arms, complete)


def test_a_replay_agrees_with_its_arms():
    """Over every pair of arms, expected to drift or not, that did or did not, whole or cut short."""
    kinds = list(product((FROZEN, DRIFTED), (False, True), (False, True), (True, False), (None, False, True)))
    arms = [
        arm(expected=expected, written=written, ranks=ranks, complete=complete, uses_codebook=used)
        for expected, written, ranks, complete, used in kinds
    ]
    for first, second in product(arms, arms):
        whole = replay_of(first, replace(second, strategy="freeze"), complete=first.complete and second.complete)
        assert agrees(replay.run(whole)), whole
    for each in arms:
        assert agrees(replay.run(replay_of(each, processes=2, complete=each.complete)))
        # Interrupted before the next arm took a step.
        assert agrees(replay.run(replay_of(each, complete=False)))


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


def test_only_a_step_that_never_used_the_codebook_is_said_not_to():
    """Our own step uses it: an arm told to stay frozen that drifts is a finding, not an unused codebook."""
    own = {"expected": FROZEN, "ranks": False, "complete": True}
    drifting = arm(**own, written=True, uses_codebook=None, name="none")
    still = arm(**own, written=False, uses_codebook=None, name="freeze")
    told = replay.run(replay_of(drifting, still))
    assert (told.exit_code, told.headline) == (1, "none did not do what was expected")
    told = replay.run(replay_of(still))
    assert told.exit_code == 2
    assert told.headline.startswith("no arm was to drift")
    assert [case.rule.id for case in told.cases if case.outcome != PASSED] == ["replay/control-did-not-drift"]
    told = replay.run(replay_of(replace(still, uses_codebook=False)))
    assert told.headline.startswith("the step never used the codebook")


def test_a_leak_is_told_at_the_users_own_line():
    """The message has operator, library line, step and rows; the place is the line of the user's that called it."""
    leaking = arm(expected=FROZEN, written=True, ranks=False, complete=True, uses_codebook=True)
    (case,) = replay.run(replay_of(leaking)).cases
    assert (case.rule.id, case.name, case.outcome) == ("replay/drifted", "as-is: codes", FAILED)
    assert (case.path, case.line) == ("/home/me/train.py", 31)
    assert (
        "step 1, by aten.copy_ at /site-packages/vq.py:12 in forward, called from /home/me/train.py:31" in case.message
    )
    assert "8 of 8 rows" in case.message
    unseen = replace(leaking, first_writes=(FirstWrite("codes", 1, None),))
    (case,) = replay.run(replay_of(unseen)).cases
    assert (case.path, case.line, "not attributed" in case.message) == ("", 0, True)


def test_names_do_not_depend_on_the_outcome():
    """A check that passed yesterday and fails today is the same one to whoever keeps a history of tests."""
    names = set()
    for written in (False, True):
        found = arm(expected=FROZEN, written=written, ranks=written, complete=True, uses_codebook=True)
        run = replay.run(replay_of(found, processes=2))
        names.add(tuple((case.rule.id, case.name) for case in run.cases))
    assert names == {(("replay/drifted", "as-is: codes"), ("replay/ranks-differ", "as-is"))}
