"""The one command that measures: what it writes down can be judged by somebody else. No time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(HERE), *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are measured with wait4")
def test_figures_are_written_with_every_sample_and_what_they_depend_on(tmp_path):
    done = run("--quick", "--samples", 1, "--only", "startup", "-o", tmp_path / "figures.json", "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert document["schema"] == "vqcheck-benchmarks/1"
    assert document["quick"] is True
    assert document["failures"] == {}
    assert {"python", "vqcheck", "torch", "click"} <= document["versions"].keys()
    assert {"cpu", "cores", "platform"} <= document["machine"].keys()
    names = [(figure["name"], figure["unit"]) for figure in document["figures"]]
    assert ("vqcheck --version", "s") in names
    assert ("vqcheck diff, tiny files", "MiB") in names
    for figure in document["figures"]:
        (rival,) = figure["rivals"]
        for side in (figure["vqcheck"], rival, figure["floor"]):
            assert len(side["samples"]) == 1
            assert side["median"] == side["samples"][0] > 0
        assert rival["ratio"] == pytest.approx(rival["median"] / figure["vqcheck"]["median"])
        assert figure["floor"]["times"] == pytest.approx(figure["vqcheck"]["median"] / figure["floor"]["median"])
    assert "vqcheck --version" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_the_list_names_every_benchmark_and_an_unknown_one_is_refused():
    listed = run("--list").stdout
    assert "growth-tensors" in listed
    assert "over the number of tensors" in listed
    refused = run("--only", "nonsense")
    assert refused.returncode == 2
    assert "growth-tensors" in refused.stderr
