"""What each way of freezing really stops, in the training step itself."""

import pytest

from vqcheck.errors import UsageError
from vqcheck.replay.strategies import STRATEGIES, choose, with_control
from vqcheck.replay.trace import CommitLossState, ReplayVerdict

pytestmark = pytest.mark.slow

CODEBOOK = {"codes", "ema_sum", "ema_count"}
PROJECTION = {"input_proj.weight", "input_proj.bias"}

STOPPED = {
    "none": CODEBOOK | PROJECTION,
    "requires-grad": CODEBOOK,
    "eval-at-init": CODEBOOK | PROJECTION,
    "no-grad": CODEBOOK,
    "eval-in-forward": set(),
    "maybe-no-grad": set(),
    "freeze": set(),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_moves_under_each_strategy(arms, strategy):
    """Each strategy stops exactly what its sentence says, and every tensor that moves does so from step 1 on."""
    arm = arms[strategy]
    assert {tensor.label for tensor in arm.steps[-1].tensors if tensor.changed} == STOPPED[strategy]
    assert {write.label: write.first_changed_step for write in arm.first_writes} == dict.fromkeys(STOPPED[strategy], 1)
    assert arm.verdict == STRATEGIES[strategy].expected


def test_all_strategies_are_known_here():
    """No strategy goes untested."""
    assert set(STRATEGIES) == set(STOPPED)


def test_the_matrix_is_as_expected(every_strategy):
    """With every strategy doing what it is known to do, the replay passes."""
    assert every_strategy.verdict == ReplayVerdict.AS_EXPECTED
    assert every_strategy.exit_code == 0


def test_commit_loss_is_a_symptom(arms):
    """Commit loss is above 0 where the codebook drifts, and exactly 0 where it is not computed at all."""
    for name, arm in arms.items():
        frozen = not STOPPED[name]
        for step in arm.steps:
            assert step.commit_loss_state == (CommitLossState.OFF if frozen else CommitLossState.COMPUTED)
            assert 0 < step.shadow_commit_loss < 1
            assert step.commit_loss == (0.0 if frozen else pytest.approx(step.shadow_commit_loss, rel=1e-5))


def test_arms_differ_in_the_strategy_alone(arms):
    """Every arm starts from the same weights, and its first step sees the same data and the same random numbers."""
    assert len({arm.digest_at_start for arm in arms.values()}) == 1
    first = {name: arm.steps[0] for name, arm in arms.items()}
    # equal up to the rounding of the straight-through path, which frozen arms do not have
    for figures in (
        [s.shadow_commit_loss for s in first.values()],
        [s.losses["discriminator"] for s in first.values()],
    ):
        assert figures == pytest.approx([figures[0]] * len(figures), rel=1e-5)


def test_the_fixes_train_alike(arms):
    """Both fixes and our own freeze give the same losses, bit by bit: they differ in whether a graph is built."""
    one, *others = (arms[name].steps for name in ("eval-in-forward", "maybe-no-grad", "freeze"))
    for other in others:
        assert [step.losses for step in one] == [step.losses for step in other]


def test_unknown_strategy_is_refused_with_a_suggestion():
    """A misspelt strategy names the one that was meant."""
    with pytest.raises(UsageError, match="did you mean maybe-no-grad"):
        choose(["maybe-nograd"], STRATEGIES)


def test_a_control_is_added_only_where_there_is_none():
    """Without an arm that must drift, `none` joins in front; with one, nothing is added."""
    fixes = choose(["eval-in-forward", "maybe-no-grad"], STRATEGIES)
    assert [s.name for s in with_control(fixes, {})] == ["none", "eval-in-forward", "maybe-no-grad"]
    assert with_control(choose(["no-grad"], STRATEGIES), {}) == choose(["no-grad"], STRATEGIES)
    assert [s.name for s in with_control(choose(["no-grad"], STRATEGIES), {"no-grad": "frozen"})] == ["none", "no-grad"]
