"""State dicts in which something may not be what it seems: one construct for each way to lead a reader astray.

`Draft` makes the pickle of one file at random. Every tensor has values of its own, and another lies in the file as
well, so a reader and torch that do not mean the same are seen at once.
"""

import codecs
import struct
from collections.abc import Callable
from random import Random

from fuzz.differential.opcodes import (
    EMPTY,
    FALSE,
    NONE,
    TRUE,
    built,
    call,
    dictionary,
    group,
    integer,
    integers,
    named,
    new,
    number,
    pairs,
    several,
    text,
)

NAMES = ("q.embed", "q.count", "proj.weight")
SHAPE = (3, 2)
COUNT = 6
KINDS = {"FloatStorage": 4, "IntStorage": 4, "HalfStorage": 2, "DoubleStorage": 8, "ByteStorage": 1, "LongStorage": 8}
CONTAINERS = ("weight", "model", "state_dict", "generator", "ema", "module", "other")


class Draft:
    """One file's pickle and the storages that it refers to. `full` allows what only weights_only=False loads."""

    def __init__(self, random: Random, *, legacy: bool = False, full: bool = False, trick: float = 0.12) -> None:
        self.random = random
        self.legacy = legacy
        self.full = full
        self.trick = trick
        self.storages: dict[str, bytes] = {}
        self.kinds: dict[str, str] = {}
        self.b_key = self._stored("B", list(range(100, 100 + COUNT)))

    def pickle(self) -> bytes:
        names = self.random.sample(CONTAINERS, self.random.choice((1, 1, 2, 3)))
        items = [(self.key(name), self.state_dict()) for name in names]
        for extra in range(self.random.randrange(3)):
            items.insert(self.random.randrange(len(items) + 1), (text(f"extra {extra}"), self.plain()))
        if self._tricked():
            items.append((self.key(names[0], always=True), self.state_dict()))
        root = (
            self.mapping(items)
            if self._tricked()
            else self.sound_mapping(items)
            if self._rarely()
            else dictionary(*items)
        )
        if self._rarely():
            root = self.state_dict()
        return b"\x80\x02" + root + b"."

    def chance(self, *choices: Callable[[], bytes]) -> bytes:
        return self.random.choice(choices)()

    def _tricked(self) -> bool:
        return self.random.random() < self.trick

    def _rarely(self) -> bool:
        return self.random.randrange(6) == 0

    # Storages and tensors

    def _stored(self, key: str, values: list[int]) -> str:
        self.storages[key] = struct.pack(f"<{len(values)}f", *values)
        return key

    def storage(self, key: str, count: int = COUNT) -> bytes:
        kind, module, location, spelled, view = "FloatStorage", "torch", "cpu", text(key), NONE
        if self._tricked():
            kind = self.random.choice((*KINDS, "UntypedStorage", "BFloat16Storage", "NoStorage"))
        if self._tricked():
            count = self.random.choice((count, count + 1, count - 1, 2 * count, 4 * count, 0, 1, -1))
        if self._tricked():
            location = self.random.choice(("cuda:0", "meta", "cpu:0", ""))
        if self._tricked():
            module = self.random.choice(("torch.cuda", "torch.storage", "elsewhere"))
        if self._tricked():
            spelled = self.chance(
                lambda: text(key + "\0x"),
                lambda: text(key.swapcase()),
                lambda: b"U" + bytes([len(key)]) + key.encode(),
                lambda: self._rot13(key),
                lambda: integer(9),
            )
        if self.legacy and self._tricked():
            view = self.view(count)
        parts = [text("storage"), named(module, kind), spelled, text(location), integer(count)]
        if self.legacy != (self._tricked() and self._rarely()):
            parts.append(view)
        return group(*parts) + b"Q"

    def view(self, count: int) -> bytes:
        key = self.random.choice(("view", "view", "other view", "B", NAMES[0]))
        offset = self.random.choice((0, 1, 2, count // 2, -1, count))
        size = self.random.choice((count, count - offset, COUNT, 1, 0))
        parts = [text(key), integer(offset), integer(size)]
        return self.chance(
            lambda: group(*parts),
            lambda: group(*parts),
            lambda: several(*parts),
            lambda: group(parts[0], TRUE, parts[2]),
            lambda: group(*parts, integer(0)),
            lambda: EMPTY,
        )

    def tensor(self, name: str) -> bytes:
        """Return a tensor that looks as if it could be read."""
        first = 10 * len(self.storages)
        key = f"{name} {len(self.storages)}"
        if self._tricked():
            key = self.random.choice([*self.storages])
        elif self._rarely():
            # Its storage is longer than it.
            self._stored(key, list(range(first, first + 2 * COUNT)))
            return self.rebuilt(self.storage(key, 2 * COUNT), self.random.choice((0, COUNT, 1)))
        else:
            self._stored(key, list(range(first, first + COUNT)))
        return self.rebuilt(self.storage(key))

    def other(self) -> bytes:
        """Return a plain tensor of other values."""
        kind = group(text("storage"), named("torch", "FloatStorage"), text(self.b_key), text("cpu"), integer(COUNT))
        if self.legacy:
            kind = kind[:-1] + NONE + b"t"
        return call("torch._utils", "_rebuild_tensor_v2", kind + b"Q", *self._arguments(0))

    def _arguments(self, offset: int) -> tuple[bytes, ...]:
        stride = (SHAPE[1], 1) if not self._tricked() else self.random.choice(((1, 3), (0, 0), (1, 1), (4, 1)))
        return integer(offset), integers(SHAPE), integers(stride), FALSE, EMPTY

    def rebuilt(self, storage: bytes, offset: int = 0) -> bytes:
        arguments = (storage, *self._arguments(offset))
        if self._tricked():
            spelled = self.random.choice((b"I00\n", b"I01\n", b"I02\n", b"L1L\n", b"I010\n", TRUE, NONE, integer(-1)))
            arguments = (storage, spelled, *arguments[2:])
        plain = call("torch._utils", "_rebuild_tensor_v2", *arguments)
        if not self._tricked():
            return plain
        as_type = self.random.choice((named("torch", "Tensor"), named("torch.nn.parameter", "Parameter")))
        return self.chance(
            lambda: call("torch._utils", "_rebuild_tensor_v2", *arguments, self.marks()),
            lambda: call("torch._utils", "_rebuild_tensor", *arguments[:4]),
            lambda: call("torch._utils", "_rebuild_tensor_v3", *arguments, named("torch", "float32")),
            lambda: call("torch._utils", "_rebuild_tensor_v3", *arguments, named("torch", "int32"), self.marks()),
            lambda: call("torch._utils", "_rebuild_parameter", plain, FALSE, EMPTY),
            lambda: call("torch._utils", "_rebuild_parameter_with_state", plain, FALSE, EMPTY, self.state()),
            lambda: call(
                "torch._tensor",
                "_rebuild_from_type_v2",
                named("torch._utils", "_rebuild_tensor_v2"),
                as_type,
                group(*arguments),
                self.state(),
            ),
            lambda: built(plain, self.state()),
            lambda: built(call("torch._utils", "_rebuild_parameter", plain, FALSE, EMPTY), self.state()),
            self.no_record,
        )

    def marks(self) -> bytes:
        return self.chance(
            lambda: dictionary((text("neg"), TRUE)),
            lambda: dictionary((text("neg"), FALSE)),
            lambda: dictionary((text("neg"), integer(1))),
            lambda: call("collections", "Counter", dictionary((text("neg"), TRUE))),
            lambda: dictionary((self._rot13("neg"), TRUE)),
            lambda: dictionary((call("_codecs", "encode", text("neg"), text("latin1")), TRUE)),
            lambda: call("collections", "OrderedDict", several(group(text("neg"), TRUE))),
            lambda: b"}",
            lambda: NONE,
        )

    def state(self) -> bytes:
        plain = self.random.choice((b"}", NONE, dictionary((text("note"), text("mine")))))
        name = self.random.choice(
            ("data", "grad", "real", "note", "requires_grad", "shape", "_x", "__class__", "names")
        )
        value = self.random.choice((self.other(), number(7.0), NONE, several(), TRUE))
        attribute = dictionary((text(name), value))
        there = self.other()
        set_ = group(self._b_storage(), integer(0), integers(SHAPE), integers((2, 1)))
        return self.chance(
            lambda: plain,
            lambda: attribute,
            lambda: attribute,
            lambda: group(NONE, attribute),
            lambda: group(attribute, plain),
            lambda: group(there, NONE, EMPTY, FALSE, EMPTY),
            lambda: set_,
            lambda: group(FALSE, NONE, EMPTY),
        )

    def _b_storage(self) -> bytes:
        parts = [text("storage"), named("torch", "FloatStorage"), text(self.b_key), text("cpu"), integer(COUNT)]
        return group(*parts, *([NONE] if self.legacy else [])) + b"Q"

    def no_record(self) -> bytes:
        """Return a tensor that is not made by one of torch's rebuild functions, or cannot be read."""
        numbers = several(*(several(number(float(row)), number(2.0)) for row in range(SHAPE[0])))
        return self.chance(
            lambda: call("torch", "FloatTensor", numbers),
            lambda: call("torch", "Tensor", numbers),
            lambda: call("torch.nn.parameter", "Parameter", self.other(), FALSE),
            lambda: new("torch.nn.parameter", "Parameter", self.other(), FALSE),
            lambda: built(
                new("torch", "Tensor"), group(self._b_storage(), integer(0), integers(SHAPE), integers((2, 1)))
            ),
            lambda: call(
                "torch._utils",
                "_rebuild_device_tensor_from_cpu_tensor",
                self.other(),
                named("torch", "float32"),
                text("cpu"),
                FALSE,
            ),
            lambda: call(
                "torch._utils",
                "_rebuild_meta_tensor_no_storage",
                named("torch", "float32"),
                integers(SHAPE),
                integers((2, 1)),
                FALSE,
            ),
            lambda: named("torch", "float16"),
            lambda: numbers,
            lambda: NONE,
            self._b_storage,
        )

    # Keys and containers

    def _rot13(self, value: str) -> bytes:
        return call("_codecs", "encode", text(codecs.encode(value, "rot13")), text("rot13"))

    def key(self, name: str, *, always: bool = False) -> bytes:
        """Return a key that torch may or may not take for this name."""
        if not always and not self._tricked():
            return text(name)
        in_both = [
            lambda: text(name),
            lambda: b"U" + bytes([len(name)]) + name.encode(),
            lambda: self._rot13(name),
            lambda: call("_codecs", "encode", text(name), text("latin1")),
            lambda: text(name + "\0"),
            lambda: text(name.upper()),
            lambda: integer(1),
            lambda: TRUE,
            lambda: number(1.0),
            lambda: group(text(name)),
        ]
        in_full = [
            lambda: call("builtins", "str", text(name)),
            lambda: new("builtins", "str", text(name)),
            lambda: call("__builtin__", "unicode", text(name)),
            lambda: b"V" + name.replace("e", "\\u0065").encode() + b"\n",
            lambda: b"S'" + name.replace("e", "\\x65").encode() + b"'\n",
            lambda: b"S'" + name.encode() + b"'\n",
            lambda: b"T" + struct.pack("<I", len(name)) + name.encode(),
            lambda: b"\x8c" + bytes([len(name)]) + name.encode(),
        ]
        return self.chance(*in_both, *(in_full if self.full else ()))

    def state_dict(self) -> bytes:
        items = [(self.key(name), self.tensor(name)) for name in NAMES]
        if self._tricked():
            items.insert(self.random.randrange(4), (self.key(NAMES[0], always=True), self.other()))
        if self._rarely():
            items.append((text("module." + NAMES[0]), self.other()))
        if self._tricked():
            items.append((text("beside"), self.plain()))
        if self._tricked():
            return self.mapping(items)
        return self.sound_mapping(items) if self._rarely() else dictionary(*items)

    def sound_mapping(self, items: list[tuple[bytes, bytes]]) -> bytes:
        half = len(items) // 2
        listed = several(*(group(key, value) for key, value in items))
        return self.chance(
            lambda: EMPTY + pairs(items),
            lambda: EMPTY + pairs(items[:half]) + pairs(items[half:]),
            lambda: b"}" + b"".join(key + value + b"s" for key, value in items),
            lambda: call("collections", "OrderedDict", listed),
            lambda: call("collections", "OrderedDict", dictionary(*items)),
            lambda: call("collections", "Counter", dictionary(*items[:half])) + pairs(items[half:]),
            lambda: new("collections", "OrderedDict", listed) + pairs(items),
            lambda: built(EMPTY + pairs(items), dictionary((text("_metadata"), EMPTY))),
            lambda: self._changed_later(items),
        )

    def mapping(self, items: list[tuple[bytes, bytes]]) -> bytes:
        listed = several(*(group(key, value) for key, value in items))
        half = len(items) // 2
        in_both = [
            lambda: self.sound_mapping(items),
            lambda: new("collections", "OrderedDict", listed),
            lambda: new("collections", "OrderedDict", listed) + pairs(items[half:]),
            lambda: call("collections", "Counter", dictionary(*items)),
            lambda: call("collections", "Counter") + pairs(items),
            lambda: call("collections", "Counter", dictionary(*items[:half])) + pairs(items[half:]),
            lambda: new("collections", "Counter", dictionary(*items)) + pairs(items[half:]),
            lambda: built(EMPTY + pairs(items), dictionary((text("_metadata"), EMPTY))),
            lambda: built(EMPTY + pairs(items), dictionary((text("keys"), named("builtins", "set")))),
            lambda: built(EMPTY + pairs(items), dictionary((text("items"), named("collections", "Counter")))),
            lambda: self._twice(listed),
            lambda: several(dictionary(*items)),
            lambda: self._changed_later(items),
        ]
        in_full = [
            lambda: call("collections", "defaultdict", NONE, dictionary(*items)),
            lambda: call("collections", "defaultdict", named("builtins", "list")) + pairs(items),
            lambda: call("builtins", "dict", dictionary(*items)),
            lambda: new("builtins", "dict", dictionary(*items)) + pairs(items[half:]),
            lambda: call("typing", "OrderedDict", dictionary(*items[:half])) + pairs(items[half:]),
            lambda: named("builtins", "dict") + b")}\x92" + pairs(items),
            lambda: b"(" + b"".join(key + value for key, value in items) + b"d",
            lambda: call(
                "copyreg", "_reconstructor", named("builtins", "dict"), named("builtins", "dict"), dictionary(*items)
            ),
            lambda: built(new("argparse", "Namespace"), dictionary(*items)),
        ]
        return self.chance(*in_both, *(in_full if self.full else ()))

    def _twice(self, listed: bytes) -> bytes:
        """Return a dictionary made of a list of which another was made before."""
        spot = bytes([self.random.randrange(200, 255)])
        first = listed + b"q" + spot + b"0" if self.full else b"}" + text("first") + listed + b"q" + spot + b"s"
        made = b"ccollections\nOrderedDict\n(h" + spot + b"tR"
        if self.full:
            return first + made[:-3] + b"tR0" + made
        return first + text("again") + made + b"s" + text("and") + made + b"s"

    def _changed_later(self, items: list[tuple[bytes, bytes]]) -> bytes:
        """Return a dictionary that is changed through the memo after it was put somewhere."""
        spot = bytes([self.random.randrange(200, 255)])
        inner = dictionary(*items) + b"q" + spot
        return dictionary((text("inner"), inner), (text("later"), b"h" + spot + text(NAMES[0]) + self.other() + b"s"))

    # What stands beside tensors

    def plain(self) -> bytes:
        in_both = [
            lambda: integer(self.random.randrange(-3, 70_000)),
            lambda: number(0.5),
            lambda: text("words"),
            lambda: several(integer(1), text("two")),
            lambda: dictionary((text("lr"), number(1e-4)), (integer(3), several())),
            lambda: call("torch", "Size", integers(SHAPE)),
            lambda: named("torch", "float16"),
            lambda: call("builtins", "set", several(integer(1))),
            lambda: call("torch", "device", text("cpu")),
            lambda: dictionary((text("deep"), dictionary((text("deeper"), self.other())))),
            self.other,
            lambda: several(self.other()),
        ]
        if self._tricked():
            parameter = (self.tensor(NAMES[1]), FALSE, EMPTY, self.state())
            in_both.append(lambda: call("torch._utils", "_rebuild_parameter_with_state", *parameter))
        in_full = [
            lambda: call("copy", "copy", self.other()) if self._tricked() else NONE,
            lambda: built(new("argparse", "Namespace"), dictionary((text("rate"), integer(3)))),
            lambda: call("pathlib", "PurePosixPath", text("a"), text("b")),
            lambda: built(new("types", "SimpleNamespace"), dictionary((text("t"), self.other()))),
            lambda: call("collections", "deque", several(integer(1)), integer(5)),
            lambda: call("functools", "partial", named("collections", "OrderedDict")),
            lambda: call("builtins", "getattr", named("collections", "OrderedDict"), text("fromkeys")),
        ]
        return self.chance(*in_both, *(in_full if self.full else ()))
