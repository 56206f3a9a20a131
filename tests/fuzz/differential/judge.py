"""Whether what vqcheck certifies of a file is what the real library loads: equal bytes, or refused."""

import hashlib
import os
from dataclasses import dataclass

from fuzz.differential.files import Input
from fuzz.differential.library import Library, Loaded

from vqcheck.checkpoint.container import find_state_dicts
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


@dataclass(frozen=True)
class Outcome:
    """What came of one input: `refused`, `equal`, `unloadable` (the library gives nothing), or a difference."""

    kind: str
    what: str = ""


def judge(made: Input, folder: str, library: Library) -> Outcome:
    """Write an input, read it with vqcheck, and where that reads it, load it with the library."""
    for old in os.listdir(folder):
        os.remove(os.path.join(folder, old))
    for name, data in made.files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    path = os.path.join(folder, next(iter(made.files)))
    try:
        mine, mappings = _read(path)
    except CheckpointError as error:
        return Outcome("refused", str(error))
    modes = (False, True) if made.full else (False,)
    answers = [library.load(path, made.kind, full=full) for full in modes]
    loaded = [answer for answer in answers if not isinstance(answer, str)]
    for answer in loaded:
        difference = _difference(mine, mappings, answer)
        if difference:
            return Outcome("difference", difference)
    ambiguous = next((a for a in answers if isinstance(a, str) and a.startswith("two shards hold")), "")
    if ambiguous:
        return Outcome("difference", ambiguous)
    return Outcome("equal") if loaded else Outcome("unloadable", str(answers[0]))


def _read(path: str) -> tuple[Loaded, dict[str, set[str]]]:
    """Return (the tensors that can be read of the state dict that is judged, every mapping's names)."""
    with open_checkpoint(path) as checkpoint:
        values: dict[str, list[object]] = {}
        for name, tensor in checkpoint.tensors.items():
            try:
                held = bytes(checkpoint.read(tensor))
            except CheckpointError:
                continue
            values[name] = [tensor.dtype, list(tensor.shape), hashlib.sha256(held).hexdigest()]
        found = {"\n".join(each.path): set(each.tensors) for each in find_state_dicts(checkpoint._root)}
        used = next(iter(found), "")
        if not found:
            found = {"": set(checkpoint.tensors)}
    return {used: values}, found


def _difference(mine: Loaded, mappings: dict[str, set[str]], loaded: Loaded) -> str:
    for path, values in mine.items():
        theirs = loaded.get(path, {})
        for name, value in values.items():
            if theirs.get(name) != value:
                return f"{path!r} {name!r}: vqcheck reads {value}, the library {theirs.get(name)}"
    for path, values in loaded.items():
        if "[" in path and not any("." in name for name in values):
            # What is counted through, as an optimizer's state is, holds a model only under modules' names.
            continue
        unseen = values.keys() - mappings.get(path, set())
        if unseen:
            return f"{path!r}: the library has {sorted(unseen)}, which vqcheck does not see"
    return ""
