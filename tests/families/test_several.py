"""Several quantizers in one model, several codecs in one file, and layouts that no row knows."""

import pytest
import torch


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def test_quantizers_of_one_kind_are_books_semantic_first(state_of, inspected, compared):
    """The same codec twice in a model is one VQ encoder of two books, and both are judged."""
    state = under("acoustic_vq.", state_of("vqp_residualvq")) | under("semantic_vq.", state_of("vqp_vectorquantize", 1))
    encoder = inspected(state).vq_encoder
    assert [(book.name, book.codebooks) for book in encoder.books] == [("semantic_vq", 1), ("acoustic_vq", 3)]
    for name in ("semantic_vq._codebook.embed", "acoustic_vq.layers.2._codebook.embed"):
        other = {**state, name: state[name] + 1}
        assert compared(state, other).verdict == "changed"


def test_numbered_quantizers_are_layers(state_of, inspected):
    """Quantizers in a list are layers of one, in the order of their numbers."""
    state = {}
    for number in (2, 10, 1):
        state |= under(f"vqs.{number}.", state_of("vqp_vectorquantize", number))
    encoder = inspected(state).vq_encoder
    assert encoder.prefix == "vqs."
    assert [tensor.label for tensor in encoder.tensors if tensor.label.endswith(" codes")] == [
        "1 codes",
        "2 codes",
        "10 codes",
    ]


def test_all_quantizers_of_x_codec_are_judged(state_of, inspected, compared):
    """`quantizer`, `semantic_quantizer` and `acoustic_quantizer` side by side are books of one VQ encoder."""
    one = state_of("encodec")
    state = one | {name.replace("quantizer.", "acoustic_quantizer.", 1): value.clone() for name, value in one.items()}
    encoder = inspected(state).vq_encoder
    assert [(book.name, book.codebooks) for book in encoder.books] == [("0", 3), ("acoustic", 3)]
    state["acoustic_quantizer.vq.layers.1._codebook.embed"][0, 0] += 1
    again = one | {name.replace("quantizer.", "acoustic_quantizer.", 1): value.clone() for name, value in one.items()}
    assert compared(state, again).verdict == "changed"


@pytest.fixture
def several(state_of):
    """A file with Mimi, encodec, an unknown codebook, and a moving average of Mimi."""
    mimi = state_of("hf_mimi")
    return (
        under("mimi.", mimi)
        | under("codec.", state_of("encodec"))
        | under("ema_model.mimi.", {name: value * 1.5 for name, value in mimi.items()})
        | {"foo.bar.embed": torch.randn(8, 4), "foo.bar.cluster_size": torch.ones(8)}
    )


def test_a_file_of_several_reads_like_a_table_of_contents(several, saved, vqcheck, valid):
    """Every VQ encoder has a line with codec, place, digest and verdict, the one to judge first; JSON has them all."""
    path = saved(several)
    run = vqcheck("inspect", path)
    assert run.returncode == 0
    assert "4 VQ encoders" in run.stdout
    rows = [line.split() for line in run.stdout.splitlines()]
    for number, words in enumerate(["Mimi", "EnCodec", "unknown layout", "moving average of Mimi"], start=1):
        row = next(row for row in rows if row[:1] == [str(number)] and " ".join(row[1:]).startswith(words))
        assert "healthy" in row, run.stdout
    file = valid(vqcheck("inspect", path, "--format", "json").stdout)["files"][0]
    assert [file["vq_encoder"]["family"], *(other["family"] for other in file["others"])] == [
        "mimi",
        "encodec",
        "unknown:embed",
        "mimi",
    ]
    assert [other["shadow"] for other in file["others"]] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("mimi.quantizer.semantic_residual_vector_quantizer.layers.0.codebook.embed_sum", "mimi"),
        ("codec.quantizer.vq.layers.2._codebook.embed", "codec"),
        ("foo.bar.embed", "foo.bar"),
        ("ema_model.mimi.quantizer.semantic_residual_vector_quantizer.layers.0.codebook.embed_sum", "ema_model.mimi"),
    ],
)
def test_every_copy_that_both_files_have_is_judged(several, compared, name, copy):
    """A change in any of them is found, in a moving average, too; nothing else is said to have changed."""
    comparison = compared(several, {**several, name: several[name] + 1})
    assert comparison.verdict == "changed"
    changed = [pair.a for pair in comparison.pairs if pair.verdict != "identical"]
    assert changed == [copy]
    assert compared(several, several).verdict == "identical"


def test_what_only_one_file_has_keeps_the_pair_from_being_green(several, saved, vqcheck):
    """Codecs without a counterpart are named; what both have is judged alone where it is chosen."""
    mimi = {name: value for name, value in several.items() if name.startswith("mimi.")}
    a, b = saved(several, "a.pth"), saved(mimi, "b.pth")
    run = vqcheck("diff", a, b)
    assert run.returncode == 2
    said = " ".join(run.stdout.split())
    assert "A's copy 'codec' is of a codec (encodec) that B does not hold" in said
    assert "A's copy 'foo.bar' is of a codec" in said
    assert vqcheck("diff", a, b, "--copy", "mimi").returncode == 0


@pytest.mark.parametrize(
    ("codes", "sums", "counts"),
    [("embed", "embed_avg", "cluster_size"), ("codes", "codes_avg", "cluster_size"), ("embeddings", "z_avg", "N")],
)
def test_an_unknown_layout_is_found_by_its_siblings_and_says_so(codes, sums, counts, saved, vqcheck):
    """Tensors that lie together as a codebook's do are compared, and the report calls it an unknown layout."""
    state = {}
    for layer in range(2):
        parent = f"net.block.{layer}.inner"
        state |= {f"{parent}.{codes}": torch.randn(8, 4), f"{parent}.{sums}": torch.randn(8, 4)}
        state[f"{parent}.{counts}"] = torch.ones(8)
    path = saved(state)
    run = vqcheck("inspect", path)
    assert run.returncode == 0
    assert "unknown layout" in run.stdout
    assert "2 codebooks" in run.stdout
    assert vqcheck("diff", path, path).returncode == 0
    moved = saved({**state, f"net.block.1.inner.{codes}": state[f"net.block.1.inner.{codes}"] + 1}, "b.pth")
    assert vqcheck("diff", path, moved).returncode == 1


@pytest.mark.parametrize("lacking", ["embed", "cluster_size"])
def test_half_a_set_of_siblings_is_nothing(lacking, saved, vqcheck):
    """Codes without a count, or a count without codes, are no evidence of a codebook."""
    state = {"net.embed": torch.randn(8, 4), "net.cluster_size": torch.ones(8), "net.embed_avg": torch.randn(8, 4)}
    del state[f"net.{lacking}"]
    path = saved(state)
    assert vqcheck("diff", path, path).returncode == 2


def test_different_codecs_have_nothing_in_common(state_of, saved, vqcheck):
    """A stored codebook and a calculated one cannot be compared, which is status 2 and not green."""
    run = vqcheck("diff", saved(state_of("encodec"), "a.pth"), saved(state_of("hf_mimi"), "b.pth"))
    assert (run.returncode, run.stdout) == (2, "")
    assert "no codebook in common" in run.stderr
