"""The VQ encoder is found by name after known wrappers, and nothing else is taken for it."""

import pytest
import torch

from vqcheck import find_vq_encoder, open_checkpoint
from vqcheck.errors import CheckpointError, NoCodebookError

CODEBOOK = "quantizer.vq.layers.0._codebook"


def roles(path):
    with open_checkpoint(path) as checkpoint:
        encoder = find_vq_encoder(checkpoint)
        return encoder, {(tensor.role, tensor.part): tensor.tensor.name for tensor in encoder.tensors}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "ema_model.", "generator.module."]
)
def test_wrapper_prefixes_are_stripped_and_shown(vq_state, save, prefix):
    """Whatever wrapped the model, every role is found under its full name."""
    state = vq_state()
    encoder, found = roles(save({prefix + name: value for name, value in state.items()}))
    assert encoder.prefix == prefix
    assert found == {
        ("codes", ""): f"{prefix}{CODEBOOK}.embed",
        ("ema_sum", ""): f"{prefix}{CODEBOOK}.embed_avg",
        ("ema_count", ""): f"{prefix}{CODEBOOK}.cluster_size",
        ("init_flag", ""): f"{prefix}{CODEBOOK}.inited",
        ("input_proj", "weight"): f"{prefix}ssl_proj.weight",
        ("input_proj", "bias"): f"{prefix}ssl_proj.bias",
    }


def test_the_text_encoders_projection_is_not_the_tokenizers(vq_state, save):
    """`enc_p.ssl_proj` ends in the same name, is trained in every fine-tune, and is not matched."""
    state = vq_state()
    del state["ssl_proj.weight"], state["ssl_proj.bias"]
    state["enc_p.ssl_proj.weight"] = torch.randn(4, 8, 1)
    state["enc_p.ssl_proj.bias"] = torch.randn(4)
    encoder, found = roles(save(state))
    assert encoder.projection == ()
    assert {role for role, _ in found} == {"codes", "ema_sum", "ema_count", "init_flag"}


def test_the_live_codebook_comes_before_its_ema_shadow(vq_state, save):
    """With a shadow copy in the same file the live one is judged and the other one named."""
    state = vq_state()
    both = {f"ema_model.{name}": value for name, value in vq_state(seed=1).items()} | state
    encoder, _ = roles(save(both))
    assert encoder.prefix == ""
    assert encoder.also_found == ("weight.ema_model",)


@pytest.mark.parametrize(
    ("file", "words"),
    [("gpt-e15.ckpt", "s1 \\(GPT\\).*s2G"), ("lightning_s1.ckpt", "s1 \\(GPT\\).*s2G")],
)
def test_an_s1_checkpoint_holds_no_codebook(checkpoints, file, words):
    """The error says what the file is and which file holds the codebook."""
    with open_checkpoint(checkpoints / file) as checkpoint, pytest.raises(NoCodebookError, match=words):
        find_vq_encoder(checkpoint)


def test_a_discriminator_holds_no_codebook(save):
    """The error names the generator as the file to give."""
    path = save({"discriminators.0.convs.0.weight_v": torch.ones(2, 2, 2)})
    with open_checkpoint(path) as checkpoint, pytest.raises(NoCodebookError, match="discriminator"):
        find_vq_encoder(checkpoint)


def test_another_models_codebook_under_the_same_names_is_not_taken_for_gpt_sovits(vq_state, save):
    """Without anything of GPT-SoVITS beside it, the bare codebook is that of encodec, which has the same names."""
    state = {name: value for name, value in vq_state().items() if name.startswith("quantizer")}
    encoder, found = roles(save(state))
    assert encoder.family.name == "encodec"
    assert {role for role, _ in found} == {"codes", "ema_sum", "ema_count", "init_flag"}


@pytest.mark.parametrize("name", ["cluster_size", "embed_avg", "inited", "embed"])
def test_tensors_that_do_not_fit_together_are_an_error(vq_state, save, name):
    """A codebook whose tensors have impossible shapes is refused by name, not guessed at."""
    state = vq_state()
    state[f"{CODEBOOK}.{name}"] = torch.ones(3, 2, 2, 2) if name == "embed" else torch.ones(3)
    with open_checkpoint(save(state)) as checkpoint, pytest.raises(CheckpointError, match="shape"):
        find_vq_encoder(checkpoint)
