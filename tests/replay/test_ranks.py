"""A VQ encoder that is not the same on every process is found, by every process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from warm import HANGS

from vqcheck.replay.surroundings import differing

SCRIPT = Path(__file__).with_name("differing_ranks.py")


@pytest.mark.slow
def test_one_bit_on_one_rank_is_found_by_all(tmp_path):
    """Equal tensors are equal; a single other bit on the last rank is reported on both, for that tensor alone."""
    output = tmp_path / "answer"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", SCRIPT, output],
        capture_output=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr.decode()
    for rank in range(2):
        assert torch.load(f"{output}.{rank}", weights_only=True) == ((), ("ema_count",))


def test_a_process_alone_has_nobody_to_differ_from():
    """Without other processes nothing is compared."""
    assert differing({"codes": torch.zeros(2)}) == ()
