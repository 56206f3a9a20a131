"""Every figure recorded with the original v3 and v4 classes, reached again by ours."""

import gc
import json
import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vqcheck.synthesizer import SpectrogramSettings, SynthesizerTrnV3, linear_spectrogram, mel_spectrogram

pytestmark = pytest.mark.slow

FIGURES = json.loads((Path(__file__).parent / "numeric_check_v3.json").read_text("utf-8"))
DOUBLED = (".time_mlp.", ".attn_norm.", ".to_q.", ".to_k.")
MEL = {
    "v3": SpectrogramSettings(24000, 1024, 256, 1024, 100),
    "v4": SpectrogramSettings(32000, 1280, 320, 1280, 100),
}
BATCHES = {"v3": (24320, 105, 80, [95, 80]), "v4": (32640, 104, 86, [102, 86])}
"""Samples that mel is made of, its padded width, the first padded frame of row 1, and lengths."""
WHOLE = os.environ.get("VQCHECK_WHOLE_V3") == "1"
MODULES = ("enc_p", "ref_enc", "ssl_proj", "bridge", "wns1", "linear_mel", "cfm")
SEEDS = {"plain": 0, "bootstrap": 1}
"""Of Python's generator: 0 draws a plain batch, 1 a bootstrapped one."""


@pytest.fixture(scope="module", params=["v3", "v4"])
def version(request):
    return request.param


def build(version, recipe, **changes):
    """Build a model filled by the recipe; what steers the step counts twice, or it would hardly show."""
    model = SynthesizerTrnV3(
        1025, 32, n_speakers=300, **{"version": version, "freeze_quantizer": True, "dit_depth": 2} | changes
    )
    state = model.state_dict()
    filled = recipe.filled_state(model)
    for key in filled:
        if key.endswith("inv_freq"):
            filled[key] = state[key]
        elif key.endswith("weight") and any(part in key for part in DOUBLED):
            filled[key] = 2 * filled[key]
    model.load_state_dict(filled)
    return model.eval()


@pytest.fixture(scope="module")
def model(version, recipe):
    yield build(version, recipe)
    gc.collect()


@pytest.fixture(scope="module")
def batch(version, recipe):
    """The recipe's batch of a version."""
    samples, width, padded, lengths = BATCHES[version]
    n = torch.arange(33280, dtype=torch.float64)
    wav = torch.stack([0.3 * torch.sin(0.02 * n * (1 + b)) + 0.1 * torch.sin(0.31 * n + b) for b in range(2)]).float()
    logmel = mel_spectrogram(wav[:, :samples], MEL[version])
    mel = torch.zeros(2, 100, width)
    mel[:, :, : logmel.size(2)] = (logmel + 12) / 14 * 2 - 1
    mel[1, :, padded:] = 0
    return SimpleNamespace(
        wav=wav,
        spec=linear_spectrogram(wav, SpectrogramSettings()),
        logmel=logmel,
        mel=mel,
        ssl=recipe.float32(recipe.centred(5000, (2, 768, 52))) * 0.8,
        text=torch.floor(300 * torch.from_numpy(recipe.uniform(6000, (2, 12)))).long(),
        mel_lengths=torch.tensor(lengths),
        x=recipe.float32(recipe.centred(9000, (2, 100, 40))),
        cond=recipe.float32(recipe.centred(9001, (2, 100, 40))) * 0.5,
        mu=recipe.float32(recipe.centred(9002, (2, 512, 40))) * 0.5,
    )


def close(value, recorded, rel=1e-4):
    assert float(value) == pytest.approx(recorded, rel=rel)


def figure(tensor, recorded, recipe, tolerance=1e-4):
    recipe.assert_figure(tensor.clone(), recorded, sums=tolerance, values=tolerance)


def forward(model, batch, seed, **changes):
    """Run the training forward with the recorded random draws."""
    torch.manual_seed(1234)
    random.seed(seed)
    lengths = torch.tensor([51, 43])
    arguments = {"use_grad_ckpt": False} | changes
    return model(
        batch.ssl,
        batch.spec,
        batch.mel,
        lengths,
        lengths,
        batch.text,
        torch.tensor([12, 9]),
        batch.mel_lengths,
        **arguments,
    )


def norm(parameters):
    gradients = [parameter.grad.double().norm() for parameter in parameters if parameter.grad is not None]
    return torch.stack(gradients).norm() if gradients else None


def check_step(model, loss, recorded):
    """Compare the loss, and the gradients of each module, with the recorded ones; then drop them."""
    close(loss.detach(), recorded["loss"])
    model.zero_grad()
    loss.backward()
    norms = {name: norm(getattr(model, name).parameters()) for name in MODULES}
    assert {name for name, value in norms.items() if value is not None} == set(recorded["grad_norms"])
    for name, value in recorded["grad_norms"].items():
        close(norms[name], value)
    for name, value in recorded.get("estimator_grad_norms", {}).items():
        close(norm(model.cfm.estimator.get_submodule(name).parameters()), value)
    if "grad_none" in recorded:
        without = {name: [p.grad for p in getattr(model, name).parameters()].count(None) for name in MODULES}
        assert {name: count for name, count in without.items() if count} == recorded["grad_none"]
    model.zero_grad()


def test_inputs(batch, version, recipe):
    recorded = FIGURES[version]["inputs"]
    for name in ("wav", "spec", "logmel", "mel", "ssl", "x", "cond", "mu"):
        recipe.assert_figure(getattr(batch, name), recorded[name])
    assert batch.text.tolist() == recorded["text"]
    assert batch.mel_lengths.tolist() == recorded["mel_lengths"]


def test_stages(model, batch, version, recipe):
    """What each part gives on the way to the decoder."""
    recorded, seen = FIGURES[version]["stages"], {}
    names = ("ssl_proj", "ref_enc", "enc_p", "bridge", "wns1")
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, out, name=name: seen.update({name: out})
        )
        for name in names
    ]
    with torch.no_grad():
        forward(model, batch, 0)
        quantized, codes, commit_loss = model.project_and_quantize(batch.ssl)
    for hook in hooks:
        hook.remove()
    assert codes.tolist() == recorded["codes"]
    assert float(commit_loss) == recorded["commit_loss"] == 0.0
    assert list(model.extract_latent(batch.ssl).shape) == recorded["extract_latent_shape"]
    doubled = torch.nn.functional.interpolate(quantized, scale_factor=2, mode="nearest")
    upsampled = torch.nn.functional.interpolate(seen["bridge"], scale_factor=model.mel_rate, mode="nearest")
    for name, value in {
        "ssl_projected": seen["ssl_proj"],
        "quantized": quantized,
        "quantized_x2": doubled,
        "ref_enc": seen["ref_enc"],
        "enc_p": seen["enc_p"][0],
        "bridge": seen["bridge"],
        "fea_upsampled": upsampled,
        "wns1": seen["wns1"][0],
    }.items():
        figure(value, recorded[name], recipe)


def test_estimator(model, batch, version, recipe):
    """Each part of the transformer; a wrong form of GELU would move the output by 6e-5."""
    recorded, seen, estimator = FIGURES[version]["estimator"], {}, model.cfm.estimator
    parts = {"time_embed": "time_embed", "d_embed": "d_embed", "text_embed": "text_embed", "input_embed": "input_embed"}
    parts |= {"block_0": "transformer_blocks.0", "block_1": "transformer_blocks.1"}
    hooks = [
        estimator.get_submodule(path).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name, path in parts.items()
    ]
    hooks.append(estimator.proj_out.register_forward_hook(lambda _m, i, _o: seen.update({"norm_out": i[0]})))
    inputs = (batch.x, batch.cond, torch.tensor([40, 31]), torch.tensor([0.3, 0.85]), torch.tensor([0.25, 0.0]))
    with torch.no_grad():
        seen["output"] = estimator(*inputs, batch.mu)
        for hook in hooks:
            hook.remove()
        output, words, step = estimator(*inputs, batch.mu, infer=True, drop_audio_cond=True, drop_text=True)
    for name, value in seen.items():
        figure(value, recorded[name], recipe, 4e-5)
    for name, value in {"output": output, "text_embed": words, "dt": step}.items():
        figure(value, recorded["dropped"][name], recipe, 4e-5)
    for name, stride in (("output", 249), ("text_embed", 1279)):
        samples = seen[name].flatten()[::stride][:32].tolist()
        absmean = recorded[name]["absmean"]
        assert samples == pytest.approx(recorded[f"{name}_every_{stride}th"], rel=4e-5, abs=4e-5 * absmean)


@pytest.mark.parametrize("kind", SEEDS)
def test_the_flow_alone(model, batch, version, kind):
    torch.manual_seed(1240)
    random.seed(SEEDS[kind])
    with torch.no_grad():
        loss = model.cfm(batch.x, torch.tensor([40, 31]), torch.tensor([12, 5]), batch.mu, False)
    close(loss, FIGURES[version][f"cfm_alone_{kind}"], rel=4e-5)


@pytest.mark.parametrize("kind", SEEDS)
def test_eval_forward(model, batch, version, kind):
    check_step(model, forward(model, batch, SEEDS[kind]), FIGURES[version][f"eval_{kind}"])


@pytest.mark.usefixtures("draws_the_recorded_dropout")
@pytest.mark.parametrize("kind", [*SEEDS, "plain_grad_ckpt"])
def test_train_forward(model, batch, version, kind):
    """The same in train mode: dropout draws the recorded masks, checkpointing changes nothing, the codebook stays."""
    before = {name: value.clone() for name, value in model.quantizer.state_dict().items()}
    model.train()
    loss = forward(model, batch, SEEDS.get(kind, 0), use_grad_ckpt=kind == "plain_grad_ckpt")
    modes = {name: getattr(model, name).training for name in FIGURES[version]["modes_after_train_forward"]}
    assert modes == FIGURES[version]["modes_after_train_forward"]
    check_step(model, loss, FIGURES[version][f"train_{kind}"])  # in train mode: checkpointing computes again
    model.eval()
    assert FIGURES[version]["frozen_buffers_unchanged"]
    assert all(torch.equal(value, before[name]) for name, value in model.quantizer.state_dict().items())


def test_what_is_frozen(model, version):
    counts = {}
    for name in FIGURES[version]["requires_grad"]:
        flags = [parameter.requires_grad for parameter in getattr(model, name).parameters()]
        counts[name] = [flags.count(True), flags.count(False)]
    assert counts == FIGURES[version]["requires_grad"]


@pytest.mark.usefixtures("draws_the_recorded_dropout")
def test_unfrozen(version, batch, recipe):
    """Without the freeze the text encoder learns, and one training forward moves every code."""
    recorded = FIGURES[version]
    model = build(version, recipe, freeze_quantizer=False)
    check_step(model, forward(model, batch, 0), recorded["unfrozen_eval"])
    book = model.quantizer.codebooks()[0]
    before = book.embed.clone()
    model.train()
    check_step(model, forward(model, batch, 0), recorded["unfrozen_train"])
    for name, value in recorded["unfrozen_train"]["codebook_after"].items():
        figure(getattr(book, name), value, recipe)
    assert int((book.embed != before).any(dim=1).sum()) == recorded["unfrozen_train"]["embed_rows_changed"] == 1024


def test_decode(model, batch, version, recipe):
    """Tokens to features, and features to mel."""
    recorded = FIGURES[version]["decode"]
    codes = model.extract_latent(batch.ssl)[:1]
    text, refer = batch.text[:1], batch.spec[:1, :, :40]
    features, ge = model.decode_encp(codes, text, refer)
    figure(features, recorded["fea"], recipe)
    figure(ge, recorded["ge"], recipe)
    for speed in (1.25, 2):
        faster, _ = model.decode_encp(codes, text, refer, ge, speed)
        figure(faster, recorded[f"fea_speed_{speed}"], recipe)
    mu, prompt = features.transpose(1, 2), batch.mel[:1, :, :30]
    length = torch.tensor([mu.size(1)])
    torch.manual_seed(99)
    figure(torch.randn(1, 100, mu.size(1)), recorded["noise"], recipe)

    def mel(*arguments, **options):
        torch.manual_seed(99)
        whole = model.cfm.inference(*arguments, 4, **options)
        assert not whole[..., :30].any()
        return whole[..., 30:]

    figure(mel(mu, length, prompt), recorded["mel_4_steps"], recipe)
    guided = mel(mu, length, prompt, temperature=0.8, inference_cfg_rate=0.7)
    figure(guided, recorded["mel_4_steps_t0.8_cfg0.7"], recipe)
    both = torch.cat((mu, mu.flip(1)))
    lengths = torch.tensor([mu.size(1), mu.size(1) - 20])
    figure(mel(both, lengths, prompt.expand(2, -1, -1)), recorded["mel_4_steps_batch"], recipe)


@pytest.fixture(scope="module")
def whole(recipe):
    """The model at its real depth; v3 and v4 have the same tensors."""
    yield build("v3", recipe, dit_depth=22)
    gc.collect()


@pytest.mark.skipif(not WHOLE, reason="the model of 384 million parameters: VQCHECK_WHOLE_V3=1, or .ci/run --all")
def test_at_its_real_depth(whole, batch, version, recipe):
    recorded, seen, estimator = FIGURES[f"{version}-full"], {}, whole.cfm.estimator
    whole.version, whole.mel_rate = version, 1.875 if version == "v3" else 2.0
    hook = estimator.transformer_blocks[21].register_forward_hook(lambda _m, _i, out: seen.update(block=out))
    inputs = (batch.x, batch.cond, torch.tensor([40, 31]), torch.tensor([0.3, 0.85]), torch.tensor([0.25, 0.0]))
    with torch.no_grad():
        output = estimator(*inputs, batch.mu)
        hook.remove()
        loss = forward(whole, batch, 0)
    figure(output, recorded["estimator"]["output"], recipe, 4e-5)
    figure(seen["block"], recorded["estimator"]["block_21"], recipe, 4e-5)
    close(loss, recorded["loss"])
    codes = whole.extract_latent(batch.ssl)[:1]
    features, _ = whole.decode_encp(codes, batch.text[:1], batch.spec[:1, :, :40])
    torch.manual_seed(99)
    mel = whole.cfm.inference(features.transpose(1, 2), torch.tensor([features.size(2)]), batch.mel[:1, :, :30], 4)
    figure(mel[..., 30:], recorded["inference"], recipe)
