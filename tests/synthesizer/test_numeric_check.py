"""Every figure recorded with the original classes, reached again by ours."""

import gc
from types import SimpleNamespace

import pytest
import torch

from vqcheck.synthesizer import (
    SpectrogramSettings,
    discriminator_loss,
    feature_loss,
    generator_loss,
    kl_loss,
    linear_spectrogram,
    mel_loss,
    mel_spectrogram,
    preset,
    slice_segments,
    spec_to_mel,
)

pytestmark = pytest.mark.slow

VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus")
OUTPUTS = ("quantized", "m_p", "logs_p", "m_q", "logs_q", "z", "z_p", "o")
DECODES = ("decode", "decode_noise_0", "decode_speed_1.25", "decode_two_references")
SETTINGS = SpectrogramSettings()


@pytest.fixture(scope="module", params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(scope="module")
def networks(version, recipe):
    """Both networks of a version, filled by the recipe."""
    generator = preset(version).synthesizer()
    generator.load_state_dict(recipe.filled_state(generator))
    discriminator = preset(version).multi_period_discriminator()
    discriminator.load_state_dict(recipe.filled_state(discriminator))
    yield SimpleNamespace(generator=generator, discriminator=discriminator.requires_grad_(False))
    gc.collect()


@pytest.fixture(scope="module", params=["eval", "train"])
def step(request, version, networks, inputs):
    """One forward of both networks and all losses; in train mode the generator's backward as well."""
    if request.param == "train":
        request.getfixturevalue("draws_the_recorded_dropout")
    generator = networks.generator.train(request.param == "train")
    sv_emb = (inputs.sv_emb,) if "Pro" in version else ()
    with torch.set_grad_enabled(request.param == "train"):
        torch.manual_seed(1234)
        o, commit_loss, ids_slice, _, z_mask, latents, quantized = generator(
            inputs.ssl, inputs.spec, inputs.spec_lengths, inputs.text, inputs.text_lengths, *sv_emb
        )
        z, z_p, m_p, logs_p, m_q, logs_q = latents
        y = slice_segments(inputs.wav, ids_slice * SETTINGS.hop_length, 20480)
        y_mel = slice_segments(spec_to_mel(inputs.spec, SETTINGS), ids_slice, 32)
        real_logits, fake_logits, real_maps, fake_maps = networks.discriminator(y, o)
        disc = discriminator_loss(real_logits, [logits.detach() for logits in fake_logits])
        losses = {
            "disc": disc,
            "gen": generator_loss(fake_logits),
            "fm": feature_loss(real_maps, fake_maps),
            "mel": mel_loss(y_mel, mel_spectrogram(o.squeeze(1), SETTINGS)),
            "kl": kl_loss(z_p, logs_q, m_p, logs_p, z_mask),
        }
        if request.param == "train":
            generator.zero_grad()
            (losses["gen"] + losses["fm"] + losses["mel"] + commit_loss + losses["kl"]).backward()
    outputs = dict(zip(OUTPUTS, (t.detach() for t in (quantized, m_p, logs_p, m_q, logs_q, z, z_p, o)), strict=True))
    gradients = {name: p.grad if p.grad is None else p.grad.norm() for name, p in generator.named_parameters()}
    yield SimpleNamespace(
        mode=request.param,
        ids_slice=ids_slice,
        commit_loss=commit_loss,
        outputs=outputs,
        losses={name: float(loss.detach()) for name, loss in losses.items()},
        real_logits=[logits.detach() for logits in real_logits],
        gradients=gradients,
    )
    generator.zero_grad()
    generator.eval()


@pytest.mark.parametrize("name", ["wav", "spec", "mel", "ssl", "sv_emb"])
def test_inputs_are_those_of_the_recipe(name, inputs, figures, recipe):
    """The batch, its spectrogram and its mel are the recorded ones."""
    tensor = spec_to_mel(inputs.spec, SETTINGS) if name == "mel" else getattr(inputs, name)
    recipe.assert_figure(tensor, figures["inputs"][name])


def test_text_is_that_of_the_recipe(inputs, figures):
    """The symbol ids are the recorded ones."""
    assert inputs.text.tolist() == figures["inputs"]["text"]


def test_mel_of_the_wave_is_mel_of_its_spectrogram(inputs):
    """Both ways to a mel spectrogram give the same bits."""
    direct = mel_spectrogram(inputs.wav[:, 0], SETTINGS)
    assert torch.equal(direct, spec_to_mel(linear_spectrogram(inputs.wav[:, 0], SETTINGS), SETTINGS))


@pytest.mark.parametrize("name", OUTPUTS)
def test_output(name, step, version, figures, recipe):
    """Each output of forward is the recorded one, in eval mode and in train mode with the same random draws."""
    recipe.assert_figure(step.outputs[name], figures[version][step.mode]["outputs"][name])


def test_segments(step, version, figures):
    """The random segments start where they did."""
    assert step.ids_slice.tolist() == figures[version][step.mode]["ids_slice"]
    assert step.ids_slice.dtype == torch.int64


def test_frozen_commit_loss_is_exactly_zero(step, version, figures):
    """A frozen quantizer reports a commitment loss of 0.0 without a graph."""
    assert float(step.commit_loss) == figures[version][step.mode]["commit_loss"] == 0.0
    assert step.commit_loss.shape == ()
    assert not step.commit_loss.requires_grad


@pytest.mark.parametrize("name", ["disc", "gen", "fm", "mel", "kl"])
def test_loss(name, step, version, figures):
    """Each loss is the recorded one."""
    tolerance = 1e-3 if name == "kl" else 1e-4
    assert step.losses[name] == pytest.approx(figures[version][step.mode]["losses"][name], rel=tolerance)


def test_discriminator_outputs(step, version, figures, recipe):
    """Each sub-discriminator's logits are the recorded ones."""
    recorded = figures[version][step.mode]["discriminator_outputs"]
    assert len(step.real_logits) == len(recorded) == (8 if "Pro" in version else 6)
    for logits, figure in zip(step.real_logits, recorded, strict=True):
        recipe.assert_figure(logits, figure)


def test_gradients(step, version, figures):
    """In train mode gradient norms are the recorded ones, and exactly the frozen projection has none."""
    if step.mode == "eval":
        assert all(gradient is None for gradient in step.gradients.values())
        return
    recorded = figures[version]["train"]
    norms = {name: float(step.gradients[name]) for name in recorded["grad_norms"]}
    assert norms == pytest.approx(recorded["grad_norms"], rel=1e-3)
    assert sorted(name for name, gradient in step.gradients.items() if gradient is None) == recorded["grad_none"]


def test_extract_latent(version, networks, inputs, figures):
    """Tokens are exactly the recorded ones, `[B, 1, T']` int64."""
    recorded = figures[version]["extract_latent"]
    codes = networks.generator.eval().extract_latent(inputs.ssl)
    assert list(codes.shape) == recorded["shape"]
    assert codes.dtype == torch.int64
    assert codes[:, 0].tolist() == recorded["codes"]


def test_no_token_is_open(version, networks, inputs, figures):
    """The two nearest codes of every frame are as far apart as recorded: no rounding decides a token."""
    generator = networks.generator.eval()
    with torch.no_grad():
        frames = generator.ssl_proj(inputs.ssl).transpose(1, 2).flatten(0, 1).double()
    nearest = (
        torch.cdist(frames, generator.quantizer.codebooks()[0].embed.double()).pow(2).topk(2, largest=False).values
    )
    gap = float(((nearest[:, 1] - nearest[:, 0]) / nearest[:, 0]).min())
    assert gap == pytest.approx(figures[version]["extract_latent"]["smallest_relative_distance_gap"], rel=0.02)


@pytest.mark.parametrize("name", DECODES)
def test_decode(name, version, networks, inputs, figures, recipe):
    """Decoding the recorded tokens gives the recorded samples: plain, without noise, faster, with two references."""
    codes = torch.tensor(figures[version]["extract_latent"]["codes"][0])[None, None]
    refer, sv_emb = inputs.spec[:1, :, :40], inputs.sv_emb[:1]
    if name == "decode_two_references":
        refer, sv_emb = [refer, inputs.spec[1:, :, 10:50]], [sv_emb, inputs.sv_emb[1:]]
    options = {"decode_noise_0": {"noise_scale": 0}, "decode_speed_1.25": {"speed": 1.25}}.get(name, {})
    if "Pro" in version:
        options["sv_emb"] = sv_emb
    torch.manual_seed(99)
    samples = networks.generator.eval().decode(codes, inputs.text[:1], refer, **options)
    recipe.assert_figure(samples, figures[version][name])
    assert not samples.requires_grad


def test_infer(version, networks, inputs, figures, recipe):
    """Calling infer gives the recorded samples for v1 and v2; the Pro versions, which never had it, say so."""
    arguments = (inputs.ssl, inputs.spec, inputs.spec_lengths, inputs.text, inputs.text_lengths)
    if "Pro" in version:
        with pytest.raises(ValueError, match="version: expected v1 or v2"):
            networks.generator.infer(*arguments)
        return
    torch.manual_seed(99)
    samples, mask, latents = networks.generator.eval().infer(*arguments)
    recipe.assert_figure(samples, figures[version]["infer"])
    assert mask.sum(dim=(1, 2)).tolist() == [64, 54]
    assert [tuple(tensor.shape) for tensor in latents] == [(2, 192, 64)] * 4
