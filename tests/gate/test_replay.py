"""The gate's check `replay`: required as soon as the config names the code that will train."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from vqcheck.cli.main import main

TESTS = Path(__file__).parents[1]
CONFIG = '[subject]\n{subject}\nversion = "v2"\npretrained_s2G = ""\n'
CONFIG += (TESTS / "checkout" / "small.toml").read_text("utf-8")
FACTORY = '[subject]\nfactory = "{factory}"\n[data]\n'


@pytest.fixture
def asked(capsys, tmp_path, monkeypatch):
    """Runs the check alone on a config; returns (exit status, the check as JSON)."""
    monkeypatch.chdir(TESTS.parent / "fixtures")

    def run(text):
        config = tmp_path / "run.toml"
        config.write_text(text, "utf-8")
        code = main(["gate", str(config), "--only", "replay", "--format", "json"])
        (check,) = [each for each in json.loads(capsys.readouterr().out)["checks"] if each["code"] == "replay"]
        return code, check

    return run


@pytest.fixture
def checkout(tmp_path, forked_checkouts):  # noqa: ARG001 - what it changes is meant
    """The miniature tree of `tests/checkout`, of the time given."""

    def make(era):
        path = tmp_path / "checkout"
        shutil.copytree(TESTS / "checkout" / "tree", path)
        models = path / "GPT_SoVITS" / "module" / "models.py"
        models.write_text(models.read_text("utf-8").replace('ERA = "fixed"', f'ERA = "{era}"'), "utf-8")
        return 'checkout = "checkout"'  # as seen from the config

    return make


def test_a_checkout_that_drifts_closes_the_gate(asked, checkout):
    """The check is required, fails, and names the line that writes."""
    code, check = asked(CONFIG.format(subject=checkout("requires-grad")))
    assert (code, check["required"], check["outcome"]) == (1, True, "failed")
    assert "quantize.py:" in check["message"]


def test_a_checkout_that_stays_frozen_passes(asked, checkout):
    """The code that will really train was tested, over a few steps."""
    code, check = asked(CONFIG.format(subject=checkout("fixed")))
    assert (code, check["outcome"]) == (0, "passed")
    assert "bit-identical over 3 steps" in check["message"]


def test_a_replay_that_fails_in_the_middle_is_no_pass(asked, checkout, tmp_path):
    """The code stayed frozen as it is, but without a control that proves nothing; what failed is named."""
    subject = checkout("fixed")
    source = tmp_path / "checkout" / "GPT_SoVITS" / "module" / "quantize.py"
    source.write_text(source.read_text("utf-8").replace("distributed.get_rank()", "raise OSError('full')"), "utf-8")
    code, check = asked(CONFIG.format(subject=subject))
    assert (code, check["outcome"]) == (2, "could not check")
    assert "is incomplete: none: checkout: step 1 raised OSError: full" in check["message"]


def test_a_checkout_that_cannot_be_replayed_is_no_pass(asked):
    """What could not be tried keeps the gate from opening."""
    code, check = asked(CONFIG.format(subject='checkout = "nowhere"'))
    assert (code, check["outcome"]) == (2, "could not check")
    assert "there is no" in check["message"]


def test_a_factory_is_replayed_too(asked):
    """Whatever training code the config names is what is tested."""
    assert asked(FACTORY.format(factory="factories.vector_quantize:still"))[1]["outcome"] == "passed"
    code, check = asked(FACTORY.format(factory="factories.vector_quantize:leaking"))
    assert (code, check["outcome"]) == (1, "failed")
    assert "vector_quantize.py:" in check["message"]


def test_without_training_code_the_check_does_not_apply(asked):
    """A config that names no code has nothing to replay."""
    assert asked(CONFIG.format(subject=""))[1]["message"].startswith("no training code named (")


@pytest.mark.parametrize(("era", "status", "outcome"), [("requires-grad", 1, "failed"), ("fixed", 0, "passed")])
def test_a_checkout_is_named_on_the_command_line(sound, checkout, capsys, era, status, outcome):
    """The JSON that everybody has names no code: with `--checkout` a tree that drifts closes the gate all the same."""
    checkout(era)
    models = sound.root / "checkout" / "GPT_SoVITS" / "module" / "models.py"
    sizes, real = (
        "= 24, 32, 4, 64, 10",
        "= 768, 64, 4, 640, 10",
    )  # those of the features and spectrograms that are there
    assert sizes in models.read_text("utf-8")
    models.write_text(models.read_text("utf-8").replace(sizes, real), "utf-8")
    sound.write(train__batch_size=2, train__segment_size=20480, train__pretrained_s2G="", train__pretrained_s2D="")
    sound.write(data__exp_dir=str(TESTS.parent / "fixtures" / "experiment"))
    tree = str(sound.root / "checkout")
    code = main(["gate", str(sound.config), "--only", "replay", "--checkout", tree, "--format", "json"])
    (check,) = [each for each in json.loads(capsys.readouterr().out)["checks"] if each["code"] == "replay"]
    assert (code, check["outcome"]) == (status, outcome), check
    assert tree in check["message"]


def test_python_goes_with_a_checkout(sound, capsys):
    """Alone it would be ignored."""
    assert main(["gate", str(sound.config), "--python", sys.executable]) == 2
    assert "--checkout" in capsys.readouterr().err
