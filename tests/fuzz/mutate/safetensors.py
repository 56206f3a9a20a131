"""Mutations of safetensors files and of the index of sharded ones."""

import json
import struct
from random import Random

from fuzz.mutate.text import NUMBERS, change_tree, flip_bytes, mutate_json

_SHARDS = ("a.safetensors", "b.safetensors", "broken.safetensors", "sound.pth", "input.index.json", "none.pth")
_SHARDS += (".", "..", "../a.safetensors", "/etc/passwd", "a\\b", "C:x", "", "a.safetensors\0", "sub", "語.safetensors")
_TYPES = ("F32", "F16", "BF16", "F64", "BOOL", "I8", "U64", "F8_E4M3", "F8_E8M0", "F4", "C64", "f32", "", "X" * 30)


def mutate(data: bytes, random: Random) -> bytes:
    """Mutate a safetensors file: its header as JSON, the length in front, or the data behind."""
    kind = random.randrange(10)
    length = int.from_bytes(data[:8], "little")
    header, values = data[8 : 8 + length], data[8 + length :]
    if kind == 0:
        return flip_bytes(data, random)
    if kind == 1:
        claimed = random.choice((*NUMBERS[:-1], length + 1, length - 1, 100 << 20)) & ((1 << 64) - 1)
        return struct.pack("<Q", claimed & ((1 << 64) - 1)) + header + values
    if kind == 2:
        return data[: 8 + length] + flip_bytes(values, random)
    changed = _change_entry(header, random) if kind <= 6 else mutate_json(header, random)
    return struct.pack("<Q", len(changed)) + changed + values


def mutate_index(data: bytes, random: Random) -> bytes:
    """Mutate the index of a sharded checkpoint, mostly to other shards."""
    tree = _object(data)
    weight_map = tree.get("weight_map") if tree else None
    if not isinstance(weight_map, dict) or not weight_map or random.randrange(3) == 0:
        return mutate_json(data, random)
    weight_map[random.choice(list(weight_map))] = random.choice(_SHARDS)
    return json.dumps(tree).encode()


def _change_entry(header: bytes, random: Random) -> bytes:
    """Change the type, shape or place of one tensor so that it may still make sense."""
    tree = _object(header)
    entries = [entry for entry in (tree or {}).values() if isinstance(entry, dict) and "dtype" in entry]
    if not entries:
        return mutate_json(header, random)
    entry = random.choice(entries)
    kind = random.randrange(5)
    if kind == 0:
        entry["dtype"] = random.choice(_TYPES)
    elif kind == 1 and isinstance(entry.get("shape"), list):
        random.shuffle(entry["shape"])
    elif kind == 2:
        entry["shape"] = [random.choice((0, 1, 2, 4, 8, random.choice(NUMBERS))) for _ in range(random.randrange(5))]
    elif kind == 3:
        entry.update(random.choice(entries))
    else:
        change_tree(entry, random)
    return json.dumps(tree).encode()


def _object(text: bytes) -> dict | None:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None
