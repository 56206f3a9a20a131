"""A codebook trained by two processes stays one codebook."""

from pathlib import Path

import pytest
import torch

from vqcheck.synthesizer import EuclideanCodebook

BUFFERS = ("inited", "cluster_size", "embed", "embed_avg")
SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module", params=["before-ema", "after-ema"])
def histories(request, tmp_path_factory, two_ranks):
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks(SCRIPT, folder / "store", request.param, folder / "history")
    return request.param, [torch.load(f"{folder / 'history'}.{rank}", weights_only=True) for rank in range(2)]


def test_ranks_stay_bit_identical(histories):
    """After each update, k-means and expiry included, both ranks hold the same bits though their frames differ."""
    _, (first, second) = histories
    for one, other in zip(first, second, strict=True):
        assert not torch.equal(one["frames"], other["frames"])
        assert all(torch.equal(one[name], other[name]) for name in BUFFERS)


def test_counts_and_sums_are_those_of_all_frames(histories):
    """Two ranks update as one process does that sees the frames of both."""
    order, (first, second) = histories
    alone = EuclideanCodebook(8, 32, dead_code_expiry=order)
    alone.load_state_dict({name: first[0][name] for name in BUFFERS})
    alone.train()(torch.cat([first[1]["frames"], second[1]["frames"]]))
    torch.testing.assert_close(alone.cluster_size, first[1]["cluster_size"])
    torch.testing.assert_close(alone.embed_avg, first[1]["embed_avg"])


def test_expired_rows_are_frames_of_rank_zero(histories):
    """Expiry takes its frames from rank 0 alone; where expiry comes first nothing of it is left."""
    order, (first, second) = histories
    last = first[-1]
    dead = last["cluster_size"] < 2
    assert dead.any()
    for rank, history in enumerate((first, second)):
        frames = history[-1]["frames"][0].T
        copied = (last["embed"][dead][:, None] == frames).all(dim=2).any(dim=1)
        if order == "after-ema" and rank == 0:
            assert copied.all()
        else:
            assert not copied.any()
