"""The stack a pickle is read with, and the opcodes that are rare in a checkpoint's index."""

import re
import struct
from collections.abc import Callable
from typing import Any, Final

from vqcheck.checkpoint.pickle_values import (
    Global,
    Meaning,
    PickleError,
    Placeholder,
    TruncatedPickleError,
    dictionary_key,
)
from vqcheck.language import tr

_MAX_GLOBALS: Final = 10_000
"""Most names of classes and functions; a writer names each once and then refers back to it."""
_MAX_INTEGER_BYTES: Final = 1_000
"""Longest integer. Hashing and printing a longer one takes noticeable time, and a pickle can do so at every step."""

# Numbers as writers spell them. C's readers take octal, hexadecimal, blanks and underscores, too, each in its own way.
_INTEGER: Final = re.compile(rb"-?[1-9][0-9]*|0")
_FLOAT: Final = re.compile(rb"-?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|inf|nan)")
SET: Final = Global("builtins", "set")
FROZENSET: Final = Global("builtins", "frozenset")


class PickleStack:
    """The state of a pickle that is being read: its bytes, stack and memo, and every opcode but the most frequent."""

    def __init__(self, data: bytes, at: int, meaning: Meaning) -> None:
        self.data = data
        self.at = at
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.globals = 0
        self.meaning = meaning

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            self.at = len(self.data)
            raise TruncatedPickleError(tr("ends early"))
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
            raise TruncatedPickleError(tr("ends early"))
        piece = self.data[self.at : end]
        self.at = end + 1
        return piece

    def pop_mark(self) -> list[Any]:
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def call(self, function: object, args: object) -> object:
        if not isinstance(args, tuple):
            raise PickleError(tr("calls something with arguments that are not a tuple"))
        return self.meaning.call(function, args)

    def store(self, target: object, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise PickleError(tr("sets an odd number of keys and values"))
        if isinstance(target, dict):
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                target[key if type(key) is str else dictionary_key(key, len(target))] = value
        elif isinstance(target, Placeholder) and not target.is_fixed:
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                kept = dictionary_key(key, len(target.items))
                if kept in target.items:
                    # What it was handed must not be forgotten.
                    raise PickleError(tr("sets an item of {callee} twice", callee=str(target.callee)))
                target.items[kept] = value
        else:
            raise PickleError(tr("sets an item of something that is not a dictionary"))

    def extend(self, target: object, values: list[Any]) -> None:
        if isinstance(target, Placeholder) and not target.is_fixed:
            target.elements.extend(values)
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise PickleError(tr("appends to something that is not a list"))

    def add_to_set(self) -> None:
        values = self.pop_mark()
        target = self.stack[-1]
        if not isinstance(target, Placeholder) or target.callee is not SET:
            raise PickleError(tr("adds to something that is not a set"))
        target.elements.extend(values)

    def build(self) -> None:
        state = self.stack.pop()
        self.stack[-1] = self.meaning.build(self.stack[-1], state)

    def instance(self) -> None:
        function = self.name_global(self.line().decode(), self.line().decode())
        args = tuple(self.pop_mark())
        self.stack.append(self.meaning.call(function, args))

    def build_object(self) -> None:
        values = self.pop_mark()
        self.stack.append(self.meaning.call(values[0], tuple(values[1:])))

    def name_global(self, module: object, name: object) -> Global:
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError(tr("names a global with something that is not text"))
        self.globals += 1
        if self.globals > _MAX_GLOBALS:
            raise PickleError(tr("names more than {most} classes and functions", most=_MAX_GLOBALS))
        return Global(module, name)

    def push_global(self) -> None:
        self.stack.append(self.name_global(self.line().decode(), self.line().decode()))

    def stack_global(self) -> None:
        name = self.stack.pop()
        module = self.stack.pop()
        self.stack.append(self.name_global(module, name))

    def new_object(self) -> None:
        args = self.stack.pop()
        if not isinstance(args, tuple):
            raise PickleError(tr("makes an object with arguments that are not a tuple"))
        self.stack[-1] = self.meaning.new(self.stack[-1], args)

    def new_object_with_keywords(self) -> None:
        keywords = self.stack.pop()
        args = self.stack.pop()
        if not isinstance(args, tuple) or not isinstance(keywords, dict):
            raise PickleError(tr("makes an object with arguments that are not a tuple and a dictionary"))
        self.stack[-1] = self.meaning.new(self.stack[-1], args, keywords)

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

    def integer_text(self, ending: bytes = b"") -> int:
        digits = self.line()
        if len(digits) > _MAX_INTEGER_BYTES:
            raise PickleError(tr("holds an integer of {digits} digits", digits=len(digits)))
        digits = digits.removesuffix(ending)
        if not _INTEGER.fullmatch(digits):
            raise PickleError(tr("spells an integer in a way that readers take differently"))
        return int(digits)

    def push_int_text(self) -> None:
        boolean = {b"00\n": False, b"01\n": True}.get(self.data[self.at : self.at + 3])
        if boolean is None:
            self.stack.append(self.integer_text())
        else:
            self.at += 3
            self.stack.append(boolean)

    def push_float_text(self) -> None:
        digits = self.line()
        if len(digits) > _MAX_INTEGER_BYTES or not _FLOAT.fullmatch(digits):
            raise PickleError(tr("spells a number in a way that readers take differently"))
        self.stack.append(float(digits))

    def push_long(self, width: int) -> None:
        size = self.number(width)
        if size > _MAX_INTEGER_BYTES:
            raise PickleError(tr("holds an integer of {size} bytes", size=size))
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def push_string(self) -> None:
        quoted = self.line()
        if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in (b"'", b'"'):
            raise PickleError(tr("holds a string without quotes"))
        if b"\\" in quoted or not quoted.isascii():
            raise PickleError(tr("holds a string with escapes"))
        self.stack.append(quoted[1:-1].decode("ascii"))

    def push_binary_string(self, width: int) -> None:
        # What Python 2 called a string; torch takes it for UTF-8.
        self.stack.append(self.take(self.number(width)).decode("utf-8"))

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


RARE: Final[dict[int, Callable[[PickleStack], None]]] = {
    0x80: lambda m: m.skip(1),  # PROTO
    0x95: lambda m: m.skip(8),  # FRAME: only a hint for streams
    0x63: PickleStack.push_global,
    0x93: PickleStack.stack_global,
    0x69: PickleStack.instance,
    0x6F: PickleStack.build_object,
    0x81: PickleStack.new_object,
    0x92: PickleStack.new_object_with_keywords,
    0x62: PickleStack.build,
    0x7D: lambda m: m.push({}),  # EMPTY_DICT
    0x64: PickleStack.dictionary,
    0x75: PickleStack.set_items,
    0x73: PickleStack.set_item,
    0x5D: lambda m: m.push([]),  # EMPTY_LIST
    0x6C: lambda m: m.push(m.pop_mark()),  # LIST
    0x61: PickleStack.append_one,
    0x65: PickleStack.append_many,
    0x8F: lambda m: m.push(Placeholder(SET, ())),  # EMPTY_SET: its order and uniqueness say nothing here
    0x90: PickleStack.add_to_set,
    0x91: lambda m: m.push(Placeholder(FROZENSET, (), elements=m.pop_mark())),
    0x87: PickleStack.tuple_of_three,
    0x4E: lambda m: m.push(None),  # NONE
    0x88: lambda m: m.push(True),  # NEWTRUE
    0x4A: lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),  # BININT
    0x8A: lambda m: m.push_long(1),
    0x8B: lambda m: m.push_long(4),
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),  # BINFLOAT
    0x49: PickleStack.push_int_text,
    0x4C: lambda m: m.push(m.integer_text(b"L")),  # LONG
    0x46: PickleStack.push_float_text,
    0x53: PickleStack.push_string,
    0x54: lambda m: m.push_binary_string(4),
    0x55: lambda m: m.push_binary_string(1),
    0x56: lambda m: m.push(m.line().decode("raw-unicode-escape")),  # UNICODE
    0x8C: lambda m: m.push(m.text(1)),  # SHORT_BINUNICODE
    0x8D: lambda m: m.push(m.text(8)),  # BINUNICODE8
    0x42: lambda m: m.push(m.take(m.number(4))),  # BINBYTES
    0x43: lambda m: m.push(m.take(m.number(1))),  # SHORT_BINBYTES
    0x8E: lambda m: m.push(m.take(m.number(8))),  # BINBYTES8
    0x96: lambda m: m.push(m.take(m.number(8))),  # BYTEARRAY8
    0x94: PickleStack.memoize,
    0x70: PickleStack.put_text,
    0x67: PickleStack.get_text,
    0x30: PickleStack.pop,
    0x31: PickleStack.pop_to_mark,
    0x32: lambda m: m.push(m.stack[-1]),  # DUP
}
"""Opcode -> what it does. An opcode that is neither here nor in the loop of `pickle_machine` is refused."""
