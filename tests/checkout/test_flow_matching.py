"""Checkouts trained as v3 and v4: their own classes with the one loss they learn by, and no discriminator."""

import pytest

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay.run import replay
from vqcheck.replay.trace import AS_EXPECTED, DRIFTED, FROZEN, NOT_AS_EXPECTED

FORWARD = "text_lengths, mel_lengths, use_grad_ckpt):"
RETURNED = "if self.RETURNS_BOTH else loss"
DISCRIMINATOR = "class MultiPeriodDiscriminator("


def verdicts(result):
    return {arm.strategy: arm.verdict for arm in result.arms}


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_a_tree_that_freezes_stays_frozen(tree, version):
    """As it is nothing moves; with the freeze undone the same class drifts. There is one loss and one network."""
    result = replay(tree.config(version=version))
    as_is, control = result.arms
    assert (result.verdict, result.setting.subject) == (AS_EXPECTED, version)
    assert verdicts(result) == {"as-is": FROZEN, "none": DRIFTED}
    assert as_is.digest_at_start == as_is.digest_at_end == control.digest_at_start
    for step in as_is.steps:
        assert (set(step.losses), set(step.gradient_norms)) == ({"flow matching"}, {"generator"})
        assert step.losses["flow matching"] > 0
        assert step.gradient_norms["generator"] > 0
        assert (step.commit_loss, step.commit_loss_state) == (0.0, "off (eval mode)")
        assert step.shadow_commit_loss > 0


def test_a_tree_that_only_turns_gradients_off_drifts(tree):
    """Neither the constructor's flag nor computing without gradients stops a moving average; the line is the tree's."""
    result = replay(tree.era("requires-grad").config(version="v3"))
    assert (verdicts(result)["as-is"], result.verdict, result.exit_code) == (DRIFTED, NOT_AS_EXPECTED, 1)
    writes = {write.label: write for write in result.arms[0].first_writes}
    assert set(writes) == {"codes", "ema_sum", "ema_count"}  # no gradient reaches the projection
    assert {write.file for write in writes.values()} == {str(tree.path / "GPT_SoVITS" / "module" / "quantize.py")}
    assert all(step.commit_loss > 0 for step in result.arms[0].steps)


@pytest.mark.slow
def test_the_network_learns(tree):
    """The optimizer holds what requires a gradient: the loss falls while the VQ encoder stays."""
    as_is = replay(tree.config(version="v3", steps=60).changed("training", learning_rate=0.02)).arms[0]
    losses = [step.losses["flow matching"] for step in as_is.steps]
    assert sum(losses[-10:]) < sum(losses[:10])


def test_another_class_of_the_tree_can_be_named(tree):
    """A class that returns the commit loss too, knows no version and asks for no switch is trained on the flow."""
    result = replay(tree.config(generator="SynthesizerTrnV3b"))
    assert result.setting.subject == "v3"
    assert verdicts(result) == {"as-is": FROZEN, "none": DRIFTED}
    drifting = result.arms[1].steps[0]
    assert drifting.commit_loss > 0
    assert set(drifting.losses) == {"flow matching"}


@pytest.mark.parametrize(
    ("old", "new", "subject", "message"),
    [
        (
            DISCRIMINATOR,
            f"del SynthesizerTrnV3\n{DISCRIMINATOR}",
            {"version": "v3"},
            "no class SynthesizerTrnV3; is it older",
        ),
        (
            ', version="v3", **unused',
            ", **unused",
            {"version": "v4"},
            "SynthesizerTrnV3 of .* knows only v3; it is older",
        ),
        (DISCRIMINATOR, DISCRIMINATOR, {"version": "v3", "generator": "SynthesizerTrn"}, "is not trained as v3 is"),
        (FORWARD, FORWARD.replace("):", ", prompt):"), {"version": "v3"}, "another signature .*: it takes prompt"),
        (RETURNED, "if self.RETURNS_BOTH else [loss, loss * 2]", {"version": "v3"}, "forward returned 2 losses"),
        (RETURNED, "if self.RETURNS_BOTH else loss.detach()", {"version": "v4"}, "forward returned 0 losses"),
        (
            "assert mel.abs()",
            "raise OSError\n        mel.abs()",
            {"version": "v3"},
            r"raised OSError \(.*models.py",
        ),
    ],
)
def test_a_tree_that_is_wrong_is_told_in_one_line(tree, old, new, subject, message):
    """Each fault of a v3 or v4 tree names the class, the parameter or the line."""
    with pytest.raises(UsageError, match=message) as told:
        replay(tree.change(old, new).config(steps=1, **subject))
    assert "\n" not in str(told.value)


def test_the_shipped_synthesizer_has_no_such_step():
    """Without a checkout v3 and v4 are refused, and it is said how they are replayed."""
    with pytest.raises(UsageError, match=r"v3 learns by another step; .*--checkout"):
        replay(Config.model_validate({"subject": {"version": "v3"}}))
