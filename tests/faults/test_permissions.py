"""A file or folder that may not be read is named, with the reason, and does not hide what else there is."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions as Windows has none")

MANY = """
import contextlib, io, json, sys
from vqcheck.cli.main import main
results = []
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(arguments)
    results.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


@pytest.fixture
def each(permissions_bind):
    """Runs commands one by one in a process that permissions bind; returns (status, stdout, stderr) of each."""

    def run(*commands):
        texts = [[str(argument) for argument in command] for command in commands]
        done = subprocess.run(
            [sys.executable, "-c", MANY, json.dumps(texts)],
            stdout=subprocess.PIPE,
            check=True,
            preexec_fn=permissions_bind,
        )
        return json.loads(done.stdout)

    return run


def test_what_may_not_be_read_is_named(desk, each):
    """In every place where a file or folder can be given; nothing of it is changed."""
    bad, folder = desk.root / "unreadable", desk.root / "closed"
    bad.write_bytes(desk.base.read_bytes())
    folder.mkdir()
    for path in (bad, folder):
        path.chmod(0)
    new = desk.root / "new.lock"
    commands = [
        ("inspect", bad),
        ("diff", bad, desk.base),
        ("diff", desk.base, bad),
        ("diff", desk.base, desk.drifted, "--features", folder),
        ("tokens", bad, desk.folder),
        ("tokens", desk.base, folder),
        ("history", folder),
        ("replay", bad),
        ("gate", bad),
        ("lock", bad, "-o", new),
        ("lock", "--check", desk.base, "-o", bad),
        ("lock", desk.base, "--experiment", desk.folder, "--s1", bad, "-o", new),
        ("inspect", desk.base, "--family", bad),
    ]
    for command, (status, out, err) in zip(commands, each(*commands), strict=True):
        assert (status, out) == (2, ""), command
        assert err.count("\n") == 1
        assert f"{folder if folder in command else bad}: cannot be " in err, err
        assert "Permission denied" in err
    assert not new.exists()


def test_the_other_files_are_still_reported(desk, each):
    """Inspect shows the good one and names the bad one; so do history and gate."""
    bad = desk.run / "G_500.pth"
    bad.write_bytes(desk.base.read_bytes())
    bad.chmod(0)
    inspected, history, gate = each(
        ("inspect", desk.base, bad), ("history", desk.run), ("gate", desk.config, "--s1", bad)
    )
    assert inspected[0] == 2
    assert "healthy" in inspected[1]
    assert f"{bad}: cannot be opened: Permission denied" in inspected[2]
    for status, out, _ in (history, gate):
        assert status == 2
        assert "G_500.pth: cannot be opened: Permission denied" in " ".join(out.split())


def test_a_report_does_not_replace_a_file_that_cannot_be_read(desk, each):
    """What was there may be a checkpoint that must not be lost, so it is left alone."""
    out = desk.root / "out"
    out.write_text("old")
    out.chmod(0o200)
    [[status, _, err]] = each(("inspect", desk.base, "-o", out))
    assert (status, err) == (2, f"vqcheck: {out}: cannot be written: Permission denied\n")
    assert out.read_text() == "old"
