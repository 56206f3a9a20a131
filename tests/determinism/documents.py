"""Runs every command over the released files and prints what each said, as JSON: name -> [exit status, stdout].

It needs an interpreter that imports vqcheck, and nothing else. With `--replay` it replays, too, and leaves out of that
what may differ (`MAY_DIFFER`).
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path

FILES = Path(__file__).parents[2] / "fixtures" / "released" / "0.1.0"
BASE, DRIFTED, LOCK = "checkpoints/torch-2.13.0.pth", "checkpoints/drifted.pth", "logs/demo/vqcheck.lock"
COMMANDS = {
    "inspect": ["inspect", *sorted(f"checkpoints/{path.name}" for path in (FILES / "checkpoints").iterdir())],
    "diff": ["diff", BASE, DRIFTED],
    "diff equal": ["diff", BASE, "checkpoints/torch-1.1.0.pth"],
    "diff narrow": ["diff", BASE, "checkpoints/float16.safetensors"],
    "diff --features": ["diff", BASE, DRIFTED, "--features", "logs/demo"],
    "diff stages": ["diff", "s1.ckpt", BASE, "--experiment", "logs/demo"],
    "tokens": ["tokens", BASE, "logs/demo", "--against", DRIFTED],
    "tokens --sample": ["tokens", BASE, "logs/demo", "--sample", "2"],
    "history": ["history", "checkpoints"],
    "lock --check": ["lock", "--check", DRIFTED, "--experiment", "logs/demo", "--s1", "s1.ckpt", "-o", LOCK],
    "gate": ["gate", "s2.json", "--s1", "s1.ckpt"],
}
LARGER = {
    "diff of 128 codes": ["diff", "../../checkpoints/base_v2.pth", "../../checkpoints/drifted_v2_e8_s400.pth"],
    "history of 128 codes": ["history", "../../checkpoints"],
}
REPLAY = ["replay", "replay.toml"]
MAY_DIFFER = ("seconds", "median_step_seconds", "median_tracing_seconds", "torch", "device")
"""Fields of a replay's document: times, and the names of what it ran on."""


def said(arguments):
    from vqcheck.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(arguments)
    return [status, out.getvalue() + err.getvalue()]


def without_what_may_differ(document):
    kept = json.loads(document)
    drop(kept, MAY_DIFFER)
    return json.dumps(kept)


def drop(value, names):
    if isinstance(value, dict):
        for name in names:
            value.pop(name, None)
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            drop(each, names)


def main():
    os.chdir(FILES)
    commands = {**COMMANDS, **LARGER}
    found = {name: said([*command, "--format", "json"]) for name, command in commands.items()}
    found |= {f"{name}, text": said(command) for name, command in commands.items()}
    with tempfile.TemporaryDirectory() as folder:
        lock = os.path.join(folder, "new.lock")
        said(["lock", BASE, "--experiment", "logs/demo", "--s1", "s1.ckpt", "-o", lock])
        found["lock"] = [0, Path(lock).read_text(encoding="utf-8")]
    if "--replay" in sys.argv:
        status, document = said([*REPLAY, "--format", "json"])
        found["replay"] = [status, without_what_may_differ(document)]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
