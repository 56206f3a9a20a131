"""The long run: `python tests/fuzz/differential/run.py --inputs 500000`. Every difference is kept as a folder.

The last line is JSON: how many inputs of each kind were refused, equal, or not loadable, and how many differed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from fuzz.differential.files import KINDS_OF_FILES, make
from fuzz.differential.judge import judge
from fuzz.differential.library import Library

_REPORTED = 5_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS_OF_FILES)}; all, if none is named"
    )
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", default="differences", help="folder for inputs that differ")
    options = parser.parse_args()
    kinds = options.kinds or [*("zip",) * 5, *("legacy",) * 3, "safetensors", "sharded"]
    counts: Counter[str] = Counter()
    started = time.monotonic()
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=shared) as folder, Library() as library:
        for number in range(options.inputs):
            made = make(kinds[number % len(kinds)], Random(f"{options.seed} {number}"))
            outcome = judge(made, folder, library)
            counts[f"{made.kind} {outcome.kind}"] += 1
            if outcome.kind == "difference":
                kept = Path(options.keep) / f"{options.seed}-{number}"
                kept.mkdir(parents=True, exist_ok=True)
                for name, data in made.files.items():
                    (kept / name).write_bytes(data)
                print(f"DIFFERENCE {kept}: {outcome.what}", flush=True)
            if (number + 1) % _REPORTED == 0 or number + 1 == options.inputs:
                said = {"inputs": number + 1, "seconds": round(time.monotonic() - started), "crashes": library.crashes}
                print(json.dumps(said | dict(sorted(counts.items()))), flush=True)
    return 1 if any(name.endswith("difference") for name in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
