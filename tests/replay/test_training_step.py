"""The training step is upstream's, in order and in numbers."""

import contextlib
import math

import pytest
import torch

from vqcheck.replay.learning import gradient_scaler, parameter_groups, stored_state
from vqcheck.replay.own_subject import OwnSubject
from vqcheck.replay.strategies import STRATEGIES
from vqcheck.replay.training_step import FlowMatchingStep, StepSettings
from vqcheck.synthesizer import preset


@pytest.fixture
def run(config):
    """Starts training of the tiny subject."""
    with contextlib.ExitStack() as stack:

        def build(strategy="maybe-no-grad", **sections):
            subject = OwnSubject(config([strategy], **sections), gradient_scaler)
            stack.enter_context(subject.opened(None))
            return subject.start(STRATEGIES[strategy])

        yield build


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
    step = run().training.training_step
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
    step = arm.training.training_step
    step.start_epoch()
    before = {name: value.clone() for name, value in arm.training.training_step.net_d.state_dict().items()}
    seen = []
    arm.training.training_step.net_d.register_forward_pre_hook(
        lambda module, _: seen.append(all(torch.equal(before[k], v) for k, v in module.state_dict().items()))
    )
    text = arm.net_g.enc_p.text_embedding.weight.clone()
    step(next(arm.batches)[1].inputs())
    assert seen == [True, False]
    assert not torch.equal(text, arm.net_g.enc_p.text_embedding.weight)


def test_switched_off_gradients_change_nothing(run):
    """Training is the same, bit by bit, with the discriminator's unused gradients computed as upstream does."""
    plain, full = run(), run()
    # an own wrapper is what distributed training has; it leaves the gradients on
    full.training.training_step.wrap_d = torch.nn.Sequential(full.training.training_step.net_d)
    full.training.training_step.wrap_d.forward = full.training.training_step.net_d.forward
    results = []
    for arm in (plain, full):
        torch.manual_seed(3)
        arm.training.training_step.start_epoch()
        batches = arm.batches
        for _ in range(2):
            losses = arm.training.training_step(next(batches)[1].inputs()).losses
        results.append((losses, arm.net_g.state_dict(), arm.training.training_step.net_d.state_dict()))
    for one, other in zip(*results, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_of_losses_are_taken_from_the_configuration(run):
    """c_mel and c_kl scale their losses; at upstream's values nothing is scaled."""
    losses = []
    for training in ({}, {"c_mel": 90.0, "c_kl": 0.5}):
        arm = run(training={"batch_size": 2, **training})
        arm.training.training_step.start_epoch()
        losses.append(arm.training.training_step(next(arm.batches)[1].inputs()).losses)
    assert float(losses[1]["mel"]) == pytest.approx(2 * float(losses[0]["mel"]), rel=1e-5)
    assert float(losses[1]["kl"]) == pytest.approx(0.5 * float(losses[0]["kl"]), rel=1e-5)


def test_train_mode_returns_with_every_epoch(run):
    """The start of an epoch brings both networks into train mode, the quantizer of an unfrozen one included."""
    arm = run("eval-at-init")
    assert not arm.net_g.quantizer.training
    arm.training.training_step.start_epoch()
    assert arm.net_g.quantizer.training
    assert arm.training.training_step.net_d.training


class Learner(torch.nn.Module):
    """One layer in place of a generator; `forward` returns the loss of v3 and v4."""

    def __init__(self):
        super().__init__()
        self.quantizer, self.enc_p, self.layer = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Linear(4, 4)

    def forward(self, ssl):
        return self.layer(ssl).square().mean()


def learner(scaler):
    numbers = {"betas": (0.8, 0.99), "eps": 1e-9, "lr_decay": 0.9, "text_low_lr_rate": 0.4, "c_mel": 45, "c_kl": 1}
    settings = StepSettings(0.1, **numbers, segment_size=1, spectrogram=None, fp16=False)
    return FlowMatchingStep(Learner(), settings, ["ssl"], make_scaler=lambda *_: scaler)


class OverflowsOnce(torch.amp.GradScaler):
    """Torch's own scaler at an infinite scale, which is finite after the first step."""

    def update(self):
        super().update(1.0)


def test_a_step_counts_as_skipped_when_the_weights_stay():
    """An infinite scale skips a step and the finite one after it takes it, under a scheduler that wraps `step`."""
    step = learner(OverflowsOnce("cpu", init_scale=math.inf))
    step.start_epoch()
    for skipped in (True, False, False):
        before = step.net_g.layer.weight.detach().clone()
        result = step({"ssl": torch.ones(2, 4)})
        assert (result.skipped, torch.equal(before, step.net_g.layer.weight)) == (skipped, skipped)


def test_a_scaler_that_is_off_skips_nothing():
    """As in full precision."""
    assert not learner(torch.amp.GradScaler("cpu", enabled=False))({"ssl": torch.ones(2, 4)}).skipped


@pytest.mark.parametrize("losses", [lambda loss: [loss, loss * 2], lambda loss: loss.detach(), lambda _: []])
def test_flow_matching_has_one_loss(losses, monkeypatch):
    """Several losses that can be trained on, or none, are an error and not a guess."""
    step = learner(torch.amp.GradScaler("cpu", enabled=False))
    monkeypatch.setattr(step.net_g, "forward", lambda ssl: losses(step.net_g.layer(ssl).mean()))
    with pytest.raises(ValueError, match="losses that can be trained on"):
        step({"ssl": torch.ones(2, 4)})


def test_what_is_stored_of_an_optimizer_is_upstreams(run):
    """A torch without the fused form resumes from it too: the state is that of an AdamW with nothing chosen."""
    step = run().training.training_step
    stored = stored_state(step.optim_d)
    plain = torch.optim.AdamW(step.net_d.parameters(), 1e-4, (0.8, 0.99), 1e-9).state_dict()
    added_by_scheduler = {"initial_lr"}
    (own,), (upstreams,) = stored["param_groups"], plain["param_groups"]
    assert {name: value for name, value in own.items() if name not in added_by_scheduler} == upstreams
    assert step.optim_d.param_groups[0]["fused"]
