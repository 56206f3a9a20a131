"""Files of every format around a draft, sound or not: archives, legacy files, safetensors files, sharded models."""

import json
import pickle
import struct
import zlib
from dataclasses import dataclass
from random import Random

from fuzz.differential.pickled import COUNT, KINDS, NAMES, SHAPE, Draft
from fuzz.mutate import pickles, safetensors, zips

_MAGIC = 0x1950A86A20F9469CFC6C
_SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


@dataclass(frozen=True)
class Input:
    """One input: files by name, the first of which is the one to open."""

    files: dict[str, bytes]
    kind: str
    full: bool = False
    """It was not mutated and holds only constructs that are known to be inert: weights_only=False may load it, too."""


def make(kind: str, random: Random) -> Input:
    """Return an input of a kind; half of them are mutated once or twice after they were made."""
    made = _MAKERS[kind](random)
    mutate = {"zip": zips.mutate, "legacy": pickles.mutate_legacy, "safetensors": safetensors.mutate}.get(kind)
    if mutate and random.randrange(3) == 0:
        ((name, changed),) = made.files.items()
        for _ in range(random.randrange(1, 3)):
            changed = mutate(changed, random)
        return Input({name: changed}, kind)
    return made


def _zip(random: Random) -> Input:
    draft = Draft(random, full=random.randrange(3) == 0, trick=random.choice((0.0, 0.005, 0.01, 0.02, 0.05)))
    return Input({"a.pth": archive(draft)}, "zip", draft.full)


def _legacy(random: Random) -> Input:
    trick = random.choice((0.0, 0.005, 0.01, 0.02, 0.05))
    draft = Draft(random, legacy=True, full=random.randrange(3) == 0, trick=trick)
    return Input({"a.pth": legacy(draft)}, "legacy", draft.full)


def archive(draft: Draft) -> bytes:
    random, odd = draft.random, draft.trick / 3
    index = draft.pickle()
    root = random.choice(("archive", "a b", "deep/er")) if random.random() < odd else "archive"
    members = [(f"{root}/data.pkl", index)]
    if random.random() > odd:
        order = b"little" if random.random() > odd else random.choice((b"big", b"Little", b"little\n"))
        members.append((f"{root}/byteorder", order))
    members.append((f"{root}/version", b"3\n"))
    for key, data in draft.storages.items():
        held = data
        if random.random() < odd:
            held = random.choice((data + data, data[:-1], data[:8], data + b"\0", b""))
        members.append((f"{root}/data/{key}", held))
    if random.random() < odd * 3:
        b = draft.storages[draft.b_key]
        name = random.choice([name for name, _ in members])
        name = random.choice((name.upper(), name.swapcase(), name + "\0x", name + " ", "x/" + name, name.title()))
        members.insert(random.randrange(len(members) + 1), (name, random.choice((b, b"big", index))))
    if random.random() < odd:
        random.shuffle(members)
    packed = random.random() < odd
    return zip_of(members, packed=packed)


def zip_of(members: list[tuple[str, bytes]], *, packed: bool = False) -> bytes:
    out, directory = bytearray(), bytearray()
    for name, data in members:
        raw, stored, method = name.encode(), data, 0
        if packed:
            machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
            stored, method = machine.compress(data) + machine.flush(), 8
        numbers = zlib.crc32(data), len(stored), len(data)
        at = len(out)
        out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, method, 0, 33, *numbers, len(raw), 0) + raw + stored
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, method, 0, 33, *numbers, len(raw), 0, 0, 0, 0, 0, at
        )
        directory += raw
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(members), len(members), len(directory), len(out), 0)
    return bytes(out + directory + end)


def legacy(draft: Draft) -> bytes:
    random, odd = draft.random, draft.trick / 3
    system = dict(_SYSTEM, little_endian=random.random() > odd)
    head = [pickle.dumps(_MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps(system, 2)]
    index = draft.pickle()
    keys = [key for key in draft.storages if key.encode() in index]
    if random.random() < odd:
        random.shuffle(keys)
    if random.random() < odd:
        keys = random.choice((keys[1:], [*keys, "view"], [*keys, keys[0]]))
    storages = bytearray()
    for key in keys:
        data = draft.storages.get(key, bytes(4 * COUNT))
        count = len(data) // 4
        if random.random() < odd:
            count = random.choice((count + 1, count - 1, 2 * count, 0))
        width = random.choice((4, *KINDS.values())) if random.random() < odd else 4
        storages += struct.pack("<q", count) + data * (width // 4 or 1)
    file = b"".join(head) + index + pickle.dumps(keys, 2) + bytes(storages)
    return _as_tar(file) if random.random() < odd else file


def _as_tar(file: bytes) -> bytes:
    """Return the file with a comment of a tar header's checksum in it, as far as its length allows."""
    if len(file) < 600:
        return file
    third = pickle.dumps(_MAGIC, 2) + pickle.dumps(1001, 2)
    rest = file[len(third) :]
    head = bytearray(third + b"\x80\x03B" + struct.pack("<I", 512 - len(third) - 7))
    head += bytes(512 - len(head))
    head[124:136] = b"%011o\0" % 0
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + b"0" + rest[2:]


def _entries(random: Random, names: tuple[str, ...], odd: float) -> tuple[dict[str, object], bytes]:
    header: dict[str, object] = {}
    data = b""
    for name in names:
        values = struct.pack(f"<{COUNT}f", *(random.randrange(100) for _ in range(COUNT)))
        place = [len(data), len(data) + len(values)]
        entry = {"dtype": "F32", "shape": list(SHAPE), "data_offsets": place}
        if random.random() < odd:
            entry["dtype"] = random.choice(("I32", "U32", "F64", "F16", "C64", "f32", "F4", "BOOL"))
        if random.random() < odd:
            entry["shape"] = random.choice(([6], [2, 3], [3, 2, 1], [3, 4], [], [0], [3.0, 2]))
        if random.random() < odd:
            entry["data_offsets"] = random.choice(
                ([0, 24], [4, 28], place[::-1], [*place, 0], [float(place[0]), place[1]])
            )
        header[name] = entry
        data += values
    return header, data


def _safetensors_bytes(random: Random, names: tuple[str, ...], odd: float) -> bytes:
    header, data = _entries(random, names, odd)
    if random.random() < odd * 2:
        aliases = {random.choice((*names, "alias", "module." + names[0])): random.choice(names) for _ in range(2)}
        header = {"__metadata__": random.choice((aliases, {"format": "pt"}, None, {"a": 1}, [])), **header}
    raw = json.dumps(header).encode()
    if random.random() < odd:
        name = random.choice(names)
        raw = raw.replace(name.encode(), random.choice(names).encode(), 1)
    if random.random() < odd:
        raw = random.choice(
            (raw + b"  ", b" " + raw, raw + b"\0", raw.replace(b"[0,", b"[-0,"), raw.replace(b"q", b"\\u0071"))
        )
    if random.random() < odd:
        data = random.choice((data + b"\0", data[:-1], data + data))
    return struct.pack("<Q", len(raw)) + raw + data


def _safetensors(random: Random) -> Input:
    return Input({"a.safetensors": _safetensors_bytes(random, NAMES, random.choice((0.0, 0.02, 0.1)))}, "safetensors")


def _sharded(random: Random) -> Input:
    """Return a model in two shards, of safetensors or of pickles, whose index may not say what they hold."""
    odd = random.choice((0.0, 0.05, 0.2))
    halves = [NAMES[:2], NAMES[2:]]
    if random.random() < odd:
        halves[1] = (*halves[1], random.choice(("extra", NAMES[0])))
    tensors = random.random() < 0.6
    files: dict[str, bytes] = {}
    names = [f"m-0000{part}-of-00002.{'safetensors' if tensors else 'bin'}" for part in (1, 2)]
    for name, half in zip(names, halves, strict=True):
        files[name] = _safetensors_bytes(random, half, odd / 4) if tensors else _pickled_shard(random, half, odd)
    weight_map = {name: shard for shard, half in zip(names, halves, strict=True) for name in half}
    if random.random() < odd:
        weight_map[random.choice(NAMES)] = random.choice((*names, "m-00003-of-00002.safetensors"))
    if random.random() < odd:
        weight_map.pop(random.choice(NAMES))
    ending = ".safetensors" if tensors else ".bin"
    index = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return Input({f"m{ending}.index.json": index, **files}, "sharded")


def _pickled_shard(random: Random, names: tuple[str, ...], odd: float) -> bytes:
    from fuzz.differential.opcodes import dictionary, text

    draft = Draft(random, trick=odd / 10)
    tensors = [(text(name), draft.tensor(name)) for name in names]
    inner = dictionary(*tensors)
    if random.random() < odd:
        inner = dictionary((text(random.choice(("weight", "model"))), dictionary(*tensors)), *tensors)
    members = [("archive/data.pkl", b"\x80\x02" + inner + b"."), ("archive/byteorder", b"little")]
    members += [(f"archive/data/{key}", data) for key, data in draft.storages.items()]
    return zip_of([*members, ("archive/version", b"3\n")])


_MAKERS = {"zip": _zip, "legacy": _legacy, "safetensors": _safetensors, "sharded": _sharded}
KINDS_OF_FILES = tuple(_MAKERS)
