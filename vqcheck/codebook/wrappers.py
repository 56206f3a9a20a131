"""Names without what torch's wrappers put into them, which say nothing of the model: `quantizer._orig_mod.vq`."""

from collections.abc import Collection
from typing import Final

WRAPPERS: Final = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Components that DataParallel, torch.compile, FSDP and activation checkpointing add, anywhere in a name."""


def unwrapped(name: str) -> str:
    """Return a tensor's name without the wrappers around the modules that it stands in."""
    *modules, last = name.split(".")
    return ".".join([part for part in modules if part not in WRAPPERS] + [last])


def by_unwrapped(names: Collection[str]) -> dict[str, list[str]]:
    """Return unwrapped name -> the names that come to it; more than one where wrapped and bare ones stand together."""
    found: dict[str, list[str]] = {}
    for name in names:
        is_wrapped = any(wrapper in name for wrapper in WRAPPERS)
        found.setdefault(unwrapped(name) if is_wrapped else name, []).append(name)
    return found


def around_all(names: Collection[str]) -> dict[str, list[str]]:
    """Return the wrappers that names begin with -> those names: a bare model and a wrapped one stand side by side."""
    found: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        length = next((number for number, part in enumerate(parts[:-1]) if part not in WRAPPERS), len(parts) - 1)
        found.setdefault("".join(f"{part}." for part in parts[:length]), []).append(name)
    return found


def wrapped_prefix(prefix: str, name: str) -> str:
    """Return the beginning of a name that comes to an unwrapped prefix, wrappers behind it included."""
    left = prefix.split(".")[:-1]
    parts = name.split(".")[:-1]
    taken = 0
    for part in parts:
        if left and part == left[0]:
            left.pop(0)
        elif part not in WRAPPERS:
            break
        taken += 1
    return "".join(f"{part}." for part in parts[:taken])
