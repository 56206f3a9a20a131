"""freeze and guard on Meta's encodec itself, its decoder learning on."""

import encodec
import pytest
import torch
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer

import vqcheck
from vqcheck.errors import CodebookChanged, UsageError

STEPS = 3


def build():
    torch.manual_seed(0)
    small = {"dimension": 8, "n_filters": 2, "n_residual_layers": 1, "ratios": [4, 2], "lstm": 1}
    quantizer = ResidualVectorQuantizer(dimension=8, n_q=2, bins=16, threshold_ema_dead_code=0)
    return encodec.EncodecModel(SEANetEncoder(**small), SEANetDecoder(**small), quantizer, [24.0], 8000, 1)


def loss(model, number):
    """As a training script would have it: reconstruction and commitment."""
    audio = torch.randn(2, 1, 320, generator=torch.Generator().manual_seed(number))
    quantized = model.quantizer(model.encoder(audio), model.frame_rate, 24.0)
    return (model.decoder(quantized.quantized) - audio).pow(2).mean() + quantized.penalty


def train(model, after):
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1)
    model.train()
    for number in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss(model, number).backward()
        optimizer.step()
        after()


@pytest.fixture
def model():
    """A small encodec, its codebooks filled by k-means on a first batch."""
    made = build()
    loss(made, 0)
    return made


def test_without_freeze_the_guard_fires(model):
    """The moving average writes from the first step on, and the error names encodec's own line."""
    guard = vqcheck.guard(model, every=1)
    with pytest.raises(CodebookChanged, match="changed in step 1") as caught:
        train(model, guard.step)
    writes = [change.write for change in caught.value.finding.changes if change.write]
    assert any(write.file.endswith("core_vq.py") for write in writes)


def test_with_freeze_the_codebooks_stay_while_the_decoder_learns(model):
    """AdamW steps with weight decay leave every codebook tensor bit-identical; the decoder moves."""
    handle = vqcheck.freeze(model)
    assert handle.modules == ("quantizer",)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with vqcheck.guard(model, every=1) as guard:
        train(model, guard.step)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved.isdisjoint(handle.held)
    assert any(name.startswith("decoder.") for name in moved)
    assert guard.steps == STEPS


@pytest.mark.parametrize("frozen", [False, True])
def test_the_encoder_learns_only_in_train_mode(model, frozen):
    """As documented, a frozen encodec passes no gradient to its encoder; one that is free does."""
    if frozen:
        vqcheck.freeze(model)
    loss(model.train(), 1).backward()
    gradients = [parameter.grad for parameter in model.encoder.parameters()]
    assert all(gradient is None for gradient in gradients) is frozen


def test_an_empty_codebook_is_refused():
    """Before the first batch k-means would fill the codebook in eval mode too."""
    with pytest.raises(UsageError, match="never trained"):
        vqcheck.freeze(build())
