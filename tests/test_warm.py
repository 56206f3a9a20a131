"""The tests' warm process runs a command as a new interpreter does."""

import os
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")

CASES = {
    "a table": (["diff", "base_v2.pth", "G_437.pth"], {}),
    "a document": (["inspect", "base_v2.pth", "--format", "json"], {}),
    "another encoding": (["diff", "base_v2.pth", "G_437.pth", "-v"], {"PYTHONIOENCODING": "ascii:replace"}),
    "a variable that the command reads": (["diff", "base_v2.pth", "G_437.pth", "--format", "github"], {"NO_COLOR": ""}),
    "wrong usage": (["diff", "base_v2.pth"], {}),
    "no such file": (["diff", "base_v2.pth", "没有.pth", "--format", "sarif"], {}),
    "no arguments": ([], {}),
    "one that trains": (["replay", "--steps", "0"], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fork_says_what_a_new_interpreter_says(case, vqcheck, real_vqcheck, checkpoints):
    """Exit status, stdout and stderr, in a folder of its own."""
    arguments, env = CASES[case]
    told = [run(*arguments, cwd=checkpoints, env=env) for run in (vqcheck, real_vqcheck)]
    first, second = [(done.returncode, done.stdout, done.stderr) for done in told]
    assert first == second
    assert first[1] or first[2]


def test_a_fork_leaves_nothing_behind(vqcheck, checkpoints, tmp_path):
    """Folder, variables and the mask of new files are each command's own, and limits are this process's of now."""
    out = tmp_path / "out"
    before = os.umask(0o077)
    try:
        assert vqcheck("inspect", "base_v2.pth", "-o", out, cwd=checkpoints, env={"HOME": "/x"}).returncode == 0
    finally:
        os.umask(before)
    assert out.stat().st_mode & 0o777 == 0o600
    assert vqcheck("inspect", "base_v2.pth", cwd=tmp_path).returncode == 2
    assert vqcheck("inspect", "base_v2.pth", "-o", tmp_path / "usual", cwd=checkpoints).returncode == 0
    assert (tmp_path / "usual").stat().st_mode & 0o777 == 0o666 & ~before
