"""What is found from each place that a user may name, in folders laid out as GPT-SoVITS lays them out."""

import os

import pytest

from vqcheck.errors import UsageError
from vqcheck.experiment.place import PlaceKind, exported_weights, find_place

TREE = (
    "GPT_SoVITS/pretrained_models/s2G488k.pth",
    "GPT_SoVITS/pretrained_models/s2D488k.pth",
    "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s2G2333k.pth",
    "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt",
    "GPT_SoVITS/pretrained_models/v2Pro/s2Gv2Pro.pth",
    "GPT_SoVITS/pretrained_models/v2Pro/s2Dv2Pro.pth",
    "GPT_SoVITS/pretrained_models/chinese-hubert-base/pytorch_model.bin",
    "TEMP/tmp_s2.json",
    "runtime/python.exe",
    "logs/me/2-name2text.txt",
    "logs/me/6-name2semantic.tsv",
    "logs/me/config.json",
    "logs/me/vqcheck.lock",
    "logs/me/logs_s2_v2/G_800.pth",
    "logs/me/logs_s2_v2/G_1000.pth",
    "logs/me/logs_s2_v2/D_1000.pth",
    "logs/me/logs_s1_v2/ckpt/epoch=4-step=60.ckpt",
    "logs/you/4-cnhubert/a.wav.pt",
    "logs/you/logs_s2_v4_lora_32/G_50.pth",
    "SoVITS_weights/old_e8_s64.pth",
    "SoVITS_weights_v2/me_e2_s200.pth",
    "SoVITS_weights_v2/me_e10_s1000.pth",
    "SoVITS_weights_v2/me_and_you_e1_s1.pth",
    "SoVITS_weights_v4/you_e2_s50_l32.pth",
    "GPT_weights_v2/me-e15.ckpt",
    "GPT_weights_v2/you-e5.ckpt",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("package") / "GPT-SoVITS-v4-20250422"
    for name in TREE:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def names(files, root):
    return [os.path.relpath(getattr(each, "path", each), root).replace(os.sep, "/") for each in files]


def test_a_whole_tree_gives_every_voice_and_no_discriminator(tree):
    place = find_place(str(tree))
    found = place.contents
    assert place.kind is PlaceKind.TREE
    assert names(found.bases, tree) == [name for name in TREE if "/s2G" in name]
    assert names(found.experiments, tree) == ["logs/me", "logs/you"]
    assert {(file.voice, os.path.basename(file.path)) for file in found.generators} == {
        ("me", "G_800.pth"),
        ("me", "G_1000.pth"),
        ("you", "G_50.pth"),
        ("old", "old_e8_s64.pth"),
        ("me", "me_e2_s200.pth"),
        ("me", "me_e10_s1000.pth"),
        ("me_and_you", "me_and_you_e1_s1.pth"),
        ("you", "you_e2_s50_l32.pth"),
    }
    assert {file.voice for file in found.s1} == {"me", "you"}
    assert names(found.configs, tree) == ["logs/me/config.json", "TEMP/tmp_s2.json"]
    assert names(found.locks, tree) == ["logs/me/vqcheck.lock"]


@pytest.mark.parametrize("inner", ["", "GPT_SoVITS", ".."])
def test_the_folder_around_it_and_the_code_inside_it_are_the_same_tree(tree, inner):
    named = find_place(os.path.normpath(os.path.join(tree, inner)))
    assert named.kind is PlaceKind.TREE
    assert named.contents == find_place(str(tree)).contents


@pytest.mark.parametrize("inner", ["logs/me", "logs/me/logs_s2_v2", "logs/me/logs_s1_v2"])
def test_an_experiment_brings_its_own_exports_and_the_bases(tree, inner):
    place = find_place(str(tree / inner))
    found = place.contents
    assert place.kind is PlaceKind.EXPERIMENT
    assert place.root == str(tree)
    assert names(found.generators, tree) == [
        "logs/me/logs_s2_v2/G_800.pth",
        "logs/me/logs_s2_v2/G_1000.pth",
        "SoVITS_weights_v2/me_e2_s200.pth",
        "SoVITS_weights_v2/me_e10_s1000.pth",
    ]
    assert names(found.s1, tree) == ["logs/me/logs_s1_v2/ckpt/epoch=4-step=60.ckpt", "GPT_weights_v2/me-e15.ckpt"]
    assert len(found.bases) == 3


def test_a_weights_folder_brings_the_experiments_of_its_voices(tree):
    place = find_place(str(tree / "SoVITS_weights_v2"))
    assert place.kind is PlaceKind.WEIGHTS
    assert {file.voice for file in place.contents.generators} == {"me", "me_and_you"}
    assert names(place.contents.experiments, tree) == ["logs/me"]
    assert place.experiment("me") == str(tree / "logs" / "me")
    assert place.experiment("me_and_you") is None


def test_a_folder_of_s1_weights_brings_the_s2_weights_of_its_voices(tree):
    found = find_place(str(tree / "GPT_weights_v2")).contents
    assert {file.voice for file in found.s1} == {"me", "you"}
    assert {file.voice for file in found.generators} == {"me", "you"}


@pytest.mark.parametrize(
    ("file", "voice"), [("SoVITS_weights_v2/me_e2_s200.pth", "me"), ("logs/me/logs_s2_v2/G_800.pth", "me")]
)
def test_one_file_is_alone_asked_about(tree, file, voice):
    place = find_place(str(tree / file))
    assert place.kind is PlaceKind.FILE
    assert [(each.path, each.voice) for each in place.contents.generators] == [(str(tree / file), voice)]
    assert place.experiment(voice) == str(tree / "logs" / "me")
    assert len(place.contents.bases) == 3


def test_a_folder_of_downloaded_files_is_what_lies_in_it(tmp_path):
    for name in ("a_e1_s2.pth", "base.pth", "D_100.pth", "s2Dv2Pro.pth", "model-00001-of-00002.safetensors", "x.txt"):
        (tmp_path / name).touch()
    place = find_place(str(tmp_path))
    assert place.kind is PlaceKind.FOLDER
    assert [(os.path.basename(each.path), each.voice) for each in place.contents.generators] == [
        ("a_e1_s2.pth", "a"),
        ("base.pth", ""),
    ]


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        find_place(str(tmp_path / "absent"))
    assert find_place(str(tmp_path)).contents.generators == ()


@pytest.mark.parametrize(
    ("training_file", "exported"),
    [
        ("logs/me/logs_s2_v2/G_1000.pth", "SoVITS_weights_v2/me_e10_s1000.pth"),
        ("logs/me/logs_s2_v2/G_800.pth", None),  # no export of that step
        ("logs/me/logs_s2_v2/D_1000.pth", None),
        ("logs/me/logs_s2_v2Pro/G_1000.pth", None),  # of another version
        ("logs/me/logs_s2_v2_lora_32/G_1000.pth", None),  # of other training
        ("logs/you/logs_s2_v4_lora_32/G_50.pth", "SoVITS_weights_v4/you_e2_s50_l32.pth"),
        ("logs/you/logs_s2_v4/G_50.pth", None),
        ("logs/old/logs_s2/G_64.pth", "SoVITS_weights/old_e8_s64.pth"),
        ("logs/old/logs_s2_v1/G_64.pth", "SoVITS_weights/old_e8_s64.pth"),
        ("logs/me/logs_s2_v2/G_233333333333.pth", None),  # of "save latest only": no step is told
        ("G_1000.pth", None),
        ("SoVITS_weights_v2/me_e10_s1000.pth", None),
    ],
)
def test_a_training_file_leads_to_what_was_exported_at_its_step(tree, training_file, exported):
    """Of the same voice, version and rank; in doubt none is named."""
    found = exported_weights(os.path.join(tree, *training_file.split("/")))
    assert found == (exported and os.path.join(tree, *exported.split("/")))


def test_of_two_exports_of_one_step_none_is_named(tmp_path):
    """Training started again from the base counts its steps anew: which one is meant is not known."""
    for name in ("logs/me/logs_s2_v2/G_9.pth", "SoVITS_weights_v2/me_e1_s9.pth", "SoVITS_weights_v2/me_e2_s9.pth"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert exported_weights(str(tmp_path / "logs/me/logs_s2_v2/G_9.pth")) is None
