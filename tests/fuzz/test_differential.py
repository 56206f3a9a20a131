"""What vqcheck certifies of crafted files is what the real libraries load, or refused: a fixed part of the long run."""

import os
import sys
from collections import Counter
from random import Random

import pytest
from fuzz.differential.files import KINDS_OF_FILES, Input, make, zip_of
from fuzz.differential.judge import judge
from fuzz.differential.library import Library
from fuzz.differential.opcodes import EMPTY, FALSE, call, dictionary, number, text
from fuzz.differential.pickled import Draft

from vqcheck.checkpoint import torch_rebuild

INPUTS = {"zip": 240, "legacy": 160, "safetensors": 80, "sharded": 60}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the child is waited for with select on a pipe")


@pytest.fixture(scope="module")
def library():
    with Library() as child:
        yield child


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_what_is_certified_is_what_the_library_loads(kind, library, tmp_path):
    outcomes = Counter()
    for turn in range(INPUTS[kind]):
        outcome = judge(make(kind, Random(f"{kind} {turn}")), str(tmp_path), library)
        assert outcome.kind != "difference", f"{kind} {turn}: {outcome.what}"
        outcomes[outcome.kind] += 1
    # Neither only sound files nor only rubbish.
    assert outcomes["equal"] > INPUTS[kind] / 5
    assert outcomes["refused"] > INPUTS[kind] / 20


def test_a_difference_is_seen(library, tmp_path, monkeypatch):
    """Else the test above would prove nothing: without one of the reader's checks, this file is a difference."""
    draft = Draft(Random(1), trick=0.0)
    state = dictionary((text("real"), number(7.0)))
    parameter = call("torch._utils", "_rebuild_parameter_with_state", draft.tensor("t"), FALSE, EMPTY, state)
    members = [("archive/data.pkl", b"\x80\x02" + dictionary((text("t"), parameter)) + b"."), ("archive/version", b"3")]
    members += [(f"archive/data/{key}", data) for key, data in draft.storages.items()]
    made = Input({"a.pth": zip_of(members)}, "zip")
    assert judge(made, str(tmp_path), library).kind == "refused"
    monkeypatch.setattr(torch_rebuild, "_require_inert", lambda _: None)
    assert judge(made, str(tmp_path), library).kind == "difference"


def test_the_child_neither_writes_nor_survives_a_crash(library, tmp_path):
    """It goes on with a new process."""
    (tmp_path / "a.pth").write_bytes(b"\x80\x02cbuiltins\nopen\n(X\x05\x00\x00\x00a.txtX\x01\x00\x00\x00wtR.")
    assert isinstance(library.load(str(tmp_path / "a.pth"), "zip", full=True), str)
    assert not os.path.exists("a.txt")
    before = library.crashes
    library.close()
    assert judge(Input({"a.pth": b""}, "zip"), str(tmp_path), library).kind == "refused"
    sound = make("safetensors", Random("sound 3"))
    assert judge(sound, str(tmp_path), library).kind in ("equal", "refused")
    assert library.crashes == before
