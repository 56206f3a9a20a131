"""Runs a training script unchanged, with hooks on its codebooks: through the environment, and nothing of it touched."""

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO, Final

from vqcheck.errors import UsageError
from vqcheck.language import tr
from vqcheck.replay.watched_run import RunMode, WatchedProcess, WatchedRun, process_of

_ON_PATH: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "live", "on_path")
_FOLDER: Final = "VQCHECK_RUN_FOLDER"
_OPTIONS: Final = "VQCHECK_RUN_OPTIONS"
_PYTHON: Final = re.compile(r"(python|pypy)[0-9.]*w?(\.exe)?", re.IGNORECASE)
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
        _require_hook(command, environment)
        try:
            process = subprocess.Popen(list(command), env=environment, stdout=stdout)  # noqa: S603 - the user's command
        except OSError as error:
            raise UsageError(f"cannot be run: {error.strerror}", command[0]) from None
        status = _wait(process)
        return WatchedRun(tuple(command), mode, warn, _failure(status), tuple(_seen(folder)))


def _require_hook(command: Sequence[str], environment: dict[str, str]) -> None:
    """Raise UsageError if the command is a Python that does not run the hook, as a trivial child of it shows."""
    if not _PYTHON.fullmatch(os.path.basename(command[0])):
        return
    probe = [command[0], *_interpreter_options(command[1:]), "-c", _PROBE]
    try:
        done = subprocess.run(probe, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
    except OSError as error:
        raise UsageError(f"cannot be run: {error.strerror}", command[0]) from None
    if done.returncode != _HOOKED:
        raise UsageError(
            "this Python ignores PYTHONPATH or site (-E, -I, -S, or a ._pth file as of Windows' embedded Python), so "
            "nothing would be watched; leave the option out, or call vqcheck.guard in the script",
            command[0],
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


def _seen(folder: str) -> list[WatchedProcess]:
    """Return what each process wrote."""
    processes = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                process = process_of(json.load(file))
            if process.steps or process.modules:
                processes.append(process)
    return processes
