"""The training step is upstream's, in order and in numbers."""

import pytest
import torch

from vqcheck.replay.arm import ArmRun
from vqcheck.replay.run import prepare
from vqcheck.replay.step import parameter_groups
from vqcheck.replay.strategies import STRATEGIES
from vqcheck.synthesizer import preset

CPU = torch.device("cpu")


@pytest.fixture
def run(config):
    """Builds one arm of the tiny subject."""

    def build(strategy="maybe-no-grad", **sections):
        return ArmRun(prepare(config([strategy], **sections), CPU, fp16=False), STRATEGIES[strategy])

    return build


def test_optimizer_groups_are_upstreams():
    """Four groups: everything else, then the text parts at a lower rate, with the sizes that upstream's have."""
    with torch.device("meta"):
        v2, pro = (preset(version).synthesizer() for version in ("v2", "v2Pro"))
    groups = parameter_groups(v2, 1e-4, 0.4)
    assert [len(group["params"]) for group in groups] == [649, 1, 108, 14]
    assert [group["lr"] for group in groups] == pytest.approx([1e-4, 0.4e-4, 0.4e-4, 0.4e-4])
    assert len(parameter_groups(pro, 1e-4, 0.4)[0]["params"]) == 654
    STRATEGIES["requires-grad"].apply(v2)
    assert len(parameter_groups(v2, 1e-4, 0.4)[0]["params"]) == 647


def test_optimizers_have_upstreams_numbers(run):
    """Betas, eps and weight decay are upstream's, and epoch 1 already runs at a decayed rate."""
    step = run().training_step
    step.start_epoch()
    for optimizer in (step.optim_g, step.optim_d):
        group = optimizer.param_groups[0]
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.99), 1e-9, 0.01)
        assert group["lr"] == pytest.approx(1e-4 * 0.999875, rel=1e-9)
    step.start_epoch()
    assert step.learning_rate == pytest.approx(1e-4 * 0.999875**2, rel=1e-9)


def test_both_networks_learn_and_discriminator_first(run):
    """A step moves both networks, and the generator's losses come from the discriminator as already updated."""
    arm = run()
    step = arm.training_step
    step.start_epoch()
    before = {name: value.clone() for name, value in arm.net_d.state_dict().items()}
    seen = []
    arm.net_d.register_forward_pre_hook(
        lambda module, _: seen.append(all(torch.equal(before[k], v) for k, v in module.state_dict().items()))
    )
    text = arm.net_g.enc_p.text_embedding.weight.clone()
    step(next(arm._batches())[1])
    assert seen == [True, False]
    assert not torch.equal(text, arm.net_g.enc_p.text_embedding.weight)


def test_switched_off_gradients_change_nothing(run):
    """Training is the same, bit by bit, with the discriminator's unused gradients computed as upstream does."""
    plain, full = run(), run()
    # an own wrapper is what distributed training has; it leaves the gradients on
    full.training_step.wrap_d = torch.nn.Sequential(full.net_d)
    full.training_step.wrap_d.forward = full.net_d.forward
    results = []
    for arm in (plain, full):
        torch.manual_seed(3)
        arm.training_step.start_epoch()
        batches = arm._batches()
        for _ in range(2):
            losses = arm.training_step(next(batches)[1]).losses
        results.append((losses, arm.net_g.state_dict(), arm.net_d.state_dict()))
    for one, other in zip(*results, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_of_losses_are_taken_from_the_configuration(run):
    """c_mel and c_kl scale their losses; at upstream's values nothing is scaled."""
    losses = []
    for training in ({}, {"c_mel": 90.0, "c_kl": 0.5}):
        arm = run(training={"batch_size": 2, **training})
        arm.training_step.start_epoch()
        losses.append(arm.training_step(next(arm._batches())[1]).losses)
    assert float(losses[1]["mel"]) == pytest.approx(2 * float(losses[0]["mel"]), rel=1e-5)
    assert float(losses[1]["kl"]) == pytest.approx(0.5 * float(losses[0]["kl"]), rel=1e-5)


def test_train_mode_returns_with_every_epoch(run):
    """The start of an epoch brings both networks into train mode, the quantizer of an unfrozen one included."""
    arm = run("eval-at-init")
    assert not arm.net_g.quantizer.training
    arm.training_step.start_epoch()
    assert arm.net_g.quantizer.training
    assert arm.net_d.training
