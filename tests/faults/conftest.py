"""What the tests of faults share: the command in this process, within a time limit, and a small experiment."""

import contextlib
import ctypes
import os
import shutil
import signal
import sys
from types import SimpleNamespace

import pytest
from warm import HANGS

from vqcheck.cli.main import main

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


@contextlib.contextmanager
def _within_seconds():
    """Fail where something waits for ever. Only a hang comes near the limit."""

    def too_long(*_):
        pytest.fail(f"still running after {HANGS} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def told(capsys):
    """Runs the command in this process; returns (exit status, stdout, stderr)."""

    def run(*arguments):
        with _within_seconds():
            status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def could_not(told):
    """Runs a command that must end in status 2 and one line without a traceback; returns the line."""

    def run(*arguments):
        status, out, err = told(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("vqcheck: ")
        assert err.count("\n") == 1
        assert "internal error" not in err
        return err.removeprefix("vqcheck: ").rstrip("\n")

    return run


@pytest.fixture
def desk(checkpoints, sound, told):
    """A sound experiment with everything that a command can be given, and a second checkpoint that drifted.

    `files` is the content of its folder; what a command adds or leaves behind can be seen by it.
    """
    shutil.copy(checkpoints / "drifted_v2_e8_s400.pth", sound.root / "drifted.pth")
    run = sound.root / "run"
    run.mkdir()
    for name in ("base_v2.pth", "G_400.pth"):
        shutil.copy(checkpoints / name, run / name)
    lock = sound.folder / "vqcheck.lock"
    assert told("lock", sound.base, "--experiment", sound.folder)[0] == 0

    def files():
        return sorted(str(path.relative_to(sound.root)) for path in sound.root.rglob("*"))

    return SimpleNamespace(
        **vars(sound), drifted=sound.root / "drifted.pth", run=run, lock=lock, files=files, before=files()
    )


@pytest.fixture
def permissions_bind():
    """A function for a child that has not begun yet: file permissions bind it, although it may be root's."""

    def give_up():
        if sys.platform == "linux" and os.geteuid() == 0:
            for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
                ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)

    return give_up
