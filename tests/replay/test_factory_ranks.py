"""Under torchrun a factory and a checkout are replayed on every rank, and the first one tells where they differ."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from warm import HANGS

HERE = Path(__file__).parent
CHECKOUT = HERE.parent / "checkout"
pytestmark = pytest.mark.slow


@pytest.fixture
def ranks(tmp_path):
    """Replays on two ranks; returns the exit status of torchrun and the document."""

    def run(*arguments):
        target = tmp_path / "trace.json"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
        command = [*torchrun, "-m", "vqcheck", "replay", *arguments, "--steps", "2", "-o", target]
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False, timeout=HANGS)
        assert target.exists(), done.stderr
        return done.returncode, json.loads(target.read_text("utf-8"))

    return run


def test_a_write_on_one_rank_of_a_factory_is_a_drift(ranks):
    """The report is the first rank's, whose own codebook did not change."""
    status, document = ranks("--factory", "one_rank_drifts:Training")
    (arm,) = document["arms"]
    assert (status, document["setting"]["processes"], arm["verdict"]) == (1, 2, "drifted")
    assert [step["differing_across_ranks"] for step in arm["steps"]] == [[], ["codes"]]


def test_a_checkout_trains_on_all_ranks(ranks, tmp_path):
    """Its children are ranks of a group of their own: frozen they agree, and with a moving average they do not."""
    config = tmp_path / "small.toml"
    subject = f"[subject]\ncheckout = {json.dumps(str(CHECKOUT / 'tree'))}\n[replay]\ndevice = 'cpu'\n"
    config.write_text(f"{(CHECKOUT / 'small.toml').read_text('utf-8')}\n{subject}", "utf-8")
    status, document = ranks(config, "--strategy", "requires-grad", "--strategy", "as-is")
    assert (status, document["verdict"], document["setting"]["processes"]) == (0, "as expected", 2)
    differing = {arm["strategy"]: arm["steps_with_rank_differences"] for arm in document["arms"]}
    assert differing == {"as-is": 0, "requires-grad": 2}
