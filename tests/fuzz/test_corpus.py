"""Every file of the saved corpus, sound ones and former findings, is read or refused in one line, and that is all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.targets import CORPUS, TARGETS
from warm import HANGS

REPLAY = Path(__file__).parent / "replay.py"
FILES = sorted((path.parent.name, path.name) for path in CORPUS.glob("*/*"))
LARGEST = 300_000


@pytest.fixture(scope="module")
def outcomes():
    done = subprocess.run(
        [sys.executable, REPLAY], capture_output=True, text=True, encoding="utf-8", check=False, timeout=HANGS
    )
    assert done.returncode == 0, done.stderr
    return {(target, name): said for target, name, said in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize(("target", "name"), FILES)
def test_a_file_of_the_corpus_is_read_or_refused_and_does_nothing_else(target, name, outcomes):
    assert not outcomes[target, name].startswith("FINDING")


@pytest.mark.parametrize("target", TARGETS)
def test_each_reader_has_a_sound_file_that_it_reads_to_the_end(target, outcomes):
    """What mutations start from must pass, or the fuzzer would only ever see the first check."""
    assert "read" in [said for (where, _), said in outcomes.items() if where == target]


def test_the_corpus_is_small():
    assert sum((CORPUS / target / name).stat().st_size for target, name in FILES) < LARGEST
