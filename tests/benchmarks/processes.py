"""Times whole processes side by side: commands interleaved in one run, samples of wall time and peak memory."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import launcher
from results import MIB, SECONDS, Figure, Measured


@dataclass(frozen=True)
class Command:
    """A command line, and the exit status that it must end with."""

    arguments: list[str]
    status: int = 0


@dataclass(frozen=True)
class Cost:
    """What one command cost, sample by sample."""

    seconds: Measured
    peak_mib: Measured


@dataclass(frozen=True)
class Outcome:
    """How one process ended."""

    status: int
    seconds: float
    peak_mib: float
    stdout: str
    stderr: str


class Launcher:
    """Runs commands one at a time from a process of its own; a context manager."""

    def __enter__(self) -> "Launcher":
        # Users let Python keep its compiled modules, whatever the settings of the machine that measures.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", launcher.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        return self

    def run(self, arguments: list[str]) -> Outcome:
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def interleave(commands: dict[str, Command], samples: int, stage: Callable[[str], None]) -> dict[str, Cost]:
    """Run every command `samples` times in turn and return what each cost; one that fails ends the benchmark."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, list[float]] = {name: [] for name in commands}
    with Launcher() as launched:
        for sample in range(samples + 1):
            for name, command in commands.items():
                stage(f"{name}, {f'sample {sample} of {samples}' if sample else 'warming up'}")
                found = launched.run(command.arguments)
                if found.status != command.status:
                    raise SystemExit(f"{name}: ended with status {found.status}\n{found.stderr[-2000:]}")
                if sample:  # the first round only warms the file cache and compiles modules
                    seconds[name].append(found.seconds)
                    memory[name].append(found.peak_mib)
    return {name: Cost(Measured(name, tuple(seconds[name])), Measured(name, tuple(memory[name]))) for name in commands}


def time_and_memory(
    benchmark: str, name: str, costs: dict[str, Cost], ours: str, *, rivals: tuple[str, ...], floor: str, note: str = ""
) -> list[Figure]:
    """Return the figures of one command beside those of others, by their names in `costs`."""
    figures = []
    for unit, part in ((SECONDS, "seconds"), (MIB, "peak_mib")):
        values = {label: getattr(cost, part) for label, cost in costs.items()}
        against = tuple(values[rival] for rival in rivals)
        figures.append(
            Figure(benchmark, name, unit, values[ours], against, values[floor], note if unit == SECONDS else "")
        )
    return figures


def program(name: str) -> list[str]:
    """Return how to run an installed program of this environment, as its users do; empty when it is not installed."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    return [found] if found else []


def vqcheck(*arguments: object) -> list[str]:
    """Return a command line of vqcheck."""
    return [*(program("vqcheck") or [sys.executable, "-m", "vqcheck"]), *map(str, arguments)]


def python(source: str, *arguments: object) -> list[str]:
    """Return the command line of a script."""
    return [sys.executable, "-c", source, *map(str, arguments)]
