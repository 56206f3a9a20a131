"""The model version follows from shapes, never from the size of a file."""

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.model import VersionSign


def identify(path):
    with open_checkpoint(path) as checkpoint:
        return model.identify(checkpoint)


def state(version):
    symbols, bins = (322, 1025) if version == "v1" else (732, 704)
    tensors = {
        "enc_p.text_embedding.weight": torch.ones(symbols, 1),
        "ref_enc.spectral.0.fc.weight": torch.ones(1, bins),
        "dec.conv_pre.weight": torch.ones(768 if version == "v2ProPlus" else 512, 1, 1),
        "enc_q.pre.weight": torch.ones(1),
    }
    if "Pro" in version:
        tensors["sv_emb.weight"] = torch.ones(1, 1)
    if version in ("v3", "v4"):
        tensors["cfm.estimator.weight"] = torch.ones(1)
    return tensors


@pytest.mark.parametrize("version", ["v1", "v2", "v2Pro", "v2ProPlus"])
def test_versions_are_told_apart_by_shapes(save, version):
    """Text symbols, reference bins, speaker embedding and decoder width tell the four synthesizers apart."""
    found = identify(save(state(version)))
    assert (found.kind, found.version) == ("s2 synthesizer", version)


def test_the_size_of_the_file_does_not_matter(save):
    """A v2 file of any size is v2: padding changes nothing."""
    assert identify(save(state("v2"), padding=torch.zeros(1_000_000))).version == "v2"


@pytest.mark.parametrize("version", ["v3", "v4"])
@pytest.mark.parametrize("evidence", ["header", "config", "none"])
def test_v3_and_v4_have_the_same_shapes(save, version, evidence):
    """Header code or config tell v3 from v4; without them the answer is that it cannot be told."""
    config = {"config": {"model": {"version": version}}} if evidence == "config" else {}
    path = save(state(version), **config)
    if evidence == "header":
        path.write_bytes({"v3": b"03", "v4": b"04"}[version] + path.read_bytes()[2:])
    found = identify(path)
    assert found.version == (version if evidence != "none" else "v3 or v4")
    sign = {"header": VersionSign.HEADER_CODE, "config": VersionSign.CONFIG, "none": VersionSign.NOTHING_TELLS}[
        evidence
    ]
    assert [each.sign for each in found.evidence] == [VersionSign.FLOW_MATCHING, sign]


def test_a_lora_export_says_what_it_lacks(checkpoints):
    """A LoRA export is named as one, with what stays in its base model."""
    found = identify(checkpoints / "lora_v3_e2_s50_l32.pth")
    assert (found.kind, found.version) == ("s2 LoRA export", "v3")
    assert "ssl_proj" in found.lacks


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("logs_s2_v3_lora_32", "v3"),
        ("logs_s2_v4_lora_8", "v4"),
        ("logs_s2_v4", "v4"),
        ("logs_s2_v2", "v3 or v4"),
        ("my_logs_s2_v3", "v3 or v4"),
    ],
)
def test_the_folder_of_a_training_file_tells_v3_from_v4(tmp_path, monkeypatch, folder, version):
    """A LoRA training file is no export and lacks nothing; its version is in the name of its folder."""
    tensors = {**state("v3"), "cfm.estimator.to_q.lora_A.default.weight": torch.ones(1), "ssl_proj.bias": torch.ones(1)}
    (tmp_path / folder).mkdir()
    torch.save({"model": tensors, "iteration": 2, "optimizer": {}}, tmp_path / folder / "G_20.pth")
    found = identify(tmp_path / folder / "G_20.pth")
    assert (found.kind, found.version, found.lacks) == ("s2 LoRA training file", version, ())
    monkeypatch.chdir(tmp_path / folder)
    assert identify("G_20.pth").version == version


def test_an_inference_export_lacks_the_posterior_encoder(checkpoints):
    """An export drops enc_q, a training file does not."""
    assert "enc_q" in identify(checkpoints / "frozen_v2_e8_s400.pth").lacks
    assert identify(checkpoints / "G_400.pth").lacks == ()


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_a_base_of_v3_and_v4_left_no_posterior_encoder_out(save, version):
    """Their class has none."""
    state = {"cfm.x": torch.ones(1), "enc_p.text_embedding.weight": torch.ones(732, 1)}
    found = identify(save(state, config={"model": {"version": version}}))
    assert (found.version, found.lacks) == (version, ())


@pytest.mark.parametrize(("phonemes", "version"), [(512, "v1"), (732, "v2 or later")])
def test_s1_checkpoints(save, phonemes, version):
    """A GPT is known by its token embedding, and its version by the number of phonemes."""
    found = identify(
        save(
            {
                "model.ar_text_embedding.word_embeddings.weight": torch.ones(phonemes, 1),
                "model.ar_audio_embedding.word_embeddings.weight": torch.ones(1025, 1),
                "model.ar_predict_layer.weight": torch.ones(1025, 1),
            }
        )
    )
    assert (found.kind, found.version) == ("s1 GPT", version)


def test_something_else_is_unknown(save):
    """A file without any of these tensors is not guessed at."""
    assert identify(save({"conv.weight": torch.ones(3)})).kind == "unknown"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frozen_v2_e8_s400.pth", ("8epoch_400iteration", 8, 400)),
        ("G_400.pth", (None, 8, 400)),
        ("lightning_s1.ckpt", (None, 14, 300)),
        ("gpt-e15.ckpt", ("GPT-e15", None, None)),
        ("base_v2.pth", (None, None, None)),
    ],
)
def test_epoch_and_steps_come_from_file_and_name(checkpoints, name, expected):
    """`info`, `iteration` (which is the epoch), Lightning's counters and the file name are read."""
    with open_checkpoint(checkpoints / name) as checkpoint:
        found = model.training(checkpoint)
    assert (found.info, found.epoch, found.steps) == expected


def test_the_constant_of_save_latest_only_is_no_step_count(save):
    """G_233333333333.pth says nothing about steps."""
    with open_checkpoint(save(state("v2"), "G_233333333333.pth")) as checkpoint:
        assert model.training(checkpoint).steps is None
