"""Every figure of vqcheck beside its rivals, measured in one run: `python tests/benchmarks`.

Prints tables and, with `-o`, writes every sample as JSON. Needs POSIX, 6 GB of disk and the group `benchmarks`; rivals
that are not installed are left out. For figures worth keeping let nothing else run, and install vqcheck as its
users do: `pip install -e` makes every start of Python slower.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path

from figures_json import document
from machine import is_editable, machine, versions
from results import Answer, Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from run import Run
from tables import answers_table, figures_table

BENCHMARKS = {
    "startup": ("startup", "measure", "how long vqcheck takes to start"),
    "diff": ("diff_speed", "measure", "an equal pair of large files against torch, safetensors, sft and ckptkit"),
    "changed": ("diagnosis_time", "measure", "a changed pair, which is diagnosed, against an equal one"),
    "many": ("many_files", "measure", "many files against one base in one process, against a shell loop"),
    "remote": ("remote_reads", "measure", "what travels of a remote file, against downloading it whole"),
    "answers": ("answers", "measure", "what each tool says of pairs of which the truth is known"),
    "growth-size": ("growth", "by_size", "over the size of the file, 80 MB to 8 GB"),
    "growth-codebooks": ("growth", "by_codebooks", "over the number of codebooks, 1 to 64"),
    "growth-tensors": ("growth", "by_tensors", "over the number of tensors, 100 to 1,000,000"),
    "digest": ("digest_speed", "measure", "digests against bare SHA-256"),
    "tokens": ("tokens_speed", "measure", "the token audit against upstream's extraction"),
    "tokens-hours": ("tokens_hours", "measure", "what the token audit of 1,000 hours of speech takes"),
    "device": ("device_tokens", "measure", "tokens in half precision on a GPU against the audit on the processor"),
    "replay": ("replay_overhead", "measure", "what tracing adds to a training step"),
    "replay-time": ("replay_time", "measure", "the replay that runs without a configuration, and where its time goes"),
    "guard": ("live_overhead", "guard", "what a guard adds to a training step"),
    "monitor": ("live_overhead", "monitor", "what a monitor adds to a training step"),
    "run": ("run_overhead", "measure", "what vqcheck run adds to the steps of a script"),
    "synthesizer": ("synthesizer_speed", "measure", "a training step against a loop after upstream's script"),
    "flow": ("synthesizer_speed", "measure_flow", "a training step of v3, in full and with LoRA, against the same"),
}
"""Name -> module, function that measures, what it measures."""

_DISK = 6_000_000_000
_DISK_QUICK = 400_000_000


def main():
    options = parsed()
    screen = Console(stderr=True)
    if options.list:
        for name, (_, _, title) in BENCHMARKS.items():
            print(f"{name:<18}{title}")
        return 0
    if not hasattr(os, "wait4"):
        raise SystemExit("the benchmarks need POSIX: they ask the system what each process took")
    warn(screen)
    around = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine(),
        "versions": versions(),
        "editable": is_editable(),
    }
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vqcheck-benchmarks-", dir=options.folder) as folder:
        needed = _DISK_QUICK if options.quick else _DISK
        if shutil.disk_usage(folder).free < needed:
            raise SystemExit(f"{folder}: {needed / 1e9:.1f} GB must be free; --folder names another place")
        results, failures = collect(options, Path(folder), screen)
    print_tables(results)
    around["seconds"] = round(time.monotonic() - begun, 1)
    around["failures"] = failures
    for name, reason in failures.items():
        screen.print(f"{name}: {reason}", style="red", markup=False)
    if options.output:
        options.output.write_text(json.dumps(document(results, around), indent=1) + "\n", encoding="utf-8")
    return int(bool(failures))


def parsed():
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=BENCHMARKS, help="only this; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument("--quick", action="store_true", help="small files, few samples: whether it works, no figures")
    parser.add_argument("--samples", type=int, default=11, help="of whole processes (default 11)")
    parser.add_argument("--step-samples", type=int, default=5, help="of full-size training steps (default 5)")
    parser.add_argument(
        "--device", default="auto", help="for whatever trains, and tokens on a device: auto, cpu or cuda"
    )
    parser.add_argument("--folder", type=Path, help="where the files are made for the time of the run")
    parser.add_argument("-o", "--output", type=Path, help="write everything as JSON to this file, too")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.step_samples = min(options.samples, 2), min(options.step_samples, 2)
    return options


def warn(screen):
    """Say what will spoil the figures."""
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.3 * os.cpu_count():
        screen.print(f"[yellow]The machine is busy (load {os.getloadavg()[0]:.1f}): ratios will do, times will not.")
    if is_editable():
        screen.print("[yellow]vqcheck is installed in place (-e), which slows every start of this Python.")


def collect(options, folder, screen):
    """Run the chosen benchmarks; return (results, name -> reason of each that failed). One costs the others nothing."""
    chosen = options.only or list(BENCHMARKS)
    results, failures = [], {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[stage]}"),
    )
    # Drawn when something happens and not by a thread, which would run beside what is measured.
    with Progress(*columns, console=screen, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=len(chosen), stage="")

        def stage(text):
            progress.update(task, stage=text, refresh=True)

        run = Run(folder, options.samples, options.step_samples, options.quick, options.device, stage)
        for name in chosen:
            module, function, _ = BENCHMARKS[name]
            progress.update(task, description=name, stage="", refresh=True)
            try:
                results += getattr(import_module(module), function)(run)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a rival or a child process may do
                failures[name] = f"{type(error).__name__}: {error}"
            progress.advance(task)
    return results, failures


def print_tables(results):
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    figures = [each for each in results if isinstance(each, Figure)]
    answers = [each for each in results if isinstance(each, Answer)]
    if figures:
        console.print(figures_table(figures))
        for figure in figures:
            if figure.note:
                console.print(f"{figure.name}: {figure.note}", highlight=False, soft_wrap=True)
    if answers:
        console.print(answers_table(answers))


if __name__ == "__main__":
    sys.exit(main())
