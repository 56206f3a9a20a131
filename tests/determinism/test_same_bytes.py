"""The same files give the same bytes: in another process, with other hash seeds and threads, in any order of listing.

Other versions of Python, numpy and torch are compared by hand: see `compare.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vqcheck.cli.main import main

HERE = Path(__file__).parent
RELEASED = HERE.parents[1] / "fixtures" / "released" / "0.1.0"


def documents(seed, threads):
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
    }
    done = subprocess.run(
        [sys.executable, HERE / "documents.py"], capture_output=True, encoding="utf-8", check=True, env=environment
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_document_is_the_same_with_another_hash_seed_and_another_number_of_threads():
    """Every command over every released file, as JSON and as text, and a lock."""
    one, other = documents("0", "1"), documents("4242", "2")
    assert [name for name in one if one[name] != other[name]] == []
    assert len(one) == len(other) > 20
    internal = [name for name, (_, said) in one.items() if "internal error" in said]
    assert internal == []


@pytest.mark.parametrize(
    "command",
    [["history", "checkpoints"], ["inspect", "checkpoints"], ["tokens", "checkpoints/torch-1.1.0.pth", "logs/demo"]],
)
def test_the_order_in_which_a_folder_is_listed_has_no_part_in_it(command, monkeypatch, capsys):
    """File systems list in any order."""
    monkeypatch.chdir(RELEASED)
    said = []
    for backwards in (False, True):
        for name in ("listdir", "scandir"):
            listing = getattr(os, name)
            order = lambda entry: getattr(entry, "name", entry)  # noqa: E731
            monkeypatch.setattr(
                os,
                name,
                lambda path, listing=listing, order=order, back=backwards: sorted(
                    listing(path), key=order, reverse=back
                ),
            )
        main([*command, "--format", "json"])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert json.loads(said[0])["exit_code"] in (0, 1)


def test_the_order_in_which_files_are_given_changes_their_order_and_nothing_else(monkeypatch, capsys):
    monkeypatch.chdir(RELEASED)
    names = sorted(f"checkpoints/{name}" for name in os.listdir("checkpoints"))
    found = []
    for given in (names, names[::-1]):
        assert main(["inspect", *given, "--format", "json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["files"])
    assert found[0] == found[1][::-1]
