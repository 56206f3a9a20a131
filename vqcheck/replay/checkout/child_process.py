"""The child process: started, asked, and always ended, whatever happens on either side."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Any

from vqcheck.errors import UsageError
from vqcheck.language import tr, unpacked

_CHILD = os.path.join(os.path.dirname(__file__), "child", "__main__.py")


class ChildProcess:
    """A Python that runs the child package in a folder. At the end of a with block nothing of it is left running."""

    def __init__(self, python: str | None, folder: str, time_limit: float) -> None:
        self._time_limit = time_limit
        self._python = _program(python)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the program that the user named
                [self._python, _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                cwd=folder,
                env=environment,
                # a group of its own, so that whatever the tree starts ends with it
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            self._said.close()
            raise UsageError(
                tr("python {python}: cannot be run: {strerror}", python=self._python, strerror=error.strerror)
            ) from None
        self._answers: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kill()
        self._said.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            UsageError: it failed, took longer than the time limit, or the process ended.

        """
        line = json.dumps(request).encode() + b"\n"
        # in a thread, since a process that does not read must not stop this one
        threading.Thread(target=self._send, args=(line,), daemon=True).start()
        try:
            answer = self._answers.get(timeout=self._time_limit)
        except queue.Empty:
            self._kill()
            raise UsageError(
                tr(
                    "the checkout did not finish within {seconds:g} s ({when}); subject.time_limit allows it more",
                    seconds=self._time_limit,
                    when=_DOING[request["do"]],
                )
            ) from None
        if answer is None:
            raise UsageError(
                tr(
                    "the checkout's process ended {when}: {how}",
                    when=_DOING[request["do"]],
                    how=self._how_it_ended(),
                )
            )
        try:
            read = json.loads(answer)
        except ValueError:
            read = None
        if not isinstance(read, dict) or not {"ok", "error", "unfit"} & read.keys():
            raise UsageError(
                tr(
                    "python {python}: is not a Python, or prints at its start: {printed!r}",
                    python=self._python,
                    printed=answer[:80],
                )
            )
        if "unfit" in read:
            raise UsageError(tr("checkout: {reason}", reason=_why_unfit(self._python, *read["unfit"])))
        if "error" in read:
            raise UsageError(tr("checkout: {reason}", reason=unpacked(read["error"])))
        result: dict[str, Any] = read["ok"]
        return result

    def _send(self, line: bytes) -> None:
        # when the process is gone, the answer that never comes tells
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while it waited
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put(None)

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self._said.seek(max(0, os.fstat(self._said.fileno()).st_size - 4096))
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip()[:200] for line in reversed(lines) if line.strip()), tr("it said nothing"))
        how = (
            tr("signal {number} ({name})", number=-code, name=signal.Signals(-code).name)
            if code < 0
            else tr("status {number}", number=code)
        )
        return tr("{how}; {said}", how=how, said=last)

    def _kill(self) -> None:
        if os.name == "posix":
            # also when it has ended by itself: what it started may still run
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()


_DOING = {
    "load": tr("while it was loaded"),
    "start": tr("while its networks were made"),
    "step": tr("in a training step"),
    "moves": tr("at the end of an arm"),
}


def _why_unfit(python: str, what: str, found: str) -> str:
    """Return why a Python cannot run a checkout, as the child says it before it can have any words."""
    if what == "python":
        return tr(
            "{python} is Python {found}: the oldest that a checkout can be replayed with is 3.9",
            python=python,
            found=found,
        )
    if what == "torch":
        return tr(
            "{python} has torch {found}: the oldest that a checkout can be replayed with is 2.0",
            python=python,
            found=found,
        )
    return tr("{python} lacks packages: {found}", python=python, found=found)


def _program(python: str | None) -> str:
    if python is None:
        return sys.executable
    found = shutil.which(os.path.expanduser(python))
    if found is None:
        raise UsageError(tr("python {python!r}: there is no such program", python=python))
    return os.path.abspath(found)
