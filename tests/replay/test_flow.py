"""The step of v3 and v4 on the shipped networks: which strategies leak, in full training and with LoRA."""

import random

import pytest
import torch

from vqcheck.errors import UsageError
from vqcheck.replay.own_subject import OwnSubject
from vqcheck.replay.parameter_watch import ParameterWatch, part_of
from vqcheck.replay.run import replay
from vqcheck.replay.strategies import STRATEGIES
from vqcheck.replay.trace import ArmVerdict
from vqcheck.replay.training_step import FlowMatchingStep
from vqcheck.synthesizer import preset

SMALL = {"data": {"generated_items": 4}, "subject": {"version": "tiny-v3"}}
FULL, LORA = {"batch_size": 2}, {"batch_size": 2, "lora_rank": 4}


@pytest.fixture
def start(config):
    """Starts training of tiny-v3 under a strategy, and gives the arm back with what the arms share closed."""

    def begin(strategy="maybe-no-grad", **training):
        subject = OwnSubject(config([strategy], **SMALL, training=FULL | training))
        with subject.opened(None):
            return subject.start(STRATEGIES[strategy])

    return begin


@pytest.mark.parametrize("training", [FULL, LORA], ids=["full", "LoRA"])
def test_the_same_strategies_leak_as_in_v2(config, training):
    """What stops the moving average holds the codebook, whatever else is trained; nothing else does."""
    result = replay(config(STRATEGIES, **SMALL, training=training))
    assert result.exit_code == 0
    assert {arm.strategy: arm.verdict for arm in result.arms} == {
        "none": ArmVerdict.DRIFTED,
        "requires-grad": ArmVerdict.DRIFTED,
        "eval-at-init": ArmVerdict.DRIFTED,
        "no-grad": ArmVerdict.DRIFTED,
        "eval-in-forward": ArmVerdict.FROZEN,
        "maybe-no-grad": ArmVerdict.FROZEN,
        "freeze": ArmVerdict.FROZEN,
    }
    projection = {arm.strategy: any("input_proj" in w.label for w in arm.first_writes) for arm in result.arms}
    assert [name for name, moved in projection.items() if moved] == ["none", "eval-at-init"]
    if training is LORA:  # parameters are watched
        moved = {arm.strategy: {each.part for each in arm.parameters if each.learning_moved} for arm in result.arms}
        reading = [strategy for strategy, parts in moved.items() if "enc_p" in parts]
        assert reading == ["none", "eval-at-init", "eval-in-forward", "freeze"]
    for arm in result.arms:
        assert set(arm.steps[0].losses) == {"flow matching"}
        assert bool(arm.parameters) == (training is LORA)
        assert (arm.idle_parts, arm.moved_though_held) == ((), ())


def test_lora_training_moves_adapters_bridge_and_wns1_alone(config):
    """Everything that has no gradient holds still, text encoder and decoder included."""
    result = replay(config(["none", "maybe-no-grad"], **SMALL, training=LORA))
    assert result.setting.subject == "tiny-v3 LoRA (rank 4)"
    free, frozen = ({each.part: each for each in arm.parameters} for arm in result.arms)
    moved = {part: each.learning_moved for part, each in frozen.items() if each.learning}
    assert moved == {"ref_enc": 0, "bridge": 2, "wns1": 19, "linear_mel": 0, "lora_A": 8, "lora_B": 8}
    assert frozen["enc_p"].learning == frozen["ssl_proj"].learning == 0
    assert frozen["cfm"].held > 0
    assert free["enc_p"].learning_moved > 0
    assert free["ssl_proj"].learning_moved == 2


def test_the_shipped_freeze_turns_gradients_off_as_upstreams_constructor_does(start):
    """Of the VQ encoder and the text encoder, which then stand in no optimizer."""
    for strategy, kept in (("maybe-no-grad", False), ("none", True)):
        net = start(strategy).net_g
        learns = {name.split(".")[0]: parameter.requires_grad for name, parameter in net.named_parameters()}
        assert (learns["enc_p"], learns["ssl_proj"], learns["ref_enc"]) == (kept, kept, True)


def test_the_optimizer_has_one_group(start):
    """All that learns, at one rate; there is no discriminator, and the norm is the generator's."""
    arm = start()
    step = arm.training.training_step
    assert isinstance(step, FlowMatchingStep)
    (group,) = step.optim_g.param_groups
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.99), 1e-9, 0.01)
    assert len(group["params"]) == sum(each.requires_grad for each in arm.net_g.parameters())


def test_blocks_computed_again_give_the_same_step(start):
    """`grad_ckpt` saves memory and changes no bit of the loss."""
    losses, called = [], []
    for switch in (False, True):
        arm = start(grad_ckpt=switch)
        arm.net_g.register_forward_pre_hook(lambda *given: called.append(given[2]["use_grad_ckpt"]), with_kwargs=True)
        torch.manual_seed(1)
        random.seed(0)
        arm.training.training_step.start_epoch()
        result = arm.training.training_step(next(arm.batches)[1].inputs())
        losses.append(float(result.losses["flow matching"]))
    assert called == [False, True]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_pythons_generator_is_left_as_it_was(config):
    """The step draws from it, the same for every arm; the caller's own numbers go on as if nothing had been."""
    random.seed(5)
    expected = random.Random(5).random()
    first, second = (replay(config(["none"], **SMALL, training=FULL)).arms[0] for _ in range(2))
    assert [step.losses for step in first.steps] == [step.losses for step in second.steps]
    assert random.random() == expected


@pytest.mark.parametrize(
    ("subject", "training", "message"),
    [
        ({"version": "tiny"}, LORA, "training.lora_rank: tiny is not trained with LoRA"),
        ({"version": "v2"}, LORA, "training.lora_rank: v2 is not trained with LoRA"),
        ({"version": "v3", "pretrained_s2D": "D.pth"}, FULL, "v3 learns without a discriminator"),
    ],
)
def test_what_a_version_has_no_place_for_is_refused(config, subject, training, message):
    with pytest.raises(UsageError, match=message):
        replay(config(["none"], subject=subject, training=training))


def test_lora_in_several_processes_is_refused(config, monkeypatch):
    """Upstream trains it in one."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    subject = OwnSubject(config(["none"], **SMALL, training=LORA))
    monkeypatch.setattr("vqcheck.replay.own_subject.process_group", lambda _: torch.no_grad())
    with pytest.raises(UsageError, match="LoRA is trained in one process"), subject.opened(None):
        pass


def test_every_bit_and_every_parameter_is_watched():
    """The sign of a zero counts, and so does a parameter that is gone."""
    net = torch.nn.ModuleDict({"bridge": torch.nn.Linear(2, 2), "wns1": torch.nn.Linear(2, 2)})
    torch.nn.init.zeros_(net["bridge"].bias)
    net["wns1"].requires_grad_(False)
    watch = ParameterWatch(net)
    assert [(each.learning_moved, each.held_moved) for each in watch.moves(net)] == [(0, 0), (0, 0)]
    net["bridge"].bias.data.neg_()
    del net["wns1"].bias
    bridge, wns1 = watch.moves(net)
    assert (bridge.learning, bridge.learning_moved, bridge.held) == (2, 1, 0)
    assert (wns1.learning, wns1.held, wns1.held_moved) == (0, 2, 1)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cfm.base_model.model.estimator.transformer_blocks.0.attn.to_q.lora_A.default.weight", "lora_A"),
        ("cfm.base_model.model.estimator.proj_out.weight", "cfm"),
        ("bridge.0.bias", "bridge"),
    ],
)
def test_parts_of_a_generator(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize("drawn", [0, 1], ids=["plain", "bootstrapped"])
def test_every_weight_of_the_decoder_learns_in_half_precision(drawn):
    """Also from a batch whose target two passes without a graph made, with weights that autocast had cast for them."""
    torch.manual_seed(0)
    net = preset("tiny-v3").synthesizer()
    net.initialise_codebook(torch.randn(4, 32, 80))
    lengths, text_lengths, mel_lengths = torch.tensor([40, 34]), torch.tensor([7, 5]), torch.tensor([75, 60])
    ssl, spec, mel, text = (
        torch.randn(2, 32, 40),
        torch.rand(2, 161, 40),
        torch.randn(2, 20, 75),
        torch.ones(2, 7).long(),
    )
    random.seed(drawn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net.train()(ssl, spec, mel, lengths, lengths, text, text_lengths, mel_lengths, use_grad_ckpt=False)
    loss.backward()
    assert [name for name, each in net.cfm.named_parameters() if each.grad is None] == []
