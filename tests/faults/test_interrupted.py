"""Ctrl-C, or the end that a system asks for, at many moments in every command: one line, status 2, nothing left."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from warm import HANGS

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.report.render.live_view import ProgressLines

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as Windows has none")

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
COMMANDS = {
    "inspect": lambda desk: ["inspect", desk.base, desk.drifted],
    "diff": lambda desk: ["diff", desk.base, desk.drifted, "-o", desk.root / "out"],
    "diff --features": lambda desk: ["diff", desk.base, desk.drifted, "--features", desk.folder],
    "tokens": lambda desk: ["tokens", desk.base, desk.folder, "-o", desk.root / "out"],
    "history": lambda desk: ["history", desk.run, "--format", "text"],
    "lock": lambda desk: ["lock", desk.drifted, "-o", desk.root / "new.lock"],
    "lock --update": lambda desk: ["lock", desk.drifted, "-o", desk.lock, "--update"],
    "lock --check": lambda desk: ["lock", "--check", desk.base, "-o", desk.lock],
    "gate": lambda desk: ["gate", desk.config],
}


@pytest.fixture(autouse=True)
def handlers():
    """As a program is started from a terminal: nothing ignored, nothing handled but Ctrl-C."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_while_files_are_read_ends_in_one_line(command, number, desk, told, monkeypatch):
    """At the first read, the second, and in the middle."""
    real, lock = PositionedFile.read, desk.lock.read_bytes()
    for moment in (1, 2, 7):
        reads = [0]

        def read(self, *arguments, moment=moment, reads=reads):
            reads[0] += 1
            if reads[0] == moment:
                os.kill(os.getpid(), number)
            return real(self, *arguments)

        monkeypatch.setattr(PositionedFile, "read", read)
        assert told(*COMMANDS[command](desk)) == (2, "", "vqcheck: interrupted\n")
        assert reads[0] == moment
        assert (desk.files(), desk.lock.read_bytes()) == (desk.before, lock)
    if number != signal.SIGINT:
        assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_a_signal_while_a_lock_is_written_leaves_the_old_one(call, desk, told, monkeypatch):
    old, real = desk.lock.read_bytes(), getattr(os, call)

    def interrupted(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, interrupted)
    told_of = told("lock", desk.drifted, "-o", desk.lock, "--update")
    monkeypatch.undo()
    assert told_of == (2, "", "vqcheck: interrupted\n")
    assert (desk.files(), desk.lock.read_bytes()) == (desk.before, old)


def test_a_signal_that_is_ignored_stays_so(desk, told, monkeypatch):
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    real = PositionedFile.read

    def read(self, *arguments):
        os.kill(os.getpid(), signal.SIGHUP)
        return real(self, *arguments)

    monkeypatch.setattr(PositionedFile, "read", read)
    assert told("inspect", desk.base)[0] == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_second_signal_while_the_first_is_told_of_is_no_traceback(desk, told, monkeypatch):
    def read(*_):
        raise KeyboardInterrupt

    def failed(*_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(PositionedFile, "read", read)
    monkeypatch.setattr("vqcheck.cli.main._failed", failed)
    assert told("inspect", desk.base) == (2, "", "vqcheck: interrupted\n")


@pytest.mark.parametrize(
    "module", ["click", "vqcheck.cli.program", "vqcheck.cli.inspect", "vqcheck.codebook.inspection"]
)
def test_a_signal_while_modules_are_imported_is_no_traceback(module, desk):
    """As when somebody changes their mind at once."""
    code = (
        "import builtins, os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "real = builtins.__import__\n"
        "def load(name, *more):\n"
        f"    if name == {module!r}: builtins.__import__ = real; os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *more)\n"
        "from vqcheck.cli.main import main\n"
        "import importlib; whole = importlib.import_module\n"
        "importlib.import_module = lambda name, *more: (load(name), whole(name, *more))[1]\n"
        "builtins.__import__ = load\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", desk.base], capture_output=True, text=True, check=False, timeout=HANGS
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "vqcheck: interrupted\n")


REPLAY = "[data]\ngenerated_items = 6\n[training]\nbatch_size = 2\n[replay]\nsteps = 4\n"
CHECKOUT = Path(__file__).parents[1] / "checkout" / "tree"
SMALL = """
[data]
generated_items = 4
[training]
batch_size = 2
segment_size = 1024
[spectrogram]
sampling_rate = 8000
filter_length = 256
hop_length = 64
win_length = 256
n_mel_channels = 20
[replay]
steps = 3
"""


@pytest.fixture
def signal_at_step(monkeypatch):
    def arrange(number, step):
        def told_of(_self, _strategy, trace):
            if trace.step == step:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(ProgressLines, "step", told_of)

    return arrange


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS[:2], ids=lambda number: number.name)
def test_a_replay_keeps_the_steps_that_were_measured(number, tmp_path, told, valid, signal_at_step):
    """They are reported as incomplete, which is no verdict: status 2. Nothing half-saved is left."""
    config, saved = tmp_path / "replay.toml", tmp_path / "saved"
    config.write_text(REPLAY)
    signal_at_step(number, 3)
    status, out, err = told("replay", config, "--save", saved, "--format", "json")
    assert status == 2
    assert all(line.startswith("replay: ") for line in err.splitlines())
    document = valid(out)
    assert (document["complete"], document["arms"][0]["steps_run"]) == (False, 3)
    assert list(saved.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("forked_checkouts")
@pytest.mark.parametrize("number", SIGNALS[:2], ids=lambda number: number.name)
def test_a_replayed_checkout_leaves_no_process_and_no_file(number, tmp_path, told, valid, signal_at_step, monkeypatch):
    """The child that trains the tree ends with its parent, and so does the folder between them."""
    config, folder, children = tmp_path / "small.toml", tmp_path / "tmp", []
    config.write_text(SMALL)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    real = subprocess.Popen

    def started(*arguments, **options):
        children.append(real(*arguments, **options))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", started)
    signal_at_step(number, 1)
    status, out, _ = told("replay", config, "--checkout", CHECKOUT, "--format", "json")
    assert status == 2
    assert valid(out)["complete"] is False
    assert children
    assert all(child.poll() is not None for child in children)
    assert list(folder.iterdir()) == []
