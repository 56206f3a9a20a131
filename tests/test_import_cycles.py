"""No two modules of the package need each other, not even by imports inside functions or for types alone.

Such an import hides that a concept stands in the wrong module; late imports are for start-up time.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vqcheck

PACKAGE = Path(vqcheck.__file__).parent


def modules(root: Path) -> dict[str, Path]:
    """Return dotted name -> file; a package's name stands for its `__init__`."""
    return {
        ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in root.rglob("*.py")
    }


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if whole in known or base in known:
                    yield whole if whole in known else base


def cycle(root: Path) -> list[str]:
    """Return the modules of one cycle, the first of them again at the end; empty where there is none."""
    known = modules(root)
    graph = {name: set(imported(name, path, known)) - {name} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other():
    assert cycle(PACKAGE) == []


@pytest.mark.parametrize(
    "line",
    [
        "from house import roof",
        "import house.roof",
        "from . import roof",
        "from .roof import tiles",
        "def late():\n    from house.roof import tiles",
        "if TYPE_CHECKING:\n    from house.roof import tiles",
    ],
)
def test_a_cycle_is_found(tmp_path, line):
    house = tmp_path / "house"
    house.mkdir()
    (house / "__init__.py").touch()
    (house / "roof.py").write_text("from house.walls import bricks\ntiles = 1\n")
    (house / "walls.py").write_text("import os\nbricks = 1\n")
    assert cycle(house) == []
    (house / "walls.py").write_text(line)
    assert sorted(set(cycle(house))) == ["house.roof", "house.walls"]
