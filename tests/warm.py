"""Starts programs as forks of a warm process, `warm_server.py`; they are handled as any other process."""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).parent.parent
HANGS = 1800
"""Seconds after which what a test waits for is taken to hang; no measure of how fast anything is."""


def can_fork():
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


class Forked:
    """A process that `warm_server.py` forked, as subprocess.Popen shows it."""

    def __init__(self, status, streams):
        self._status, self._asking = status, threading.Lock()
        self.pid = self._number()
        self.stdin, self.stdout, self.stderr = streams
        self.returncode = None

    def _number(self):
        data = self._status.recv(4, socket.MSG_WAITALL)
        assert len(data) == 4, "the warm process is gone"
        return struct.unpack("<i", data)[0]

    def wait(self, timeout=None):
        with self._asking:
            if self.returncode is None:
                if not select.select([self._status], [], [], HANGS if timeout is None else timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout)
                self.returncode = self._number()
                self._status.close()
        return self.returncode

    def poll(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Warm:
    """A process that has imported vqcheck, with torch or without, and forks a copy of itself for each program."""

    def __init__(self, *options):
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, ROOT / "tests" / "warm_server.py", str(theirs.fileno()), *options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(self, *arguments, script=None, cwd=ROOT, env=None, stdin=None, stdout=None, stderr=None, session=False):
        """Start a command of vqcheck, or a script.

        Streams are files or their numbers, subprocess.PIPE, or None for nothing. `env` is what differs in the
        environment; None stands for a variable that is not there.
        """
        import resource

        environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})}
        umask = os.umask(0)
        os.umask(umask)
        limits = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
        request = {
            "script": script and str(script),
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "env": {name: value for name, value in environment.items() if value is not None},
            "umask": umask,
            "limits": [(limit, resource.getrlimit(limit)) for limit in limits],
            "session": session,
        }
        message = json.dumps(request).encode() + b"\n"
        with contextlib.ExitStack() as handed_over:
            ours, theirs = [], []
            for number, stream in enumerate((stdin, stdout, stderr)):
                end = None
                if stream == subprocess.PIPE:
                    read, write = os.pipe()
                    end = os.fdopen(write, "wb") if number == 0 else os.fdopen(read, "rb")
                    theirs.append(read if number == 0 else write)
                    handed_over.callback(os.close, theirs[-1])
                elif stream is None:
                    theirs.append(os.open(os.devnull, os.O_RDWR))
                    handed_over.callback(os.close, theirs[-1])
                else:
                    theirs.append(stream if isinstance(stream, int) else stream.fileno())
                ours.append(end)
            status, told = socket.socketpair()
            handed_over.callback(told.close)
            sent = socket.send_fds(self._socket, [message], [*theirs, told.fileno()])
            self._socket.sendall(message[sent:])
        return Forked(status, ours)

    def run(self, *arguments, **options):
        """Run a program to its end; returns a completed process with its texts."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = self.start(*arguments, stdout=out, stderr=err, **options).wait()
            texts = []
            for stream in (out, err):
                stream.seek(0)
                # as a pipe in text mode gives it
                texts.append(stream.read().decode().replace("\r\n", "\n").replace("\r", "\n"))
        return subprocess.CompletedProcess(arguments, code, *texts)

    def close(self):
        self._socket.close()
        self._process.wait()
