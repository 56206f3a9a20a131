"""Loads files with the real libraries in a child process: no network, no writing, bounded, killed when it hangs.

`Library.load` is called by a fuzzer; the other half of this file is what the child runs. Both speak JSON by lines.
"""

import hashlib
import json
import os
import select
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

SECONDS = 30.0
_MEMORY = 8 << 30
_DENIED = (
    "socket.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.",
    "os.remove",
    "os.rename",
    "ftplib.",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

Loaded = dict[str, dict[str, list[object]]]
"""Path of a mapping, its keys joined by newlines -> name -> [element type, shape, SHA-256 of the values]."""


class Library:
    """A warm child process that loads one file after the other."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self.crashes = 0

    def load(self, path: str, kind: str, *, full: bool = False) -> Loaded | str:
        """Return what the library gives, or why it gives nothing."""
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps([path, kind, full]).encode() + b"\n")
            child.stdin.flush()
            ready, _, _ = select.select([child.stdout], [], [], SECONDS)
            answer = child.stdout.readline() if ready else b""
        except BrokenPipeError:
            answer = b""
        if not answer:
            self.close()
            self.crashes += 1
            return "the library crashed or hung"
        loaded: Loaded | str = json.loads(answer)
        return loaded

    def _start(self) -> subprocess.Popen[bytes]:
        here = str(Path(__file__).parents[2])
        code = f"import sys; sys.path.insert(0, {here!r}); from fuzz.differential.library import serve; serve()"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        # What crashes it is told as a crash; what it writes to stderr is of no use.
        self._child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return self._child

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None:
                    stream.close()
            self._child = None

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> None:
    """Answer requests until there are no more. Runs in the child."""
    import safetensors.torch
    import torch
    import torch.utils.serialization

    # What loading imports late is imported now: afterwards, opening anything for writing or connecting is denied.
    torch.ones(1).sum().item()
    torch.set_num_threads(1)
    _limit()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.addaudithook(_deny)
    for line in sys.stdin.buffer:
        path, kind, full = json.loads(line)
        try:
            if kind == "safetensors":
                answer: Loaded | str = _described(safetensors.torch.load_file(path))
            elif kind == "sharded":
                answer = _sharded(path)
            else:
                answer = _described(torch.load(path, map_location="cpu", weights_only=not full))
        except Exception as error:  # noqa: BLE001 - whatever it is, the library gives nothing
            answer = f"{type(error).__name__}: {str(error)[:200]}"
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()


def _limit() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _deny(event: str, arguments: tuple[object, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
    if writes or event.startswith(_DENIED):
        raise PermissionError(event)


def _sharded(path: str) -> Loaded | str:
    """Return what a library gives that loads one shard after the other into a model, which takes what it has."""
    import safetensors.torch
    import torch

    with open(path, "rb") as file:
        weight_map = json.load(file)["weight_map"]
    merged: dict[str, object] = {}
    for shard in dict.fromkeys(weight_map.values()):
        place = os.path.join(os.path.dirname(path), shard)
        if shard.endswith(".safetensors"):
            held = safetensors.torch.load_file(place)
        else:
            held = torch.load(place, map_location="cpu", weights_only=True)
        for name, value in held.items():
            if name in merged:
                return f"two shards hold {name}"
            merged[name] = value
    return _described(merged)


def _described(root: object) -> Loaded:
    import torch

    found: Loaded = {}
    waiting: list[tuple[tuple[str, ...], object]] = [((), root)]
    seen: set[int] = set()
    if isinstance(root, torch.Tensor):
        return {"": {"": _tensor(root)}}
    while waiting:
        path, value = waiting.pop(0)
        if not isinstance(value, (Mapping, list, tuple)) or id(value) in seen:
            continue
        seen.add(id(value))
        if not isinstance(value, Mapping):
            waiting += [((*path, f"[{number}]"), item) for number, item in enumerate(value) if len(path) < 40]
            continue
        # As a module takes its state dict.
        items = OrderedDict(value).items() if type(value) is not dict else value.items()
        others = 0
        for key, item in items:
            if isinstance(key, str) and isinstance(item, torch.Tensor):
                found.setdefault("\n".join(path), {})[str(key)] = _tensor(item)
                continue
            if len(path) < 40 and not (isinstance(key, str) and key.lower().startswith("optim")):
                counted = isinstance(key, int) and not isinstance(key, bool)
                name = str(key) if isinstance(key, str) else f"[{key if counted else f'key {others}'}]"
                waiting.append(((*path, name), item))
            others += 1
    return found


def _tensor(tensor: object) -> list[object]:
    import torch

    assert isinstance(tensor, torch.Tensor)
    kind, shape = str(tensor.dtype).removeprefix("torch."), list(tensor.shape)
    try:
        plain = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
        values = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return [kind, shape, f"no values: {type(error).__name__}"]
    return [kind, shape, hashlib.sha256(values).hexdigest()]
