"""A codebook under names that nobody listed is found by what lies side by side; what only looks like one is not."""

import pytest
import torch

from vqcheck import compare, find_vq_encoder, open_checkpoint
from vqcheck.codebook.match import match
from vqcheck.errors import NoCodebookError

K, D = 24, 6


def shapes(**siblings):
    return {f"model.tokenizer.{name}": shape for name, shape in siblings.items()} | {"model.head.weight": (K, D)}


def roles(found):
    return {each.name.rpartition(".")[2]: each.role for each in found.found}


@pytest.mark.parametrize(
    ("codes", "sums", "counts"),
    [
        ("codebook", "embed_avg", "cluster_size"),
        ("codebook", "ema_sum", "ema_count"),
        ("centroids", "centroids_sum", "usage"),
        ("_embedding", "_ema_w", "_ema_cluster_size"),
        ("table", "table_total", "hits"),
    ],
)
@pytest.mark.parametrize("shape", [(K, D), (D, K), (2, K, D)])
def test_codes_sums_and_counts_of_any_name_are_found(codes, sums, counts, shape):
    """One count for each code, a running sum and the codes, of one shape, under names that say which is the sum."""
    count = (2, K) if len(shape) == 3 else (K,)
    (found,) = match(shapes(**{codes: shape, sums: shape, counts: count, "inited": (1,)}))
    assert found.family.structural
    assert roles(found) == {codes: "codes", sums: "ema_sum", counts: "ema_count", "inited": "init_flag"}
    assert {each.shape for each in found.found if each.role == "codes"} == {shape if len(shape) == 3 else (1, K, D)}


@pytest.mark.parametrize(
    "siblings",
    [
        {"weight": (K,), "bias": (K,), "running_mean": (K,), "running_var": (K,), "num_batches_tracked": ()},
        {"weight": (K, D), "expert_count": (K,)},
        {"exp_avg": (K, D), "exp_avg_sq": (K, D), "step_count": (K,)},
        {"codebook": (K, D), "embed_avg": (K, D + 1), "cluster_size": (K,)},
        {"codebook": (K, D), "embed_avg": (K, D), "cluster_size": (K + 1,)},
        {"codebook": (K, D), "embed_avg": (K, D), "cluster_size": (K, 1)},
        {"codebook": (K, D), "other": (K, D), "embed_avg": (K, D), "cluster_size": (K,)},
        {"codebook": (K, D), "embed_avg": (K, D), "other_avg": (K, D), "cluster_size": (K,)},
        {"kernel": (K, D, 3, 3), "kernel_avg": (K, D, 3, 3), "count": (K,)},
    ],
    ids=["batch norm", "experts", "optimiser", "sum", "count", "matrix", "two codes", "two sums", "convolution"],
)
def test_look_alikes_are_left_alone(siblings):
    """Anything that does not fit, or fits in two ways, is no codebook."""
    assert match(shapes(**siblings)) == []


def test_siblings_are_those_of_one_module():
    """A count in one module says nothing of matrices in another."""
    assert match({"a.codebook": (K, D), "a.embed_avg": (K, D), "b.cluster_size": (K,)}) == []


def test_a_hostile_number_of_siblings_ends():
    """Forty thousand tensors of one module are told apart in one pass, not each against each."""
    names = {f"x{i}_count": (3,) for i in range(20_000)} | {f"x{i}_sum": (3, i + 1) for i in range(20_000)}
    assert match(shapes(**names)) == []


def test_layers_of_such_a_codec_are_one_vq_encoder(tmp_path):
    """Several of them are compared as layers, and a change of one shows where it is."""
    state = {
        f"rvq.{layer}.{name}": torch.rand(shape) + 1
        for layer in range(3)
        for name, shape in (("codebook", (K, D)), ("embed_avg", (K, D)), ("cluster_size", (K,)))
    }
    torch.save(state, tmp_path / "a.pth")
    state["rvq.1.codebook"] = state["rvq.1.codebook"] + 1
    torch.save(state, tmp_path / "b.pth")
    with open_checkpoint(tmp_path / "a.pth") as a, open_checkpoint(tmp_path / "b.pth") as b:
        assert len(find_vq_encoder(a).codebooks) == 3
        result = compare(a, b)
    assert {diff.label for diff in result.tensors if diff.verdict == "changed"} == {"1 codes"}


def test_a_known_codec_is_not_taken_for_an_unknown_one(checkpoints):
    """A file of a listed codec has one VQ encoder, under the codec's own name."""
    with open_checkpoint(checkpoints / "base_v2.pth") as file:
        encoder = find_vq_encoder(file)
    assert (encoder.family.name, encoder.also_found) == ("gpt-sovits", ())
    with open_checkpoint(checkpoints / "gpt-e15.ckpt") as file, pytest.raises(NoCodebookError):
        find_vq_encoder(file)
