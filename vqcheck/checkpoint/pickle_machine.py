"""Reads a pickle as data. There is no importer here, so nothing named in a pickle can be imported or run.

Every global becomes a `Global` (two strings), every call and every object an inert `Placeholder`. Only what
builds data is understood: opcodes of protocols 0 to 5 without the extension registry and out-of-band buffers.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

MAX_BYTES: Final = 32 << 20
"""Longest pickle that is read; the index of the largest checkpoints in use takes a few MiB."""
MAX_STEPS: Final = 2_000_000
"""Most opcodes that are executed, which bounds time and memory; 2,000 tensors take about 60,000."""
_MAX_GLOBALS: Final = 10_000
"""Most names of classes and functions; a writer names each once and then refers back to it."""
_MAX_INTEGER_BYTES: Final = 1_000
"""Longest integer. Hashing and printing a longer one takes noticeable time, and a pickle can do so at every step."""


class PickleError(ValueError):
    """A pickle that is damaged, oversized, or uses what a checkpoint's index has no use for."""


class TruncatedPickleError(PickleError):
    """The bytes end before the pickle does."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function named by a pickle; only its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Placeholder:
    """What a call in a pickle would have returned: the callee's name, its arguments and what was put into it."""

    callee: object
    args: tuple[object, ...]
    state: object = None
    items: dict[object, object] = field(default_factory=dict)
    elements: list[object] = field(default_factory=list)


Reduce = Callable[[Global, tuple[object, ...]], object]
"""Called as (function, arguments) for each call in the pickle; returns the value that stands for the result."""
PersistentLoad = Callable[[object], object]
"""Called with each persistent id; returns the value that stands for it."""


def _no_persistent_id(_: object) -> object:
    raise PickleError("holds a persistent id outside a checkpoint")


def inert(function: Global, args: tuple[object, ...]) -> object:
    """Return a placeholder for a call: the default meaning of every call in a pickle."""
    return Placeholder(function, args)


def load(
    data: bytes | bytearray | memoryview,
    *,
    reduce: Reduce = inert,
    persistent_load: PersistentLoad = _no_persistent_id,
    start: int = 0,
    max_steps: int = MAX_STEPS,
) -> tuple[Any, int]:
    """Return (value, position behind it) of the pickle that begins at `start`.

    Raises:
        TruncatedPickleError: the data ends before the pickle does.
        PickleError: anything else that is wrong with it.

    """
    machine = _Machine(bytes(data), start, reduce, persistent_load)
    try:
        return machine.run(max_steps), machine.at
    except PickleError:
        raise
    except KeyError:
        raise PickleError("refers back to a value that it never stored") from None
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, IndexError) and str(error) == "index out of range":
            # What indexing bytes says; lists word it differently.
            raise TruncatedPickleError("ends early") from None
        raise PickleError(f"is damaged ({type(error).__name__}: {str(error)[:100]})") from None


class _Machine:
    def __init__(self, data: bytes, at: int, reduce: Reduce, persistent_load: PersistentLoad) -> None:
        self.data = data
        self.at = at
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.globals = 0
        self.reduce = reduce
        self.persistent_load = persistent_load

    def run(self, max_steps: int) -> object:
        data = self.data
        memo = self.memo
        number = int.from_bytes
        at = self.at
        for _ in range(max_steps):
            op = data[at]
            at += 1
            stack = self.stack
            # The opcodes that make up nearly all of a checkpoint's index, most frequent first. A slice that runs over
            # the end of the data is short, and the next opcode then fails.
            if op == 0x72:  # LONG_BINPUT
                memo[number(data[at : at + 4], "little")] = stack[-1]
                at += 4
            elif op == 0x4B:  # BININT1
                stack.append(data[at])
                at += 1
            elif op == 0x68:  # BINGET
                stack.append(memo[data[at]])
                at += 1
            elif op == 0x28:  # MARK
                self.marks.append(stack)
                self.stack = []
            elif op == 0x74:  # TUPLE
                self.stack = self.marks.pop()
                self.stack.append(tuple(stack))
            elif op == 0x58:  # BINUNICODE
                end = at + 4 + number(data[at : at + 4], "little")
                if end > len(data):
                    self.at = len(data)
                    raise TruncatedPickleError("ends early")
                stack.append(data[at + 4 : end].decode("utf-8", "surrogatepass"))
                at = end
            elif op == 0x4D:  # BININT2
                stack.append(number(data[at : at + 2], "little"))
                at += 2
            elif op == 0x71:  # BINPUT
                memo[data[at]] = stack[-1]
                at += 1
            elif op == 0x6A:  # LONG_BINGET
                stack.append(memo[number(data[at : at + 4], "little")])
                at += 4
            elif op == 0x52:  # REDUCE
                args = stack.pop()
                stack[-1] = self.call(stack[-1], args)
            elif op == 0x51:  # BINPERSID
                stack[-1] = self.persistent_load(stack[-1])
            elif op == 0x89:  # NEWFALSE
                stack.append(False)
            elif op == 0x29:  # EMPTY_TUPLE
                stack.append(())
            elif op == 0x85:  # TUPLE1
                stack[-1] = (stack[-1],)
            elif op == 0x86:  # TUPLE2
                stack[-2:] = [(stack[-2], stack[-1])]
            elif op == 0x2E:  # STOP
                self.at = at
                return stack.pop()
            else:
                handler = _RARE.get(op)
                if handler is None:
                    raise PickleError(f"uses opcode 0x{op:02x}, which has no place in a checkpoint's index")
                self.at = at
                handler(self)
                at = self.at
        raise PickleError(f"has more than {max_steps} instructions")

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            self.at = len(self.data)
            raise TruncatedPickleError("ends early")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def text(self, width: int) -> str:
        return self.take(self.number(width)).decode("utf-8", "surrogatepass")

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            self.at = len(self.data)
            raise TruncatedPickleError("ends early")
        piece = self.data[self.at : end]
        self.at = end + 1
        return piece

    def pop_mark(self) -> list[Any]:
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def call(self, function: object, args: object) -> object:
        if not isinstance(args, tuple):
            raise PickleError("calls something with arguments that are no tuple")
        if isinstance(function, Global):
            return self.reduce(function, args)
        return Placeholder(function, args)

    def store(self, target: object, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise PickleError("sets an odd number of keys and values")
        items = target.items if isinstance(target, Placeholder) else target
        if not isinstance(items, dict):
            raise PickleError("sets an item of something that is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            items[key if type(key) is str else scalar_key(key, len(items))] = value

    def extend(self, target: object, values: list[Any]) -> None:
        elements = target.elements if isinstance(target, Placeholder) else target
        if not isinstance(elements, list):
            raise PickleError("appends to something that is no list")
        elements.extend(values)

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.state = state
        # State for plain data (an OrderedDict's attributes, a tensor's) says nothing about its values.

    def instance(self) -> None:
        function = self.name_global(self.line().decode(), self.line().decode())
        args = tuple(self.pop_mark())
        self.stack.append(Placeholder(function, args))

    def build_object(self) -> None:
        values = self.pop_mark()
        self.stack.append(Placeholder(values[0], tuple(values[1:])))

    def name_global(self, module: object, name: object) -> Global:
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("names a global with something that is no text")
        self.globals += 1
        if self.globals > _MAX_GLOBALS:
            raise PickleError(f"names more than {_MAX_GLOBALS} classes and functions")
        return Global(module, name)

    def push_global(self) -> None:
        self.stack.append(self.name_global(self.line().decode(), self.line().decode()))

    def stack_global(self) -> None:
        name = self.stack.pop()
        module = self.stack.pop()
        self.stack.append(self.name_global(module, name))

    def new_object(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], args)

    def new_object_with_keywords(self) -> None:
        keywords = self.stack.pop()
        args = self.stack.pop()
        self.stack[-1] = Placeholder(self.stack[-1], args if isinstance(args, tuple) else (), state=keywords)

    def dictionary(self) -> None:
        pairs = self.pop_mark()
        result: dict[object, object] = {}
        self.store(result, pairs)
        self.stack.append(result)

    def set_items(self) -> None:
        pairs = self.pop_mark()
        self.store(self.stack[-1], pairs)

    def set_item(self) -> None:
        pair = self.stack[-2:]
        del self.stack[-2:]
        self.store(self.stack[-1], pair)

    def append_one(self) -> None:
        value = self.stack.pop()
        self.extend(self.stack[-1], [value])

    def append_many(self) -> None:
        values = self.pop_mark()
        self.extend(self.stack[-1], values)

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def put_text(self) -> None:
        self.memo[self.integer_text()] = self.stack[-1]

    def get_text(self) -> None:
        self.stack.append(self.memo[self.integer_text()])

    def integer_text(self) -> int:
        digits = self.line()
        if len(digits) > _MAX_INTEGER_BYTES:
            raise PickleError(f"holds an integer of {len(digits)} digits")
        return int(digits.rstrip(b"L"))

    def push_int_text(self) -> None:
        boolean = {b"00\n": False, b"01\n": True}.get(self.data[self.at : self.at + 3])
        value = self.integer_text()
        self.stack.append(value if boolean is None else boolean)

    def push_long(self, width: int) -> None:
        size = self.number(width)
        if size > _MAX_INTEGER_BYTES:
            raise PickleError(f"holds an integer of {size} bytes")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def push_string(self) -> None:
        quoted = self.line()
        if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in (b"'", b'"'):
            raise PickleError("holds a string without quotes")
        self.stack.append(quoted[1:-1].decode("latin-1"))

    def tuple_of_three(self) -> None:
        self.stack[-3:] = [(self.stack[-3], self.stack[-2], self.stack[-1])]

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def pop_to_mark(self) -> None:
        self.pop_mark()

    def skip(self, count: int) -> None:
        self.take(count)

    def push(self, value: object) -> None:
        self.stack.append(value)


def scalar_key(key: object, position: int) -> str | int | bool | None:
    """Return what stands for a dictionary key: itself if it is cheap to hash, else a text.

    Hashing a deeply nested tuple would exhaust the C stack, and numbers can be chosen to collide.
    """
    if key is None or isinstance(key, (str, bool)) or (isinstance(key, int) and -(1 << 31) <= key < 1 << 31):
        return key
    if isinstance(key, (int, float)):
        return str(key)
    return f"<{type(key).__name__} {position}>"


_RARE: Final[dict[int, Callable[[_Machine], None]]] = {
    0x80: lambda m: m.skip(1),  # PROTO
    0x95: lambda m: m.skip(8),  # FRAME: only a hint for streams
    0x63: _Machine.push_global,
    0x93: _Machine.stack_global,
    0x69: _Machine.instance,
    0x6F: _Machine.build_object,
    0x81: _Machine.new_object,
    0x92: _Machine.new_object_with_keywords,
    0x62: _Machine.build,
    0x7D: lambda m: m.push({}),  # EMPTY_DICT
    0x64: _Machine.dictionary,
    0x75: _Machine.set_items,
    0x73: _Machine.set_item,
    0x5D: lambda m: m.push([]),  # EMPTY_LIST
    0x6C: lambda m: m.push(m.pop_mark()),  # LIST
    0x61: _Machine.append_one,
    0x65: _Machine.append_many,
    0x8F: lambda m: m.push([]),  # EMPTY_SET: its order and uniqueness say nothing here
    0x90: _Machine.append_many,
    0x91: lambda m: m.push(m.pop_mark()),  # FROZENSET
    0x87: _Machine.tuple_of_three,
    0x4E: lambda m: m.push(None),  # NONE
    0x88: lambda m: m.push(True),  # NEWTRUE
    0x4A: lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),  # BININT
    0x8A: lambda m: m.push_long(1),
    0x8B: lambda m: m.push_long(4),
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),  # BINFLOAT
    0x49: _Machine.push_int_text,
    0x4C: lambda m: m.push(m.integer_text()),  # LONG
    0x46: lambda m: m.push(float(m.line())),  # FLOAT
    0x53: _Machine.push_string,
    0x54: lambda m: m.push(m.take(m.number(4)).decode("latin-1")),  # BINSTRING
    0x55: lambda m: m.push(m.take(m.number(1)).decode("latin-1")),  # SHORT_BINSTRING
    0x56: lambda m: m.push(m.line().decode("raw-unicode-escape")),  # UNICODE
    0x8C: lambda m: m.push(m.text(1)),  # SHORT_BINUNICODE
    0x8D: lambda m: m.push(m.text(8)),  # BINUNICODE8
    0x42: lambda m: m.push(m.take(m.number(4))),  # BINBYTES
    0x43: lambda m: m.push(m.take(m.number(1))),  # SHORT_BINBYTES
    0x8E: lambda m: m.push(m.take(m.number(8))),  # BINBYTES8
    0x96: lambda m: m.push(m.take(m.number(8))),  # BYTEARRAY8
    0x94: _Machine.memoize,
    0x70: _Machine.put_text,
    0x67: _Machine.get_text,
    0x30: _Machine.pop,
    0x31: _Machine.pop_to_mark,
    0x32: lambda m: m.push(m.stack[-1]),  # DUP
}
