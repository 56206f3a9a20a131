"""Runs a training script unchanged, with hooks on its codebooks: through the environment, and nothing of it touched."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO, Final

from vqcheck.errors import UsageError
from vqcheck.language import tr
from vqcheck.live.rank_records import compare_records, read_records
from vqcheck.replay.watched_run import RunMode, WatchedRun, process_of

_ON_PATH: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "live", "on_path")
_FOLDER: Final = "VQCHECK_RUN_FOLDER"
_OPTIONS: Final = "VQCHECK_RUN_OPTIONS"
_PYTHON: Final = re.compile(r"(python|pypy)[0-9.]*[a-z]*(-dbg)?(\.exe)?", re.IGNORECASE)
_TORCHRUN: Final = re.compile(r"torchrun(\.exe)?", re.IGNORECASE)
_WITH_VALUE: Final = ("-W", "-X", "--check-hash-based-pycs")
_HOOKED: Final = 37
_PROBE: Final = f"import sys; sys.exit({_HOOKED} if getattr(sys, '_vqcheck_run', False) else 0)"


def run_command(
    command: Sequence[str], mode: RunMode, every: int, *, warn: bool = False, stdout: IO[bytes] | int | None = None
) -> WatchedRun:
    """Run a command to its end, and return what was seen of the codebooks in it and in all that it starts.

    Its streams are this process's own; `stdout` replaces that one. What it is and does stays as it would be, but that
    a guard ends it at the first change, unless `warn`.

    Raises:
        UsageError: the command cannot be started, or its Python does not take the hook.

    """
    with tempfile.TemporaryDirectory(prefix="vqcheck-run-") as folder:
        paths = [_ON_PATH, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            _FOLDER: folder,
            _OPTIONS: json.dumps({"mode": mode.value, "warn": warn, "every": every}),
        }
        _require_hook(_interpreter(command), environment)
        try:
            process = subprocess.Popen(list(command), env=environment, stdout=stdout)  # noqa: S603 - the user's command
        except OSError as error:
            raise UsageError(tr("cannot be run: {strerror}", strerror=error.strerror), command[0]) from None
        status = _wait(process)
        records = read_records(folder)
        processes = [process_of(each) for each in records if each["steps"] or each["modules"] or each["problem"]]
        return WatchedRun(tuple(command), mode, warn, _failure(status), tuple(processes), compare_records(records))


def with_python(command: Sequence[str], python: str) -> tuple[str, ...]:
    """Return the command as that Python runs it, in the place of the one that it names or implies.

    Raises:
        UsageError: it begins with something else than a Python, torchrun, a script or an option such as -m.

    """
    python, (first, *rest) = os.path.expanduser(python), command
    if _PYTHON.fullmatch(os.path.basename(first)):
        return (python, *rest)
    if _TORCHRUN.fullmatch(os.path.basename(first)):
        return (python, "-m", "torch.distributed.run", *rest)
    if first.endswith((".py", ".pyw")) or first.startswith("-"):
        return (python, *command)
    raise UsageError(
        tr(
            "--python: {program} is no Python, torchrun or script; name there what runs, or leave --python out",
            program=first,
        )
    )


def _interpreter(command: Sequence[str]) -> list[str]:
    """Return the Python that the command is or that its first line names, with its own options; empty for others."""
    if _PYTHON.fullmatch(os.path.basename(command[0])):
        return [command[0], *_interpreter_options(command[1:])]
    found = shutil.which(command[0])
    if found is None:
        return []
    try:
        with open(found, "rb") as file:
            start = file.readline(1024)
    except OSError:
        return []
    named = shlex.split(start[2:].decode("utf-8", "replace")) if start.startswith(b"#!") else []
    if named and os.path.basename(named[0]) == "env":
        named = [each for each in named[1:] if each != "-S"]
    if not named or not _PYTHON.fullmatch(os.path.basename(named[0])):
        return []
    return [named[0], *_interpreter_options(named[1:])]


def _require_hook(python: Sequence[str], environment: dict[str, str]) -> None:
    """Raise UsageError if this is a Python that does not run the hook, as a trivial child of it shows."""
    if not python:
        return
    probe = [*python, "-c", _PROBE]
    try:
        done = subprocess.run(probe, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
    except OSError as error:
        raise UsageError(tr("cannot be run: {strerror}", strerror=error.strerror), python[0]) from None
    if done.returncode != _HOOKED:
        raise UsageError(
            tr(
                "this Python ignores PYTHONPATH or site (-E, -I, -S, or a ._pth file as of Windows' embedded Python), "
                "so nothing would be watched; leave the option out, or call vqcheck.guard in the script"
            ),
            python[0],
        )


def _interpreter_options(arguments: Sequence[str]) -> list[str]:
    """Return the options of the interpreter itself, in front of the script, `-c` or `-m`."""
    options: list[str] = []
    rest = iter(arguments)
    for each in rest:
        if each in _WITH_VALUE:
            options += [each, next(rest, "")]
        elif not each.startswith("-") or each in ("-", "--"):
            break
        elif each.startswith(("--", "-W", "-X")):
            options.append(each)
        else:
            letters = re.split("[cm]", each[1:])[0]
            options += [f"-{letters}"] if letters else []
            if letters != each[1:]:
                break
    return options


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the command; an interrupt goes to it, as from a terminal, and its end is waited for all the same."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)


def _failure(status: int) -> str:
    if not status:
        return ""
    if status < 0:
        with contextlib.suppress(ValueError):
            return tr("the script was ended by the signal {signal}", signal=signal.Signals(-status).name)
    return tr("the script itself ended with status {status}", status=status)
