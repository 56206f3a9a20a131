"""Times whole processes side by side: commands interleaved in one run, medians of wall time and peak memory."""

import os
import statistics
import subprocess
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Medians over the samples of one command."""

    seconds: float
    peak_mib: float


def interleave(commands: dict[str, list[str]], samples: int) -> dict[str, Cost]:
    """Run every command `samples` times in turn and return its cost; a command that fails ends the benchmark."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, list[float]] = {name: [] for name in commands}
    for sample in range(samples + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            elapsed = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{name}: ended with status {process.returncode}")
            if sample:  # the first round only warms the file cache
                seconds[name].append(elapsed)
                memory[name].append(usage.ru_maxrss / 1024)
    return {name: Cost(statistics.median(seconds[name]), statistics.median(memory[name])) for name in commands}
