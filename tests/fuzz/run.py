"""Coverage-guided fuzzing of the readers with atheris: `python tests/fuzz/run.py --help`.

Each target runs in a process of its own, with coverage of the readers and the mutators that know the format. It starts
from the saved corpus; what widens the coverage is kept in `--keep FOLDER`, or forgotten. A finding ends its target
and leaves `finding-<target>` in the working directory. The last line of each target is JSON.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

INSTRUMENTED = ["vqcheck.checkpoint", "vqcheck.codebook", "vqcheck.experiment", "vqcheck.audit"]
_LONGEST = 1 << 14
_REPORTED = 100
"""Inputs between two reports; libFuzzer ends the process without a last word."""


def fuzz(name, options):
    """Fuzz one target in this process, which ends with libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz import targets
    from fuzz.watch import Finding, Watch, limit_memory

    target = targets.TARGETS[name]
    # Beside the counts, for the parent to remove: libFuzzer ends this process without a last word.
    folder = os.path.join(os.path.dirname(os.path.abspath(options.counts)), "inputs")
    os.mkdir(folder)
    targets.prepare(folder)
    watch = Watch(folder, traced=not limit_memory())
    counts = {"inputs": 0, "read": 0, "refused": 0}

    def one_input(data):
        path = target.place(folder, data)
        counts["inputs"] += 1
        try:
            said = watch.run(lambda: target.read(folder, path))
        except Finding:
            Path(f"finding-{name}").write_bytes(data)
            raise
        counts["read" if said == "read" else "refused"] += 1
        if counts["inputs"] % _REPORTED == 0:
            report()

    def mutate(data, longest, seed):
        chance = random.Random(seed)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            data = target.mutate(data, chance)
        return data[:longest]

    def report():
        Path(options.counts).write_text(json.dumps(counts | {"peak_mib": _peak_mib()}), encoding="utf-8")

    limits = [f"-runs={options.inputs}", f"-max_total_time={options.seconds}", f"-seed={options.seed}"]
    # The watch ends what takes too long or too much; both would use the same alarm.
    quiet = [
        "-mutate_depth=1",
        "-timeout=0",
        "-rss_limit_mb=0",
        "-print_final_stats=0",
        "-verbosity=0",
        f"-artifact_prefix={folder}/",
    ]
    atheris.Setup(
        [sys.argv[0], *limits, *quiet, f"-max_len={_LONGEST}", *options.corpora],
        one_input,
        custom_mutator=mutate,
    )
    report()
    atheris.Fuzz()


def _peak_mib():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def run(name, options):
    """Fuzz one target in a child process; return whether nothing was found."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        kept = Path(options.keep or scratch) / name
        kept.mkdir(parents=True, exist_ok=True)
        counts = Path(scratch) / "counts.json"
        command = [sys.executable, __file__, "--child", "--counts", str(counts), "--corpora", str(kept)]
        command += [str(HERE / "corpus" / name), "--inputs", str(options.inputs), "--seconds", str(options.seconds)]
        started = time.monotonic()
        command += ["--seed", str(options.seed), "--", name]
        done = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False)
        seconds = round(time.monotonic() - started)
        found = json.loads(counts.read_text(encoding="utf-8")) if counts.exists() else {}
        # Nothing found among no inputs would be no news.
        ok = done.returncode == 0 and found.get("inputs", 0) > 0
        if not ok:
            print(done.stderr[-4000:])
        print(json.dumps({"target": name, "ok": ok, "seconds": seconds, **found}), flush=True)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs for each target")
    parser.add_argument("--seconds", type=int, default=60, help="longest time for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="folder for inputs that widen the coverage")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--counts", help=argparse.SUPPRESS)
    parser.add_argument("--corpora", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        fuzz(options.targets[0], options)
        return 0
    names = options.targets or sorted(path.name for path in (HERE / "corpus").iterdir())
    clean = [run(name, options) for name in names]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
