"""Where files say the opposite of their values, both are told and nothing is certain."""

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.report.views.causes import headline
from vqcheck.report.views.evidence import evidence


@pytest.fixture
def named(base, updates, tmp_path):
    """Saves a training of 20 updates under two names and returns the diagnosis of comparing them."""
    start = base()
    after = updates(start, 20, unhit=(5, 6, 7, 8))[0].after

    def diagnose(first, second, *, swapped=False):
        states = (after, start) if swapped else (start, after)
        for name, state in zip((first, second), states, strict=True):
            torch.save({"model": state, "iteration": 1, "optimizer": {}}, tmp_path / name)
        with open_checkpoint(tmp_path / first) as a, open_checkpoint(tmp_path / second) as b:
            return compare(a, b).diagnosis

    return diagnose


@pytest.mark.parametrize(
    ("names", "swapped"),
    [
        (("G_400.pth", "G_420.pth"), False),
        (("G_400.pth", "G_500.pth"), False),
        (("s2G2333k.pth", "G_20.pth"), False),
        (("a.pth", "b.pth"), False),
        (("G_420.pth", "G_400.pth"), True),
    ],
)
def test_steps_that_fit_are_no_contradiction(named, names, swapped):
    """As many steps as updates, or more, since a codebook may have been frozen for a while."""
    found = named(*names, swapped=swapped)
    cause = found.of("ema-updates")
    assert (found.contradicted, cause.certainty, cause.evidence.steps) == (False, "certain", 20)


@pytest.mark.parametrize(
    ("names", "swapped"),
    [
        (("G_420.pth", "G_400.pth"), False),
        (("G_400.pth", "G_410.pth"), False),
        (("G_400.pth", "G_400.pth.bak.pth"), False),
        (("s2G2333k.pth", "G_420.pth"), True),
    ],
)
def test_steps_that_exclude_the_values_are_told(named, names, swapped):
    """The other order, fewer steps than updates, or a base that would come after its own training."""
    found = named(*names, swapped=swapped)
    cause = found.of("ema-updates")
    assert found.contradicted
    assert cause.certainty == "likely"
    assert "contradict" in headline(found)
    assert any("contradicts the values" in text for _, text in evidence(cause, found))
