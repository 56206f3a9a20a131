"""Compares what vqcheck says under several interpreters, hash seeds and numbers of threads, byte for byte.

Run `python tests/determinism/compare.py PYTHON... [--replay]`: each PYTHON must import vqcheck (or what it depends on;
this project's folder is put on its path). Prints a line for each run, and ends in 1 where anything differs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VERSIONS = (
    "import sys, numpy, importlib.util as u\n"
    "torch = __import__('torch').__version__ if '--replay' in sys.argv else '-'\n"
    "print('Python', sys.version.split()[0], ' numpy', numpy.__version__, ' torch', torch)"
)
SETTINGS = [("0", "1"), ("1", "2"), ("random", "1")]
"""(PYTHONHASHSEED, threads)"""


def run(python, script, seed, threads, *more):
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE.parents[1]),
        "PYTHONHASHSEED": seed,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
    }
    return subprocess.run(
        [python, *script, *more], env=environment, capture_output=True, encoding="utf-8", check=True
    ).stdout


def main(arguments):
    more = [argument for argument in arguments if argument == "--replay"]
    first, differing = None, False
    for python in arguments:
        if python in more:
            continue
        versions = run(python, ["-c", VERSIONS], "0", "1", *more).strip()
        for seed, threads in SETTINGS:
            found = json.loads(run(python, [str(HERE / "documents.py")], seed, threads, *more))
            first = first or found
            other = [name for name in first if first[name] != found[name]]
            differing |= bool(other)
            verdict = f"differs: {', '.join(other)}" if other else f"{len(found)} the same"
            print(f"{versions}  hash seed {seed}  threads {threads}  {verdict}", flush=True)
    return int(differing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
