"""`vqcheck history` as a user runs it."""

import shutil

import pytest


@pytest.fixture
def run_folder(checkpoints, tmp_path):
    """A folder with a base, a frozen and a drifted training file."""
    for name in ("base_v2.pth", "G_400.pth", "G_437.pth", "gpt-e15.ckpt"):
        shutil.copy(checkpoints / name, tmp_path)
    return tmp_path


def test_the_first_that_moved_is_in_the_first_line(vqcheck, run_folder):
    """Status 1, the move named, one row for each run of equal files, and the s1 file passed over by name."""
    run = vqcheck("history", run_folder)
    lines = run.stdout.splitlines()
    assert (run.returncode, run.stderr) == (1, "")
    assert lines[0] == "changed  the VQ encoder moved between G_400.pth and G_437.pth"
    assert any("base_v2.pth .. G_400.pth (2)" in line for line in lines)
    moved = next(line for line in lines if line.startswith("  G_437.pth"))
    assert moved.split()[1:4] == ["8", "437", "ca4be60f19cd"]
    assert moved.split()[-1] == "37"
    assert any("passed over  gpt-e15.ckpt" in line for line in lines)


def test_a_still_run_is_identical(vqcheck, run_folder):
    """Without the drifted file the status is 0."""
    (run_folder / "G_437.pth").unlink()
    run = vqcheck("history", run_folder)
    assert run.returncode == 0
    assert run.stdout.startswith("identical  all 2 checkpoints hold the same VQ encoder")


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
