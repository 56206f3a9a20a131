"""What runs in a checkout's own Python keeps to the syntax and the library of Python 3.9."""

import ast
from pathlib import Path

import pytest

import vqcheck

PACKAGE = Path(vqcheck.__file__).parent
OURS = {"compare", "module_checkpoint"}
"""Modules of live that only this Python imports."""
CHILD = "vqcheck.replay.checkout.child"
"""The program that a checkout's Python runs."""


def path_of(module):
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(tree):
    """Yields the modules of vqcheck that a module imports when it is imported itself."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vqcheck":
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if path_of(below).exists() else node.module


def all_that_is_loaded():
    waiting = [f"vqcheck.live.{path.stem}" for path in (PACKAGE / "live").glob("*.py") if path.stem not in OURS]
    waiting += [f"{CHILD}.{path.stem}" for path in PACKAGE.joinpath(*CHILD.split(".")[1:]).glob("*.py")]
    loaded = {}
    while waiting:
        module = waiting.pop().removesuffix(".__init__")
        if module not in loaded:
            loaded[module] = ast.parse(path_of(module).read_text("utf-8"), feature_version=(3, 9))
            waiting += [*imported(loaded[module]), *filter(None, [module.rpartition(".")[0]])]
    return loaded


LOADED = all_that_is_loaded()


def test_no_reader_of_files_is_loaded():
    """The checkout's Python gets the table of families and the live modules, and no format."""
    assert {
        "vqcheck.live.freeze",
        "vqcheck.codebook.match",
        "vqcheck.errors",
        "vqcheck.replay.training_step",
    } <= LOADED.keys()
    assert [name for name in LOADED if name.startswith("vqcheck.checkpoint.")] == ["vqcheck.checkpoint.second_hand"]


@pytest.mark.parametrize("module", sorted(LOADED))
def test_a_module_keeps_to_python_3_9(module):
    """No union of types that is evaluated, no dataclass with slots, no strict zip; nothing newer is imported."""
    tree = LOADED[module]
    annotated = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AnnAssign))]
    postponed = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    notes = [note for node in annotated for note in notes_of(node)]
    unions = [note for note in notes for each in ast.walk(note) if is_union(each)]
    assert postponed or not unions
    evaluated = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    assert not [value for value in evaluated for each in ast.walk(value) if is_union(each) and names_types(each)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    keywords = {(call.func.id, word.arg) for call in calls for word in call.keywords}
    assert keywords.isdisjoint({("dataclass", "slots"), ("dataclass", "kw_only"), ("zip", "strict")})
    kinds = [call.args[1] for call in calls if call.func.id in ("isinstance", "issubclass")]
    assert not [kind for kind in kinds if is_union(kind)]
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names.isdisjoint({"pairwise", "TypeAlias", "ParamSpec", "Self", "StrEnum", "assert_never", "override"})


def notes_of(node):
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
    return [each for each in (node.returns, *(a.annotation for a in arguments if a)) if each]


def is_union(node):
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def names_types(node):
    return any(isinstance(each, ast.Constant) and each.value is None for each in (node.left, node.right)) or isinstance(
        node.left, ast.Subscript
    )
