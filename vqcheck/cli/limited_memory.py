"""Where memory is limited, a numerical library may end its whole process, in status 1 and without a line of ours.

There, a second process loads the libraries and does the rest, and this one waits for it and tells how it ended. It is
begun when the first of them is about to be imported: what needs none of them runs in one process, as everything does
where memory is not limited.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

_LIBRARIES: Final = ("numpy", "torch")
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_FORWARDED: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class Watched:
    """A finder of modules that finds none, but learns of the first numerical library that is imported.

    `ended` is told how a process ended that did not get to its end, and returns the exit status.
    """

    def __init__(self, ended: Callable[[str], int]) -> None:
        self._ended = ended
        self._result: int | None = None
        """Where the second process writes its exit status; None in the first."""

    def find_spec(self, fullname: str, *_: Any) -> None:
        """Begin the second process where it is needed."""
        if fullname in _LIBRARIES:
            sys.meta_path.remove(self)
            if is_limited():
                self._begin()

    def finish(self, status: int) -> None:
        """Tell the first process, if there is one, that the end was reached, and how."""
        if self._result is not None:
            os.write(self._result, bytes([status]))

    def _begin(self) -> None:
        import signal

        for name in _THREADS:
            # Each thread of such a library takes memory of its own before it does anything.
            os.environ.setdefault(name, "1")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        awaited = [getattr(signal, name) for name in (*_FORWARDED, "SIGCHLD")]
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        reading, writing = os.pipe()
        try:
            child = os.fork()
        except OSError:
            raise MemoryError from None
        if not child:
            os.close(reading)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._result = writing
            return
        os.close(writing)
        status = self._wait(child, reading, awaited)
        sys.stdout.flush()
        os._exit(status)

    def _wait(self, child: int, reading: int, awaited: list[int]) -> int:
        import signal

        while True:
            told = signal.sigwaitinfo(awaited)
            if told.si_signo != signal.SIGCHLD:
                # One from the terminal has reached the other process, too; that of another program has not.
                if told.si_pid:
                    os.kill(child, told.si_signo)
                continue
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
        said = os.read(reading, 1)
        if said:
            return said[0]
        code = os.waitstatus_to_exitcode(status)
        return self._ended(f"signal {-code}" if code < 0 else f"status {code}")


def is_limited() -> bool:
    """Say whether this process, or the system, refuses memory at some point instead of lending it."""
    try:
        import resource
        import signal
    except ImportError:  # Windows
        return False
    if not hasattr(signal, "sigwaitinfo"):
        return False
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits) or _never_overcommits()


def _never_overcommits() -> bool:
    try:
        with open("/proc/sys/vm/overcommit_memory", encoding="ascii") as file:
            return file.read().strip() == "2"
    except OSError:
        return False
