"""`python -O` leaves assert statements out: no verdict may hang on one."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from vqcheck.cli.main import main

PACKAGE = Path(__file__).parents[1] / "vqcheck"
MANY = """
import contextlib, io, json, sys
from vqcheck.cli.main import main
results = []
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(arguments)
    results.append([status, out.getvalue(), err.getvalue()])
print(json.dumps([sys.flags.optimize, results]))
"""


def narrows(test):
    """Say whether an assertion only tells a type checker what a value is: then the next line fails without it."""
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.IsNot) and ast.unparse(test.comparators[0]) == "None"
    return isinstance(test, ast.Call) and ast.unparse(test.func) in ("isinstance", "issubclass")


@pytest.mark.parametrize(
    ("text", "narrow"),
    [("x is not None", True), ("isinstance(x, str)", True), ("x", False), ("x is None", False), ("f(x)", False)],
)
def test_what_counts_as_narrowing(text, narrow):
    assert narrows(ast.parse(text, mode="eval").body) is narrow


def test_the_package_asserts_nothing_but_types():
    asserts = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node.test)}": narrows(node.test)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Assert)
    }
    assert [where for where, narrow in asserts.items() if not narrow] == []


def test_the_commands_that_judge_say_the_same_without_assert_statements(sound, checkpoints, capsys):
    """Over the fixtures: equal, changed, rounded, broken and missing files, a lock, and gates open and closed."""
    base, lock = str(sound.base), str(sound.root / "sound.lock")
    assert main(["lock", base, "--experiment", str(sound.folder), "-o", lock]) == 0
    capsys.readouterr()
    missing = sound.root / "missing.json"
    values = json.loads(sound.config.read_text())
    values["data"]["exp_dir"] = str(sound.root / "typo")
    missing.write_text(json.dumps(values))
    files = sorted(str(path) for path in checkpoints.iterdir() if path.is_file())
    commands = [["diff", base, path, "--format", "json"] for path in [*files, str(sound.config)]]
    commands += [["lock", "--check", path, "-o", lock] for path in files]
    for config in (sound.config, missing, sound.root / "absent"):
        commands.append(["gate", str(config), "--s1", str(sound.s1), "--format", "json"])
        commands += [["gate", str(config), "--only", code] for code in ("resume", "lock", "tokens", "freeze")]
    commands += [["tokens", base, str(sound.folder)], ["inspect", *files], ["history", str(checkpoints)]]
    done = subprocess.run(
        [sys.executable, "-O", "-c", MANY, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    optimize, results = json.loads(done.stdout)
    assert optimize == 1
    ordinary = [[main(command), *capsys.readouterr()] for command in commands]
    assert results == ordinary
    assert {status for status, _, _ in results} == {0, 1, 2}
    assert [results[commands.index(["gate", str(missing), "--only", code])][0] for code in ("resume", "lock")] == [2, 2]
