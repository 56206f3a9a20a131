"""What each way of freezing really stops, through the same method that another strategy would replace."""

import contextlib
import copy

import pytest
import torch

from vqcheck.synthesizer import MultiPeriodDiscriminator, SynthesizerTrn, preset

BOOK = "quantizer.vq.layers.0._codebook."


class NotFrozen(SynthesizerTrn):
    """No handling at all."""

    def encode_semantic(self, ssl):
        return self.project_and_quantize(ssl)


class OnlyNoGrad(SynthesizerTrn):
    """The context manager alone, the modules in train mode."""

    def encode_semantic(self, ssl):
        with torch.no_grad():
            return self.project_and_quantize(ssl)


class OnlyEval(SynthesizerTrn):
    """The calls of eval() alone, at each forward."""

    def encode_semantic(self, ssl):
        self.ssl_proj.eval()
        self.quantizer.eval()
        return self.project_and_quantize(ssl)


def build(kind, **changes):
    torch.manual_seed(0)
    model = preset("tiny").synthesizer(kind, **changes)
    model.initialise_codebook(torch.randn(4, 32, 80))
    return model


def train_a_step(model, batch, *extra):
    """Run one step of an optimizer with weight decay, as each epoch does: train() first."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    o, commit_loss, *_, quantized = model(
        batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths, *extra
    )
    (o.pow(2).mean() + quantized.mean() + commit_loss).backward()
    optimizer.step()
    return commit_loss


def changed(model, before):
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def parts(names):
    """Sum up changed tensors: the codebook's buffers, the projection."""
    return {
        "codebook": {name.removeprefix(BOOK) for name in names if name.startswith(BOOK)},
        "ssl_proj": any(name.startswith("ssl_proj.") for name in names),
    }


ALL = {"cluster_size", "embed", "embed_avg"}


@pytest.mark.parametrize(
    ("kind", "prepare", "codebook", "projection", "loss"),
    [
        (NotFrozen, None, ALL, True, True),
        (NotFrozen, "requires-grad", ALL, False, True),
        (NotFrozen, "eval-at-init", ALL, True, True),
        (OnlyNoGrad, None, ALL, False, True),
        (OnlyEval, None, set(), False, False),
        (SynthesizerTrn, None, set(), False, False),
    ],
)
def test_what_freezing_stops(kind, prepare, codebook, projection, loss, tiny_batch):
    """Only eval() at each forward keeps the codebook still; every other way leaves all of it moving."""
    model = build(kind)
    if prepare == "requires-grad":
        model.ssl_proj.requires_grad_(False)
        model.quantizer.requires_grad_(False)
    if prepare == "eval-at-init":
        model.ssl_proj.eval()
        model.quantizer.eval()
    before = copy.deepcopy(model.state_dict())
    commit_loss = train_a_step(model, tiny_batch)
    names = changed(model, before)
    assert parts(names) == {"codebook": codebook, "ssl_proj": projection}
    assert "dec.conv_pre.weight" in names
    assert (float(commit_loss.detach()) > 0) == loss


@pytest.mark.parametrize("version", ["v1", "v2", "v2Pro", "v2ProPlus"])
def test_every_version_is_frozen(version, tiny_batch):
    """In each version three epochs leave the VQ encoder's bits alone and give the projection no gradient."""
    model = build(SynthesizerTrn, version=version, sv_dim=12, reference_channels=None if version == "v1" else 88)
    tiny_batch.text %= 322
    extra = (torch.randn(2, 12),) if model.is_v2pro else ()
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        assert float(train_a_step(model, tiny_batch, *extra)) == 0.0
    assert parts(changed(model, before)) == {"codebook": set(), "ssl_proj": False}
    assert model.ssl_proj.weight.grad is None
    assert model.ssl_proj.weight.requires_grad


@pytest.mark.parametrize("freeze", [True, False, None])
def test_both_parts_of_the_freeze(freeze, tiny_batch):
    """With the flag the computation runs in eval mode and without autograd; without it in neither."""
    seen = []

    class Watched(SynthesizerTrn):
        def project_and_quantize(self, ssl):
            seen.append((self.ssl_proj.training, self.quantizer.training, torch.is_grad_enabled()))
            return super().project_and_quantize(ssl)

    model = build(Watched, freeze_quantizer=freeze)
    seen.clear()
    train_a_step(model, tiny_batch)
    assert seen == [(False, False, False) if freeze else (True, True, True)]
    assert torch.is_grad_enabled()
    assert model.enc_p.training


@pytest.mark.parametrize("frozen", [True, False])
def test_other_calls_obey_the_flag(frozen, tiny, tiny_batch):
    """Extracting tokens or inferring in train mode moves the codebook without the flag and never with it."""
    batch = tiny_batch
    for call in (
        lambda model: model.extract_latent(batch.ssl),
        lambda model: model.infer(batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths),
    ):
        model = tiny(freeze_quantizer=frozen)
        before = copy.deepcopy(model.state_dict())
        call(model)
        assert parts(changed(model, before))["codebook"] == (set() if frozen else ALL)


def test_tokens_do_not_depend_on_autocast(tiny, tiny_batch):
    """Under autocast the VQ encoder computes in float32, and what follows does not."""
    model = tiny().eval()
    codes = model.extract_latent(tiny_batch.ssl)
    projected = []
    model.quantizer.register_forward_pre_hook(lambda _, inputs: projected.append(inputs[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.extract_latent(tiny_batch.ssl), codes)
        batch = tiny_batch
        o, *_, quantized = model(batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths)
    assert set(projected) == {quantized.dtype} == {torch.float32}
    assert o.dtype == torch.bfloat16


def test_frozen_without_weights_is_an_error(tiny_batch):
    """A frozen model that was never given a codebook says so in its first step."""
    batch = tiny_batch
    model = preset("tiny").synthesizer().train()
    with pytest.raises(RuntimeError, match="has no content"):
        model(batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float16, None])
def test_frozen_on_a_gpu(dtype, tiny_batch):
    """A step on a GPU, with and without half precision, leaves the VQ encoder alone and gives finite gradients."""
    model = build(SynthesizerTrn).cuda()
    discriminator = MultiPeriodDiscriminator(narrowing=32).cuda()
    before = copy.deepcopy(model.state_dict())
    batch = copy.copy(tiny_batch)
    for name, tensor in vars(tiny_batch).items():
        setattr(batch, name, tensor.cuda())
    half = contextlib.nullcontext() if dtype is None else torch.autocast("cuda", dtype=dtype)
    with half:
        assert float(train_a_step(model, batch)) == 0.0
        logits, *_ = discriminator(batch.wav, batch.wav)
    assert all(torch.isfinite(each).all() for each in logits)
    assert parts(changed(model, before)) == {"codebook": set(), "ssl_proj": False}
