"""freeze and guard on the quantizers that people use, each inside a model whose decoder goes on learning."""

import copy
import warnings

import pytest
import torch
from torch import nn

import vqcheck
from vqcheck.errors import CodebookChanged, UsageError
from vqcheck.synthesizer import kl_loss, preset

STEPS = 3


class Codec(nn.Module):
    """An encoder, a quantizer of a package, and a decoder."""

    def __init__(self, quantizer, dim=8):
        super().__init__()
        self.encoder = nn.Linear(dim, dim)
        self.quantizer = quantizer
        self.decoder = nn.Linear(dim, dim)

    def forward(self, x):
        quantized, _, *losses = self.quantizer(self.encoder(x))
        return self.decoder(quantized).pow(2).mean() + sum(loss.sum() for loss in losses)


def vector_quantize(**options):
    from vector_quantize_pytorch import VectorQuantize

    return Codec(VectorQuantize(**{"dim": 8, "codebook_size": 16, **options}))


def residual(**options):
    from vector_quantize_pytorch import ResidualVQ

    return Codec(ResidualVQ(**{"dim": 8, "codebook_size": 16, "num_quantizers": 3, **options}))


def sim_vq():
    from vector_quantize_pytorch import SimVQ

    return Codec(SimVQ(dim=8, codebook_size=16))


MODELS = {
    "VectorQuantize": vector_quantize,
    "VectorQuantize with projections": lambda: vector_quantize(codebook_dim=4),
    "VectorQuantize filled by k-means": lambda: vector_quantize(kmeans_init=True, kmeans_iters=2),
    "VectorQuantize with several heads": lambda: vector_quantize(heads=2, separate_codebook_per_head=True),
    "VectorQuantize, no EMA but dead codes": lambda: vector_quantize(ema_update=False, threshold_ema_dead_code=2),
    "VectorQuantize, learnable": lambda: vector_quantize(learnable_codebook=True, ema_update=False),
    "VectorQuantize, optimised in place": lambda: vector_quantize(
        learnable_codebook=True,
        ema_update=False,
        in_place_codebook_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    ),
    "ResidualVQ": residual,
    "ResidualVQ, one codebook for all layers": lambda: residual(shared_codebook=True),
    "SimVQ": sim_vq,
}


@pytest.fixture(params=MODELS)
def codec(request):
    """A seeded codec in train mode, after one batch that filled its codebook."""
    pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    model = MODELS[request.param]().train()
    model(frames(0))
    return model


def frames(number):
    return torch.randn(4, 20, 8, generator=torch.Generator().manual_seed(number))


def train(model, after=lambda: None, batches=frames):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2, weight_decay=0.1)
    model.train()
    for number in range(1, STEPS + 1):
        optimizer.zero_grad()
        model(batches(number)).backward()
        optimizer.step()
        after()


def test_without_freeze_the_guard_fires(codec):
    """Each of these trains its codebook in the ordinary way, from the first step on."""
    guard = vqcheck.guard(codec, every=1)
    with pytest.raises(CodebookChanged, match="changed in step 1") as caught:
        train(codec, guard.step)
    assert any(change.write for change in caught.value.finding.changes)


def test_with_freeze_only_what_is_behind_learns(codec, snapshot, changed):
    """Every tensor that the table knows stays, bit by bit; the decoder and the output projection learn."""
    handle = vqcheck.freeze(codec)
    before = snapshot(codec)
    with vqcheck.guard(codec, every=1) as guard:
        train(codec, guard.step)
    moved = changed(codec, before)
    behind = {name for name in before if name.startswith(("decoder.", "quantizer.project_out."))}
    assert moved >= behind
    assert moved.isdisjoint(handle.held)
    assert all(name.startswith("encoder.") for name in moved - behind)
    assert guard.steps == STEPS


def test_with_an_encoder_that_learns_the_codes_are_as_still(codec, snapshot, changed):
    """encoder="learns": nothing that the table knows moves through training, and every encoder gets a gradient."""
    handle = vqcheck.freeze(codec, encoder="learns")
    before = snapshot(codec)
    with vqcheck.guard(codec, every=1) as guard:
        train(codec, guard.step)
    moved = changed(codec, before)
    assert moved >= {name for name in before if name.startswith(("encoder.", "decoder.", "quantizer.project_out."))}
    assert moved.isdisjoint(handle.held)
    assert guard.steps == STEPS


@pytest.mark.parametrize("build", [vector_quantize, residual], ids=["VQ", "ResidualVQ"])
def test_an_encoder_that_learns_gets_the_gradient_of_free_training(build):
    """The first step of a model that nothing holds has the same loss and the same gradient in front."""
    pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    held = build()
    free = copy.deepcopy(held)
    vqcheck.freeze(held, encoder="learns")
    losses = [model.train()(frames(1)) for model in (held, free)]
    for loss in losses:
        loss.backward()
    assert torch.equal(*losses)
    assert torch.equal(held.encoder.weight.grad, free.encoder.weight.grad)
    assert held.encoder.weight.grad.any()


@pytest.mark.parametrize(
    ("build", "learns"),
    [(vector_quantize, False), (residual, False), (sim_vq, True)],
    ids=["VQ", "ResidualVQ", "SimVQ"],
)
def test_the_encoder_in_front_learns_where_the_documentation_says_so(build, learns):
    """Quantizers that pass the gradient straight through in train mode only leave their encoder without one."""
    pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    model = build()
    vqcheck.freeze(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.train()(frames(1)).backward()
        model(frames(2))
    assert [each.category for each in caught] == ([] if learns else [RuntimeWarning])
    assert all("stop learning" in str(each.message) for each in caught)
    gradient = model.encoder.weight.grad
    assert (gradient is not None and bool(gradient.any())) is learns


def test_statistics_that_follow_every_batch_are_refused():
    """With affine_param=True the lookup changes in eval mode too: freeze says that it cannot hold that."""
    pytest.importorskip("vector_quantize_pytorch")
    model = vector_quantize(affine_param=True, sync_affine_param=False)
    model(frames(0))
    with pytest.raises(UsageError, match="in eval mode too, so its tokens cannot be held"):
        vqcheck.freeze(model)
    guard = vqcheck.guard(model.eval(), every=1, action="raise")
    model(frames(1))
    with pytest.raises(CodebookChanged, match="batch_mean"):
        guard.check()


def transformers_model(kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "dac":
        config = transformers.DacConfig(
            encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[2, 2], n_codebooks=2, codebook_size=16
        )
        return transformers.DacModel(config).train()
    config = transformers.MimiConfig(
        hidden_size=16,
        num_filters=4,
        upsampling_ratios=[2, 2],
        codebook_size=16,
        codebook_dim=8,
        vector_quantization_hidden_dimension=8,
        num_quantizers=3,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=16,
        upsample_groups=16,
    )
    model = transformers.MimiModel(config).train()
    for name, buffer in model.named_buffers():
        if name.endswith("embed_sum"):
            buffer.normal_()
    return model


class Trained(nn.Module):
    """A transformers codec as a training script calls it."""

    def __init__(self, codec):
        super().__init__()
        self.codec = codec

    def forward(self, audio):
        output = self.codec(audio)
        return output.audio_values.pow(2).mean() + (
            output.loss.sum() if "loss" in output and self.codec.training else 0
        )


def audio(number):
    return torch.randn(2, 1, 512, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("kind", ["dac", "mimi"])
def test_transformers_codecs(kind, snapshot, changed):
    """DAC's codes are trained by gradients and freeze holds them; Mimi's are not, nor does the guard fire on them."""
    model = Trained(transformers_model(kind))
    if kind == "dac":
        guard = vqcheck.guard(model, every=1)
        with pytest.raises(CodebookChanged, match="changed in step 1"):
            train(model, guard.step, audio)
    handle = vqcheck.freeze(model)
    before = snapshot(model)
    with vqcheck.guard(model, every=1) as guard:
        train(model, guard.step, audio)
    moved = changed(model, before)
    assert moved.isdisjoint(handle.held)
    assert any(name.startswith("codec.decoder.") for name in moved)
    assert guard.steps == STEPS


@pytest.fixture
def synthesizer():
    """Builds the tiny synthesizer without its own freeze, in train mode, and a function that trains it."""
    torch.manual_seed(0)
    chosen = preset("tiny")
    model = chosen.synthesizer(freeze_quantizer=False)
    model.initialise_codebook(torch.randn(4, 32, 80))
    settings = chosen.spectrogram

    def step_on(after):
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3, weight_decay=0.1)
        model.train()
        for _ in range(STEPS):
            spec = torch.rand(2, settings.spec_channels, 40)
            output = model(
                torch.randn(2, 32, 40),
                spec,
                torch.tensor([40, 32]),
                torch.randint(0, 700, (2, 7)),
                torch.tensor([7, 5]),
            )
            _, z_p, m_p, logs_p, _, logs_q = output[5]
            optimizer.zero_grad()
            (output[0].pow(2).mean() + output[1] + kl_loss(z_p, logs_q, m_p, logs_p, output[4])).backward()
            optimizer.step()
            after()

    return model, step_on


def test_the_synthesizer_without_any_freeze_drifts(synthesizer):
    """GPT-SoVITS's own training moves codebook and projection in its first step."""
    model, step_on = synthesizer
    guard = vqcheck.guard(model, every=1)
    with pytest.raises(CodebookChanged) as caught:
        step_on(guard.step)
    assert {change.name.rpartition(".")[2] for change in caught.value.finding.changes} >= {"embed", "weight"}
    assert caught.value.finding.step == 1


def test_the_synthesizer_under_freeze_learns_all_but_its_vq_encoder(synthesizer, snapshot, changed):
    """From outside, freeze does what the patched class does inside."""
    model, step_on = synthesizer
    handle = vqcheck.freeze(model)
    before = snapshot(model)
    with vqcheck.guard(model, every=1) as guard:
        step_on(guard.step)
    moved = changed(model, before)
    assert moved.isdisjoint(handle.held)
    assert len(handle.held) == 6
    assert any(name.startswith("dec.") for name in moved)
    assert any(name.startswith("enc_p.ssl_proj") for name in moved)
