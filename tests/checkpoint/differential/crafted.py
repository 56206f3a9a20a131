"""Two codebooks, A and B, and files around them in which every byte can be chosen."""

import pickle
import struct

from fuzz.differential.files import zip_of
from fuzz.differential.opcodes import EMPTY, FALSE, NONE, call, dictionary, group, integer, integers, named, text

NAME, CONTAINER = "q.embed", "weight"
SHAPE, COUNT = (3, 2), 6
A, B = struct.pack("<6f", *range(1, 7)), struct.pack("<6f", *range(-6, 0))
STORAGES = {"a": A, "b": B}


def storage(key, count=COUNT, kind="FloatStorage", module="torch", location="cpu", spelled=None, view=None):
    parts = [text("storage"), named(module, kind), spelled or text(key), text(location), integer(count)]
    return group(*parts, *([] if view is None else [view])) + b"Q"


def arguments(held, offset=0, stride=(2, 1), spelled_offset=None, hooks=EMPTY):
    return held, spelled_offset or integer(offset), integers(SHAPE), integers(stride), FALSE, hooks


def tensor(held, *more, **places):
    return call("torch._utils", "_rebuild_tensor_v2", *arguments(held, **places), *more)


TENSOR_A, TENSOR_B = tensor(storage("a")), tensor(storage("b"))


def state_dict(value=TENSOR_A, *more):
    return dictionary((text(NAME), value), (text("other"), tensor(storage("b"))), *more)


def pickled(root, protocol=2):
    return b"\x80" + bytes([protocol]) + root + b"."


def index(weight=None, *more):
    return pickled(dictionary((text(CONTAINER), state_dict() if weight is None else weight), *more))


def archive(index, storages=None, order=b"little", more=(), first=()):
    members = [*first, ("archive/data.pkl", index), ("archive/version", b"3\n")]
    members += [] if order is None else [("archive/byteorder", order)]
    held = STORAGES if storages is None else storages
    return zip_of([*members, *((f"archive/data/{key}", data) for key, data in held.items()), *more])


def legacy_storage(key, count=COUNT, view=NONE, **options):
    return storage(key, count, view=view, **options)


def legacy_state(value):
    return dictionary((text(NAME), value), (text("other"), tensor(legacy_storage("b"))))


def legacy(weight, storages=None):
    held = STORAGES if storages is None else storages
    system = {"protocol_version": 1001, "little_endian": True}
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts = [*head, index(weight), pickle.dumps(list(held), 2)]
    return b"".join(parts) + b"".join(struct.pack("<q", len(data) // 4) + data for data in held.values())
