"""Whole models of real packages say what stands in front: each tensor behind their encoders is moved by itself."""

import dac
import encodec
import pytest
import torch
import transformers

from vqcheck import freeze, guard
from vqcheck.codebook.family import Derivation, Metric, Role
from vqcheck.codebook.match import match

FRAMES = 60


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gives(module, value):
    """Lets an encoder give noise: what an untrained one makes of sound hardly differs from frame to frame."""
    module.forward = lambda *_, **__: value
    return module


def filled(model):
    """Gives buffers of a quantizer values as after training."""
    for name, buffer in model.named_buffers():
        if name.endswith(("embed", "embed_avg", "embed_sum")):
            buffer.copy_(noise(*buffer.shape, seed=buffer.numel()))
        elif name.endswith(("cluster_size", "cluster_usage")):
            buffer.fill_(2)
        elif name.endswith(("inited", "initialized")):
            buffer.fill_(1)
    return model.eval()


def hf_encodec():
    config = transformers.EncodecConfig(
        num_filters=4, num_residual_layers=1, upsampling_ratios=[4, 2], num_lstm_layers=1, hidden_size=8,
        codebook_size=16, codebook_dim=8, target_bandwidths=[24.0], sampling_rate=8000,
    )  # fmt: skip
    model = filled(transformers.EncodecModel(config))
    gives(model.encoder, noise(1, 8, FRAMES))
    return model, lambda model: model.encode(noise(1, 1, 480), return_dict=True).audio_codes


def facebook_encodec():
    model = filled(encodec.EncodecModel._get_model([1.5], 8000, 1, causal=True, model_norm="weight_norm"))
    gives(model.encoder, noise(1, 128, FRAMES))
    return model, lambda model: model.encode(noise(1, 1, 480))[0][0]


def hf_dac():
    config = transformers.DacConfig(
        encoder_hidden_size=4, downsampling_ratios=[2, 2], decoder_hidden_size=16, upsampling_ratios=[2, 2],
        hidden_size=16, n_codebooks=3, codebook_size=32, codebook_dim=4,
    )  # fmt: skip
    model = transformers.DacModel(config).eval()
    gives(model.encoder, noise(1, 16, FRAMES))
    return model, lambda model: model.encode(noise(1, 1, 240)).audio_codes


def descript_dac():
    model = dac.DAC(
        encoder_dim=4, encoder_rates=[2, 2], decoder_dim=16, decoder_rates=[2, 2], n_codebooks=3, codebook_size=32,
        codebook_dim=4, sample_rate=8000,
    ).eval()  # fmt: skip
    gives(model.encoder, noise(1, 16, FRAMES))
    return model, lambda model: model.encode(noise(1, 1, 240))[1]


def hf_mimi():
    config = transformers.MimiConfig(
        num_filters=4, num_residual_layers=1, upsampling_ratios=[4, 2], hidden_size=16, codebook_size=16,
        codebook_dim=8, vector_quantization_hidden_dimension=8, num_quantizers=3, num_semantic_quantizers=1,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=16,
        upsample_groups=16,
    )  # fmt: skip
    model = filled(transformers.MimiModel(config))
    gives(model.encoder.encoder_seanet, noise(1, 16, FRAMES))

    def tokens(model):
        for each in model.modules():
            if hasattr(each, "_embed"):
                each._embed = None
        return model.encode(noise(1, 1, 480)).audio_codes

    return model, tokens


def hf_xcodec():
    acoustic = {
        "encoder_hidden_size": 4, "downsampling_ratios": [2, 2], "decoder_hidden_size": 16,
        "upsampling_ratios": [2, 2], "hidden_size": 8,
    }  # fmt: skip
    semantic = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    semantic |= {"conv_dim": (8,), "conv_stride": (4,), "conv_kernel": (4,), "num_feat_extract_layers": 1}
    semantic |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    config = transformers.XcodecConfig(
        acoustic_model_config=transformers.DacConfig(**acoustic),
        semantic_model_config=transformers.HubertConfig(**semantic),
        codebook_size=16, target_bandwidths=[48.0],
    )  # fmt: skip
    model = filled(transformers.XcodecModel(config))
    model._extract_semantic_features = lambda *_: noise(1, FRAMES, 8)
    gives(model.encoder_semantic, noise(1, 8, FRAMES, seed=2))
    gives(model.acoustic_encoder, noise(1, 8, FRAMES, seed=3))
    return model, lambda model: model.encode(noise(1, 1, 240)).audio_codes


def hf_xcodec2(config=transformers.Xcodec2Config, build=transformers.Xcodec2Model):
    semantic = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = build(
        config(
            hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
            head_dim=16, encoder_hidden_size=2, downsampling_ratios=(2, 2), quantization_dim=40,
            quantization_levels=(4, 4, 4), semantic_model_config=transformers.Wav2Vec2BertConfig(**semantic),
        )
    ).eval()  # fmt: skip
    for layer in (model.fc_encoder, model.quantizer.project_in):
        layer.weight.data.normal_(std=0.2)
    into = model.fc_encoder.in_features
    gives(model.semantic_encoder, transformers.modeling_outputs.BaseModelOutput(noise(1, FRAMES, 8)))
    gives(model.semantic_adapter, noise(1, into // 2, FRAMES, seed=2))
    gives(model.acoustic_encoder, noise(1, into - into // 2, FRAMES, seed=3))
    return model, lambda model: model.encode(noise(1, 1, 240), noise(1, FRAMES, 160)).audio_codes


def hf_wav2vec2():
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8,),
        conv_stride=(4,), conv_kernel=(8,), num_feat_extract_layers=1, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, num_codevectors_per_group=8, num_codevector_groups=2, codevector_dim=8,
        proj_codevector_dim=8, feat_extract_norm="layer",
    )  # fmt: skip
    model = transformers.Wav2Vec2ForPreTraining(config).eval()
    gives(model.wav2vec2.feature_extractor, noise(1, 8, FRAMES))
    seen = []
    model.quantizer.weight_proj.register_forward_hook(lambda _, __, out: seen.append(out))

    def tokens(model):
        model(noise(1, 244))
        return seen.pop().unflatten(-1, (2, 8)).argmax(-1)

    return model, tokens


MODELS = {
    "EnCodec, transformers": (hf_encodec, "encodec-transformers"),
    "EnCodec": (facebook_encodec, "encodec"),
    "DAC, transformers": (hf_dac, "dac"),
    "DAC": (descript_dac, "dac"),
    "Mimi, transformers": (hf_mimi, "mimi"),
    "X-Codec, transformers": (hf_xcodec, "xcodec-transformers"),
    "X-Codec 2, transformers": (hf_xcodec2, "fsq"),
    "wav2vec 2.0, transformers": (hf_wav2vec2, "wav2vec2"),
}


@torch.no_grad()
def move(value):
    shift = noise(*value.shape, seed=value.numel() + 1)
    value.copy_(value + (value.abs().mean() + 0.3) * shift if value.dtype.is_floating_point else value)


@pytest.mark.parametrize("kind", MODELS)
def test_a_tensor_counts_where_the_package_gives_other_tokens(kind):
    """From the encoder's output on, the row calls just those relevant that change a token, and places all others."""
    torch.manual_seed(0)
    build, row = MODELS[kind]
    model, tokens = build()
    tokens = torch.no_grad()(tokens)
    state = model.state_dict()
    (one,) = match({name: tuple(value.shape) for name, value in state.items()})
    assert (one.family.name, one.unplaced) == (row, "")
    played = {found.name: found for found in one.found}
    encoders = tuple(f"{module}." for module in one.family.encoders)
    held = {*freeze(model).held}
    watched = {*guard(model).names}
    before = tokens(model)
    flipped, checked = set(), set()
    for name, value in state.items():
        if (name.startswith(encoders) and name not in played) or name.endswith(("inited", "initialized")):
            continue
        kept = value.clone()
        move(value)
        checked.add(name)
        if not torch.equal(tokens(model), before):
            flipped.add(name)
        value.copy_(kept)
    assert torch.equal(tokens(model), before)
    sources = {Role.EMA_SUM, Role.EMA_COUNT} if one.family.derivation == Derivation.SUM_OVER_COUNT else set()
    meaning = {Role.CODES} if one.family.metric == Metric.ARGMAX else set()
    relevant = {name for name, found in played.items() if found.token_relevant or found.role in sources} & checked
    assert flipped <= relevant
    assert {name for name in relevant - flipped if played[name].role not in meaning} == set()
    assert relevant <= held
    assert relevant <= watched
    assert not {name for name in checked - relevant if name not in played} & held
