"""Real packages say which output projections decide tokens: those whose movement changes what the package encodes."""

from types import SimpleNamespace

import dac
import pytest
import torch
import transformers
from transformers.models.higgs_audio_v2_tokenizer.modeling_higgs_audio_v2_tokenizer import (
    HiggsAudioV2TokenizerResidualVectorQuantization,
)
from vector_quantize_pytorch import FSQ, GroupedResidualVQ, ResidualFSQ, ResidualLFQ, ResidualVQ, VectorQuantize
from vector_quantize_pytorch.hierarchical_vq import HierarchicalVQ

import vqcheck
from vqcheck.cli.main import main
from vqcheck.errors import CodebookChanged

DIM = 16


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def hugging_face_dac():
    config = transformers.DacConfig(
        encoder_hidden_size=4, downsampling_ratios=[2, 2], decoder_hidden_size=16, upsampling_ratios=[2, 2],
        hidden_size=16, n_codebooks=3, codebook_size=32, codebook_dim=4,
    )  # fmt: skip
    return transformers.DacModel(config), lambda model: model.encode(noise(1, 1, 1024)).audio_codes


def descript_dac():
    model = dac.DAC(
        encoder_dim=4, encoder_rates=[2, 2], decoder_dim=16, decoder_rates=[2, 2], n_codebooks=3, codebook_size=32,
        codebook_dim=4, sample_rate=8000,
    )  # fmt: skip
    return model, lambda model: model.encode(noise(1, 1, 1024))[1]


def mimi():
    config = transformers.MimiConfig(
        num_filters=4, num_residual_layers=1, upsampling_ratios=[4, 2], hidden_size=16, codebook_size=16,
        codebook_dim=8, vector_quantization_hidden_dimension=8, num_quantizers=3, num_semantic_quantizers=1,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=16,
        upsample_groups=16,
    )  # fmt: skip
    model = transformers.MimiModel(config)
    for name, buffer in model.named_buffers():
        if name.endswith("embed_sum"):
            buffer.normal_()
        if name.endswith("cluster_usage"):
            buffer.uniform_(1, 5)
    # its features hardly differ, so that the quantizer is asked with others
    return model, lambda model: model.quantizer.encode(noise(2, 16, 100))


def inside(quantizer, tokens, name="quantizer"):
    """Returns a model around a quantizer, and what its tokens are."""
    model = torch.nn.Module()
    model.add_module(name, quantizer)
    return model, lambda model: tokens(getattr(model, name))


def higgs():
    config = SimpleNamespace(
        hidden_size=DIM, codebook_dim=4, codebook_size=16, num_quantizers=3, frame_rate=50, semantic_hidden_size=DIM
    )
    quantizer = HiggsAudioV2TokenizerResidualVectorQuantization(config)
    for buffer in quantizer.buffers():
        buffer.copy_(noise(*buffer.shape, seed=buffer.numel()).abs() if buffer.ndim < 2 else noise(*buffer.shape))
    return inside(quantizer, lambda quantizer: quantizer.encode(noise(2, DIM, 100)))


def vq(kind, name="quantizer", x=(2, 100, DIM), **options):
    module = kind(**options)
    module.eval()(noise(*x, seed=2))
    # no call of the test's own may write: k-means and affine statistics are off
    return inside(module, lambda module: module(noise(*x))[1], name)


BOOK = {"dim": DIM, "codebook_size": 16, "codebook_dim": 4}
MODELS = {
    "DAC, transformers": (hugging_face_dac, "out_proj"),
    "DAC, descript": (descript_dac, "out_proj"),
    "Mimi": (mimi, "output_proj"),
    "Higgs Audio": (higgs, "project_out"),
    "VectorQuantize": (lambda: vq(VectorQuantize, **BOOK), "project_out"),
    "ResidualVQ": (lambda: vq(ResidualVQ, num_quantizers=3, **BOOK), "project_out"),
    "shared ResidualVQ": (lambda: vq(ResidualVQ, num_quantizers=3, shared_codebook=True, **BOOK), "project_out"),
    "GroupedResidualVQ": (lambda: vq(GroupedResidualVQ, groups=2, num_quantizers=2, **BOOK), "project_out"),
    "HierarchicalVQ": (
        lambda: vq(HierarchicalVQ, x=(2, DIM, 8), dim=DIM, codebook_size=16, scales=[1, 2, 4, 8], kmeans_init=False),
        "phi_shared",
    ),
    "HierarchicalVQ of several": (
        lambda: vq(
            HierarchicalVQ, x=(2, DIM, 8), dim=DIM, codebook_size=16, scales=[1, 2, 4, 8], kmeans_init=False,
            shared_codebook=False, share_quant_resi=2,
        ),
        "phi_levels",
    ),
    "FSQ": (lambda: vq(FSQ, dim=DIM, levels=[5, 5, 5]), "project_out"),
    "ResidualFSQ": (lambda: vq(ResidualFSQ, dim=DIM, levels=[5, 5, 5], num_quantizers=2), "project_out"),
    "ResidualLFQ": (lambda: vq(ResidualLFQ, dim=DIM, codebook_size=16, num_quantizers=2), "project_out"),
}  # fmt: skip


def equal(a, b):
    if isinstance(a, (tuple, list)):
        return all(map(equal, a, b))
    return torch.equal(a, b)


@pytest.fixture(params=MODELS)
def codec(request):
    """A seeded model, what gives its tokens, and the names of what stands behind its lookups."""
    torch.manual_seed(0)
    build, behind = MODELS[request.param]
    model, tokens = build()
    names = [name for name, _ in model.named_parameters() if f".{behind}." in name]
    assert names
    return model.eval(), torch.no_grad()(tokens), names


@pytest.fixture
def files(tmp_path):
    """Saves a module's state dict, returns its path."""

    def save(model, name):
        torch.save({"model": {key: value.clone() for key, value in model.state_dict().items()}}, tmp_path / name)
        return str(tmp_path / name)

    return save


@torch.no_grad()
def move(parameter):
    parameter.copy_(parameter * 3 + 1)


def test_it_counts_where_the_package_gives_other_tokens(codec, files, tmp_path, capsys):
    """diff, lock and guard say `changed` where the package's own tokens change, and nothing where they do not."""
    model, tokens, names = codec
    parameters = dict(model.named_parameters())
    before, a, lock = tokens(model), files(model, "a.pth"), str(tmp_path / "a.lock")
    assert main(["lock", a, "-o", lock]) == 0
    for name in names:
        kept = parameters[name].detach().clone()
        guard = vqcheck.guard(model, every=1)
        move(parameters[name])
        flips = not equal(tokens(model), before)
        b = files(model, "b.pth")
        assert main(["diff", a, b]) == flips, name
        assert main(["diff", a, b, "--scope", "tokens"]) == flips, name
        assert main(["lock", "--check", b, "-o", lock]) == flips, name
        if flips:
            with pytest.raises(CodebookChanged, match=name):
                guard.check()
        else:
            assert name not in guard.names
            guard.check()
        with torch.no_grad():
            parameters[name].copy_(kept)
    assert equal(tokens(model), before)
    capsys.readouterr()


def test_freeze_holds_what_decides_and_lets_the_rest_learn(codec):
    """An optimizer over every parameter that still wants a gradient changes no token."""
    model, tokens, names = codec
    before = tokens(model)
    vqcheck.freeze(model)
    behind = {name for name, parameter in model.named_parameters() if parameter.requires_grad and name in names}
    for name in behind:
        move(dict(model.named_parameters())[name])
    assert equal(tokens(model), before)
    last = [name for name in names if name not in behind]
    for name in last:
        move(dict(model.named_parameters())[name])
    assert equal(tokens(model), before) is not bool(last)


def test_each_case_is_one_of_both():
    """Among these packages some projections decide tokens and some do not, so that both answers were tested."""
    torch.manual_seed(0)
    model, tokens = hugging_face_dac()
    model.eval()
    outcomes = []
    for layer in model.quantizer.quantizers:
        before = tokens(model)
        move(layer.out_proj.weight)
        outcomes.append(not equal(tokens(model), before))
    assert outcomes == [True, True, False]
