"""The GitHub action: its script, run as the runner does."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ACTION = Path(__file__).parents[2] / "action.yml"
BASH = shutil.which("bash")

pytestmark = pytest.mark.skipif(BASH is None or os.name == "nt", reason="the runner brings its own bash")


@pytest.fixture
def step(sound, tmp_path):
    """Runs the action's last step; returns (exit status, stdout, outputs, summary)."""

    def run(**inputs):
        script = textwrap.dedent(ACTION.read_text("utf-8").split("run: |\n")[-1])
        output, summary = tmp_path / "output", tmp_path / "summary.md"
        for path in (output, summary):
            path.write_text("", "utf-8")
        programs = Path(sys.executable).parent
        environment = {
            "PROGRAMS": programs,
            "CONFIG": sound.config,
            "S1": "",
            "LOCK": "",
            "ROOT": ".",
            "OPTIONS": "",
            **inputs,
        }
        environment |= {"GITHUB_OUTPUT": output, "GITHUB_STEP_SUMMARY": summary, "GITHUB_WORKSPACE": tmp_path}
        done = subprocess.run(
            [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env={**os.environ, **{name: str(value) for name, value in environment.items()}},
            check=False,
        )
        return done.returncode, done.stdout, output.read_text("utf-8"), summary.read_text("utf-8")

    return run


def test_an_open_gate(step, sound, read_github):
    """Status 0, the verdict as output, the checks in the summary, and no annotation."""
    code, out, output, summary = step(S1=sound.s1, OPTIONS="--sample 2")
    assert (code, output) == (0, "verdict=open\n")
    assert [kind for kind, _, _ in read_github(out) if kind == "error"] == []
    assert summary.startswith("### vqcheck gate: open\n")
    assert "gate/tokens" in summary


def test_a_closed_gate(step, sound, read_github):
    """Status 1, and an annotation at the config for what failed."""
    sound.write(model__freeze_quantizer=False)
    code, out, output, summary = step()
    assert (code, output) == (1, "verdict=closed\n")
    (error,) = [found for found in read_github(out) if found[0] == "error"]
    assert error[1] == {"file": "s2.json", "title": "vqcheck gate: freeze"}
    assert "### vqcheck gate: closed" in summary


def test_a_gate_that_cannot_check(step, read_github):
    """Status 2 is no green either, and has its annotation."""
    code, out, output, summary = step(CONFIG="absent.json")
    assert (code, output) == (2, "verdict=could not check\n")
    assert [kind for kind, _, _ in read_github(out)] == ["error"]
    assert "could not check" in summary


DASHED = ["--help", "-h", "--version", "--explain=resume", "-x.json"]


@pytest.mark.parametrize("value", DASHED)
@pytest.mark.parametrize("name", ["CONFIG", "S1", "LOCK", "ROOT"])
def test_an_input_that_looks_like_an_option_is_none(name, value, step):
    """Help ends in status 0: whoever chooses a path must not choose the verdict."""
    code, out, output, _ = step(**{name: value})
    assert (code, output) == (2, "verdict=could not check\n")
    assert out.startswith("::error ")
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    "options", ["--help", "--sample 2 -h", "-qh", "--explain resume", "--explain=resume", "-- x", "--only\n--help"]
)
def test_options_that_check_nothing_are_refused(options, step):
    code, _, output, _ = step(OPTIONS=options)
    assert (code, output) == (2, "verdict=could not check\n")


def test_options_may_stand_on_several_lines(step, sound):
    """None of them is dropped: the second line names a check that does not exist."""
    code, _, output, _ = step(S1=sound.s1, OPTIONS="--sample 2\n--skip tokens\n")
    assert (code, output) == (0, "verdict=open\n")
    assert step(OPTIONS="--sample 2\n--skip nonsense\n")[0] == 2


def test_a_config_with_spaces_and_signs_of_the_shell_is_one_path(step, sound):
    odd = sound.config.with_name("s 2;$(touch planted)*.json")
    odd.write_bytes(sound.config.read_bytes())
    assert step(CONFIG=odd.name)[0] == 0
    assert not sound.config.with_name("planted").exists()


def test_pip_is_not_what_a_workspace_calls_pip(tmp_path):
    """The step that installs runs in the workspace, whose files somebody else may have written."""
    script = textwrap.dedent(ACTION.read_text("utf-8").split("run: |\n")[1].split("      id: install")[0])
    for name in ("pip", "venv"):
        (tmp_path / f"{name}.py").write_text("open('planted', 'w')")
    environment = {"PYTHON": sys.executable, "FOLDER": tmp_path / "own", "GITHUB_OUTPUT": tmp_path / "output"}
    environment |= {"GITHUB_ACTION_PATH": tmp_path / "absent", "OPTIONS": ""}
    for command, planted in ((script, False), (script.replace("-I ", ""), True)):
        subprocess.run(
            [BASH, "-eo", "pipefail", "-c", command],
            cwd=tmp_path,
            env={**os.environ, **{name: str(value) for name, value in environment.items()}},
            capture_output=True,
            check=False,
        )
        assert (tmp_path / "planted").exists() is planted


def test_no_input_stands_in_a_script():
    """What a workflow is given becomes an environment variable, never a piece of a script."""
    text = ACTION.read_text("utf-8")
    scripts = [part.split("\n    - ")[0] for part in text.split("run: |\n")[1:]]
    assert len(scripts) == 2
    assert [script for script in scripts if "${{" in script] == []
    assert re.findall(r"uses: \S+@(\S+)", text) == re.findall(r"uses: \S+@([0-9a-f]{40})\b", text) != []


def test_a_request_for_completions_is_no_open_gate(step, sound):
    sound.write(model__freeze_quantizer=False)
    code, _, output, summary = step(_VQCHECK_COMPLETE="bash_source")
    assert (code, output) == (1, "verdict=closed\n")
    assert "### vqcheck gate: closed" in summary
