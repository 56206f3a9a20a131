"""The same codebook under other names is the same codebook: one digest, whatever stores it."""

import subprocess
import sys

import pytest
import torch


def renamed(state, *pairs):
    for old, new in pairs:
        state = {name.replace(old, new): value for name, value in state.items()}
    return state


RENAMED = {
    "encodec in transformers": ("encodec", [("quantizer.vq.layers", "quantizer.layers"), ("_codebook", "codebook")]),
    "moshi in transformers": (
        "moshi_mimi_quantizer",
        [
            ("rvq_first.vq.", "semantic_residual_vector_quantizer."),
            ("rvq_rest.vq.", "acoustic_residual_vector_quantizer."),
            ("rvq_first.", "semantic_residual_vector_quantizer."),
            ("rvq_rest.", "acoustic_residual_vector_quantizer."),
            ("_codebook._initialized", "codebook.initialized"),
            ("_codebook.cluster_usage", "codebook.cluster_usage"),
            ("_codebook.embedding_sum", "codebook.embed_sum"),
        ],
    ),
    "old names of moshi": ("moshi_mimi_quantizer", [("_initialized", "inited"), ("embedding_sum", "embed_sum")]),
    "inside a bigger model": ("nemo_encodec_rvq", [("vector_quantizer", "codec.inner.vector_quantizer")]),
    "NeMo as encodec": (
        "nemo_encodec_rvq",
        [
            ("vector_quantizer.codebooks", "quantizer.vq.layers"),
            (".initialized", "._codebook.inited"),
            (".cluster_size", "._codebook.cluster_size"),
            (".codes_avg", "._codebook.embed_avg"),
            (".codes", "._codebook.embed"),
        ],
    ),
}


@pytest.mark.parametrize("case", RENAMED)
def test_other_names_have_the_same_digest(case, state_of, inspected, compared):
    """Digests are equal and the comparison says identical, though no name is."""
    codec, pairs = RENAMED[case]
    state = state_of(codec)
    other = renamed(state, *pairs)
    assert state.keys() != other.keys()
    a, b = inspected(state).vq_encoder, inspected(other).vq_encoder
    assert (a.f32.codebook, a.f32.projection, a.f32.vq_encoder) == (b.f32.codebook, b.f32.projection, b.f32.vq_encoder)
    assert compared(state, other).verdict == "identical"


def test_transposed_codes_have_the_digest_of_upright_ones(state_of, inspected, compared):
    """A codebook stored dimensions first has the digest of the one stored codes first, with one bit changed another."""
    upright = state_of("taming_embedding_ema")
    names = {"quantize.embedding.weight": "embed", "quantize.embedding.embed_avg": "embed_avg"}
    lying = {f"codebook.{names[name]}": value.T.contiguous() for name, value in upright.items() if name in names}
    lying["codebook.cluster_size"] = upright["quantize.embedding.cluster_size"]
    a, b = inspected(upright).vq_encoder, inspected(lying).vq_encoder
    assert (a.family, b.family) == ("taming-ema", "dvae")
    assert a.f32.codebook == b.f32.codebook
    assert compared(upright, lying).verdict == "identical"
    lying["codebook.embed"][0, 0] += 1
    assert inspected(lying).vq_encoder.f32.codebook != a.f32.codebook


def test_weight_norm_has_one_digest_in_both_of_torchs_spellings(state_of, inspected, compared):
    """weight_g and weight_v are original0 and original1."""
    new = state_of("snac")
    old = renamed(
        new, ("parametrizations.weight.original0", "weight_g"), ("parametrizations.weight.original1", "weight_v")
    )
    assert inspected(new).vq_encoder.f32 == inspected(old).vq_encoder.f32
    assert compared(new, old).verdict == "identical"


def test_tied_books_count_once_with_their_layers(state_of, inspected, compared):
    """One storage under three layers is one codebook of three; saved apart it is equal, and a change is seen."""
    apart = state_of("vqp_residualvq_shared")
    tied = {name: apart[name.replace("layers.1", "layers.0").replace("layers.2", "layers.0")] for name in apart}
    encoder = inspected(tied).vq_encoder
    assert (encoder.books[0].codebooks, encoder.books[0].stored) == (3, 1)
    clones = {name: value.clone() for name, value in tied.items()}
    assert inspected(clones).vq_encoder.books[0].stored == 3
    assert compared(tied, clones).verdict == "identical"
    assert compared(clones, tied).verdict == "identical"
    clones["layers.2._codebook.embed"][0, 0, 0] += 1
    comparison = compared(tied, clones)
    assert comparison.verdict == "changed"
    assert [diff.label for diff in comparison.tensors if diff.verdict == "changed"] == ["2 codes"]


def test_tied_books_survive_safetensors(state_of, inspected, tmp_path):
    """Names that safetensors removed as aliases are restored, so that the digest is that of the torch file."""
    from safetensors.torch import save_file

    from vqcheck import open_checkpoint
    from vqcheck.codebook.inspection import inspect

    apart = state_of("vqp_residualvq_shared")
    kept = {name: value for name, value in apart.items() if "layers.0" in name}
    tied = {name: apart[name.replace("layers.1", "layers.0").replace("layers.2", "layers.0")] for name in apart}
    aliases = {name: name.replace("layers.1", "layers.0").replace("layers.2", "layers.0") for name in apart}
    save_file(kept, tmp_path / "tied.safetensors", {name: to for name, to in aliases.items() if name != to})
    with open_checkpoint(tmp_path / "tied.safetensors") as checkpoint:
        encoder = inspect(checkpoint).vq_encoder
    assert encoder.f32 == inspected(tied).vq_encoder.f32
    assert encoder.f32.codebook != inspected(kept).vq_encoder.f32.codebook


@pytest.mark.parametrize("order", [range(12), reversed(range(12))])
def test_layers_are_ordered_as_numbers(order, state_of, inspected):
    """Layer 10 comes after layer 9, in whatever order the file has them."""
    one = state_of("nemo_encodec_rvq")
    state = {}
    for layer in order:
        for name in ("codes", "codes_avg", "cluster_size", "initialized"):
            value = one[f"vector_quantizer.codebooks.0.{name}"]
            state[f"vector_quantizer.codebooks.{layer}.{name}"] = value.clone() + (name == "codes") * layer
    labels = [tensor.label for tensor in inspected(state).vq_encoder.tensors if tensor.label.endswith("codes")]
    assert labels == [f"{layer} codes" for layer in range(12)]


def test_the_float16_export_of_every_dtype_is_rounded(state_of, compared):
    """A float16 copy of a codec is its declared rounding, calculated values included."""
    for codec in ("hf_mimi", "snac", "vqp_simvq", "nemo_encodec_rvq"):
        state = state_of(codec)
        half = {name: value.half() if value.dtype == torch.float32 else value for name, value in state.items()}
        assert compared(state, half).verdict == "rounded", codec


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
@pytest.mark.parametrize("shape", [(4, 8), (1, 8), (8, 1), (8, 8)])
def test_stored_the_other_way_round_it_is_read_upright(dtype, shape, saved):
    """Codes stored dimensions first are read codes first, in any width."""
    from vqcheck import find_vq_encoder, open_checkpoint

    stored = torch.randn(shape).to(dtype)
    state = {
        "codebook.embed": stored,
        "codebook.embed_avg": stored.clone(),
        "codebook.cluster_size": torch.ones(shape[1]),
    }
    with open_checkpoint(saved(state)) as checkpoint:
        codes = find_vq_encoder(checkpoint).codebooks[0].codes
        read = checkpoint.read(codes.tensor)
    assert codes.shape == (1, shape[1], shape[0])
    assert bytes(read) == stored.T.flatten().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("codec", ["xtts_dvae", "hf_mimi", "snac", "vqp_simvq", "vqp_lfq"])
def test_equal_files_are_compared_without_numpy(codec, state_of, saved):
    """The quick way is open to every codec: two equal files need neither numpy nor rich."""
    path = saved(state_of(codec))
    code = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'rich'): sys.modules[name] = None\n"
        "from vqcheck.cli.main import main\n"
        f"sys.exit(main(['diff', {str(path)!r}, {str(path)!r}]))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("identical")
