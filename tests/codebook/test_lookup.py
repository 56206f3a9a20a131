"""Which names are worth a second look: a model has thousands, and each that fits a row costs time."""

from vqcheck.codebook.lookup import candidates
from vqcheck.codebook.match import match

CODEBOOK = {"vq.weight": (16, 8), "vq.cluster_size": (16,), "vq.embed_avg": (16, 8)}


def test_weights_of_ordinary_layers_are_no_candidates():
    layers = dict.fromkeys(f"{module}.{number}.weight" for module in ("encoder", "decoder") for number in range(50))
    assert candidates(layers) == {}


def test_a_weight_beside_a_count_is_one():
    found = {family.name: [each.name for each in named] for (_, family), named in candidates(CODEBOOK).items()}
    assert found["unknown:weight"] == ["vq.weight", "vq.cluster_size", "vq.embed_avg"]


def test_a_codebook_is_found_among_a_hundred_thousand_layers():
    layers = {f"layers.{number}.experts.7.weight": (64, 64) for number in range(100_000)}
    (found,) = match(layers | CODEBOOK)
    assert [each.name for each in found.found] == ["vq.weight", "vq.embed_avg", "vq.cluster_size"]
