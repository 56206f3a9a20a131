"""Starts the commands it is told to, from a process that imports next to nothing (POSIX).

A child's peak memory begins at that of the process it was started from, so the collecting program, with its tables and
progress bars, must not start what it measures. Each line of stdin is a command as JSON; a line of JSON answers it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

_UNIT = 2**20 if sys.platform == "darwin" else 2**10


def launch():
    """Run commands until stdin ends."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        for line in sys.stdin:
            for stream in (out, err):
                stream.seek(0)
                stream.truncate()
            begun = time.perf_counter()
            process = subprocess.Popen(json.loads(line), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            elapsed = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            answer = {
                "status": process.returncode,
                "seconds": elapsed,
                "peak_mib": usage.ru_maxrss / _UNIT,
                "stdout": text_of(out),
                "stderr": text_of(err),
            }
            print(json.dumps(answer), flush=True)


def text_of(stream):
    """Return everything that was written to a temporary file."""
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


if __name__ == "__main__":
    launch()
