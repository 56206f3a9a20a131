"""The shipped sizes, and that the tiny one is a whole model."""

import pytest
import torch

from vqcheck.synthesizer import (
    PRESETS,
    VERSIONS,
    InputError,
    SpectrogramSettings,
    SynthesizerTrnV3,
    discriminator_loss,
    feature_loss,
    generator_loss,
    kl_loss,
    mel_loss,
    mel_spectrogram,
    preset,
    slice_segments,
    spec_to_mel,
)


def test_there_is_one_for_each_version_and_a_tiny_one():
    """The names are those of the versions, and tiny."""
    assert set(PRESETS) == {*VERSIONS, "v3", "v4", "tiny", "tiny-v3"}
    assert [PRESETS[version].model["version"] for version in VERSIONS] == list(VERSIONS)


def test_unknown_preset_is_named():
    """Another name gives an error that lists the right ones."""
    names = "v1, v2, v2Pro, v2ProPlus, v3, v4, tiny, tiny-v3"
    with pytest.raises(InputError, match=f"name: expected one of {names}, given 'huge'"):
        preset("huge")


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].mel is None])
def test_samples_of_a_frame_are_a_hop(name):
    """The generator makes exactly one hop of samples from a frame."""
    rates = torch.tensor(preset(name).model["upsample_rates"])
    assert int(rates.prod()) == preset(name).spectrogram.hop_length


def test_tiny_is_tiny():
    """The tiny networks together have fewer than 200,000 numbers, with an SSL size and a codebook of their own."""
    model, discriminator = preset("tiny").synthesizer(), preset("tiny").multi_period_discriminator()
    tensors = [*model.state_dict().values(), *discriminator.state_dict().values()]
    assert sum(tensor.numel() for tensor in tensors) < 200_000
    assert model.quantizer.codebooks()[0].embed.shape == (64, 32)


def test_tiny_v3_is_tiny():
    """Fewer than 400,000 numbers, with a mel target of whole samples; and there is no discriminator to build."""
    chosen = preset("tiny-v3")
    model = chosen.synthesizer()
    assert isinstance(model, SynthesizerTrnV3)
    assert sum(tensor.numel() for tensor in model.state_dict().values()) < 400_000
    assert chosen.mel.settings(chosen.spectrogram) == SpectrogramSettings(6000, 128, 32, 128, 20)
    with pytest.raises(InputError, match="v3 learns without a discriminator"):
        chosen.multi_period_discriminator()


@pytest.mark.parametrize(
    ("version", "settings"),
    [
        ("v3", SpectrogramSettings(24000, 1024, 256, 1024, 100, 0.0, None)),
        ("v4", SpectrogramSettings(32000, 1280, 320, 1280, 100, 0.0, None)),
    ],
)
def test_mel_targets_are_upstreams(version, settings):
    """Sampling rate, window, hop and channels of v3 and v4."""
    assert preset(version).mel.settings(preset(version).spectrogram) == settings


@pytest.mark.slow
def test_tiny_trains(tiny, tiny_batch):
    """Thirty steps of both tiny networks lower the mel loss and reach every parameter but the frozen projection."""
    chosen, batch = preset("tiny"), tiny_batch
    model, discriminator = tiny(), chosen.multi_period_discriminator()
    optim_g = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.8, 0.99))
    optim_d = torch.optim.AdamW(discriminator.parameters(), 2e-3, betas=(0.8, 0.99))
    hop, size = chosen.spectrogram.hop_length, chosen.segment_size
    mels = []
    for _ in range(30):
        o, commit_loss, ids, _, mask, (_, z_p, m_p, logs_p, _, logs_q), _ = model(
            batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths
        )
        y = slice_segments(batch.wav, ids * hop, size * hop)
        y_mel = slice_segments(spec_to_mel(batch.spec, chosen.spectrogram), ids, size)
        optim_d.zero_grad()
        discriminator_loss(*discriminator(y, o.detach())[:2]).backward()
        optim_d.step()
        _, fake, real_maps, fake_maps = discriminator(y, o)
        mel = mel_loss(y_mel, mel_spectrogram(o.squeeze(1), chosen.spectrogram))
        loss = generator_loss(fake) + feature_loss(real_maps, fake_maps) + mel + commit_loss
        optim_g.zero_grad()
        (loss + kl_loss(z_p, logs_q, m_p, logs_p, mask)).backward()
        optim_g.step()
        mels.append(float(mel.detach()))
    assert sum(mels[-5:]) < 0.8 * sum(mels[:5])
    assert sorted(name for name, p in model.named_parameters() if p.grad is None) == [
        "ssl_proj.bias",
        "ssl_proj.weight",
    ]
