"""A file is written as a whole or not at all: killed at any step, on a full disk, in a folder that cannot be written.

Steps are the calls to the system that writing makes. A process that is killed by hand at each of them shows what a kill
at any moment can leave behind.
"""

import contextlib
import errno
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vqcheck import atomic_write as module
from vqcheck.atomic_write import atomic_write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills and limits as Linux knows them")

KILLED = """
import os, signal, sys
from vqcheck import atomic_write
path, step = sys.argv[1], int(sys.argv[2])
made = 0

def counted(function):
    def call(*arguments, **options):
        global made
        for _ in range(2):  # before it, and after it
            if made == step:
                os.kill(os.getpid(), signal.SIGKILL)
            made += 1
            if _ == 0:
                result = function(*arguments, **options)
        return result
    return call

for name in ("fsync", "chmod", "replace", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
with atomic_write.atomic_write(path) as stream:
    for _ in range(3):
        stream.write(b"new" * 5000)
        counted(stream.flush)()
print(made)
"""
LEFT = re.compile(r"\.report\.json\.[0-9a-f]{16}\.vqcheck")


def killed_at(path, step):
    """Write in a process that is killed at a step; return how many steps there were, or None if it was killed."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", KILLED, path, str(step)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(module.__file__).parents[1])},
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout) if done.returncode == 0 else None


def write(path, content=b"next", error=None):
    with atomic_write(str(path)) as stream:
        stream.write(content)
        if error is not None:
            raise error


@pytest.mark.parametrize("old", [None, b"old"], ids=["new file", "old file"])
def test_killed_at_any_step_the_old_file_or_the_new_one_is_there(old, tmp_path):
    """Never a part of it; what is left behind is one temporary file, and the next write does not mind it."""
    path = tmp_path / "report.json"
    new = b"new" * 15000
    littered, kills = 0, 0
    for step in range(100):
        for each in tmp_path.iterdir():
            each.unlink()
        if old:
            path.write_bytes(old)
        steps = killed_at(path, step)
        if steps is not None:
            break
        kills += 1
        found = path.read_bytes() if path.exists() else None
        assert found in (old, new)
        left = set(os.listdir(tmp_path)) - {path.name}
        assert len(left) <= 1
        assert all(map(LEFT.fullmatch, left))
        littered += bool(left)
        write(path)
        assert path.read_bytes() == b"next"
    assert steps == kills > 8
    assert littered == kills - 1  # after the renaming nothing is left


def test_many_at_the_same_time_leave_one_whole_file(tmp_path):
    path = tmp_path / "same"
    write(path)
    contents = [bytes([number]) * 100_000 for number in range(16)]
    threads = [threading.Thread(target=lambda data=data: [write(path, data) for _ in range(10)]) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["same"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
@pytest.mark.parametrize("call", ["write", "fsync", "chmod", "replace"])
def test_whatever_fails_the_old_file_stays_and_nothing_else(error, call, tmp_path, monkeypatch):
    path = tmp_path / "report"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise error

    if call != "write":
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        write(path, b"new", error if call == "write" else None)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["report"]
    assert path.read_bytes() == b"old"


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path):
    umask = os.umask(0o027)
    try:
        write(tmp_path / "new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o604)
    write(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604


@pytest.mark.parametrize("name", ["码" * 85, "n" * 255, "空 格 🎤.json", os.fsdecode(b"\xff\xfe.json")])
def test_any_name_that_a_file_can_have_can_be_written(name, tmp_path):
    path = tmp_path / name
    write(path)
    write(path)
    assert os.listdir(tmp_path) == [name]


# the commands


@contextlib.contextmanager
def room_for(size):
    """Let no file of this process grow beyond `size` bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


COMMANDS = {
    "a report": ("inspect", "BASE", "-v", "-o", "OUT"),
    "a lock": ("lock", "BASE", "-o", "OUT", "--update"),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_no_room_for_it_leaves_the_old_one(what, desk, could_not):
    """One line, status 2, and the old file as it was."""
    out = desk.root / "out"
    out.write_bytes(desk.lock.read_bytes() + b"# mine\n")
    old, before = out.read_bytes(), desk.files()
    with room_for(100):
        line = could_not(*({"BASE": desk.drifted, "OUT": out}.get(word, word) for word in COMMANDS[what]))
    assert line == f"{out}: cannot be written: File too large"
    assert (out.read_bytes(), desk.files()) == (old, before)


@pytest.mark.parametrize("what", COMMANDS)
def test_a_folder_that_cannot_be_written_is_named(what, desk, vqcheck, permissions_bind):
    """The file in it stays as it was, and a new one does not begin to be."""
    folder = desk.root / "locked"
    folder.mkdir()
    (folder / "old").write_bytes(desk.lock.read_bytes())
    folder.chmod(0o555)
    for name in ("old", "new"):
        arguments = [{"BASE": desk.drifted, "OUT": folder / name}.get(word, word) for word in COMMANDS[what]]
        done = vqcheck(*arguments, preexec_fn=permissions_bind)
        assert done.returncode == 2
        assert done.stderr == f"vqcheck: {folder / name}: cannot be written: Permission denied\n"
    assert os.listdir(folder) == ["old"]
    assert (folder / "old").read_bytes() == desk.lock.read_bytes()


def test_a_full_device_is_named(desk, could_not):
    assert could_not("inspect", desk.base, "-o", "/dev/full") == "/dev/full: cannot be written: No space left on device"


def test_a_report_to_a_device_or_through_a_link_goes_where_it_leads(desk, told):
    """-o /dev/null and a link to a file work; a link that leads in a circle is no place to write to."""
    assert told("inspect", desk.base, "-o", "/dev/null")[:2] == (0, "")
    target, link, loop = desk.root / "target", desk.root / "link", desk.root / "loop"
    link.symlink_to(target)
    loop.symlink_to(loop.name)
    assert told("inspect", desk.base, "-o", link)[0] == 0
    assert link.is_symlink()
    assert "healthy" in target.read_text("utf-8")
    status, _, err = told("inspect", desk.base, "-o", loop)
    assert (status, loop.is_symlink()) == (2, True)
    assert "Too many levels" in err


@pytest.fixture
def other_user():
    """The number of a user that is not this one; only root can act as another."""
    if os.geteuid() != 0:
        pytest.skip("only root can lay another user's link")
    return 12345


@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize("where", ["the file", "a folder", "behind a link of our own"])
def test_a_link_that_another_user_laid_in_a_shared_folder_is_not_followed(where, what, desk, told, other_user):
    """Whoever may write beside a report must not choose the file that it replaces."""
    shared, precious = desk.root / "shared", desk.root / "precious"
    shared.mkdir()
    shared.chmod(0o1777)
    precious.mkdir()
    (precious / "out").write_bytes(desk.lock.read_bytes() + b"# mine\n")
    if where == "a folder":
        laid, out = shared / "folder", shared / "folder" / "out"
        laid.symlink_to(precious)
    else:
        laid, out = shared / "out", shared / "out"
        laid.symlink_to(precious / "out")
    if where == "behind a link of our own":
        out = desk.root / "link"
        out.symlink_to(laid)
    arguments = [{"BASE": desk.drifted, "OUT": out}.get(word, word) for word in COMMANDS[what]]
    os.chown(laid, other_user, other_user, follow_symlinks=False)
    before = (precious / "out").read_bytes()
    status, _, err = told(*arguments)
    assert (status, err) == (2, f"vqcheck: {out}: cannot be written: a link that another user made leads elsewhere\n")
    assert (precious / "out").read_bytes() == before
    # The same link of this user's, or in a folder of its maker's, is followed.
    os.chown(shared, other_user, other_user)
    assert told(*arguments)[0] == 0
    os.chown(shared, 0, 0)
    (precious / "out").write_bytes(before)
    os.chown(laid, 0, 0, follow_symlinks=False)
    assert told(*arguments)[0] == 0
    assert (precious / "out").read_bytes() != before


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("command", ["diff", "absent"])
def test_a_step_summary_that_is_no_file_is_not_waited_for(kind, command, desk, told, monkeypatch):
    page = desk.root / "summary"
    {"pipe": lambda: os.mkfifo(page), "device": lambda: page.symlink_to("/dev/full"), "folder": page.mkdir}[kind]()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    other = desk.base if command == "diff" else "absent"
    status, _, err = told("diff", desk.base, other, "--format", "github")
    assert status == 2
    assert err.count("\n") == 1
    assert "internal" not in err
    page.rename(desk.root / "moved")
    assert told("diff", desk.base, desk.base, "--format", "github")[0] == 0
    assert page.read_text("utf-8").startswith("### vqcheck diff: identical")
    assert told("diff", desk.base, desk.base, "--format", "github")[0] == 0
    assert page.read_text("utf-8").count("### vqcheck diff: identical") == 2


def test_a_report_to_a_pipe_goes_to_its_reader_and_waits_for_none(desk, told, could_not):
    """As `-o >(cat)` in a shell. One that nobody reads is named instead."""
    pipe = desk.root / "pipe"
    os.mkfifo(pipe)
    assert could_not("inspect", desk.base, "-o", pipe) == f"{pipe}: cannot be written: nobody reads this pipe"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert told("inspect", desk.base, "-o", pipe)[0] == 0
        assert b"healthy" in os.read(reader, 1 << 16)
    finally:
        os.close(reader)


def safetensors_with_space(path):
    header = b' {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"1")


CHECKPOINTS = {
    "zip": lambda path: torch.save({}, path),
    "overwritten header": lambda path: path.write_bytes(b"05\3\4" + bytes(40)),
    "legacy": lambda path: torch.save({}, path, _use_new_zipfile_serialization=False),
    "legacy, protocol 0": lambda path: torch.save({}, path, _use_new_zipfile_serialization=False, pickle_protocol=0),
    "safetensors": lambda path: save_file({"a": torch.ones(1)}, path),
    "safetensors after a space": safetensors_with_space,
    "index of shards": lambda path: path.write_text('{"metadata": {}, "weight_map": {"a": "b"}}'),
    "gguf": lambda path: path.write_bytes(b"GGUF" + bytes(40)),
    "half a download": lambda path: path.write_bytes((9).to_bytes(8, "little") + b"{"),
}
TEXTS = ("results {", "run_0012{a}\n", "01234567{", '{"schema": "vqcheck/diff/1"}', "€" * 9, "", "x", "PK, 8th{")


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_a_report_never_replaces_a_model(what, desk, could_not):
    out = desk.root / "out"
    CHECKPOINTS[what](out)
    before = out.read_bytes()
    assert could_not("inspect", desk.base, "-o", out) == f"{out}: is a checkpoint; the output must go to another file"
    assert out.read_bytes() == before


@pytest.mark.parametrize("text", [text.encode() for text in TEXTS] + ["€uro {".encode("cp1252")])
def test_a_report_replaces_any_text(text, desk, told):
    out = desk.root / "out"
    out.write_bytes(text)
    assert told("inspect", desk.base, "-o", out)[:2] == (0, "")
    assert "healthy" in out.read_text("utf-8")


@pytest.mark.parametrize("name", ["6-name2semantic.tsv", "vqcheck.lock", "2-name2text.txt"])
def test_a_report_never_replaces_a_record_of_an_experiment(name, desk, could_not):
    out = desk.folder / name
    out.write_text(out.read_text("utf-8") if out.exists() else "kept\n", "utf-8")
    before = out.read_bytes()
    line = could_not("tokens", desk.base, desk.folder, "-o", out)
    assert line == f"{out}: belongs to an experiment; the output must go to another file"
    assert out.read_bytes() == before


def test_a_report_never_replaces_what_the_command_reads(desk, could_not):
    """By whatever name: a configuration, or the file behind a link to it."""
    config, link = desk.root / "my s2", desk.root / "link"
    config.write_text('{"train": {}, "data": {}}', "utf-8")
    link.symlink_to(config)
    for out in (config, link):
        line = could_not("gate", config, "-o", out)
        assert line == f"{out}: is what this command reads; the output must go to another file"
    assert config.read_text("utf-8") == '{"train": {}, "data": {}}'


def test_a_missing_folder_is_told_before_any_work_is_done(desk, could_not):
    out = desk.root / "nowhere" / "out.html"
    assert could_not("replay", desk.root / "no such.toml", "-o", out) == (
        f"{out}: cannot be written: No such file or directory"
    )


REPLAY = "[data]\ngenerated_items = 6\n[training]\nbatch_size = 2\n[replay]\nsteps = 1\n"


def test_no_room_for_a_saved_checkpoint_is_told_and_the_steps_are_kept(tmp_path, told):
    """What is there already stays; nothing half-written is left beside it."""
    config, old = tmp_path / "replay.toml", tmp_path / "out" / "requires-grad" / "G_1.pth"
    config.write_text(REPLAY)
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    with room_for(100_000):
        status, out, err = told("replay", config, "--save", tmp_path / "out", "--format", "json")
    document = json.loads(out)
    assert (status, document["complete"], document["arms"][0]["steps_run"]) == (2, False, 1)
    assert f"{old.parent}: cannot be written: File too large" in out
    assert "internal error" not in out + err
    assert (os.listdir(old.parent), old.read_bytes()) == (["G_1.pth"], b"old")


def test_a_folder_for_checkpoints_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path, could_not):
    """Not even root can make a folder in /proc."""
    config = tmp_path / "replay.toml"
    config.write_text(REPLAY.replace("steps = 1", "steps = 1000000"))
    assert could_not("replay", config, "--save", "/proc/out").startswith("/proc/out: cannot be written: ")
