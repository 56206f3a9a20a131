"""The tests for a GPU run where little more than torch is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ABSENT = ("pydantic", "jsonschema", "librosa", "hypothesis", "vector_quantize_pytorch", "junitparser")
BLOCK = f"""
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def collect(tmp_path):
    """Lists the tests that are chosen by some arguments, where some packages are absent; the completed process."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK, "utf-8")

    def run(*arguments):
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-rs", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=TESTS.parent, env=env, capture_output=True, text=True, check=False)

    return run


def test_what_a_package_is_missing_for_is_skipped_with_the_reason(collect):
    """The others are collected, and nothing is an error."""
    run = collect("-m", "gpu")
    assert run.returncode == 0, run.stdout
    assert "tests/live/test_gpu.py::test_nothing_waits_between_two_looks" in run.stdout
    assert "tests/replay/test_run.py:0: needs pydantic" in run.stdout


def test_elsewhere_a_missing_package_is_an_error(collect):
    """No test vanishes unseen from an ordinary run."""
    run = collect("tests/synthesizer/test_spectrogram.py")
    assert run.returncode != 0
    assert "No module named 'librosa'" in run.stdout
