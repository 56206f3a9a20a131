"""Descript's DAC itself: gradients move its codebooks, in eval mode, too."""

import dac
import pytest
import torch
from torch.nn.utils import remove_weight_norm


@pytest.fixture
def model():
    """A whole DAC of a few channels."""
    torch.manual_seed(0)
    return dac.DAC(
        encoder_dim=4, encoder_rates=[2, 4], decoder_dim=16, decoder_rates=[4, 2], n_codebooks=3, codebook_size=16,
        codebook_dim=4, sample_rate=8000,
    )  # fmt: skip


def step(model):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    output = model(torch.randn(1, 1, 256, generator=torch.Generator().manual_seed(1)))
    (output["vq/codebook_loss"] + output["vq/commitment_loss"] + output["audio"].pow(2).mean()).backward()
    optimizer.step()


@pytest.mark.parametrize("train", [True, False])
def test_a_gradient_step_is_found_in_either_mode(train, model, state_of, compared):
    """Codes and the projections in front of and behind them move; eval mode stops no gradient."""
    before = state_of(model)
    step(model.train(train))
    comparison = compared(before, state_of(model))
    assert comparison.a.family == "dac"
    changed = {d.role for d in comparison.tensors if d.judged and d.verdict == "changed"}
    assert changed == {"codes", "input_proj", "output_proj"}


def test_without_gradients_it_holds_still(model, state_of, compared):
    """With requires_grad off for the quantizer the rest trains and the VQ encoder is identical."""
    before = state_of(model)
    model.quantizer.requires_grad_(requires_grad=False)
    step(model.train())
    after = state_of(model)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert compared(before, after).verdict == "identical"


def test_weight_norm_removed_is_the_same_vq_encoder(model, state_of, compared):
    """A copy for inference, its weight norm folded in by torch, is equal within a few last places."""
    before = state_of(model)
    for layer in model.quantizer.quantizers:
        remove_weight_norm(layer.in_proj)
        remove_weight_norm(layer.out_proj)
    comparison = compared(before, state_of(model))
    assert comparison.verdict in ("equal within n ulp", "identical")
    assert comparison.exit_code == 0
    with torch.no_grad():
        model.quantizer.quantizers[1].in_proj.weight[0, 0, 0] *= 1.001
    assert compared(before, state_of(model)).verdict == "changed"
