"""Codecs of transformers in tiny random configurations: found, held still by inference, moved by training."""

import pytest
import torch
import transformers


def state_of(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def seeded(build):
    torch.manual_seed(0)
    return build().eval()


def encodec():
    config = transformers.EncodecConfig(
        num_filters=4, num_residual_layers=1, upsampling_ratios=[4, 2], num_lstm_layers=1, hidden_size=8,
        codebook_size=16, codebook_dim=8, target_bandwidths=[24.0], sampling_rate=8000,
    )  # fmt: skip
    return transformers.EncodecModel(config)


def mimi():
    config = transformers.MimiConfig(
        num_filters=4, num_residual_layers=1, upsampling_ratios=[4, 2], hidden_size=16, codebook_size=16,
        codebook_dim=8, vector_quantization_hidden_dimension=8, num_quantizers=3, num_semantic_quantizers=1,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=16,
        upsample_groups=16,
    )  # fmt: skip
    return transformers.MimiModel(config)


def dac():
    config = transformers.DacConfig(
        encoder_hidden_size=4, downsampling_ratios=[2, 4], decoder_hidden_size=16, upsampling_ratios=[4, 2],
        hidden_size=16, n_codebooks=3, codebook_size=16, codebook_dim=4,
    )  # fmt: skip
    return transformers.DacModel(config)


def wav2vec2():
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8,),
        conv_stride=(4,), conv_kernel=(8,), num_feat_extract_layers=1, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, num_codevectors_per_group=8, num_codevector_groups=2, codevector_dim=8,
        proj_codevector_dim=8, feat_extract_norm="layer",
    )  # fmt: skip
    return transformers.Wav2Vec2ForPreTraining(config)


CASES = {
    "encodec": (encodec, "encodec-transformers"),
    "mimi": (mimi, "mimi"),
    "dac": (dac, "dac"),
    "wav2vec2": (wav2vec2, "wav2vec2"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_real_model_is_found(case, inspected):
    """The codec is found by its row, without a prefix, and nothing else in the model is taken for one."""
    build, family = CASES[case]
    inspection = inspected(state_of(seeded(build)))
    assert inspection.vq_encoder.family == family
    assert inspection.vq_encoder.prefix == ""
    assert inspection.others == ()


def waveform():
    return torch.randn(1, 1, 512, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("case", ["encodec", "mimi"])
def test_inference_only_quantizers_hold_still_in_training(case, compared):
    """A training step of everything else leaves these codebooks alone: identical, while the model changed."""
    build, _ = CASES[case]
    model = seeded(build)
    before = state_of(model)
    model.train()
    trained = [p for name, p in model.named_parameters() if "quantizer" not in name]
    optimizer = torch.optim.SGD(trained, 0.1)
    model(waveform()).audio_values.pow(2).mean().backward()
    optimizer.step()
    after = state_of(model)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert compared(before, after).verdict == "identical"


def test_a_training_step_of_dac_is_found(compared):
    """The codebook loss moves codes and projections."""
    model = seeded(dac)
    before = state_of(model)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(waveform()).loss.backward()
    optimizer.step()
    comparison = compared(before, state_of(model))
    changed = {diff.role for diff in comparison.tensors if diff.judged and diff.verdict == "changed"}
    assert comparison.verdict == "changed"
    assert {"codes", "input_proj"} <= changed


def test_a_gumbel_step_of_wav2vec2_is_found(compared):
    """Gradients through the Gumbel softmax move code vectors and the projection that decides tokens."""
    model = seeded(wav2vec2)
    before = state_of(model)
    model.train()
    optimizer = torch.optim.SGD(model.quantizer.parameters(), 0.5)
    features = torch.randn(1, 20, 8, generator=torch.Generator().manual_seed(1))
    model.quantizer(features)[0].pow(2).sum().backward()
    optimizer.step()
    changed = {d.role for d in compared(before, state_of(model)).tensors if d.judged and d.verdict == "changed"}
    assert changed == {"codes", "input_proj"}


def test_mimi_looks_up_with_the_values_that_are_compared(compared):
    """Halving sums and counts leaves the model's own tokens and the comparison's codes as they were."""
    model = seeded(mimi)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("embed_sum"):
                buffer.normal_()
            if name.endswith("cluster_usage"):
                buffer.uniform_(1, 5)
    before = state_of(model)
    tokens = model.encode(waveform()).audio_codes
    halved = {k: v / 2 if k.endswith(("embed_sum", "cluster_usage")) else v for k, v in before.items()}
    other = seeded(mimi)
    other.load_state_dict(halved)
    assert torch.equal(other.encode(waveform()).audio_codes, tokens)
    assert compared(before, halved).verdict == "changed"
    assert compared(before, halved, scope="tokens").verdict == "identical"


def test_save_pretrained_makes_a_folder_that_opens(tmp_path, vqcheck):
    """A model as transformers itself saves it, whole or in shards, inspects as a folder."""
    model = seeded(dac)
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    run = vqcheck("diff", tmp_path / "whole", tmp_path / "shards")
    assert (run.returncode, run.stderr) == (0, "")


def test_a_language_model_over_codec_tokens_is_no_codec(saved, vqcheck):
    """Tables of codec tokens are not the codebook: nothing to check is status 2."""
    torch.manual_seed(0)
    config = transformers.CsmDepthDecoderConfig(
        num_codebooks=3, backbone_hidden_size=16, vocab_size=32, hidden_size=16, intermediate_size=16,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    path = saved(state_of(transformers.CsmDepthDecoderForCausalLM(config)))
    assert vqcheck("diff", path, path).returncode == 2
