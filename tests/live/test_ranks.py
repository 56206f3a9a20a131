"""Data-parallel processes look together: what one of them finds, all of them raise at the same step."""

import json
from pathlib import Path

import pytest
import torch

from vqcheck.live.ranks import differing, fingerprint, several_ranks

SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture
def run(tmp_path, two_ranks):
    """Runs a scenario in two processes and returns what each of them saw."""

    def both(scenario):
        two_ranks(SCRIPT, tmp_path / "store", scenario, tmp_path / "seen")
        return [json.loads(Path(f"{tmp_path / 'seen'}.{rank}").read_text("utf-8")) for rank in range(2)]

    return both


def test_a_write_on_one_rank_stops_all_of_them(run):
    """Both processes raise after the same step and name the rank; the line is known where it was written."""
    other, writer = run("written on one rank")
    for seen in (other, writer):
        assert (seen["after"], seen["step"], seen["ranks"], seen["tensors"]) == (5, 3, [1], 1)
    assert (other["rows"], other["written"]) == (0, False)
    assert "embed: not in this process, first in step 3 on rank 1" in other["error"]
    assert (writer["rows"], writer["written"]) == (1, True)
    assert "two_ranks.py" in writer["error"]


def test_ranks_that_differ_from_the_start_are_noticed(run):
    """Codebooks that never change but are not the same on all processes are a finding of every process."""
    for seen in run("other from the start"):
        assert (seen["ranks"], seen["tensors"]) == ([1], 1)
        assert "on rank 1" in seen["error"]
        assert seen["differing"] == ["codes", "more"]
        assert seen["monitor"]["others"] == {"compare": [1], "own": []}
        assert [text.rpartition(": ")[2] for text in seen["monitor"]["warned"]] == ["that of rank 0 is not that of 1"]


def test_equal_ranks_raise_nothing(run):
    """Where nothing changes, six steps and a check pass on both processes; only a tensor that one lacks differs."""
    silent = {
        "error": None,
        "differing": ["more"],
        "monitor": {"others": {"compare": [], "own": []}, "warned": []},
    }
    assert run("nothing") == [silent, silent]


def test_a_process_alone_asks_nobody():
    """Without a process group there is no collective."""
    assert not several_ranks()
    assert differing({"codes": torch.zeros(2)}, ["codes"]) == ()


def test_the_fingerprint_sees_bits_and_their_places():
    """One bit, a swap, compensating changes of neighbours, another shape or dtype: each gives another fingerprint."""
    values = torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    seen = {int(fingerprint(values))}
    one_bit = values.clone()
    one_bit.view(torch.int32)[-1] ^= 1
    seen.add(int(fingerprint(one_bit)))
    swapped = values.clone()
    swapped[[0, 1]] = swapped[[1, 0]]
    seen.add(int(fingerprint(swapped)))
    for there, back in ((3, -1), (1, -1), (2, -1)):
        both = values.clone()
        both.view(torch.int32)[0] += there
        both.view(torch.int32)[1] += back
        seen.add(int(fingerprint(both)))
    seen |= {int(fingerprint(values.view(2, -1))), int(fingerprint(values.view(torch.int32)))}
    assert len(seen) == 8
    assert int(fingerprint(values.clone())) in seen


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.int64])
def test_every_dtype_has_a_fingerprint(dtype):
    """The flag of a codebook may be a bool, its values of any width."""
    tensor = torch.tensor([0, 1, 1, 0]).to(dtype)
    other = torch.tensor([0, 1, 1, 1]).to(dtype)
    assert int(fingerprint(tensor)) != int(fingerprint(other))
