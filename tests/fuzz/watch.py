"""Runs a reader on one input and tells what no input may ever make it do.

The only allowed outcomes are a result and a `VqcheckError` of one printable line. Everything else is a `Finding`:
another exception, more than 512 MB of memory, and every event of Python's audit hooks that is not on a short list, such
as opening a file for writing or outside the input's own folder, importing, executing, connecting. Whoever computes for
more than five seconds, or waits for what never comes, ends the process, with a traceback on stderr and the input still
on disk. The seconds are of processor time and those of the machine on which they were promised, so that neither a busy
nor a slow one finds what is not there.
"""

import contextlib
import faulthandler
import functools
import math
import os
import signal
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

from vqcheck.errors import VqcheckError

try:
    import resource
except ImportError:  # Windows
    resource = None

MEMORY = 512 << 20
SECONDS = 5.0
HANGS = 1800.0
"""Seconds of anybody's time after which a reader that computes nothing waits in vain."""
_CALIBRATION = 0.02
"""Seconds of processor time that `_work` took where the promise was made."""
_LONGEST_MESSAGE = 4_000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HARMLESS = frozenset({"builtins.id", "sys._getframe", "object.__getattr__", "array.__new__"})
"""Events of plain computation."""


class Finding(Exception):  # noqa: N818 - what a fuzzer is after
    """What an input did that it must not. The text begins with the kind: raised, memory, touched or message."""


class Watch:
    """Watches this process while a reader runs. Audit hooks cannot be removed: make one, and keep it.

    `folder` is where readers may open and list files. Memory is limited by `limit_memory`, which is for good; where
    that is not possible or not wanted, `traced` measures what Python and numpy allocate, at the cost of some speed.
    """

    def __init__(self, folder: str, *, traced: bool) -> None:
        self._folder = os.path.abspath(folder)
        self._watching = False
        self._touched: list[str] = []
        self._traced = traced
        sys.addaudithook(self._note)

    def run(self, reader: Callable[[], object]) -> str:
        """Return `read`, or the reason for which the reader refused its input.

        Raises:
            Finding: it did something else.

        """
        self._touched.clear()
        with _time_limit(), self._memory_traced():
            self._watching = True
            try:
                reader()
                said = "read"
            except VqcheckError as error:
                said = str(error)
            except MemoryError:
                raise Finding(f"memory: more than {MEMORY} bytes") from None
            except Exception as error:
                raise Finding(f"raised: {type(error).__name__}: {error}") from error
            finally:
                self._watching = False
        if self._touched:
            raise Finding(f"touched: {'; '.join(self._touched[:5])}")
        check_message(said)
        return said

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._watching and event not in _HARMLESS and not self._reads_in_folder(event, arguments):
            self._touched.append(f"{event} {str(arguments)[:200]}")

    def _reads_in_folder(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event in ("os.listdir", "os.scandir"):
            return self._inside(arguments[0])
        return event == "open" and self._inside(arguments[0]) and not int(arguments[2]) & _WRITING

    def _inside(self, path: object) -> bool:
        return isinstance(path, str) and os.path.abspath(path).startswith(self._folder)

    @contextlib.contextmanager
    def _memory_traced(self) -> Iterator[None]:
        if not self._traced:
            yield
            return
        tracemalloc.start()
        try:
            yield
            if tracemalloc.get_traced_memory()[1] > MEMORY:
                raise Finding(f"memory: more than {MEMORY} bytes")
        finally:
            tracemalloc.stop()


def check_message(said: str) -> None:
    """Raise Finding unless a message is one printable line of reasonable length, as `VqcheckError` promises."""
    if "not enough memory" in said:
        # How running into the limit reads once the reader has caught it.
        raise Finding(f"memory: {said[:200]}")
    if not said.isprintable() or len(said) > _LONGEST_MESSAGE:
        raise Finding(f"message: {len(said)} characters: {said[:500]!r}")


def _work() -> object:
    return sorted(zlib.crc32(b"%d" % number) for number in range(50_000))


@functools.cache
def slowness() -> float:
    """Return how many times longer than where the seconds were promised this machine computes; at least 1."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        _work()
        took.append(time.process_time() - begun)
    return max(1.0, min(took) / _CALIBRATION)


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """End this process, with a traceback, if the block takes too long, also if it never comes back to Python."""
    if hasattr(signal, "setitimer"):
        # Far cheaper than the thread below: a handler in C writes the traceback, then the default one ends the process.
        limits = (signal.SIGPROF, signal.ITIMER_PROF, SECONDS * slowness()), (signal.SIGALRM, signal.ITIMER_REAL, HANGS)
        for number, timer, seconds in limits:
            signal.signal(number, signal.SIG_DFL)
            faulthandler.register(number, file=sys.__stderr__, chain=True)
            signal.setitimer(timer, seconds)
    else:
        faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
        else:
            faulthandler.cancel_dump_traceback_later()


def limit_work(seconds: int) -> bool:
    """End this process once it has computed for that long, in whole seconds; return whether the system can do that."""
    if resource is None:
        return False
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), most))
    return True


def limit_memory() -> bool:
    """Let this process never have more than `MEMORY` bytes in use; return whether the system can do that."""
    try:
        with open("/proc/self/statm", encoding="ascii") as status:
            mapped, in_use = (int(pages) * resource.getpagesize() for pages in status.read().split()[:2])
        limit = mapped - in_use + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (AttributeError, OSError, ValueError):
        return False
    return True
