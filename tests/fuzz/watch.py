"""Runs a reader on one input and tells what no input may ever make it do.

The only allowed outcomes are a result and a `VqcheckError` of one printable line. Everything else is a `Finding`:
another exception, more than 512 MB of memory, and every event of Python's audit hooks that is not on a short list, such
as opening a file for writing or outside the input's own folder, importing, executing, connecting. Whoever takes longer
than five seconds ends the process, with a traceback on stderr and the input still on disk.
"""

import contextlib
import faulthandler
import os
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator

from vqcheck.errors import VqcheckError

try:
    import resource
except ImportError:  # Windows
    resource = None

MEMORY = 512 << 20
SECONDS = 5.0
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


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """End this process, with a traceback, if the block takes too long, also if it never comes back to Python."""
    if hasattr(signal, "setitimer"):
        # Far cheaper than the thread below: a handler in C writes the traceback, then the default one ends the process.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
    else:
        faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            faulthandler.cancel_dump_traceback_later()


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
