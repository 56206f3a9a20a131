"""Mutations of bytes, of lines and of the words in them, with the values that such files trip over."""

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutator = Callable[[bytes, Random], bytes]

NUMBERS = (0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 1023, 1024, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, 1 << 40)
NUMBERS += ((1 << 62) - 1, 1 << 62, 1 << 63, (1 << 64) - 1, 1 << 64, 10**400)
WORDS = (
    *("", " ", "\t", "\n", "\r", "\0", "\x1b[31m", "\u2028", "\ufeff", "é", "語", "😀", "\u202e", "a" * 300),
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-0.0",
        "true",
        "false",
        "null",
        "0x10",
        "1_000",
        "\uff11\uff12",
        "²",
        "9" * 30,
        "9" * 5000,
    ),
    *("..", "/", "\\", "../../etc/passwd", "C:\\a", "~", "{", "}", "[", "]", '"', "'", "#", "=", ":", ",", "\\ud800"),
    *("{layer}", "{group}", "*", ".*", "(a+)+", "checkpoint", "tensor", "sha256-f32v1:" + "0" * 64),
)
_TOKEN = re.compile(rb"\s|\w+|[^\w\s]", re.ASCII)
_MOST_CHANGES = 4


def flip_bytes(data: bytes, random: Random) -> bytes:
    """Change, insert or remove a few bytes anywhere."""
    changed = bytearray(data or b"0")
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(changed) + 1)
        kind = random.randrange(4)
        if kind == 0:
            changed[at : at + 1] = bytes([random.randrange(256)])
        elif kind == 1:
            changed[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 9)))
        elif kind == 2:
            del changed[at : at + random.randrange(1, 17)]
        else:
            width = random.choice((1, 2, 4, 8))
            changed[at : at + width] = (random.choice(NUMBERS) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(changed)


def change_list(items: list[Any], random: Random, change: Callable[[Any], Any], extra: Sequence[Any] = ()) -> None:
    """Change, repeat, remove, swap or add a few items of a list, in place."""
    for _ in range(random.randrange(1, _MOST_CHANGES)):
        if not items:
            items.extend(extra[:1])
            continue
        at, other = random.randrange(len(items)), random.randrange(len(items))
        kind = random.randrange(7)
        if kind <= 1:
            items[at] = change(items[at])
        elif kind == 2:
            items.insert(other, items[at])
        elif kind == 3:
            del items[at]
        elif kind == 4:
            items[at], items[other] = items[other], items[at]
        elif kind == 5:
            items[at : at + 1] = [items[at]] * random.choice((2, 3, 50))
        elif extra:
            items.insert(at, random.choice(extra))


def mutate_lines(data: bytes, random: Random) -> bytes:
    """Mutate a file of lines: whole lines, or the words of some."""
    if random.randrange(8) == 0:
        return flip_bytes(data, random)
    lines = data.split(b"\n")
    change_list(lines, random, lambda line: _change_words(line, random))
    return b"\n".join(lines)


def _change_words(line: bytes, random: Random) -> bytes:
    words = _TOKEN.findall(line)
    change_list(words, random, lambda _: _word(random), [_word(random)])
    return b"".join(words)


def _word(random: Random) -> bytes:
    if random.randrange(3) == 0:
        return str(random.choice(NUMBERS)).encode()
    return random.choice(WORDS).encode()


def mutate_toml(data: bytes, random: Random) -> bytes:
    """Mutate a TOML file: lines and words, or a value replaced by one of another type or nested deeply."""
    if random.randrange(3):
        return mutate_lines(data, random)
    lines = data.split(b"\n")
    assignments = [number for number, line in enumerate(lines) if b"=" in line]
    if assignments:
        at = random.choice(assignments)
        key = lines[at].partition(b"=")[0]
        lines[at] = key + b"= " + _toml_value(random, 3)
    return b"\n".join(lines)


def _toml_value(random: Random, depth: int) -> bytes:
    kind = random.randrange(9 if depth else 6)
    if kind <= 2:
        return random.choice(
            (b"true", b"1", b"-1", b"0.5", b"nan", b"inf", b"-inf", b"1979-05-27", b"07:32:00", b"''", b"'{layer}'")
        )
    if kind == 3:
        return str(random.choice(NUMBERS)).encode()
    if kind <= 5:
        return json.dumps(random.choice(WORDS)).encode()
    if kind == 6:
        deep = random.choice((10, 300, 2000))
        return b"[" * deep + b"]" * deep
    if kind == 7:
        return b"[" + b", ".join(_toml_value(random, depth - 1) for _ in range(random.randrange(4))) + b"]"
    return b"{ a = " + _toml_value(random, depth - 1) + b" }"


def mutate_json(data: bytes, random: Random) -> bytes:
    """Mutate a JSON text: its tree where it still is one, else its words."""
    try:
        tree = json.loads(data) if random.randrange(4) else None
    except (ValueError, RecursionError):
        tree = None
    if tree is None:
        return mutate_lines(data, random)
    return json.dumps(change_tree(tree, random), ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def change_tree(tree: Any, random: Random) -> Any:
    """Return a JSON value with one of its parts renamed, replaced, repeated or removed."""
    path: list[Any] = []
    parent, key, here = None, None, tree
    while isinstance(here, (dict, list)) and here and (parent is None or random.randrange(3)):
        key = random.choice(list(here) if isinstance(here, dict) else range(len(here)))
        parent, here = here, here[key]
        path.append(key)
    if parent is None:
        return json_value(random, 2)
    kind = random.randrange(6)
    if kind <= 2:
        parent[key] = json_value(random, 3)
    elif kind == 3:
        del parent[key]
    elif kind == 4 and isinstance(parent, dict):
        parent[random.choice([*parent, random.choice(WORDS)])] = here
    elif isinstance(parent, list):
        parent.insert(key, here)
    else:
        parent[random.choice(WORDS)] = json_value(random, 1)
    return tree


def json_value(random: Random, depth: int) -> Any:
    """Return a value of any type, some of them extreme."""
    kind = random.randrange(9 if depth else 6)
    if kind <= 1:
        return random.choice(NUMBERS)
    if kind <= 3:
        return random.choice(WORDS)
    if kind <= 5:
        return random.choice((None, True, False, 0.5, -1.0, float("nan"), float("inf"), 1e308, [], {}))
    if kind == 6:
        value: Any = 0
        for _ in range(random.choice((3, 100, 900))):
            value = [value]
        return value
    if kind == 7:
        return [json_value(random, depth - 1) for _ in range(random.randrange(4))]
    return {random.choice(WORDS): json_value(random, depth - 1) for _ in range(random.randrange(4))}
