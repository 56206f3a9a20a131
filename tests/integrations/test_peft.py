"""Our LoRA adapters against peft's, in which upstream trains: the same names, the same learning, the same bits."""

import copy
import random

import pytest
import torch

from vqcheck.synthesizer import preset
from vqcheck.synthesizer.lora import add_lora

peft = pytest.importorskip("peft")


@pytest.fixture
def both():
    """The tiny network with our adapters and with peft's, of the same values."""
    torch.manual_seed(0)
    ours = preset("tiny-v3").synthesizer(freeze_quantizer=True)
    ours.initialise_codebook(torch.randn(2, 32, 80))
    theirs = copy.deepcopy(ours)
    layers = ["to_k", "to_q", "to_v", "to_out.0"]
    config = peft.LoraConfig(target_modules=layers, r=4, lora_alpha=4, init_lora_weights=True)
    theirs.cfm = peft.get_peft_model(theirs.cfm, config)
    add_lora(ours, 4)
    for name, value in ours.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(value, std=0.1)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_names_order_shapes_and_gradients_are_pefts(both):
    ours, theirs = both
    described = [
        [(name, tuple(value.shape), value.requires_grad) for name, value in net.named_parameters()] for net in both
    ]
    assert described[0] == described[1]
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_fresh_adapters_are_drawn_as_pefts_are():
    """B is zero, and A lies within the same bound."""
    net = preset("tiny-v3").synthesizer()
    other = copy.deepcopy(net)
    add_lora(net, 64)
    other.cfm = peft.get_peft_model(other.cfm, peft.LoraConfig(target_modules=["to_q"], r=64, lora_alpha=64))
    for find in ("lora_A", "lora_B"):
        bounds = [
            max(float(value.detach().abs().max()) for name, value in each.named_parameters() if find in name)
            for each in (net, other)
        ]
        assert bounds[0] == pytest.approx(bounds[1], rel=1e-2)


def test_a_step_gives_the_same_bits(both):
    """Loss and the gradients of everything that learns."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.tensor([24, 20])
    inputs = {
        "ssl": torch.randn(2, 32, 24, generator=draw),
        "y": torch.rand(2, 161, 24, generator=draw),
        "mel": torch.randn(2, 20, 45, generator=draw).clamp(-1, 1),
        "text": torch.randint(0, 700, (2, 5), generator=draw),
        "text_lengths": torch.tensor([5, 4]),
        "mel_lengths": torch.tensor([45, 37]),
    }
    losses = []
    for net in both:
        torch.manual_seed(3)
        random.seed(0)
        loss = net.train()(**inputs, ssl_lengths=lengths, y_lengths=lengths, use_grad_ckpt=False)
        loss.backward()
        losses.append(loss.detach())
    assert torch.equal(*losses)
    for (name, ours), (_, theirs) in zip(*(net.named_parameters() for net in both), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad), name
