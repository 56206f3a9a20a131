"""Each head of a codebook is diagnosed by itself; one that did not change is no evidence of anything."""

import pytest
import torch

from vqcheck import compare, open_checkpoint

HEADS, CODES, DIM = 3, 32, 6


def head(seed, updates):
    """Return counts, sums and codes of one head after updates that left half of its codes unhit."""
    generator = torch.Generator().manual_seed(seed)
    counts = 20 + 10 * torch.rand(CODES, generator=generator)
    sums = torch.randn(CODES, DIM, generator=generator) * counts[:, None]
    for _ in range(updates):
        hits = 40.0 * (torch.arange(CODES) >= CODES // 2) * torch.rand(CODES, generator=generator)
        frames = hits[:, None] * (sums / counts[:, None] + 0.1 * torch.randn(CODES, DIM, generator=generator))
        counts = counts.mul(0.99).add(hits, alpha=0.01)
        sums = sums.mul(0.99).add(frames, alpha=0.01)
    smoothed = (counts + 1e-5) / (counts.sum() + CODES * 1e-5) * counts.sum()
    return counts, sums, sums / smoothed[:, None]


@pytest.fixture
def diagnose(tmp_path):
    """Compares a codebook of several heads before and after a number of updates of each."""

    def run(*updates):
        for name, steps in (("a.pth", (0,) * HEADS), ("b.pth", updates)):
            counts, sums, codes = (torch.stack(each) for each in zip(*map(head, range(HEADS), steps), strict=True))
            state = {"cluster_size": counts, "embed_avg": sums, "embed": codes, "initted": torch.ones(1)}
            torch.save({f"quantizer.layers.0._codebook.{key}": value for key, value in state.items()}, tmp_path / name)
        with open_checkpoint(tmp_path / "a.pth") as a, open_checkpoint(tmp_path / "b.pth") as b:
            return compare(a, b).diagnosis

    return run


def test_the_one_head_that_was_updated_is_named(diagnose):
    """Two heads stand still, one was updated 9 times."""
    (cause,) = diagnose(0, 9, 0).causes
    assert (cause.code, cause.head, cause.evidence.order) == ("ema-updates", 1, "a to b")
    by_decay = {usual.decay: usual for usual in cause.evidence.steps_by_decay}
    assert cause.evidence.steps == 9 or round(by_decay[0.99].steps, 3) == 9


def test_heads_with_different_numbers_are_told_apart(diagnose):
    """Each head has a cause of its own."""
    assert [cause.head for cause in diagnose(9, 4, 2).causes] == [0, 1, 2]


def test_what_happened_to_all_heads_alike_is_told_once(diagnose):
    """One cause, whose codes are numbered through all heads."""
    (cause,) = diagnose(5, 5, 5).causes
    assert (cause.head, cause.evidence.codes) == (None, HEADS * CODES)
    assert max(cause.evidence.rose) >= 2 * CODES
