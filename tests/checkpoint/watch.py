"""Opens and reads one file in this process, and prints as JSON what went wrong, what was executed and the peak memory.

Run as `python watch.py vqcheck|pickle FILE`. With `pickle` it does what vqcheck must never do, as a control.
"""

import contextlib
import json
import os
import pickle
import sys
import tempfile
import zipfile

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError

EXECUTING = ("os.", "subprocess.", "exec", "compile", "import", "code.", "pickle.", "marshal.", "ctypes.", "socket.")
HARMLESS = ("os.listdir", "os.scandir")


def read_everything(path):
    with open_checkpoint(path) as checkpoint:
        checkpoint.information  # noqa: B018 - computed when asked for
        for tensor in checkpoint.tensors.values():
            checkpoint.read(tensor)


def load_with_pickle(path):
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    else:
        with open(path, "rb") as file:
            data = file.read()
    pickle.loads(data)


def use_once_what_is_imported_late():
    header = b'{"a":{"dtype":"U8","shape":[2,0],"data_offsets":[0,0]}}'
    with tempfile.TemporaryDirectory() as folder:
        for name, data in {
            "zip": b"PK\3\4",
            "legacy": b"\x80",
            "tensors": bytes([len(header)] + 7 * [0]) + header,
        }.items():
            with open(f"{folder}/{name}", "wb") as file:
                file.write(data)
            with contextlib.suppress(CheckpointError):
                read_everything(f"{folder}/{name}")
        with open(f"{folder}/index.json", "w", encoding="utf-8") as file:
            file.write('{"weight_map":{"a":"tensors"}}')
        read_everything(f"{folder}/index.json")


def peak_mib():
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            # Not getrusage first: what it says begins with the peak of the process that started this one.
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(how, path):
    use_once_what_is_imported_late()
    executed = []
    watching = True

    def note(event, arguments):
        if watching and event.startswith(EXECUTING) and event not in HARMLESS:
            executed.append(f"{event} {str(arguments)[:100]}")

    sys.addaudithook(note)
    error = None
    try:
        (read_everything if how == "vqcheck" else load_with_pickle)(path)
    except CheckpointError as refused:
        error = str(refused)
    except Exception as crash:
        if how == "vqcheck":
            raise
        error = str(crash)
    watching = False
    os.write(1, (json.dumps({"error": error, "executed": executed, "peak_mib": peak_mib()}) + "\n").encode())


main(*sys.argv[1:])
