"""Every layout on record is found with its roles, every change of a judged role shows, look-alikes do not match."""

import pytest
import torch
from sheet import CODECS, LAYOUTS, NEGATIVE, decides, roles_of, shapes_of

from vqcheck.codebook.canonical_shape import MisshapenError
from vqcheck.codebook.families import FAMILIES
from vqcheck.codebook.match import match

ROW = {
    "vqp_simvq": "simvq",
    "vqp_residualsimvq": "simvq",
    "vqp_fsq": "fsq-alone",
    "vqp_residualfsq": "fsq-alone",
    "vqp_lfq": "lfq",
    "vqp_latentquantize": "latent-quantize",
    "vqp_randomprojection": "random-projection",
    "encodec": "encodec",
    "audiocraft_encodec": "encodec",
    "speechtokenizer": "encodec",
    "wavtokenizer": "encodec",
    "hf_encodec": "encodec-transformers",
    "dac": "dac",
    "hf_dac": "dac",
    "snac": "dac",
    "stable_audio_dacrvq": "stable-audio-dac",
    "stable_audio_rvq": "stable-audio",
    "audiolm_soundstream": "soundstream",
    "fish_speech_dac": "fish-dac",
    "hf_mimi": "mimi",
    "hf_mimi_rescaled": "mimi",
    "moshi_mimi_quantizer": "mimi",
    "hf_xcodec": "xcodec-transformers",
    "hf_higgs_audio_v2_tokenizer": "xcodec-transformers",
    "hf_wav2vec2_pretraining": "wav2vec2",
    "fairseq_wav2vec2_gumbel": "wav2vec2",
    "speechbrain_gumbel": "wav2vec2",
    "fairseq_vqwav2vec_kmeans": "vq-wav2vec",
    "hf_xcodec2_quantizer": "fsq",
    "hf_neucodec_quantizer": "fsq",
    "taming_gumbel": "vqgan-gumbel",
    "taming_embedding_ema": "taming-ema",
    "xtts_dvae": "dvae",
    "xtts_dvae_square": "dvae",
    "s3tokenizer_v1": "s3tokenizer-v1",
    "s3tokenizer_v2": "s3tokenizer-v2",
    "xcodec2_factorized_vq": "factorised-vq",
    "speechbrain_bestrq": "best-rq",
    "nemo_encodec_rvq": "nemo",
    "amphion_repcodec": "maskgct",
    "amphion_vq_euclidean": "amphion-euclidean",
    "amphion_vq_simple": "amphion-simple",
    "rosinality_vqvae2": "vq-vae-2",
    "rosinality_vqvae2_ddp": "vq-vae-2",
}


def row_of(codec):
    if codec.startswith("gptsovits"):
        return "gpt-sovits"
    if codec.startswith("vqp_"):
        return ROW.get(codec, "vector-quantize-pytorch")
    return ROW.get(codec, "vqgan")


@pytest.mark.parametrize("codec", CODECS)
def test_roles_are_those_on_record(codec):
    """One VQ encoder is found, by the row meant, and every tensor plays the role that the sheet gives it."""
    matches = match(shapes_of(codec))
    assert [each.family.name for each in matches] == [row_of(codec)]
    assert {found.name: found.role for found in matches[0].found} == roles_of(codec)


@pytest.mark.parametrize("wrapper", ["module.", "ema_model.module.", "_orig_mod.model."])
@pytest.mark.parametrize("codec", CODECS)
def test_wrapped_it_is_the_same(codec, wrapper):
    """Behind any wrapper of a trainer the same roles are found, and the wrapper is the beginning of the prefix."""
    matches = match({wrapper + name: shape for name, shape in shapes_of(codec).items()})
    assert [each.family.name for each in matches] == [row_of(codec)]
    assert matches[0].prefix.startswith(wrapper)
    assert {found.name: found.role for found in matches[0].found} == {
        wrapper + name: role for name, role in roles_of(codec).items()
    }


@pytest.mark.parametrize("codec", [name for name in CODECS if not name.startswith("gptsovits_v2_n")])
def test_a_change_of_any_judged_role_shows(codec, state_of, compared):
    """One changed value in one tensor of any role is found; in a projection behind the last lookup it is not judged."""
    state = state_of(codec)
    assert compared(state, dict(state)).verdict == "identical"
    by_role = {}
    for name, role in roles_of(codec).items():
        by_role.setdefault((role, decides(codec, name)), name)
    for (role, judged), name in by_role.items():
        other = {key: tensor.clone() for key, tensor in state.items()}
        flat = other[name].view(-1)
        flat[0] = ~flat[0] if flat.dtype == torch.bool else flat[0] * 1.25 + 1
        if role == "init_flag":
            flat[0] = 0
        comparison = compared(state, other)
        assert comparison.verdict == ("changed" if judged else "identical"), (role, name)
        changed = {diff.role for diff in comparison.tensors if diff.verdict == "changed"}
        assert role in changed, (role, name)


@pytest.mark.parametrize("codec", CODECS)
def test_what_its_own_training_changed_shows(codec, state_of, compared):
    """Where the codec's own update moved judged tensors the verdict is `changed`, and otherwise `identical`."""
    state = state_of(codec)
    other = {key: tensor.clone() for key, tensor in state.items()}
    moved = set()
    for tensor in LAYOUTS[codec]["tensors"]:
        for name in tensor["names"][: tensor["changed"]]:
            value = other[name]
            other[name] = ~value if value.dtype == torch.bool else value * 1.5 + 1
            moved.add(name)
    judged = {name for name in moved if name in roles_of(codec) and decides(codec, name)}
    assert compared(state, other).verdict == ("changed" if judged else "identical")


@pytest.mark.parametrize("codec", sorted(NEGATIVE))
def test_models_without_a_codebook_do_not_match(codec):
    """Language models over codec tokens, other models and bare grids are not taken for a codec."""
    assert match(shapes_of(codec)) == []


LOOK_ALIKES = {
    "text encoder projection": {"enc_p.ssl_proj.weight": (192, 768, 1), "enc_p.ssl_proj.bias": (192,)},
    "synthesizer without quantizer": {"enc_p.mrte.c_pre.weight": (4, 4, 1), "ref_enc.fc.weight": (4, 4)},
    "codebook heads": {"codebooks_head.weight": (2, 16, 32), "model.embed_tokens.weight": (96, 16)},
    "fish-speech tables": {"codebook_embeddings.weight": (64, 16), "fast_embeddings.weight": (32, 16)},
    "omni tables": {"code_embedding.weight": (64, 16), "codec_embed.weight": (64, 16)},
    "FLAVA": {"image_codebook.blocks.input.weight": (8, 3, 7, 7), "image_codebook.blocks.input.bias": (8,)},
    "Janus table": {"model.generation_embeddings.weight": (32, 8)},
    "batch norm": {"bn.running_mean": (8,), "bn.running_var": (8,), "bn.num_batches_tracked": ()},
    "OPT projections": {"decoder.project_in.weight": (8, 4), "decoder.project_out.weight": (4, 8), "fc.weight": (2, 2)},
    "projections of a bigger model": {"project_in.weight": (8, 4), "project_out.weight": (4, 8), "fc.weight": (2, 2)},
    "an embedding": {"embedding": (32, 8), "embedding.weight": (32, 8), "weight": (8, 8)},
    "an s1 model": {"model.ar_audio_embedding.word_embeddings.weight": (1025, 512)},
}


@pytest.mark.parametrize("kind", LOOK_ALIKES)
def test_look_alikes_do_not_match(kind):
    """Tensors that only resemble those of a VQ encoder are not taken for one."""
    assert match(LOOK_ALIKES[kind]) == []


@pytest.mark.parametrize("kind", ["codebook heads", "text encoder projection", "projections of a bigger model"])
def test_a_file_of_look_alikes_could_not_be_checked(kind, saved, vqcheck):
    """`diff` on two equal files with nothing but look-alikes ends in 2: nothing was checked."""
    path = saved({name: torch.ones(shape) for name, shape in LOOK_ALIKES[kind].items()})
    run = vqcheck("diff", path, path)
    assert (run.returncode, run.stdout) == (2, "")
    assert "holds no codebook" in run.stderr


def test_a_square_codebook_lies_as_its_family_says():
    """Where there are as many codes as dimensions the row decides: DVAE is stored transposed, encodec is not."""
    dvae, encodec = match(shapes_of("xtts_dvae_square"))[0], match(shapes_of("encodec"))[0]
    assert {found.axes for found in dvae.found if found.role in ("codes", "ema_sum")} == {(1, 0)}
    assert {found.axes for found in encodec.found} == {()}


@pytest.mark.parametrize("shape", [(16, 32), (32, 16)])
def test_the_count_says_which_axis_is_the_codes(shape):
    """An unknown layout is read with the counted axis first, whichever way it is stored."""
    found = match({"a.b.embed": shape, "a.b.cluster_size": (32,)})[0]
    assert found.family.structural
    assert [each.shape for each in found.found] == [(1, 32, 16), (1, 32)]


def test_shapes_that_cannot_be_are_named():
    """A codebook whose count fits neither axis is refused, not guessed at."""
    with pytest.raises(MisshapenError, match="cluster_size"):
        match({"_codebook.embed": (1, 32, 8), "_codebook.cluster_size": (1, 31)})


def test_names_of_rows_are_unique():
    """No two rows have one name, and none has none."""
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert all(names)
