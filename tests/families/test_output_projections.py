"""Which output projections decide tokens: for every row, a codec written here in torch looks up with each moved."""

import pytest
import torch
from torch.nn.functional import normalize

DIM, SMALL, CODES, FRAMES = 12, 4, 32, 200
GENERATOR = torch.Generator().manual_seed(0)


def values(*shape):
    return torch.randn(shape, generator=GENERATOR) * 0.4


def layer(path, before, behind, codes, spelling="plain"):
    """Returns the tensors of a layer that projects down, looks up, and projects up again."""
    state = {f"{path}.{codes}": values(CODES, SMALL)}
    for name, shape in ((before, (SMALL, DIM)), (behind, (DIM, SMALL))):
        weight = values(*shape)
        if spelling == "plain":
            state[f"{path}.{name}.weight"] = weight
        else:
            g, v = WEIGHT_NORM[spelling]
            state[f"{path}.{name}.{g}"] = weight.norm(dim=1, keepdim=True) * 1.5
            state[f"{path}.{name}.{v}"] = weight
        state[f"{path}.{name}.bias"] = values(shape[0])
    return state


WEIGHT_NORM = {
    "old weight norm": ("weight_g", "weight_v"),
    "new weight norm": ("parametrizations.weight.original0", "parametrizations.weight.original1"),
}


def project(state, path, x):
    """Returns what torch's linear layer gives, weight norm resolved by torch."""
    for g, v in WEIGHT_NORM.values():
        if f"{path}.{g}" in state:
            weight = torch._weight_norm(state[f"{path}.{v}"], state[f"{path}.{g}"], 0)
            return torch.nn.functional.linear(x, weight, state[f"{path}.bias"])
    return torch.nn.functional.linear(x, state[f"{path}.weight"], state[f"{path}.bias"])


def look_up(state, path, names, x):
    """Returns (tokens, what comes out) of one layer for frames `[N, DIM]`."""
    before, behind, codes = names
    book = state[f"{path}.{codes}"]
    tokens = (normalize(project(state, f"{path}.{before}", x)) @ normalize(book).T).argmax(1)
    return tokens, project(state, f"{path}.{behind}", book[tokens])


def chain(state, paths, names, x):
    """Returns (tokens of all layers, the sum of what came out); each layer takes what those before it left."""
    tokens, total = [], torch.zeros_like(x)
    for path in paths:
        found, out = look_up(state, path, names, x - total)
        tokens.append(found)
        total = total + out
    return torch.stack(tokens), total


DAC = ("in_proj", "out_proj", "codebook.weight")
AMPHION = ("in_project", "out_project")
FACODEC = ("in_proj", "out_proj", "_codebook.weight")
LAYER = "quantizer.quantizers"
RESIDUAL = {
    "DAC, transformers": (LAYER, DAC, "plain", {}),
    "DAC, descript": (LAYER, DAC, "old weight norm", {}),
    "SNAC": (LAYER, DAC, "new weight norm", {}),
    "Amphion RepCodec": (LAYER, (*AMPHION, "codebook.weight"), "old weight norm", {}),
    "Amphion simple": (LAYER, (*AMPHION, "codebook.embed.weight"), "old weight norm", {}),
    "Amphion Euclidean": (LAYER, (*AMPHION, "codebook.embed"), "old weight norm", {"codebook.cluster_size": CODES}),
    "BigCodec": ("quantizer.layers", FACODEC, "old weight norm", {}),
    "EnCodec": (
        "quantizer.vq.layers",
        ("project_in", "project_out", "_codebook.embed"),
        "plain",
        {"_codebook.cluster_size": CODES},
    ),
    "EnCodec, transformers": ("quantizer.layers", ("project_in", "project_out", "codebook.embed"), "plain", {}),
    "Higgs Audio": (LAYER, ("project_in", "project_out", "codebook.embed"), "plain", {}),
}


def residual(kind, layers=3):
    """Returns (state, what gives its tokens) of a codec in which each layer quantises what is left."""
    root, names, spelling, further = RESIDUAL[kind]
    paths = [f"{root}.{number}" for number in range(layers)]
    state = {}
    for path in paths:
        state |= layer(path, *names, spelling) | {f"{path}.{name}": torch.ones(n) for name, n in further.items()}
    return state, lambda state, x: chain(state, paths, names, x)[0]


def facodec():
    """Prosody and content quantise the features, the details what both leave of them."""
    paths = {group: [f"quantizer.{group}.layers.{number}" for number in range(2)] for group in range(3)}
    state = {}
    for path in (path for group in paths.values() for path in group):
        state |= layer(path, *FACODEC, "old weight norm")

    def tokens(state, x):
        prosody, a = chain(state, paths[0], FACODEC, x)
        content, b = chain(state, paths[1], FACODEC, x)
        return torch.cat([prosody, content, chain(state, paths[2], FACODEC, x - a - b)[0]])

    return state, tokens


def fish():
    """The acoustic layers quantise what the semantic ones leave."""
    paths = [f"quantizer.semantic_quantizer.quantizers.{n}" for n in range(1)]
    paths += [f"quantizer.quantizer.quantizers.{n}" for n in range(2)]
    state = {}
    for path in paths:
        state |= layer(path, *DAC, "old weight norm")
    return state, lambda state, x: chain(state, paths, DAC, x)[0]


def var():
    """One codebook is looked up at every scale, in what the scales before left through `quant_resi`."""
    state = {
        "quantize.embedding.weight": values(CODES, DIM),
        "quant_conv.weight": values(DIM, DIM),
        "quant_conv.bias": values(DIM),
        "post_quant_conv.weight": values(DIM, DIM),
        "post_quant_conv.bias": values(DIM),
    }
    for number in range(2):
        state |= {f"quantize.quant_resi.qresi_ls.{number}.{n}": values(*s) for n, s in LINEAR.items()}

    def tokens(state, x):
        left, found = project(state, "quant_conv", x), []
        for scale in range(4):
            book = state["quantize.embedding.weight"]
            found.append(torch.cdist(left, book).argmin(1))
            left = left - project(state, f"quantize.quant_resi.qresi_ls.{scale // 2}", book[found[-1]])
        return torch.stack(found)

    return state, tokens


LINEAR = {"weight": (DIM, DIM), "bias": (DIM,)}
MODELS = {kind: (lambda kind=kind: residual(kind)) for kind in RESIDUAL}
MODELS |= {"one layer": lambda: residual("DAC, descript", 1), "FACodec": facodec, "fish-speech": fish, "VAR": var}


@pytest.mark.parametrize("model", MODELS)
def test_it_counts_where_it_changes_a_token(model, compared, inspected):
    """Moving any part of any output projection is `changed` exactly where a token changes, digests included."""
    state, tokens = MODELS[model]()
    x = torch.randn(FRAMES, DIM, generator=torch.Generator().manual_seed(1))
    before, digests = tokens(state, x), inspected(state).vq_encoder.f32
    parts = [name for name in state if any(f".{out}." in f".{name}" for out in BEHIND)]
    assert parts
    for name in parts:
        other = {**state, name: state[name] * 1.3 + 0.2}
        flips = not torch.equal(tokens(other, x), before)
        for scope in ("all", "tokens"):
            comparison = compared(state, other, scope=scope)
            assert (comparison.verdict == "changed") is flips, name
        moved = [diff for diff in comparison.tensors if diff.verdict == "changed"]
        assert {diff.role for diff in moved} == {"output_proj"}
        now = inspected(other).vq_encoder.f32
        assert (now.codebook != digests.codebook) is flips, name
        assert (now.vq_encoder != digests.vq_encoder) is flips, name
        assert now.projection == digests.projection


BEHIND = ("out_proj", "out_project", "project_out", "quant_resi", "post_quant_conv")


@pytest.mark.parametrize("spelling", WEIGHT_NORM)
def test_weight_norm_folded_in_is_the_same_function(spelling, compared):
    """A layer stored plain and one stored weight-normed are judged by what they calculate."""
    state = layer("quantizer.quantizers.0", *DAC, spelling) | layer("quantizer.quantizers.1", *DAC, spelling)
    folded = dict(state)
    g, v = WEIGHT_NORM[spelling]
    for name in [name.removesuffix(f".{g}") for name in state if name.endswith(g)]:
        folded[f"{name}.weight"] = torch._weight_norm(folded.pop(f"{name}.{v}"), folded.pop(f"{name}.{g}"), 0)
    comparison = compared(state, folded)
    assert comparison.exit_code == 0
    folded["quantizer.quantizers.0.out_proj.weight"] = folded["quantizer.quantizers.0.out_proj.weight"] * 1.001
    assert compared(state, folded).verdict == "changed"
    rescaled = {**state, f"quantizer.quantizers.0.out_proj.{v}": state[f"quantizer.quantizers.0.out_proj.{v}"] * 2}
    comparison = compared(state, rescaled)
    assert comparison.exit_code == 0
    assert any(diff.judged and diff.role == "output_proj" and "calculated" in diff.note for diff in comparison.tensors)


def test_one_that_is_missing_is_missing(compared):
    """A file without an output projection that decides tokens differs; the last one may be absent."""
    state, _ = residual("DAC, transformers")
    for number, verdict in enumerate(["changed", "changed", "identical"]):
        other = {name: value for name, value in state.items() if f"quantizers.{number}.out_proj" not in name}
        assert compared(state, other).verdict == verdict
        assert compared(other, state).verdict == verdict


def test_quantizers_of_which_nobody_knows_the_order_all_count(compared):
    """Two codecs of one kind in a model may take what the other left, in either order: each projection counts."""
    one, _ = residual("DAC, transformers", 1)
    state = {f"{side}.{name}": value.clone() for side in ("low", "high") for name, value in one.items()}
    for side in ("low", "high"):
        name = f"{side}.quantizer.quantizers.0.out_proj.weight"
        assert compared(state, {**state, name: state[name] + 0.1}).verdict == "changed"


@pytest.mark.parametrize(("residual_", "judged"), [("layers", True), ("nowhere", False), (None, True)])
def test_a_row_of_the_users_says_how_far_the_chain_reaches(residual_, judged, tmp_path, saved, vqcheck):
    """`residual` in the row decides; a row that does not say it counts everything in front of the last lookup."""
    words = f'residual = "{residual_}"\n' if residual_ else ""
    (tmp_path / "row.toml").write_text(
        f'name = "mine"\n{words}[tensors]\ncodes = "net.{{layer}}.table"\noutput_proj = "net.{{layer}}.up"\n'
    )
    state = {f"net.{n}.table": values(CODES, SMALL) for n in range(2)}
    state |= {f"net.{n}.up.weight": values(DIM, SMALL) for n in range(2)}
    a, own = saved(state), ("--family", tmp_path / "row.toml")
    for number, counts in enumerate([judged, False]):
        name = f"net.{number}.up.weight"
        b = saved({**state, name: state[name] + 1}, "b.pth")
        assert vqcheck("diff", a, b, *own).returncode == counts
