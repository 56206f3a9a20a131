"""The documents of the project, and the blocks in them."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LANGUAGES = {"sh", "console", "python", "toml", "yaml", "text", "powershell"}
"""`text` is shown and not run: it needs a network, or is what a program printed."""

needs_a_shell = pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for a POSIX shell")


def blocks(document):
    """Return the (language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def without_remarks(text):
    """Return a block without what its `#` remarks say: those are translated."""
    return [re.sub(r"(^| {2,})#.*", "", line).rstrip() for line in text.splitlines()]


def lines(document, language):
    return [line for kind, text in blocks(document) if kind == language for line in without_remarks(text) if line]


def in_yaml(document):
    """Return the commands that CI files of a document call."""
    found = [re.fullmatch(r"\s*- (vqcheck .*)", line) for line in lines(document, "yaml")]
    return [match[1] for match in found if match]


def examples(document):
    """Return the (command, output) of every example; the output ends at the next prompt."""
    parts = [
        re.split(r"^\$ ", text, flags=re.MULTILINE)[1:] for language, text in blocks(document) if language == "console"
    ]
    return [tuple(example.split("\n", 1)) for part in parts for example in part]


def sets_up(line):
    """Say whether a command makes an environment: `.ci/run` and `.ci/package` run those."""
    return line.startswith(("python3 -m venv", "git clone", "pip install"))


def by_a_user(line, *more):
    """Return the parameters of a test that runs a command; it is slow where the command trains."""
    return pytest.param(line, *more, marks=pytest.mark.slow if "vqcheck replay" in line else ())
