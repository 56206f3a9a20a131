"""Counts the text symbols that a GPT-SoVITS tree defines, without running any of its code."""

import ast
import os
from typing import Final

from vqcheck.checkpoint.file import open_regular_file

_LONGEST: Final = 4 << 20
_NAME: Final = "symbols"
_KINDS: Final = {"list": list, "tuple": list, "set": set, "sorted": sorted}
_Texts = list[str] | set[str] | str


class _UnknownError(ValueError):
    """An expression that is not made of texts alone."""


def symbols_file(tree: str, version: str) -> str:
    """Return the path of the file in which a tree defines the text symbols of a version."""
    return os.path.join(tree, "GPT_SoVITS", "text", "symbols.py" if version == "v1" else "symbols2.py")


def count_symbols(path: str) -> int | None:
    """Return the length of the list `symbols` that a Python file makes; None where that cannot be read off it.

    It can where the list is made of texts, by `+`, `+=`, `append`, `extend`, `list`, `set` and `sorted`.
    """
    try:
        with open(path, "rb", opener=open_regular_file) as file:
            source = file.read(_LONGEST + 1)
        if len(source) > _LONGEST:
            return None
        known: dict[str, _Texts] = {}
        for statement in ast.parse(source).body:
            _carry_out(statement, known)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    found = known.get(_NAME)
    return len(found) if isinstance(found, list) else None


def _carry_out(statement: ast.stmt, known: dict[str, _Texts]) -> None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            _bind(name, value, known)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            _bind(name, value, known)
        case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=value):
            _extend(name, value, known)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[value])):
            _extend(name, ast.List([value], ast.Load()), known)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="extend"), args=[value])):
            _extend(name, value, known)
        case ast.Expr(value=ast.Constant()) | ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            pass  # a docstring; what runs as a script alone
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for each in names:
                known.pop(each.asname or each.name, None)
            if any(each.name == "*" for each in names):
                known.clear()
        case _:
            # Whatever else a statement does, the names that it speaks of are not known any more.
            for node in ast.walk(statement):
                if isinstance(node, ast.Name):
                    known.pop(node.id, None)


def _bind(name: str, value: ast.expr, known: dict[str, _Texts]) -> None:
    try:
        known[name] = _texts(value, known)
    except _UnknownError:
        known.pop(name, None)


def _extend(name: str, value: ast.expr, known: dict[str, _Texts]) -> None:
    """Add to a list in place: other names of the same list are not followed, and not known any more."""
    before = known.pop(name, None)
    for other in [other for other, texts in known.items() if texts is before]:
        del known[other]
    try:
        if isinstance(before, list):
            known[name] = before + list(_texts(value, known))
    except _UnknownError:
        pass


def _texts(node: ast.expr, known: dict[str, _Texts]) -> _Texts:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_text(item, known) for item in items]
        case ast.Set(elts=items):
            return {_text(item, known) for item in items}
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = _texts(left, known), _texts(right, known)
            if isinstance(one, list) and isinstance(other, list):
                return one + other
            if isinstance(one, str) and isinstance(other, str):
                return one + other
        case ast.Call(func=ast.Name(id=kind), args=[value], keywords=[]) if kind in _KINDS:
            inside = _texts(value, known)
            return set(inside) if kind == "set" else sorted(inside) if kind == "sorted" else list(inside)
    raise _UnknownError


def _text(node: ast.expr, known: dict[str, _Texts]) -> str:
    found = _texts(node, known)
    if not isinstance(found, str):
        raise _UnknownError
    return found
