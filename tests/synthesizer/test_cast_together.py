"""Weights that are cast together are those that autocast casts one by one."""

import contextlib

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vqcheck.synthesizer import cast_together as module
from vqcheck.synthesizer import discriminator, model, preset
from vqcheck.synthesizer.cast_together import cast_together


class Casts(TorchDispatchMode):
    """Counts the casts of single tensors."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func._schema.name == "aten::_to_copy"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def networks():
    torch.manual_seed(0)
    tiny = preset("tiny")
    generator, judge = tiny.synthesizer(), tiny.multi_period_discriminator()
    generator.initialise_codebook(torch.randn(4, 32, 80))
    return generator.train(), judge.train()


def trained(networks):
    """Return everything that one training pass in half precision computes, and how many tensors were cast for it."""
    generator, judge = networks
    for network in networks:
        network.zero_grad()
    torch.manual_seed(1)
    ssl, spec, text = torch.randn(2, 32, 40), torch.rand(2, 129, 40), torch.randint(0, 300, (2, 7))
    lengths = torch.tensor([40, 30])
    with Casts() as casts:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            o, *_, latents, quantized = generator(ssl, spec, lengths, text, torch.tensor([7, 5]))
            logits = judge(torch.zeros_like(o), o)[1]
        (sum(each.float().square().mean() for each in logits) + latents[1].float().mean()).backward()
    gradients = {name: each.grad for net in networks for name, each in net.named_parameters() if each.grad is not None}
    return {"o": o, "quantized": quantized, **gradients}, casts.count


def test_values_and_gradients_are_autocasts_bit_by_bit(networks, monkeypatch):
    """Forward and backward of both networks give the same bits, with fewer than half the casts."""
    together, few = trained(networks)
    for each in (model, discriminator):
        monkeypatch.setattr(each, "cast_together", lambda *_: contextlib.nullcontext())
    one_by_one, many = trained(networks)
    assert together.keys() == one_by_one.keys()
    assert len(together) > 150
    for name, value in one_by_one.items():
        assert together[name].dtype == value.dtype, name
        assert torch.equal(together[name], value), name
    assert few < many / 2


def test_the_vq_encoder_is_left_in_full_precision(networks):
    """Tokens depend on precision: the projection in front of the codebook sees float32."""
    seen = []
    networks[0].ssl_proj.register_forward_hook(lambda layer, _, y: seen.append((layer.weight.dtype, y.dtype)))
    trained(networks)
    assert seen == [(torch.float32, torch.float32)]


def test_a_network_is_as_it_was_afterwards(networks):
    """After a pass and after one that fails: the same parameters in the same order, and names of nothing else."""
    generator, _ = networks
    before = [(name, id(value)) for name, value in generator.named_parameters()]
    trained(networks)
    seen = []
    with torch.autocast("cpu", dtype=torch.bfloat16), contextlib.suppress(KeyError), cast_together(generator):
        seen.append(generator.enc_p.proj.weight.dtype)
        raise KeyError
    assert seen == [torch.bfloat16]
    assert [(name, id(value)) for name, value in generator.named_parameters()] == before
    assert not hasattr(generator.enc_q.enc.in_layers[0], "weight")


def test_a_weight_that_learns_nothing_gets_no_gradient():
    """One that no output depends on, and one that requires none."""
    used, unused, fixed = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16), cast_together(used, unused, fixed):
        loss = fixed(used(torch.ones(2, 3))).float().sum()
    loss.backward()
    assert used.weight.grad.dtype == torch.float32
    assert (unused.weight.grad, unused.bias.grad, fixed.weight.grad) == (None, None, None)


def test_nothing_is_cast_without_autocast(networks, monkeypatch):
    """In full precision the weights are the parameters themselves."""
    monkeypatch.setattr(module, "_Cast", None)
    with cast_together(networks[0]):
        assert isinstance(networks[0].enc_p.proj.weight, nn.Parameter)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_layers_whose_weight_is_no_parameter_are_left_to_autocast():
    """Torch's own weight norm sets a plain attribute before each forward; parametrizations have a property there."""
    hooked = nn.utils.weight_norm(nn.Conv1d(3, 4, 3))
    computed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
    net = nn.Sequential(hooked, nn.Flatten(1, 1), nn.Conv1d(4, 4, 1))
    x = torch.randn(2, 3, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = computed(net(x).transpose(1, 2))
        with cast_together(net, computed):
            found = computed(net(x).transpose(1, 2))
    assert torch.equal(found, expected)
    found.float().sum().backward()
    assert all(each.grad is not None for each in (*net.parameters(), *computed.parameters()))
