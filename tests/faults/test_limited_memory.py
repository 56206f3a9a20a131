"""Where memory is limited a command ends in its right answer, or in status 2 and a line: never in status 1 of numpy."""

import os
import signal
import subprocess
import sys
import time

import pytest

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux keeps them")

MIB = 1 << 20
ENOUGH = 4096


@pytest.fixture
def within(monkeypatch):
    """Runs the command in a process that may have so many MiB of addresses; returns (status, stdout, stderr)."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    def run(mib, *arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "vqcheck", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **environment},
            preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_AS, (mib * MIB, mib * MIB))) if mib else None,
        )
        return done.returncode, done.stdout, done.stderr

    return run


COMMANDS = {
    "equal": lambda desk: ["diff", desk.base, desk.base],
    "changed": lambda desk: ["diff", desk.base, desk.drifted],
    "lock": lambda desk: ["lock", "--check", desk.drifted, "-o", desk.lock],
    "gate": lambda desk: ["gate", desk.config],
    "inspect": lambda desk: ["inspect", desk.base],
    "tokens": lambda desk: ["tokens", desk.base, desk.folder],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_answer_is_right_or_there_is_none(command, desk, within):
    """From too little for numpy to plenty."""
    arguments = COMMANDS[command](desk)
    right = within(0, *arguments)
    assert right[0] in (0, 1)
    answers = []
    for mib in (40, 80, 100, 130, ENOUGH):
        status, out, err = within(mib, *arguments)
        answers.append(status == right[0])
        if status == right[0]:
            assert (out, err) == right[1:]
        else:
            assert (status, out) == (2, "")
            assert err.splitlines()[-1].startswith("vqcheck: not enough memory")
    assert answers[-1]
    assert answers[0] is (command == "equal")


def library(folder, text):
    """Put a numpy in front of the real one."""
    (folder / "numpy").mkdir(parents=True)
    (folder / "numpy" / "__init__.py").write_text(text)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


EXITS = {
    "exit": ("import os; os._exit(1)", "status 1"),
    "exit as if all were well": ("import os; os._exit(0)", "status 0"),
    "abort": ("import os; os.abort()", "signal 6"),
    "killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
}


@pytest.mark.parametrize("kind", EXITS)
def test_a_library_that_ends_the_program_is_told_of_in_every_format(kind, desk, within, valid, tmp_path):
    text, how = EXITS[kind]
    environment = library(tmp_path / "lib", text)
    arguments = ("diff", desk.base, desk.drifted, "--format", "json")
    status, out, err = within(ENOUGH, *arguments, **environment)
    assert (status, err) == (2, f"vqcheck: not enough memory: a numerical library ended the program ({how})\n")
    assert valid(out)["exit_code"] == 2


def test_where_memory_is_limited_equal_files_still_take_one_process(desk, within, tmp_path):
    """A library that ends the program does no harm where none is needed."""
    environment = library(tmp_path / "lib", "import os; os._exit(1)")
    assert within(ENOUGH, "diff", desk.base, desk.base, **environment)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_reaches_the_process_that_works(number, desk, tmp_path):
    """Sent to the one that a user knows; neither of them stays."""
    pid = tmp_path / "pid"
    text = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()))\nwhile True: time.sleep(0.01)"
    environment = {**os.environ, **library(tmp_path / "lib", text)}
    child = subprocess.Popen(
        [sys.executable, "-m", "vqcheck", "diff", desk.base, desk.drifted],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ENOUGH * MIB, ENOUGH * MIB)),  # noqa: PLW1509
    )
    while not (pid.exists() and pid.read_text()):
        assert child.poll() is None
        time.sleep(0.01)
    assert int(pid.read_text()) != child.pid
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (2, "vqcheck: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
