"""Answers requests on stdin, a line of JSON each, until stdin ends; `Session` says what may be requested.

It is run by path, in the Python of a checkout: 3.9 or later, with torch 2.0 or later and whatever the tree imports.
vqcheck need not be installed there. Its modules are loaded from the folder that this file stands in, so the networks
are trained, frozen and watched by the same code as everywhere else.

Whatever goes wrong is answered as {"error": one line, packed}, or as {"unfit": [what, which]} where this Python is at
fault. When stdin ends, because vqcheck ended in whatever way, the process exits at once.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import sys
import threading
import warnings
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
    unfit = why_unfit()
    if unfit:
        print(json.dumps({"unfit": unfit}), file=answers, flush=True)
        sys.exit()
    session = make_session()
    while True:
        print(json.dumps(session.answer(lines.get())), file=answers, flush=True)


def listen(lines: queue.Queue[bytes]) -> None:
    """Put each line into the queue; exit with the whole process at the end of stdin."""
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)


def why_unfit() -> list[str]:
    """Return what keeps this Python from running what follows, and which it has; empty where it can."""
    if sys.version_info < (3, 9):  # noqa: UP036 - vqcheck itself needs a later one, a checkout does not
        return ["python", sys.version.split()[0]]
    try:
        import torch
    except (ImportError, OSError) as problem:
        return ["packages", f"torch ({' '.join(str(problem).split())})"]
    if int(torch.__version__.partition(".")[0]) < 2:
        return ["torch", str(torch.__version__)]
    return []


def make_session() -> Any:
    """Return what answers, made of the modules of vqcheck beside this file."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "vqcheck"]:
        del sys.modules[name]  # it may be installed here too, and be another version
    spec = importlib.util.spec_from_file_location("vqcheck", os.path.join(VQCHECK, "__init__.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{VQCHECK} cannot be imported")
    spec.loader.exec_module(sys.modules.setdefault("vqcheck", importlib.util.module_from_spec(spec)))
    return importlib.import_module("vqcheck.replay.checkout.child.session").Session()


if __name__ == "__main__":
    main()
