"""Checkouts trained as v3 and v4: their own classes with the one loss they learn by, and no discriminator."""

import pytest

from vqcheck.errors import UsageError
from vqcheck.replay.run import replay
from vqcheck.replay.trace import ArmVerdict, ReplayVerdict

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
    assert (result.verdict, result.setting.subject) == (ReplayVerdict.AS_EXPECTED, version)
    assert verdicts(result) == {"as-is": ArmVerdict.FROZEN, "none": ArmVerdict.DRIFTED}
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
    assert (verdicts(result)["as-is"], result.verdict, result.exit_code) == (
        ArmVerdict.DRIFTED,
        ReplayVerdict.NOT_AS_EXPECTED,
        1,
    )
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
    assert verdicts(result) == {"as-is": ArmVerdict.FROZEN, "none": ArmVerdict.DRIFTED}
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


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_lora_training_moves_its_adapters_alone(tree, version):
    """The adapters are put on the tree's own decoder, under every strategy; what has no gradient holds still."""
    result = replay(tree.config(version=version, training={"lora_rank": 3}))
    as_is, control = result.arms
    assert (result.exit_code, result.setting.subject) == (0, f"{version} LoRA (rank 3)")
    assert verdicts(result) == {"as-is": ArmVerdict.FROZEN, "none": ArmVerdict.DRIFTED}
    counts = {each.part: (each.learning, each.learning_moved) for each in as_is.parameters}
    assert [counts[part] for part in ("lora_A", "lora_B", "bridge", "wns1")] == [(4, 4), (4, 4), (2, 2), (2, 2)]
    assert {each.part: each.held for each in as_is.parameters}["cfm"] == 10
    assert sum(each.held_moved for arm in (as_is, control) for each in arm.parameters) == 0


def test_a_parameter_that_moves_without_a_gradient_is_found(tree):
    """A tree that writes to its frozen decoder is not as expected, though its codebook holds still."""
    tree.change("        noise, time =", "        self.velocity.weight.data.mul_(1.5)\n        noise, time =")
    result = replay(tree.config(version="v3", training={"lora_rank": 3}))
    assert verdicts(result)["as-is"] == ArmVerdict.FROZEN
    assert result.arms[0].moved_though_held == ("cfm",)
    assert (result.verdict, result.exit_code) == (ReplayVerdict.NOT_AS_EXPECTED, 1)


def test_an_adapter_that_is_never_used_proves_nothing(tree):
    """Adapters that no gradient reaches stand still, so nothing is known of LoRA training."""
    tree.change("about = self.attn(about.transpose(1, 2)).transpose(1, 2)", "about = about * 1")
    result = replay(tree.config(version="v3", training={"lora_rank": 3}))
    assert result.arms[0].idle_parts == ("lora_B",)
    assert (result.verdict, result.exit_code) == (ReplayVerdict.INCOMPLETE, 2)


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ({"version": "v2"}, "v2 is not trained with LoRA"),
        ({"generator": "SynthesizerTrn"}, "SynthesizerTrn of this tree is not trained with LoRA"),
    ],
)
def test_lora_of_another_version_is_refused(tree, subject, message):
    with pytest.raises(UsageError, match=message):
        replay(tree.config(training={"lora_rank": 3}, **subject))


def test_a_decoder_without_attention_cannot_be_adapted(tree):
    """It is said which layers are missing."""
    tree.change("self.to_q, self.to_k, self.to_v =", "self.q, self.k, self.v =").change(
        "self.to_q(x) @ self.to_k(x)", "self.q(x) @ self.k(x)"
    ).change("self.to_v(x)", "self.v(x)").change("self.to_out = nn.ModuleList([", "self.out = nn.ModuleList([").change(
        "self.to_out[1](self.to_out[0](", "self.out[1](self.out[0]("
    )
    with pytest.raises(UsageError, match="cfm of SynthesizerTrnV3 has no linear layers named to_q"):
        replay(tree.config(version="v3", training={"lora_rank": 3}))


def test_a_hop_that_gives_no_whole_mel_hop_is_refused(tree):
    config = tree.config(version="v3").changed("spectrogram", hop_length=64).changed("training", segment_size=1024)
    with pytest.raises(UsageError, match=r"spectrogram.hop_length: expected one that gives 1.875 mel frames"):
        replay(config)


SHIPPED = """
from vqcheck import synthesizer

KEPT = ("version", "freeze_quantizer")


def small(name):
    return {key: value for key, value in synthesizer.preset(name).model.items() if key not in KEPT}


class SynthesizerTrn(synthesizer.SynthesizerTrn):
    def __init__(self, *sizes, version="v2", **given):
        super().__init__(*sizes, version=version, **{**given, **small("tiny")})


class SynthesizerTrnV3(synthesizer.SynthesizerTrnV3):
    def __init__(self, *sizes, version="v3", **given):
        super().__init__(*sizes, version=version, **{**given, **small("tiny-v3"), "mel_channels": 100})


class MultiPeriodDiscriminator(synthesizer.MultiPeriodDiscriminator):
    def __init__(self, *given, **named):
        super().__init__(*given, **named, narrowing=32, periods=(2,))
"""


@pytest.mark.parametrize(
    ("version", "training"), [("v2", {}), ("v3", {}), ("v4", {"lora_rank": 3})], ids=["v2", "v3", "v4 LoRA"]
)
def test_the_shipped_classes_train_in_a_tree_that_imports_them(tree, version, training):
    """Built, called and trained as the tree's own; only sizes are changed, so that it takes no time."""
    tree.models.write_text(SHIPPED, "utf-8")
    result = replay(tree.config(steps=1, version=version, training=training))
    assert verdicts(result) == {"as-is": ArmVerdict.FROZEN, "none": ArmVerdict.DRIFTED}
    assert result.exit_code == 0
    assert bool(result.arms[0].parameters) == bool(training)
