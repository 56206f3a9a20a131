"""How many text symbols a tree defines is read off its code without running it, and never guessed."""

import pytest

from vqcheck.experiment.symbols_code import count_symbols, symbols_file

TREE_STYLE = '''
"""The symbols."""
import os

marks = ["!", "?"]
marks.append("-")
more = marks + ["SP", "UNK"]
pad = "_"
vowels = ["a", "e", "i"]
unused = {"x": 1}
sounds = {"S", "T", "a"}
letters = "opq"
symbols = [pad] + vowels + more + list(sounds)
symbols = sorted(set(symbols))
symbols += ["[", "]"]
symbols += sorted(list(letters))
symbols.extend(sorted(sounds))
if __name__ == "__main__":
    symbols = []
"""A remark."""
'''


@pytest.mark.parametrize(
    "text",
    [
        TREE_STYLE,
        "symbols = ['a', 'a', 'b']",
        "symbols: list[str] = ['a']",
        "one = ['a']\nsymbols = one\nsymbols.append('b')",
        "one = two = ['a']\nsymbols = ['x']",
        "symbols = ['a']\ndef extra():\n    return ['b']\n",
        "symbols = list('abc')\nsymbols = sorted(set(symbols) )\n",
    ],
)
def test_the_count_is_that_of_the_list_that_python_makes(tmp_path, text):
    """Whatever it is made with, as long as all of it is texts."""
    path = tmp_path / "symbols2.py"
    path.write_text(text, "utf-8")
    made = {"__name__": "symbols2"}
    exec(compile(text, "symbols2", "exec"), made)
    assert count_symbols(str(path)) == len(made["symbols"])


@pytest.mark.parametrize(
    "text",
    [
        "symbols = read('symbols.txt')",
        "symbols = ['a']\nsymbols += more()",
        "symbols = ['a']\nfor each in 'bc':\n    symbols.append(each)",
        "symbols = ['a']\nsymbols.remove('a')",
        "symbols = ['a']\nother = symbols\nother.append('b')",
        "symbols = ['a']\nfrom more import *",
        "symbols = ['a']\nimport symbols",
        "symbols = ['a']\nif True:\n    symbols = []",
        "symbols = ['a']\ndel symbols[0]",
        "symbols = ['a']\nsymbols.append(symbols)",
        "symbols = ['a']\nsymbols[0:0] = ['b']",
        "symbols = [chr(n) for n in range(3)]",
        "symbols = {'a'}",
        "other = ['a']",
        "symbols = ['a'",
        "",
    ],
)
def test_what_cannot_be_read_off_is_not_guessed(tmp_path, text):
    """A loop, a call, a change in place: no number is better than a wrong one."""
    path = tmp_path / "symbols.py"
    path.write_text(text, "utf-8")
    assert count_symbols(str(path)) is None


def test_a_file_that_is_not_there_has_no_count(tmp_path):
    """Neither has a folder."""
    assert count_symbols(str(tmp_path / "symbols.py")) is None
    assert count_symbols(str(tmp_path)) is None


@pytest.mark.parametrize(("version", "name"), [("v1", "symbols.py"), ("v2", "symbols2.py"), ("v4", "symbols2.py")])
def test_each_version_has_its_file(version, name):
    """v1 has symbols of its own; all others share theirs."""
    assert symbols_file("tree", version).endswith(name)
