"""A rounding that destroys codes in use is a change; of unused codes and of counts it is a remark."""

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.report.views.diff import view
from vqcheck.report.views.diff_words import remarks

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED, COUNT, SUM = (f"{CODEBOOK}.{name}" for name in ("embed", "cluster_size", "embed_avg"))


@pytest.fixture
def export(save):
    """Returns the comparison of a training file with its export in a narrow type."""

    def run(state, dtype=torch.float16, **changes):
        narrow = {name: value.to(dtype) for name, value in state.items()} | changes
        a = save(state, "G_400.pth", iteration=8, optimizer={})
        b = save(narrow, "e_e8_s400.pth", info="8epoch_400iteration")
        with open_checkpoint(a) as first, open_checkpoint(b) as second:
            return compare(first, second)

    return run


def lossy(state, how, codes):
    """Change codes so that float16 makes of them zeros, infinities, or one and the same code."""
    if how == "zero":
        state[EMBED][codes] = 1e-9
    elif how == "not_finite":
        state[EMBED][codes, 0] = 1e6
    else:
        state[EMBED][codes] = 1.0 + 1e-6 * torch.arange(1.0, len(codes) + 1)[:, None]
    return state


@pytest.mark.parametrize("how", ["zero", "not_finite", "equal"])
def test_codes_in_use_that_a_rounding_destroys_are_a_change(vq_state, export, how):
    """Which became what is told by number."""
    result = export(lossy(vq_state(), how, [3, 8]))
    assert (result.verdict, result.exit_code) == ("changed", 1)
    assert {tensor.label: tensor.verdict for tensor in result.tensors}["codes"] == "changed"
    (cause,) = result.diagnosis.causes
    assert (cause.code, getattr(cause.evidence, how)) == ("lost-by-rounding", (3, 8))
    assert [getattr(result.losses[0], name) for name in ("zero", "not_finite", "equal") if name != how] == [(), ()]
    assert [advice.code for advice in result.diagnosis.advice] == ["use-the-wider-file"]


@pytest.mark.parametrize(("how", "unused"), [("zero", [3, 8]), ("not_finite", [3, 8]), ("equal", [3])])
def test_of_unused_codes_it_is_a_remark(vq_state, export, how, unused):
    """The same of codes that no frame goes to is told and changes nothing, also where one equals a code in use."""
    state = lossy(vq_state(), how, [3, 8])
    state[COUNT][unused] = 1e-6
    result = export(state)
    assert (result.verdict, result.exit_code) == ("rounded", 0)
    assert (result.losses[0].of_use, result.losses[0].unused) == (0, len(unused))
    assert f"{len(unused)} unused codes became zero, infinite or equal to others in B" in view(result).brief


def test_without_counts_every_code_is_in_use(vq_state, export):
    """One destroyed code suffices then."""
    state = lossy(vq_state(), "zero", [5])
    del state[COUNT], state[SUM]
    assert export(state).exit_code == 1


def test_counts_that_overflow_or_underflow_are_a_remark(vq_state, export):
    """float16 makes infinity of a large count and zero of a tiny one; codes and verdict are as they were."""
    state = vq_state()
    state[COUNT][:2] = torch.tensor([1e6, 1e-9])
    result = export(state)
    assert result.verdict == "rounded"
    assert remarks(result) == ["1 counts overflowed in B", "1 counts became zero in B"]


def test_a_rounding_that_spares_every_code_says_nothing(vq_state, export):
    """A sound codebook, also one that had zero and equal codes before, loses nothing."""
    state = vq_state()
    state[EMBED][4] = 0
    state[EMBED][5] = state[EMBED][6]
    result = export(state)
    assert (result.verdict, result.losses) == ("rounded", ())


@pytest.mark.parametrize("fault", ["infinite", "zero"])
def test_a_projection_that_a_rounding_destroys_is_a_change(vq_state, export, fault):
    """A weight that becomes infinite, or a projection of nothing but zeros, decides tokens."""
    state = vq_state()
    if fault == "infinite":
        state["ssl_proj.weight"][0, 0, 0] = 1e6
    else:
        state["ssl_proj.weight"] *= 1e-9
    result = export(state)
    assert {tensor.label: tensor.verdict for tensor in result.tensors}["input_proj.weight"] == "changed"
    assert result.exit_code == 1


def test_codes_calculated_from_sums_and_counts_are_looked_at_too(save):
    """Mimi's codes are sums over counts: where the sums underflow, the codes are lost."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for book in ("rvq_first", "rvq_rest"):
        path = f"quantizer.{book}.vq.layers.0._codebook"
        count = 20 + 10 * torch.rand(16, generator=generator)
        state |= {
            f"{path}.embedding_sum": torch.randn(16, 4, generator=generator) * count[:, None],
            f"{path}.cluster_usage": count,
            f"{path}._initialized": torch.ones(1),
        }
    narrow = {name: value.half() for name, value in state.items()}
    for expected in ("rounded", "changed"):
        a = save(state, "G_400.pth", iteration=8, optimizer={})
        b = save(narrow, "e_e8_s400.pth", info="8epoch_400iteration")
        with open_checkpoint(a) as first, open_checkpoint(b) as second:
            result = compare(first, second)
        assert (result.verdict, [loss.zero for loss in result.losses]) == (expected, [(2,)] * (expected == "changed"))
        key = "quantizer.rvq_rest.vq.layers.0._codebook.embedding_sum"
        state[key][2] = 1e-9
        narrow[key] = state[key].half()


def test_same_is_said_of_identical_alone(vq_state, save, capsys):
    """The line on a rounding, and on one that may be training, does not call the VQ encoders the same."""
    from vqcheck.cli.main import main

    half = {name: value.half() for name, value in vq_state().items()}
    near = {name: value.float() * (1 if name.endswith("inited") else 1 + 1e-4) for name, value in half.items()}
    assert all(torch.equal(near[name].half(), value) for name, value in half.items())
    for kind in ({}, {"info": "8epoch_400iteration"}):
        a = save(near, "a.pth", **({"iteration": 8} if kind else {}))
        b = save(half, "b.pth", **kind)
        assert main(["diff", str(a), str(b)]) == 0
        said = capsys.readouterr().out
        assert said.startswith("rounded")
        assert "same" not in said
        assert ("either B was exported from A" in said) == (not kind)
    assert main(["diff", str(b), str(b)]) == 0
    assert "same VQ encoder" in capsys.readouterr().out


@pytest.mark.parametrize("counts", [-1.0, float("nan"), float("inf")])
def test_counts_that_cannot_be_true_excuse_no_lost_code(counts, vq_state, export):
    """Nothing is known of use then, so every code may be in use; zeros of all would be no counts either."""
    state = lossy(vq_state(), "zero", [3, 5])
    state[COUNT][:] = counts
    found = export(state)
    assert found.exit_code == 1
    assert found.losses[0].zero == (3, 5)
