"""Without a home, a folder for temporary files or a working directory; with names that a locale cannot write."""

import json
import os
import subprocess
import sys

import pytest
from warm import HANGS

from vqcheck.errors import UsageError
from vqcheck.replay import surroundings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="surroundings as Windows has none")


def commands(desk):
    return {
        "inspect": ["inspect", desk.base],
        "diff": ["diff", desk.base, desk.drifted],
        "tokens": ["tokens", desk.base, desk.folder],
        "history": ["history", desk.run],
        "lock": ["lock", "--check", desk.base, "-o", desk.lock],
        "gate": ["gate", desk.config],
    }


STATUS = {"inspect": 0, "diff": 1, "tokens": 0, "history": 0, "lock": 0, "gate": 0}
MANY = """
import json, os, shutil, sys
from vqcheck.cli.main import main
here = sys.argv[1]
os.makedirs(here)
os.chdir(here)
if sys.argv[2] == "deleted":
    os.rmdir(here)
print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[3])]), file=sys.stderr)
"""


@pytest.mark.parametrize("cwd", ["present", "deleted"])
@pytest.mark.parametrize("home", [None, "/nowhere", "/proc"])
def test_no_command_needs_a_home_or_temporary_folder_or_working_directory(cwd, home, desk):
    """None of them is asked for what it cannot give, and each says what it says elsewhere."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "TMPDIR", "TEMP", "TMP")}
    environment |= {} if home is None else {"HOME": home, "TMPDIR": home, "XDG_CACHE_HOME": home}
    given = [[str(word) for word in words] for words in commands(desk).values()]
    done = subprocess.run(
        [sys.executable, "-c", MANY, desk.root / "here", cwd, json.dumps(given)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
    )
    assert done.stderr == json.dumps(list(STATUS.values())) + "\n"


def test_a_relative_path_from_a_deleted_folder_is_told_in_one_line(desk):
    code = "import os, sys; os.makedirs(sys.argv[1]); os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
    code += "from vqcheck.cli.main import main; sys.exit(main(sys.argv[2:]))"
    for words in (
        ["inspect", "a.pth"],
        ["inspect", desk.base, "-o", "out"],
        ["lock", desk.base],
        ["history", "."],
        ["gate", "s2.json"],
        ["tokens", desk.base, "."],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, desk.root / "here", *words], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "internal" not in done.stderr


def test_a_name_in_a_config_that_the_locale_cannot_write_is_told(desk):
    """A Chinese path in an s2 JSON under a plain C locale: what depends on it could not be checked."""
    desk.write(data__exp_dir=str(desk.root / "实验"))
    desk.folder.rename(desk.root / "实验")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "vqcheck", "gate", desk.config],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert "codebook-trained    passed" in done.stdout


SIZES = ["²", "\uff18\uff10", "-1", "0", "9" * 5000, "999999999", "\udcff", "", " 80", "1e3"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
def test_an_impossible_size_of_a_terminal_is_as_good_as_none(name, size, desk, told, monkeypatch):
    """What is a digit to one library is none to the next, and a report of that width may not fit in memory."""
    monkeypatch.delenv(name, raising=False)
    for words in (["inspect", desk.base], ["diff", desk.base, desk.drifted], ["diff", "absent", "absent"], ["--help"]):
        expected = told(*words)
        monkeypatch.setenv(name, size)
        assert told(*words) == expected
        monkeypatch.delenv(name, raising=False)


def test_a_possible_size_of_a_terminal_counts(told, monkeypatch):
    """The control: help is laid out for it."""
    helps = set()
    for size in ("50", "70"):
        monkeypatch.setenv("COLUMNS", size)
        helps.add(told("diff", "--help")[1])
    assert len(helps) == 2


@pytest.mark.parametrize("value", ["", "²", "x", "-1", "9" * 5000])
def test_a_number_of_processes_that_is_none_is_named(value, could_not, monkeypatch):
    """In every variable of torchrun's, and so is one that is missing."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", value)
    assert "WORLD_SIZE" in could_not("replay", "--steps", "1")
    monkeypatch.setenv("LOCAL_RANK", value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="LOCAL_RANK"):
        surroundings.local_rank()
    monkeypatch.setenv("RANK", value)
    with pytest.raises(UsageError, match="variable RANK"):
        surroundings.rank()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert "MASTER_ADDR" in could_not("replay", "--steps", "1")
