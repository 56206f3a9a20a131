"""What decides tokens is what the codec calculates: equal results are equal, however their sources differ."""

import pytest
import torch


def halved(state):
    return {
        name: value / 2 if "embed_sum" in name or "cluster_usage" in name else value for name, value in state.items()
    }


def test_rescaled_mimi_is_changed_and_equal_in_tokens(state_of, saved, vqcheck):
    """Sums and counts halved together are a change of bookkeeping: status 1, but 0 with `--scope tokens`."""
    state = state_of("hf_mimi")
    a, b = saved(state, "a.pth"), saved(halved(state), "b.pth")
    run = vqcheck("diff", a, b)
    assert run.returncode == 1
    assert "equal to the last bit" in run.stdout
    run = vqcheck("diff", a, b, "--scope", "tokens")
    assert run.returncode == 0
    assert run.stdout.startswith("identical")


def test_mimi_moved_is_changed_in_tokens_too(state_of, compared):
    """Sums that moved without their counts give other codes, in either scope."""
    state = state_of("hf_mimi")
    other = {name: value * 1.1 if "embed_sum" in name else value for name, value in state.items()}
    comparison = compared(state, other, scope="tokens")
    assert comparison.verdict == "changed"
    assert {d.label for d in comparison.tensors if d.judged and d.verdict == "changed"} == {
        "semantic.0 codes",
        "acoustic.0 codes",
        "acoustic.1 codes",
    }


def test_unused_codes_of_mimi_are_divided_by_the_smallest_count(state_of, compared):
    """A count below 1e-5 counts as 1e-5, as in the codec: below it the count decides nothing."""
    state = state_of("hf_mimi")
    name = "quantizer.semantic_residual_vector_quantizer.layers.0.codebook.cluster_usage"
    state[name][3] = 0
    other = {key: value.clone() for key, value in state.items()}
    other[name][3] = 1e-6
    assert compared(state, other).verdict == "changed"
    assert compared(state, other, scope="tokens").verdict == "identical"
    other[name][3] = 1e-4
    assert compared(state, other, scope="tokens").verdict == "changed"


def plain(state):
    """Returns a weight-normed state with plain weights, as torch calculates them."""
    result = {}
    for name, value in state.items():
        if name.endswith("original0"):
            module = name.removesuffix(".parametrizations.weight.original0")
            direction = state[f"{module}.parametrizations.weight.original1"]
            result[f"{module}.weight"] = torch._weight_norm(direction, value, 0)
        elif not name.endswith("original1"):
            result[name] = value
    return result


@pytest.mark.parametrize("seed", range(3))
def test_a_plain_weight_equals_the_weight_norm_it_came_from(seed, state_of, saved, vqcheck, valid):
    """A layer exported without weight norm is equal within a few last places, and the verdict says so."""
    state = state_of("snac", seed)
    run = vqcheck("diff", saved(state, "a.pth"), saved(plain(state), "b.pth"), "--format", "json")
    document = valid(run.stdout)
    assert (run.returncode, document["verdict"]) == (0, "equal within n ulp")
    tensor = next(t for t in document["tensors"] if t["label"] == "0 input_proj.weight")
    assert "ulp of float32 apart" in tensor["note"]
    assert tensor["a"]["digest"] is None


def test_a_plain_weight_that_moved_is_changed(state_of, compared):
    """One step of training at a learning rate of 1e-4 is no matter of last places."""
    state = state_of("snac")
    other = plain(state)
    other["quantizer.quantizers.1.in_proj.weight"] += 1e-4
    comparison = compared(state, other)
    assert comparison.verdict == "changed"
    assert [d.label for d in comparison.tensors if d.judged and d.verdict == "changed"] == ["1 input_proj.weight"]


def test_a_rescaled_direction_is_the_same_layer(state_of, compared):
    """Weight norm divides the direction by its length, so twice the direction is the same weight to the last bit."""
    state = state_of("dac")
    other = {name: value * 2 if name.endswith("in_proj.weight_v") else value for name, value in state.items()}
    comparison = compared(state, other)
    assert comparison.verdict == "identical"
    assert {d.verdict for d in comparison.tensors if d.label.endswith("input_proj.v")} == {"changed"}
    other = {name: value * 2 if name.endswith("in_proj.weight_g") else value for name, value in state.items()}
    assert compared(state, other).verdict == "changed"


def test_simvq_is_judged_by_its_transformed_codes(state_of, compared):
    """Codes scaled up and a transform scaled down by a power of two give the same lookup."""
    state = state_of("vqp_simvq")
    other = {
        "frozen_codebook": state["frozen_codebook"] * 2,
        "code_transform.weight": state["code_transform.weight"] / 2,
    }
    assert compared(state, other).verdict == "identical"
    assert compared(state, {**other, "frozen_codebook": state["frozen_codebook"]}).verdict == "changed"


def test_calculated_values_are_the_codecs_own():
    """The numbers that are compared are those that the packages look up with."""
    import numpy as np
    from vector_quantize_pytorch import SimVQ

    from vqcheck.codebook.values import sum_over_count, transformed, weight_normed

    generator = torch.Generator().manual_seed(0)
    sums, counts = torch.randn(1, 6, 4, generator=generator), torch.rand(1, 6, generator=generator)
    counts[0, 0] = 0
    expected = sums / counts.clamp(min=1e-5)[..., None]
    assert np.array_equal(sum_over_count(sums.numpy(), counts.numpy()), expected.numpy())
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(5, 3, 2))
    g, v = (
        (layer.parametrizations.weight[0], layer.parametrizations.weight)[1].original0,
        layer.parametrizations.weight.original1,
    )
    assert np.allclose(weight_normed(g.detach().numpy(), v.detach().numpy()), layer.weight.detach().numpy(), rtol=1e-6)
    vq = SimVQ(dim=4, codebook_size=6)
    mine = transformed(vq.frozen_codebook.numpy()[None], {"weight": vq.code_transform.weight.detach().numpy()})
    assert np.allclose(mine[0], vq.codebook.detach().numpy(), rtol=1e-6)
