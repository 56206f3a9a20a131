"""Health says what the stored values say, and stays silent on a sound codebook."""

import math

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.codebook.float_bytes import not_finite
from vqcheck.codebook.inspection import inspect

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED = f"{CODEBOOK}.embed"
COUNT = f"{CODEBOOK}.cluster_size"


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
    """A code is dead below a count of 2, and unused below a thousandth of the mean: 1e-30 is no use."""
    state = vq_state()
    state[COUNT][:5] = torch.tensor([0.0, 1.99, 2.0, 0.5, 1e-30])
    health = examine(save(state))[1]
    assert (health.dead, health.unused) == (4, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("used", "others", "verdict"),
    [
        (1, 1e-30, "collapsed"),
        (1, 0.0, "collapsed"),
        (1, 1e-3, "collapsed"),
        (2, 1e-30, "collapsed"),
        (12, 1e-30, "collapsed"),
        (13, 1e-30, "healthy"),
        (90, 1e-30, "healthy"),
        (90, 1.0, "healthy"),
        (128, 0.0, "healthy"),
    ],
)
def test_use_by_a_few_codes_is_a_collapse(vq_state, save, dtype, used, others, verdict):
    """Fewer than a tenth of 128 codes in use; 30 % of dead ones are ordinary. The rule is the same in every width."""
    state = vq_state(codes=128)
    count = torch.full((128,), others)
    count[:used] = 900.0
    state[COUNT] = count
    found, health = examine(save({name: value.to(dtype) for name, value in state.items()}))
    assert (found, health.collapsed) == (verdict, verdict == "collapsed")
    shares = count.double() / count.double().sum()
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    assert health.perplexity == pytest.approx(float(entropy.exp()), rel=0.01)


def test_use_that_is_spread_unevenly_collapses_by_its_perplexity(vq_state, save):
    """All codes are above the least count, but one takes nearly all frames. A rank-frequency law is no collapse."""
    state = vq_state(codes=128)
    state[COUNT] = torch.full((128,), 1.0)
    state[COUNT][3] = 5000.0
    assert examine(save(state))[0] == "collapsed"
    state[COUNT] = 5000.0 / torch.arange(1.0, 129)
    assert examine(save(state))[0] == "healthy"


def test_negative_counts_are_broken(vq_state, save):
    """No frames add up to less than none; a negative zero is one."""
    state = vq_state()
    state[COUNT][2] = -0.5
    found, health = examine(save(state))
    assert (found, health.negative) == ("broken", 1)
    state[COUNT][2] = -0.0
    assert examine(save(state))[0] == "healthy"


def test_where_nothing_was_counted_nothing_is_said_of_use(vq_state, save):
    """Counts of nothing but zeros, or none at all, are no collapse."""
    state = vq_state()
    state[COUNT].zero_()
    found, health = examine(save(state))
    assert (found, health.unused, health.perplexity) == ("healthy", None, None)
    del state[COUNT]
    assert examine(save(state))[1].perplexity is None


@pytest.mark.parametrize("fault", ["collapsed", "broken", "not finite"])
def test_equal_files_that_are_unfit_for_use_are_warned_of(vq_state, save, capsys, valid, fault):
    """`diff` stays 0 and warns, `inspect --strict` is 1; two sound files are told without a warning."""
    state = vq_state(codes=128)
    assert main(["diff", *[str(save(state))] * 2]) == 0
    assert "WARNING" not in capsys.readouterr().out
    if fault == "not finite":
        state["ssl_proj.weight"][0, 0, 0] = math.nan
    else:
        state[COUNT][1:] = -1.0 if fault == "broken" else 1e-30
    path = str(save(state))
    assert main(["diff", path, path]) == 0
    assert f"WARNING: the VQ encoder of {path} is {fault}" in capsys.readouterr().out
    assert (main(["inspect", path]), main(["inspect", path, "--strict"])) == (0, 1)
    capsys.readouterr()
    assert main(["diff", path, path, "--format", "json"]) == 0
    document = valid(capsys.readouterr().out)
    assert fault in document["a"]["ailments"]
    assert main(["inspect", path, "--format", "json"]) == 0
    assert valid(capsys.readouterr().out)["verdict"] == fault


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "int32"])
def test_values_that_are_no_numbers_are_counted_without_numpy(name):
    """The count over stored bytes is torch's, for every pattern of 16 and of 8 bits."""
    dtype = getattr(torch, name)
    if name in ("float16", "bfloat16"):
        values = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    elif name.startswith("float8"):
        values = torch.arange(256, dtype=torch.uint8).view(dtype)
    elif name == "int32":
        values = torch.tensor([0x7F800000, -1, 0x7FC00000], dtype=dtype)
    else:
        values = torch.tensor([math.nan, math.inf, -math.inf, 0.0, 3.4e38, -3.4e38, 1e-40, 1.0], dtype=dtype)
    data = values.view(torch.uint8).numpy().tobytes()
    assert not_finite(data, name) == int((~values.double().isfinite()).sum())


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
