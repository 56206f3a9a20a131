"""Reads every file of the saved corpus under watch: `python tests/fuzz/replay.py`; a line of JSON for each.

A process of its own, because the limit on its memory is for good.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz import targets
from fuzz.watch import Finding, Watch, limit_memory


def main():
    with tempfile.TemporaryDirectory() as folder:
        targets.prepare(folder)
        watch = Watch(folder, traced=not limit_memory())
        for target in targets.TARGETS.values():
            for name, data in target.seeds().items():
                path = target.place(folder, data)
                try:
                    said = watch.run(lambda target=target, path=path: target.read(folder, path))
                except Finding as finding:
                    said = f"FINDING {finding}"
                Path(path).unlink()
                print(json.dumps([target.name, name, said]), flush=True)


if __name__ == "__main__":
    main()
