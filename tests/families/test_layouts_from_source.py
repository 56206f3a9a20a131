"""Layouts known from source code alone, without a model to read them off: names and roles as the sheet quotes them."""

import pytest

from vqcheck.codebook.match import match

C, S, N, I, P = "codes", "ema_sum", "ema_count", "init_flag", "input_proj"
MATRIX, LYING, COUNT = (32, 8), (8, 32), (32,)

LAYOUTS = {
    "repcodec": {
        f"quantizer.codebook.layers.{layer}.{name}": (role, shape)
        for layer in range(2)
        for name, role, shape in (("embed", C, LYING), ("embed_avg", S, LYING), ("cluster_size", N, COUNT))
    },
    "dl-art-school": {
        "dvae.codebook.embed": (C, MATRIX),
        "dvae.codebook.embed_avg": (S, MATRIX),
        "dvae.codebook.cluster_size": (N, COUNT),
        "dvae.codebook.initted": (I, (1,)),
    },
    "vq-ema": {
        "_vq_vae._embedding.weight": (C, MATRIX),
        "_vq_vae._ema_w": (S, MATRIX),
        "_vq_vae._ema_cluster_size": (N, COUNT),
        "_pre_vq_conv.weight": (P, (8, 16, 1, 1)),
        "_pre_vq_conv.bias": (P, (8,)),
    },
    "videogpt": {
        "codebook.embeddings": (C, MATRIX),
        "codebook.z_avg": (S, MATRIX),
        "codebook.N": (N, COUNT),
    },
    "torchmultimodal": {
        "codebook.embedding": (C, MATRIX),
        "codebook.code_avg": (S, MATRIX),
        "codebook.code_usage": (N, COUNT),
    },
    "jukebox": {f"bottleneck.level_blocks.{level}.k": (C, MATRIX) for level in range(3)},
    "t2m-gpt": {"vqvae.quantizer.codebook": (C, MATRIX)},
    "fsq": {
        "quantizer.residual_fsq.rvqs.0.project_in.weight": (P, (4, 16)),
        "quantizer.residual_fsq.rvqs.0.project_in.bias": (P, (4,)),
        "quantizer.residual_fsq.rvqs.0.project_out.weight": ("output_proj", (16, 4)),
        "quantizer.residual_fsq.rvqs.0.project_out.bias": ("output_proj", (16,)),
        "quantizer.downsample.0.0.weight": (P, (16, 16, 2)),
    },
    "factorised-vq": {
        f"quantizer.{group}.layers.{layer}._codebook.weight": (C, MATRIX) for group in range(3) for layer in range(2)
    },
    "encodec": {f"acoustic_quantizer.vq.layers.{layer}._codebook.embed": (C, MATRIX) for layer in range(2)},
}


@pytest.mark.parametrize("row", LAYOUTS)
def test_quoted_names_play_their_roles(row):
    """One VQ encoder is found by the row, every tensor in its role, codes before dimensions."""
    layout = LAYOUTS[row]
    matches = match({name: shape for name, (_, shape) in layout.items()})
    assert [each.family.name for each in matches] == [row]
    assert {found.name: found.role for found in matches[0].found} == {name: role for name, (role, _) in layout.items()}
    assert {found.shape for found in matches[0].found if found.role == C} <= {(1, 32, 8)}


@pytest.mark.parametrize("row", ["dl-art-school", "vq-ema", "videogpt", "torchmultimodal"])
def test_common_names_need_their_siblings(row):
    """Where a name alone is common, codes without sums and counts beside them are not taken for a codebook."""
    assert match({name: shape for name, (role, shape) in LAYOUTS[row].items() if role == C}) == []
