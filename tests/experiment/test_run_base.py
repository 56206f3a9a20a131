"""The file that a run started from is found through its configuration, whichever system wrote the paths."""

import json

import pytest

from vqcheck.experiment.run_base import named_base


@pytest.mark.parametrize("exp_dir", ["logs/me", "logs\\me", "D:\\GPT-SoVITS\\logs\\me\\", "/elsewhere/logs/me/"])
@pytest.mark.parametrize("base", ["models/s2G.pth", "models\\s2G.pth"])
def test_paths_of_another_system_lead_to_the_base(tmp_path, exp_dir, base):
    """Backslashes divide folders everywhere; an experiment is known by its name, wherever it was."""
    run = tmp_path / "logs" / "me" / "logs_s2_v2"
    run.mkdir(parents=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "s2G.pth").touch()
    content = {"train": {"pretrained_s2G": base}, "data": {"exp_dir": exp_dir}, "model": {"version": "v2"}}
    (run.parent / "config.json").write_text(json.dumps(content), "utf-8")
    assert named_base(str(run), "", []).path == str(tmp_path / "models" / "s2G.pth")


def test_another_experiments_configuration_names_none(tmp_path):
    """A name that only ends alike is another's."""
    run = tmp_path / "logs" / "me" / "logs_s2_v2"
    run.mkdir(parents=True)
    (tmp_path / "s2G.pth").touch()
    content = {"train": {"pretrained_s2G": "s2G.pth"}, "data": {"exp_dir": "logs\\notme"}, "model": {}}
    (run.parent / "config.json").write_text(json.dumps(content), "utf-8")
    assert named_base(str(run), "", []).path is None
