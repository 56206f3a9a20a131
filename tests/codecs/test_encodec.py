"""Meta's encodec itself: its EMA is found, and transformers' copy of it is the same codebook."""

import encodec
import pytest
import torch
import transformers
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer

DIM = 8


@pytest.fixture
def model():
    """A whole encodec of a few channels, its codebooks filled by a first batch."""
    torch.manual_seed(0)
    small = {"dimension": DIM, "n_filters": 2, "n_residual_layers": 1, "ratios": [4, 2], "lstm": 1}
    quantizer = ResidualVectorQuantizer(dimension=DIM, n_q=3, bins=16)
    return encodec.EncodecModel(SEANetEncoder(**small), SEANetDecoder(**small), quantizer, [24.0], 8000, 1)


def frames(seed):
    return torch.randn(2, DIM, 40, generator=torch.Generator().manual_seed(seed))


def quantize(model, seed):
    return model.quantizer(frames(seed), 1000, 24.0)


def test_a_fresh_model_is_filled_even_in_eval_mode(model, state_of, compared):
    """k-means runs on the first forward whatever the mode: flag, codes, sums and counts change."""
    before = state_of(model)
    assert compared(before, before).never_trained
    quantize(model.eval(), 1)
    comparison = compared(before, state_of(model))
    assert comparison.verdict == "changed"
    assert {d.role for d in comparison.tensors if d.verdict == "changed"} == {
        "codes",
        "ema_sum",
        "ema_count",
        "init_flag",
    }


def test_train_mode_moves_the_codebook_and_eval_mode_does_not(model, state_of, compared):
    """One forward in train mode is found, under no_grad and without gradients, too; in eval mode all is identical."""
    quantize(model.eval(), 1)
    before = state_of(model)
    quantize(model, 2)
    assert compared(before, state_of(model)).verdict == "identical"
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        quantize(model.train(), 2)
    comparison = compared(before, state_of(model))
    assert comparison.a.family == "encodec"
    assert {d.role for d in comparison.tensors if d.verdict == "changed"} == {"codes", "ema_sum", "ema_count"}


def test_transformers_encodec_is_the_same_codebook(model, state_of, compared):
    """Loaded into transformers' class the codebooks have the digest they had, and give the same tokens."""
    quantize(model.eval(), 1)
    config = transformers.EncodecConfig(
        hidden_size=DIM, codebook_dim=DIM, codebook_size=16, num_filters=2, num_residual_layers=1,
        upsampling_ratios=[4, 2], num_lstm_layers=1, target_bandwidths=[12.0], sampling_rate=8000,
    )  # fmt: skip
    other = transformers.EncodecModel(config).eval()
    assert len(other.quantizer.layers) == 3
    for mine, theirs in zip(model.quantizer.vq.layers, other.quantizer.layers, strict=True):
        theirs.codebook.load_state_dict(mine._codebook.state_dict())
    tokens = model.quantizer.encode(frames(3), 1000, 12.0)
    assert torch.equal(tokens, other.quantizer.encode(frames(3), 12.0))
    comparison = compared(state_of(model), state_of(other))
    assert (comparison.a.family, comparison.b.family) == ("encodec", "encodec-transformers")
    assert comparison.verdict == "identical"
    assert comparison.a.digests.vq_encoder == comparison.b.digests.vq_encoder
