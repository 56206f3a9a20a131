"""`vqcheck history` as a user runs it."""

import shutil

import pytest
import torch

from vqcheck.cli.main import main

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def run_folder(checkpoints, tmp_path):
    """A folder with a base, a frozen and a drifted training file."""
    for name in ("base_v2.pth", "G_400.pth", "G_437.pth", "gpt-e15.ckpt"):
        shutil.copy(checkpoints / name, tmp_path)
    return tmp_path


def test_the_first_that_moved_is_in_the_first_line(vqcheck, run_folder):
    """Status 1, the move named, one row for each run of equal files, and the s1 file skipped by name."""
    run = vqcheck("history", run_folder)
    lines = run.stdout.splitlines()
    assert (run.returncode, run.stderr) == (1, "")
    assert lines[0] == "changed  the VQ encoder moved between G_400.pth and G_437.pth"
    assert any("base_v2.pth .. G_400.pth (2)" in line for line in lines)
    moved = next(line for line in lines if line.startswith("  G_437.pth"))
    assert moved.split()[1:4] == ["8", "437", "ca4be60f19cd"]
    assert moved.split()[-1] == "37"
    assert any(line.split()[:2] == ["Skipped", "gpt-e15.ckpt:"] for line in lines)


def test_updates_are_explained_where_they_are_counted_alone(vqcheck, run_folder):
    assert "EMA updates are" in vqcheck("history", run_folder).stdout
    (run_folder / "run").mkdir()
    (run_folder / "G_437.pth").rename(run_folder / "run" / "G_437.pth")
    alone = vqcheck("history", run_folder / "run", "--base", run_folder / "base_v2.pth").stdout
    assert "Moved says" in alone
    assert "EMA updates" not in alone


def test_a_file_in_place_of_a_folder_is_told(run_folder, capsys):
    path = run_folder / "G_400.pth"
    assert main(["history", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"vqcheck: {path}: is a file; ")
    assert f"vqcheck history {run_folder} " in said


def test_an_experiment_with_one_run_is_that_run(run_folder, tmp_path, capsys):
    """With several, the message has the command for each."""
    experiment = tmp_path.parent / f"{tmp_path.name}-me"
    (experiment / "logs_s2_v1").mkdir(parents=True)  # empty: begun and never saved
    shutil.copytree(run_folder, experiment / "logs_s2_v2")
    assert main(["history", str(experiment / "logs_s2_v2"), "--format", "json"]) == 1
    named = capsys.readouterr().out
    assert main(["history", str(experiment), "--format", "json"]) == 1
    assert capsys.readouterr().out == named
    shutil.copytree(run_folder, experiment / "logs_s2_v2Pro")
    assert main(["history", str(experiment)]) == 2
    said = capsys.readouterr().err
    assert [run for run in ("logs_s2_v2", "logs_s2_v2Pro") if f"vqcheck history {experiment / run}" in said] == [
        "logs_s2_v2",
        "logs_s2_v2Pro",
    ]


def test_an_experiment_in_place_of_a_run_names_its_runs(tmp_path, capsys):
    (tmp_path / "logs_s2_v2").mkdir()
    assert main(["history", str(tmp_path)]) == 2
    line = f"vqcheck: {tmp_path}: holds no checkpoint; name the folder of a run in it (logs_s2_v2)\n"
    assert capsys.readouterr().err == line
    assert main(["gate", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(
        f"vqcheck: {tmp_path}: holds no s2 JSON of its training; name the configuration"
    )


def test_a_still_run_is_identical(vqcheck, run_folder):
    """Without the drifted file the status is 0."""
    (run_folder / "G_437.pth").unlink()
    run = vqcheck("history", run_folder)
    assert run.returncode == 0
    assert run.stdout.startswith("identical  all 2 checkpoints hold the same VQ encoder\n")


@pytest.mark.parametrize("fault", ["none", "moved", "unreadable", "missing"])
def test_json_fits_its_schema(vqcheck, valid, run_folder, fault):
    """Every outcome gives one valid document with the process's status."""
    if fault == "none":
        (run_folder / "G_437.pth").unlink()
    if fault == "unreadable":
        (run_folder / "G_500.pth").write_bytes(b"PK\x03\x04")
    folder = run_folder / "absent" if fault == "missing" else run_folder
    run = vqcheck("history", folder, "--format", "json")
    document = valid(run.stdout)
    expected = {"none": 0, "moved": 1, "unreadable": 2, "missing": 2}[fault]
    assert (document["exit_code"], run.returncode) == (expected, expected)


@pytest.fixture
def history(capsys):
    """Runs the command in this process; returns (exit status, what it printed)."""

    def run(*arguments):
        code = main(["history", *map(str, arguments)])
        return code, capsys.readouterr().out

    return run


def test_files_that_were_compared_with_nothing_else_say_so(history, valid, checkpoints, tmp_path):
    """In the headline, in the text and in JSON; with a base none of them says it, and the drift is seen."""
    for step in (400, 800):
        shutil.copy(checkpoints / "G_437.pth", tmp_path / f"G_{step}.pth")
    code, text = history(tmp_path)
    assert code == 0
    assert text.startswith("identical  all 2 checkpoints hold the same VQ encoder")
    assert "compared only with each other" in text.splitlines()[0]
    assert "Compared with  each other only: no base is known (--base CKPT)" in text
    (run,) = valid(history(tmp_path, "--format", "json")[1])["runs"]
    assert (run["compared_with"], run["base"], run["checkpoints"][1]["from_base"]) == ("each other", None, None)
    base = checkpoints / "base_v2.pth"
    code, text = history(tmp_path, "--base", base)
    assert code == 1
    assert text.startswith("changed  the VQ encoder of G_400.pth is not that of its base base_v2.pth\n")
    assert "each other only" not in text
    (run,) = valid(history(tmp_path, "--base", base, "--format", "json")[1])["runs"]
    assert (run["compared_with"], run["base"]["told_by"], run["first_moved"]) == ("base", "option", "G_400.pth")
    assert run["checkpoints"][0]["from_base"]["verdict"] == "changed"


@pytest.mark.parametrize("form", ["text", "json", "junit", "sarif", "github", "html"])
def test_every_voice_has_its_own_line_and_verdict(history, valid, checkpoints, tmp_path, form):
    """Two voices of one folder are told apart in every format, and the status is the worst."""
    for name, source in (("ann", "frozen"), ("bob", "frozen")):
        shutil.copy(checkpoints / f"{source}_v2_e8_s400.pth", tmp_path / f"{name}_e4_s80.pth")
    shutil.copy(checkpoints / "frozen_v2_e8_s400.pth", tmp_path / "ann_e8_s160.pth")
    shutil.copy(checkpoints / "drifted_v2_e8_s400.pth", tmp_path / "bob_e8_s160.pth")
    code, out = history(tmp_path, "--format", form)
    assert code == 1
    if form == "text":
        assert out.startswith("changed  1 of 2 runs in ")
        assert "\nann  identical\n  all 2 checkpoints hold the same VQ encoder" in out
        assert "\nbob  changed\n  the VQ encoder moved between bob_e4_s80.pth and bob_e8_s160.pth\n" in out
    elif form == "json":
        found = [(run["name"], run["verdict"], len(run["checkpoints"])) for run in valid(out)["runs"]]
        assert found == [("ann", "identical", 2), ("bob", "changed", 2)]
    else:
        assert "bob_e8_s160.pth" in out
        assert "1 of 2 runs in" in out or form == "github"


def test_a_digest_of_a_part_is_labelled(history, checkpoints, tmp_path):
    """The codebook's digest of a LoRA export does not stand unlabelled below those of whole VQ encoders."""
    shutil.copy(checkpoints / "base_v2.pth", tmp_path)
    shutil.copy(checkpoints / "lora_v3_e2_s50_l32.pth", tmp_path)
    code, text = history(tmp_path)
    assert code == 0
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(("  base", "  lora"))}
    assert " codebook " in rows["lora_v3_e2_s50_l32.pth"]
    assert " codebook " not in rows["base_v2.pth"]
    assert "lora_v3_e2_s50_l32.pth stores the codebook alone" in text.splitlines()[0]


def test_a_base_that_cannot_be_read_is_one_line(vqcheck, run_folder):
    """Status 2, the base named, no traceback."""
    run = vqcheck("history", run_folder, "--base", run_folder / "absent.pth")
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.splitlines()) == 1
    assert "absent.pth" in run.stderr


def test_a_second_codec_that_moves_has_a_row_of_its_own(history, vq_state, tmp_path):
    """Rows that share a digest are one line only where nothing else in them moved."""
    for step, factor in ((1, 1.0), (2, 1.0), (3, 1.5)):
        other = {f"codec.quantizer.quantizers.{i}.codebook.weight": torch.ones(4, 2) * i * factor for i in (1, 2)}
        other |= {f"codec.quantizer.quantizers.{i}.in_proj.weight": torch.ones(2, 3, 1) for i in (1, 2)}
        other |= {f"codec.quantizer.quantizers.{i}.out_proj.weight": torch.ones(3, 2, 1) for i in (1, 2)}
        torch.save({"state_dict": vq_state() | other, "global_step": step}, tmp_path / f"step_{step}.pth")
    code, text = history(tmp_path)
    assert code == 1
    assert "  step_1.pth .. step_2.pth (2) " in text
    assert "  step_3.pth " in text


def test_a_move_that_the_start_is_too_coarse_for_is_shown(history, vq_state, tmp_path):
    """Float64 values that move by less than a step of the float32 start moved, though not since the start."""
    for step, factor in ((1, None), (2, 1.0), (3, 1 + 2.0**-40)):
        state = {name: value if factor is None else value.double() * factor for name, value in vq_state().items()}
        torch.save({"state_dict": state, "global_step": step}, tmp_path / f"step_{step}.pth")
    code, text = history(tmp_path)
    assert code == 1
    assert [line.split()[-2] for line in text.splitlines() if line.startswith("  step_3")] == ["yes"]


@pytest.mark.parametrize("form", ["text", "json", "html", "junit", "sarif", "github"])
def test_files_that_agree_and_are_unfit_for_use_say_so(form, history, vq_state, tmp_path):
    """NaN in all of them is the same in all of them: status 0, with a warning in every format; sound ones have none."""
    folder = tmp_path / "run"
    folder.mkdir()
    state = vq_state()
    for broken in (False, True):
        if broken:
            state[f"{CODEBOOK}.embed"][3, 2] = float("nan")
        for step in (100, 200):
            torch.save({"model": state, "iteration": step}, folder / f"G_{step}.pth")
        code, out = history(folder, "--format", form)
        assert code == 0
        assert ("not finite" in out) == broken
