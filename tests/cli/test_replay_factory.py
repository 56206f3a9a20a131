"""`vqcheck replay --factory`: any training code, as a user runs it."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from warm import HANGS

from vqcheck.cli.main import main

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def here(capsys, monkeypatch):
    """Runs the command in this process, in the folder of the examples; returns (status, stdout, stderr)."""
    monkeypatch.chdir(FIXTURES)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("example", ["vector_quantize", "gradient_codebook"])
def test_leaking_and_still_are_told_apart(here, example):
    """The leaking variant ends in 1 and its first line names the line that leaks; the still one ends in 0."""
    code, text, _ = here("replay", "--factory", f"factories.{example}:leaking", "--steps", 3)
    assert code == 1
    assert text.startswith(f"not as expected  this code, as it is, writes the codebook, in factories/{example}.py:")
    assert "First write to" in text
    code, text, _ = here("replay", "--factory", f"factories.{example}:still", "--steps", 3)
    assert code == 0
    assert text.startswith("as expected  the codebook is bit-identical under as-is")
    assert "synthesizer" not in text


def test_json_fits_its_schema(here, valid):
    """The document says whose code it was, and where it called what wrote."""
    code, text, _ = here(
        "replay", "--factory", "factories.vector_quantize:leaking", "--steps", 2, "--all", "--format", "json"
    )
    document = valid(text)
    assert code == document["exit_code"] == 1
    assert document["setting"]["code"] == "factories.vector_quantize:leaking"
    assert document["setting"]["batch_size"] is None
    as_is, freeze = document["arms"]
    assert (as_is["strategy"], freeze["strategy"]) == ("as-is", "freeze")
    assert as_is["uses_codebook"]
    assert {write["called_from"]["function"] for write in as_is["first_writes"]} == {"forward"}
    assert as_is["steps"][0]["losses"].keys() == {"reconstruction"}


def test_csv_has_the_losses_of_the_code(here):
    """The table's columns are the names that the step returned."""
    code, text, _ = here("replay", "--factory", "factories.gradient_codebook:still", "--steps", 2, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert code == 0
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(float(row["reconstruction"]) > 0 and row["shadow_commit_loss"] == "" for row in rows)
    assert "mel" not in rows[0]


def test_a_configuration_names_the_factory(here, tmp_path):
    """`[subject] factory` in a TOML does the same as the option."""
    config = tmp_path / "own.toml"
    config.write_text('[subject]\nfactory = "factories.gradient_codebook:leaking"\n[replay]\nsteps = 2\n', "utf-8")
    assert here("replay", config)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--factory", "factories.nothing:make"), "factories.nothing cannot be imported"),
        (("--factory", "no function"), "subject.factory: expected package.module:function"),
        (("--factory", "factories.vector_quantize:still", "--save", "x"), "--save writes checkpoints of the synth"),
        (("--factory", "factories.vector_quantize:still", "--batch-size", "2"), "nothing under training has an effect"),
    ],
)
def test_bad_input_is_one_line_and_status_2(here, arguments, message):
    """Whatever is wrong with the request is said in one line."""
    code, out, err = here("replay", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_the_installed_command_finds_modules_in_the_working_directory():
    """As a program, too, the command imports the factory from where it is run."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vqcheck", "replay", "--factory", "factories.gradient_codebook:still"]
        if sys.version_info >= (3, 11)
        else [sys.executable, "-m", "vqcheck", "replay", "--factory", "factories.gradient_codebook:still"],
        capture_output=True,
        text=True,
        cwd=FIXTURES,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr


RESIDUAL = """
import torch
from torch import nn

class Training:
    def __init__(self):
        self.module = nn.Module()
        self.module.quantizer = nn.Module()
        self.layers = nn.ModuleList()
        for _ in range(3):
            layer = nn.Module()
            layer.in_proj, layer.codebook, layer.out_proj = nn.Conv1d(8, 4, 1), nn.Embedding(32, 4), nn.Conv1d(4, 8, 1)
            self.layers.append(layer)
        self.module.quantizer.quantizers = self.layers

    def step(self, number):
        last = self.layers[2]
        last.codebook.weight.data[:24] += 1
        last.in_proj.bias.data += 1
        return {"loss": last.codebook.weight.sum()}
"""


def test_what_moves_in_a_later_layer_of_a_residual_codec_is_shown(here, tmp_path, monkeypatch, valid):
    """24 of the 96 codes of all layers moved, by the distance of all of them, and so did a projection."""
    (tmp_path / "residual_of_three.py").write_text(RESIDUAL, "utf-8")
    monkeypatch.chdir(tmp_path)
    command = ("replay", "--factory", "residual_of_three:Training", "--steps", 1)
    code, text, _ = here(*command)
    assert code == 1
    row = next(line for line in text.splitlines() if re.search(r"24\s*(/|of)\s*96", line))
    assert "moved" in row
    # 24 codes of 4 values, each by 1
    assert re.search(r"9\.798 from the start", text)
    tensors = valid(here(*command, "--format", "json")[1])["arms"][0]["steps"][0]["tensors"]
    assert {tensor["label"]: tensor["rows_changed"] for tensor in tensors if tensor["changed"]} == {
        "2 codes": 24,
        "2 input_proj.bias": 4,
    }
