"""Reads in a tree's training script, without running it, which folder of an experiment it resumes from."""

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Final

from vqcheck.checkpoint.file import open_regular_file

PLAIN: Final = "logs_s2"
VERSION: Final = "{version}"
LORA_RANK: Final = "{lora_rank}"

_LONGEST: Final = 4 << 20
_PERCENT: Final = re.compile(r"%[sdr]")
_BRACES: Final = re.compile(r"\{\}")
_NAMED: Final = re.compile(r"\{[\w?]*\}")
_KNOWN_HOLES: Final = frozenset((VERSION, LORA_RANK))
_UNKNOWN: Final = "{?}"


def folder_patterns(path: str) -> set[str] | None:
    """Return the folders that a script names, as `logs_s2_{version}`; None where it does not say.

    It can where every text in the code that names such a folder is made of constants, the model's `version` and
    `lora_rank`, and there is one.
    """
    try:
        with open(path, "rb", opener=open_regular_file) as file:
            source = file.read(_LONGEST + 1)
        if len(source) > _LONGEST:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes and the like in other people's code
            tree = ast.parse(source)
        patterns = {_pattern(text) for text in _texts(tree) if PLAIN in text}
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return None if None in patterns or not patterns else {pattern for pattern in patterns if pattern}


def _pattern(text: str) -> str | None:
    """Return the folder in a text such as `{exp_dir}/logs_s2_{version}/G_{step}.pth`."""
    (name, *more) = [part for part in re.split(r"[/\\]", text) if PLAIN in part]
    if more or not name.startswith(PLAIN) or not re.fullmatch(r"\w+", _NAMED.sub("", name)):
        return None
    return name if set(_NAMED.findall(name)) <= _KNOWN_HOLES else None


def _texts(node: ast.AST) -> Iterator[str]:
    """Return every text in the code, put together as far as it is spelled out; a docstring is none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    text = _text(node)
    if text is not None:
        yield text
        if PLAIN in text:
            return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def _text(node: ast.AST) -> str | None:
    """Return the text that an expression comes to, with `{name}` for what a name stands for; None for others."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_hole(part.value if isinstance(part, ast.FormattedValue) else part) for part in values)
        case ast.BinOp(left=left, op=ast.Mod(), right=right):
            template = _text(left)
            values = right.elts if isinstance(right, ast.Tuple) else [right]
            return None if template is None else _filled(_PERCENT, template, [_hole(value) for value in values])
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            is_text = _text(left) is not None or _text(right) is not None
            return _hole(left) + _hole(right) if is_text else None
        case ast.Call(func=ast.Attribute(value=owner, attr="format"), args=args):
            template = _text(owner)
            return None if template is None else _filled(_BRACES, template, [_hole(value) for value in args])
        case ast.Call(func=ast.Attribute(attr="join"), args=args) if len(args) > 1:
            return "/".join(_hole(each) for each in args)
    return None


def _filled(holes: re.Pattern[str], template: str, values: list[str]) -> str:
    """Put values into a template's holes in order; all are unknown where they do not match in number."""
    count = len(holes.findall(template))
    given = iter(values if len(values) == count else [_UNKNOWN] * count)
    return holes.sub(lambda _: next(given), template)


def _hole(node: ast.AST) -> str:
    """Return the text that an expression is, or `{name}` for what it stands for, by the last name in it."""
    text = _text(node)
    if text is not None:
        return text
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return f"{{{name}}}"
        case ast.Call(func=ast.Name(id="str"), args=[value]):
            return _hole(value)
    return _UNKNOWN
