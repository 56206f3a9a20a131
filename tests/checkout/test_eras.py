"""Checkouts of three times are told apart by what their own class does, with the write in the tree's own lines."""

import sys

import pytest

from vqcheck.errors import UsageError
from vqcheck.replay.run import planned, replay
from vqcheck.replay.strategies import CHECKOUT_STRATEGIES
from vqcheck.replay.trace import ArmVerdict, ReplayVerdict

UNUSED = "ssl[..., ::2], 0, ssl.sum() * 0, 0\n        quantized"


def verdicts(result):
    return {arm.strategy: arm.verdict for arm in result.arms}


def test_a_tree_that_turns_gradients_off_drifts(tree):
    """Before the fix the tree as it is ends in 1, and each write points into the tree's own quantizer."""
    result = replay(tree.era("requires-grad").config())
    assert verdicts(result) == {"as-is": ArmVerdict.DRIFTED, "none": ArmVerdict.DRIFTED}
    assert (result.verdict, result.exit_code) == (ReplayVerdict.NOT_AS_EXPECTED, 1)
    source = tree.path / "GPT_SoVITS" / "module" / "quantize.py"
    writes = {write.label: write for write in result.arms[0].first_writes}
    assert set(writes) == {"codes", "ema_sum", "ema_count"}
    for write in writes.values():
        assert (write.file, write.function, write.traced_step) == (str(source), "forward", 1)
        assert ".data." in source.read_text("utf-8").splitlines()[write.line - 1]
    assert all(step.commit_loss > 0 and step.commit_loss_state == "computed" for step in result.arms[0].steps)


@pytest.mark.parametrize("era", ["fixed", "broken"])
def test_a_tree_with_the_fix_stays_frozen(tree, era):
    """Since the fix the tree as it is keeps every bit, and the control proves that the same tree could drift."""
    result = replay((tree if era == "fixed" else tree.era(era)).config())
    as_is, control = result.arms
    assert verdicts(result) == {"as-is": ArmVerdict.FROZEN, "none": ArmVerdict.DRIFTED}
    assert (result.verdict, result.exit_code) == (ReplayVerdict.AS_EXPECTED, 0)
    assert as_is.digest_at_start == as_is.digest_at_end == control.digest_at_start
    assert {(step.commit_loss, step.commit_loss_state) for step in as_is.steps} == {(0.0, "off (eval mode)")}
    assert all(step.shadow_commit_loss > 0 for step in as_is.steps)
    assert {write.label for write in control.first_writes} > {"codes", "input_proj.weight"}


def test_the_trees_own_type_error_is_reported_as_such(tree):
    """Where not to freeze raises in the tree, that error is told with the tree's file and line, in one line.

    Before Python 3.11 it is an AttributeError.
    """
    with pytest.raises(
        UsageError, match=r"step 1 raised (TypeError: .*context manager|AttributeError: __enter__).*models.py:\d+ in f"
    ) as told:
        replay(tree.era("broken").config(freeze_quantizer=False))
    assert "\n" not in str(told.value)


def test_a_tree_that_is_told_not_to_freeze_drifts(tree):
    """The flag reaches the tree's own class."""
    assert verdicts(replay(tree.config(steps=1, freeze_quantizer=False)))["as-is"] == ArmVerdict.DRIFTED


@pytest.mark.slow
def test_every_strategy_does_from_outside_what_its_name_says(tree):
    """Applied to any tree from outside, the old ways drift and the fixes hold, whatever the tree itself does."""
    result = replay(tree.config(replay={"strategies": list(CHECKOUT_STRATEGIES)}))
    assert verdicts(result) == {name: strategy.expected for name, strategy in CHECKOUT_STRATEGIES.items()}
    assert len({arm.digest_at_start for arm in result.arms}) == 1
    moved = {arm.strategy: {write.label for write in arm.first_writes} for arm in result.arms}
    assert "input_proj.weight" in moved["none"] & moved["eval-at-init"]
    assert "input_proj.weight" not in moved["requires-grad"] | moved["no-grad"]


QUANTIZE = "        quantized, _, commit_loss, _ ="


def test_the_freeze_arm_is_vqcheck_freeze(tree):
    """The tree itself sees what holds its quantizer: the class of the function that users call, and no imitation."""
    look = (
        "held = type(vars(self.quantizer).get('train')).__module__; assert held != 'vqcheck.live.train_override', held"
    )
    result = replay(tree.change(QUANTIZE, f"        {look}\n{QUANTIZE}").config(replay={"strategies": ["freeze"]}))
    assert [arm.strategy for arm in result.arms] == ["as-is", "none"]
    assert result.failure.startswith("freeze: checkout: step 1 raised AssertionError: vqcheck.live.train_override (")


def test_a_tensor_that_the_tree_drops_has_drifted(tree):
    """What is gone over there is gone in the mirror: it is never taken for unchanged."""
    book = "self.quantizer.vq.layers[0]._codebook"
    drop = f"self.quantizer.training or {book}._buffers.pop('cluster_size', None)"
    as_is, control = replay(tree.change(QUANTIZE, f"        {drop}\n{QUANTIZE}").config()).arms
    assert (as_is.verdict, control.verdict) == (ArmVerdict.DRIFTED, ArmVerdict.DRIFTED)
    dropped = {tensor.label: tensor for tensor in as_is.steps[-1].tensors}["ema_count"]
    assert (dropped.changed, dropped.problem) == (True, "is missing")
    assert {write.label: write.operator for write in as_is.first_writes} == {"ema_count": "deletion"}


SHIPPED = """
import vqcheck.synthesizer as shipped

TINY = shipped.preset("tiny")


class SynthesizerTrn(shipped.SynthesizerTrn):
    def __init__(self, spec_channels, segment_size, n_speakers=0, *, freeze_quantizer=None, **unused):
        super().__init__(spec_channels, segment_size, **{**TINY.model, "freeze_quantizer": freeze_quantizer})


class MultiPeriodDiscriminator(shipped.MultiPeriodDiscriminator):
    def __init__(self, use_spectral_norm=False, **unused):
        super().__init__(**TINY.discriminator)
"""


@pytest.mark.slow
def test_a_tree_that_uses_the_shipped_synthesizer(tree):
    """Its own freeze holds as it is, is off for the control, and is what `maybe-no-grad` turns on."""
    tree.models.write_text(SHIPPED, "utf-8")
    result = replay(tree.config(steps=1, replay={"strategies": ["none", "maybe-no-grad", "freeze"]}))
    assert verdicts(result) == {
        "as-is": ArmVerdict.FROZEN,
        "none": ArmVerdict.DRIFTED,
        "maybe-no-grad": ArmVerdict.FROZEN,
        "freeze": ArmVerdict.FROZEN,
    }


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_two_replays_are_the_same(tree, version):
    """The same tree gives the same losses and the same drift, also where it draws from Python's own generator."""
    first, second = (replay(tree.config(version=version)).arms[1] for _ in range(2))
    assert [step.losses for step in first.steps] == [step.losses for step in second.steps]
    assert first.digest_at_end == second.digest_at_end


def test_a_quantizer_that_nothing_writes_proves_nothing(tree):
    """When not even the control drifts, the tree never trains its codebook and the replay is inconclusive."""
    unused = "self.ssl_proj(ssl), torch.zeros(1, 1), ssl.mean() * 0, 0"
    tree.change("self.quantizer(self.ssl_proj(ssl), layers=[0])", unused).change(
        "self.ssl_proj = nn.Conv1d(SSL, SSL, 2, stride=2)",
        "self.ssl_proj = nn.Conv1d(SSL, SSL, 2, stride=2)\n        self.other = nn.Conv1d(SSL, SSL, 2, stride=2)",
    )
    tree.change("self.ssl_proj(ssl), torch.zeros", "self.other(ssl), torch.zeros")
    result = replay(tree.config())
    assert set(verdicts(result).values()) == {ArmVerdict.FROZEN}
    assert (result.verdict, result.exit_code) == (ReplayVerdict.INCONCLUSIVE, 2)


def test_a_quantizer_that_is_never_called_proves_nothing(tree):
    """Then there is no commit loss of its own, and that is what is said of it."""
    result = replay(tree.change("self.quantizer(self.ssl_proj(ssl), layers=[0])\n        quantized", UNUSED).config())
    assert (result.verdict, result.exit_code) == (ReplayVerdict.INCONCLUSIVE, 2)
    assert {step.commit_loss_state for arm in result.arms for step in arm.steps} == {"not reported"}


def test_an_older_tree_is_taken_for_v1(tree):
    """A class without a version knows only v1: that is what is replayed, and another version is refused clearly."""
    tree.change(', version="v2", **unused', ", **unused").change(", self.version = segment_size", " = segment_size")
    tree.change("freeze_quantizer, version\n", "freeze_quantizer\n")
    assert replay(tree.config(steps=1)).setting.subject == "v1"
    with pytest.raises(UsageError, match="knows only v1"):
        replay(tree.config(version="v2"))


def test_a_pro_version_that_the_tree_lacks_is_refused(tree):
    """A tree without speaker vectors is older than v2Pro, and says so."""
    with pytest.raises(UsageError, match="knows no v2Pro"):
        replay(tree.config(version="v2Pro"))


def test_nothing_of_the_tree_is_imported_here(tree):
    """The tree's generic module names touch nothing of this process, and nothing is written into the tree."""
    before = sorted(tree.path.rglob("*"))
    replay(tree.config(steps=1))
    assert not {"module", "module.models", "text", "utils"} & set(sys.modules)
    assert sorted(tree.path.rglob("*")) == before


def test_the_planned_arms_are_the_ones_that_run(tree):
    """The tree as it is comes first, then a control, then what was named."""
    config = tree.config(steps=1, replay={"strategies": ["freeze", "as-is"]})
    assert planned(config) == ["as-is", "none", "freeze"] == [arm.strategy for arm in replay(config).arms]
