"""A checkpoint that is truncated, replaced or written to while it is read never passes for one at rest.

What another program does is done here between two reads, at every one of them in turn.
"""

import os
import shutil

import pytest

from vqcheck.checkpoint.file import PositionedFile


def truncated(path):
    os.truncate(path, os.path.getsize(path) // 2)


def emptied(path):
    os.truncate(path, 0)


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


def removed(path):
    path.unlink()


def grown(path):
    with open(path, "ab") as file:
        file.write(b"more")


def written(path):
    """The same length, other bytes, and a time of modification that says so."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(status.st_size // 2)
        file.write(b"\xff" * 64)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def written_in_secret(path):
    """The same length, other bytes, and the old times put back, as far as a program can put them back."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(status.st_size // 2)
        file.write(b"\xff" * 64)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    while path.stat().st_ctime_ns == status.st_ctime_ns:
        # The test is quicker than the file system's clock ticks.
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = (truncated, emptied, replaced, removed, grown, written)
CHANGES += (written_in_secret,) if os.name == "posix" else ()


@pytest.fixture
def after_reads(monkeypatch):
    """Does something once the n-th read of any file has been done; returns how many reads there were until now."""

    def arrange(number, act):
        real, count = PositionedFile.read, [0]

        def read(self, *arguments):
            data = real(self, *arguments)
            count[0] += 1
            if count[0] == number:
                act()
            return data

        monkeypatch.setattr(PositionedFile, "read", read)
        return count

    return arrange


COMMANDS = {
    "inspect": (lambda _, path: ["inspect", path], 0),
    "diff": (lambda desk, path: ["diff", path, desk.drifted], 1),
    "lock": (lambda desk, path: ["lock", path, "-o", desk.root / "new.lock"], 0),
    "lock --check": (lambda desk, path: ["lock", "--check", path, "-o", desk.lock], 0),
    "tokens": (lambda desk, path: ["tokens", path, desk.folder], 0),
}


@pytest.mark.parametrize("kind", ["base_v2.pth", "base_v2.safetensors"])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whenever_it_changes_the_command_says_so(
    change, command, kind, desk, told, checkpoints, after_reads, monkeypatch
):
    """Between any two reads of it, the first to the last: status 2, one line that names it, and nothing is written."""
    path = desk.root / kind
    arguments, status = COMMANDS[command]
    shutil.copy(checkpoints / kind, path)
    reads = after_reads(0, None)
    assert told(*arguments(desk, path))[0] == status
    (desk.root / "new.lock").unlink(missing_ok=True)
    total, own = reads[0], 0
    for number in sorted({1, 2, total // 3, total // 2, total - 1, total} - {0}):
        monkeypatch.undo()
        path.unlink(missing_ok=True)
        shutil.copy(checkpoints / kind, path)
        after_reads(number, lambda: change(path))
        status, out, err = told(*arguments(desk, path))
        if status == 2:
            own += 1
            assert str(path) in err, (number, err)
            assert (err.count("\n"), "internal" in err, out) == (1, False, "")
            assert not (desk.root / "new.lock").exists()
        else:
            # Only after the last byte of this file was read and looked at: the other inputs are read after it.
            assert number > total // 2, (number, total, status)
            (desk.root / "new.lock").unlink(missing_ok=True)
    assert own >= 2


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changing_checkpoint_of_a_run_or_gate_could_not_be_checked(change, desk, told, after_reads, monkeypatch):
    """History and gate name it among the others."""
    path = desk.run / "G_400.pth"
    kept = path.read_bytes()
    for arguments, victim in ((["history", desk.run], path), (["gate", desk.config], desk.base)):
        kept = victim.read_bytes()
        after_reads(5 if victim == path else 2, lambda victim=victim: change(victim))
        status, out, _ = told(*arguments)
        monkeypatch.undo()
        assert status == 2
        assert victim.name in " ".join(out.split())
        victim.write_bytes(kept)


def test_one_that_grows_all_the_time_is_not_read_for_ever(desk, could_not, monkeypatch):
    """A file that is still being written: it is as long as it was when it was opened."""
    path = desk.root / "growing.pth"
    shutil.copy(desk.base, path)
    real = PositionedFile.read

    def read(self, *arguments):
        grown(path)
        return real(self, *arguments)

    monkeypatch.setattr(PositionedFile, "read", read)
    assert "growing.pth" in could_not("inspect", path)
    assert "growing.pth" in could_not(
        "lock", desk.base, "--experiment", desk.folder, "--s1", path, "-o", desk.root / "n"
    )
