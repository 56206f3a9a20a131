"""`vqcheck replay --checkout`: a user's own tree, as a user runs it."""

import shutil
import sys
from pathlib import Path

import pytest

from vqcheck.cli.main import main

CHECKOUT = Path(__file__).parents[1] / "checkout"
SMALL = (CHECKOUT / "small.toml").read_text("utf-8") + "[replay]\nsteps = 2\n"


@pytest.fixture
def here(capsys, monkeypatch, tmp_path):
    """Runs the command in a folder that holds a configuration and the miniature tree; (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CHECKOUT / "tree", tmp_path / "tree")
    (tmp_path / "small.toml").write_text(SMALL, "utf-8")

    def run(*arguments):
        code = main(["replay", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_drifting_tree_is_shown_with_its_own_line(here, tmp_path):
    """The first line of the report names the line of the user's tree that writes the codebook; status 1."""
    models = tmp_path / "tree" / "GPT_SoVITS" / "module" / "models.py"
    models.write_text(models.read_text("utf-8").replace('ERA = "fixed"', 'ERA = "requires-grad"'), "utf-8")
    code, text, _ = here("small.toml", "--checkout", "tree")
    assert code == 1
    assert text.startswith("not as expected  this code, as it is, writes the codebook, in tree/GPT_SoVITS/module/quan")
    assert "v2 synthesizer of tree; weights: fresh" in text


def test_a_frozen_tree_passes_and_json_fits_its_schema(here, valid):
    """The document names the checkout and has both arms; the Python can be named."""
    code, text, _ = here("small.toml", "--checkout", "tree", "--python", sys.executable, "--format", "json")
    document = valid(text)
    assert code == document["exit_code"] == 0
    assert document["setting"]["code"].endswith("tree")
    assert [(arm["strategy"], arm["verdict"]) for arm in document["arms"]] == [("as-is", "frozen"), ("none", "drifted")]
    assert document["arms"][0]["uses_codebook"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--checkout", "nowhere"), "there is no such folder"),
        (("--checkout", "."), "is not a GPT-SoVITS checkout: it has no GPT_SoVITS"),
        (("--checkout", "tree", "--python", "nowhere"), "there is no such program"),
        (("--checkout", "tree", "--factory", "a:b"), "factory and checkout exclude each other"),
        (("--checkout", "tree", "--strategy", "nothing"), "unknown strategy 'nothing': expected as-is, none"),
        (("--checkout", "tree", "--save", "x"), "its checkpoints are not saved"),
    ],
)
def test_bad_input_is_one_line_and_status_2(here, arguments, message):
    """Whatever is wrong with the request is said in one line."""
    code, out, err = here("small.toml", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
