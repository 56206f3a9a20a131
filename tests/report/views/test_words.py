"""Advice that upstream can follow: token extraction reads exported weights and bases, no training files."""

import shutil

import pytest

from vqcheck.cli.main import main
from vqcheck.report.views.words import extract_again


def test_a_training_file_is_not_what_to_extract_with():
    """The weights of its step are; where they are not there, that is said of it."""
    told = extract_again("somewhere/G_400.pth", None)
    assert "cannot read G_400.pth" in told
    assert "the weights exported at its step" in told
    assert "SoVITS_weights_v2/me_e8_s400.pth" in extract_again("G_400.pth", "SoVITS_weights_v2/me_e8_s400.pth")


@pytest.mark.parametrize("name", ["s2G2333k.pth", "me_e8_s400.pth", "G_best.pth"])
def test_any_other_file_is(name):
    """A base and an export hold what extraction reads."""
    assert extract_again(f"somewhere/{name}", None).startswith(f"Extract the tokens again with {name}.")


@pytest.fixture
def tree(tmp_path, sound, checkpoints):
    """A GPT-SoVITS folder with a drifted training file and what was exported at its step; returns the file."""
    run = tmp_path / "logs" / "demo" / "logs_s2_v2"
    run.mkdir()
    shutil.copy(checkpoints / "G_437.pth", run / "G_400.pth")
    weights = tmp_path / "SoVITS_weights_v2"
    weights.mkdir()
    shutil.copy(checkpoints / "drifted_v2_e8_s400.pth", weights / "demo_e8_s400.pth")
    assert sound.folder == run.parent
    return run / "G_400.pth"


@pytest.mark.parametrize("command", ["diff", "lock", "tokens", "diff of stages"])
def test_each_command_names_the_exported_weights(tree, sound, capsys, command):
    """Wherever tokens are to be made again with a training file, the file that upstream reads is named."""
    if command == "lock":
        assert main(["lock", str(sound.base), "--experiment", str(sound.folder)]) == 0
    else:
        head, *lines = sound.tsv.read_text("utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        moved = [f"{name}\t{' '.join(str((int(each) + 1) % 128) for each in tokens.split())}" for name, tokens in rows]
        sound.tsv.write_text("\n".join([head, *moved]) + "\n", "utf-8")
    arguments = {
        "diff": ["diff", sound.base, tree],
        "diff of stages": ["diff", sound.s1, tree, "--experiment", sound.folder],
        "lock": ["lock", "--check", tree, "-o", sound.folder / "vqcheck.lock"],
        "tokens": ["tokens", tree, sound.folder],
    }[command]
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert str(sound.root / "SoVITS_weights_v2" / "demo_e8_s400.pth") in told
    assert "exported at" in told
