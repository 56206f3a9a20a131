"""The first write that changes bits is named with its operator and its line, and nothing else is."""

import inspect

import torch
from torch import nn

from vqcheck.replay.watch import Watch
from vqcheck.runtime.first_write import WriteCatcher
from vqcheck.synthesizer import EuclideanCodebook, preset


def model():
    torch.manual_seed(0)
    net = preset("tiny").synthesizer(freeze_quantizer=False)
    net.initialise_codebook(torch.randn(4, 32, 80))
    return net


def caught(net, write):
    catcher = WriteCatcher(Watch(net))
    with catcher:
        write()
    return catcher.first


def test_the_ema_is_attributed_to_its_own_lines():
    """Each buffer that train mode writes is traced to the line in the codebook that writes it."""
    net = model().train()
    first = caught(net, lambda: net.project_and_quantize(torch.randn(2, 32, 40)))
    assert set(first) == {"codes", "ema_sum", "ema_count"}
    lines, start = inspect.getsourcelines(EuclideanCodebook._move_averages)
    for write in first.values():
        assert write.function == "_move_averages"
        assert "data." in lines[write.line - start]
    assert first["codes"].operator.startswith("aten.copy_")


def test_eval_mode_writes_nothing():
    """A forward in eval mode has no write to attribute."""
    net = model().eval()
    assert caught(net, lambda: net.project_and_quantize(torch.randn(2, 32, 40))) == {}


def test_a_write_of_the_same_bits_is_passed_over():
    """Writing what stands there already is not the first write; the one after it that changes bits is."""
    net = model()
    embed = net.quantizer.codebooks()[0].embed

    def write():
        embed.data.copy_(embed.clone())
        embed.data.add_(1)
        embed.data.mul_(2)

    first = caught(net, write)
    assert first["codes"].operator == "aten.add_.Tensor"


def test_an_optimizer_is_attributed_to_the_callers_line():
    """A write inside torch is traced to the innermost line outside of it: the call of the optimizer's step."""
    net = model()
    optimizer = torch.optim.AdamW(net.ssl_proj.parameters(), 0.1)
    net.ssl_proj(torch.randn(1, 32, 8)).sum().backward()

    def step():
        optimizer.step()

    first = caught(net, step)
    assert set(first) == {"input_proj.weight", "input_proj.bias"}
    assert {write.function for write in first.values()} == {"step"}
    assert {write.file for write in first.values()} == {__file__}


def test_writes_past_the_dispatcher_are_not_invented():
    """A write through numpy has no operator, so none is named; the comparison after the step still sees it."""
    net = model()
    watch = Watch(net)
    catcher = WriteCatcher(watch)
    with catcher:
        net.quantizer.codebooks()[0].embed.numpy()[0, 0] += 1
    assert catcher.first == {}
    assert any(step.changed for step in watch.look())


def test_other_tensors_are_of_no_interest():
    """Writes to tensors outside of the VQ encoder are not recorded, whatever they share."""
    net = model()
    other = nn.Parameter(net.quantizer.codebooks()[0].embed.clone())

    def write():
        other.data.add_(1)
        net.enc_p.text_embedding.weight.data.add_(1)

    assert caught(net, write) == {}
