"""Health says what the stored values say, and stays silent on a sound codebook."""

import math

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.codebook.inspection import inspect

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED = f"{CODEBOOK}.embed"


def examine(path):
    with open_checkpoint(path) as checkpoint:
        inspection = inspect(checkpoint)
    return inspection.verdict, inspection.vq_encoder.codebooks[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_sound_codebook_is_healthy_in_every_width(vq_state, save, dtype):
    """Trained, finite, all used, none dead, and bookkeeping that fits within the rounding of the stored type."""
    verdict, health = examine(save({name: value.to(dtype) for name, value in vq_state().items()}))
    assert verdict == "healthy"
    assert (health.codes, health.dead, health.unused, health.rows_off, health.not_finite) == (16, 0, 0, 0, 0)
    assert health.usable


def test_half_values_stored_in_float32_are_judged_as_halves(vq_state, save):
    """The frozen training file of a float16 base keeps bookkeeping that fits."""
    assert examine(save({name: value.half().float() for name, value in vq_state().items()}))[1].rows_off == 0


@pytest.mark.parametrize("fault", ["flag", "zero"])
def test_never_trained(vq_state, save, fault):
    """A flag of 0 or all-zero codes each suffice."""
    state = vq_state()
    state[f"{CODEBOOK}.inited" if fault == "flag" else EMBED].zero_()
    verdict, health = examine(save(state))
    assert verdict == "never trained"
    assert (health.initialised, health.all_zero) == ((False, False) if fault == "flag" else (True, True))


def test_dead_and_unused_codes_are_counted(vq_state, save):
    """A code is dead below a count of 2 and unused at 0."""
    state = vq_state()
    state[f"{CODEBOOK}.cluster_size"][:4] = torch.tensor([0.0, 1.99, 2.0, 0.5])
    health = examine(save(state))[1]
    assert (health.dead, health.unused) == (3, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_counted(vq_state, save, value):
    """NaN and infinity in any tensor of the codebook make it `not finite`."""
    state = vq_state()
    state[EMBED][3, 3] = value
    state[f"{CODEBOOK}.embed_avg"][0, 0] = value
    verdict, health = examine(save(state))
    assert (verdict, health.not_finite) == ("not finite", 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_codes_edited_by_hand_do_not_fit_their_bookkeeping(vq_state, save, dtype):
    """Codes that are not sum over count are counted by row."""
    state = vq_state()
    state[EMBED][[2, 9]] *= 1.01
    assert examine(save({name: value.to(dtype) for name, value in state.items()}))[1].rows_off == 2


def test_without_bookkeeping_nothing_is_claimed(vq_state, save):
    """An export without counts and sums has no dead codes and no fit to report."""
    state = {name: value for name, value in vq_state().items() if "cluster" not in name and "avg" not in name}
    health = examine(save(state))[1]
    assert (health.dead, health.unused, health.rows_off) == (None, None, None)
