"""Answers requests on stdin, a line of JSON each, until stdin ends; `Session` says what may be requested.

It is run by path, in the Python of a checkout: 3.9 or later, with torch 2.0 or later and whatever the tree imports.
vqcheck need not be installed there. Its modules are loaded from the folder that this file stands in, so the networks
are trained, frozen and watched by the same code as everywhere else.

Whatever goes wrong is answered as {"error": one line}. When stdin ends, because vqcheck ended in whatever way, the
process exits at once.
"""

from __future__ import annotations
import __future__

import dataclasses
import importlib
import json
import os
import queue
import sys
import threading
import warnings
from importlib.machinery import PathFinder, SourceFileLoader
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
VQCHECK = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))


def main() -> None:
    """Answer until stdin ends."""
    sys.path = [path for path in sys.path if os.path.abspath(path or ".") != HERE]  # run by path
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a tree may print whatever it likes
    # the last words of a process that dies are shown; advice on names that every torch knows must not be among them
    warnings.filterwarnings("ignore", category=FutureWarning, module="vqcheck")
    lines: queue.Queue[bytes] = queue.Queue()
    # in a thread of its own, so that the end of vqcheck is noticed in the middle of a step or an import
    threading.Thread(target=listen, args=(lines,), daemon=True).start()
    try:
        session = make_session()
    except (ImportError, OSError) as problem:
        lacks = f"{sys.executable} lacks packages: torch ({' '.join(str(problem).split())})"
        print(json.dumps({"error": lacks}), file=answers, flush=True)
        sys.exit()
    while True:
        print(json.dumps(session.answer(lines.get())), file=answers, flush=True)


def listen(lines: queue.Queue[bytes]) -> None:
    """Put each line into the queue; exit with the whole process at the end of stdin."""
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)


def make_session() -> Any:
    """Return what answers, made of the modules of vqcheck beside this file.

    Raises:
        ImportError, OSError: this Python has no torch, or none that can be loaded.

    """
    import torch  # noqa: F401 - before anything of vqcheck, so that what is missing is named

    for name in [each for each in sys.modules if each.partition(".")[0] == "vqcheck"]:
        del sys.modules[name]  # it may be installed here too, and be another version
    sys.meta_path.insert(0, Finder())
    dataclass = dataclasses.dataclass
    if sys.version_info < (3, 10):  # noqa: UP036 - vqcheck needs it, a checkout's Python need not have it
        dataclasses.dataclass = without_slots  # type: ignore[assignment]
    try:
        return importlib.import_module("vqcheck.replay.checkout.child.session").Session()
    finally:
        dataclasses.dataclass = dataclass


class Finder:
    """Finds vqcheck in the folder that this file stands in, and its modules for the loader below."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of vqcheck or a module of it; None for any other."""
        if name.partition(".")[0] != "vqcheck":
            return None
        spec = PathFinder.find_spec(name, [os.path.dirname(VQCHECK)] if path is None else path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = Loader(name, spec.origin)
        return spec


class Loader(SourceFileLoader):
    """Reads annotations as text: those of Python 3.10, such as `int | None`, mean nothing to 3.9."""

    def get_code(self, fullname: str) -> Any:
        """Return the module's code, never a compiled file that somebody else left."""
        path = self.get_filename(fullname)
        flags = __future__.annotations.compiler_flag
        return compile(self.get_data(path), path, "exec", flags, dont_inherit=True)


def without_slots(*arguments: Any, slots: bool = False, **options: Any) -> Any:  # noqa: ARG001
    """Return what `dataclass` does; slots, which Python 3.9 does not know, only save memory."""
    return PLAIN_DATACLASS(*arguments, **options)


PLAIN_DATACLASS = dataclasses.dataclass

if __name__ == "__main__":
    main()
