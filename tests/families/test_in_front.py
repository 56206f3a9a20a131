"""What decides tokens, asked of every tensor: for each row a codec written here in torch looks up with each one moved.

Names are those of each project's own modules; what they calculate is written here, from the features on.
"""

import json
import operator

import pytest
import torch
import vector_quantize_pytorch as vqp
from test_output_projections import AMPHION, CODES, DAC, DIM, FACODEC, FRAMES, SMALL, chain, layer, values
from torch.nn.functional import layer_norm, normalize
from vector_quantize_pytorch.hierarchical_vq import HierarchicalVQ

import vqcheck
from vqcheck.cli.main import main
from vqcheck.codebook.families import FAMILIES
from vqcheck.codebook.family import ANYTHING, Derivation, Metric, Role
from vqcheck.codebook.match import match
from vqcheck.errors import CodebookChanged, UsageError


def linear(path, out=DIM, into=DIM, *, bias=True):
    state = {f"{path}.weight": values(out, into)}
    return state | {f"{path}.bias": values(out)} if bias else state


def apply(state, path, x):
    return torch.nn.functional.linear(x, state[f"{path}.weight"], state.get(f"{path}.bias"))


def book(path, names=("embed", "embed_avg", "cluster_size"), flag="", dim=DIM, *, lying=False):
    """Returns codes, and, as far as named, sums, counts and flag of one codebook."""
    tensors = (values(CODES, dim), values(CODES, dim), 1 + torch.rand(CODES))
    stored = [each.T.contiguous() if lying and each.ndim > 1 else each for each in tensors]
    state = {f"{path}.{name}": each for name, each in zip(names, stored, strict=False) if name}
    return state | ({f"{path}.{flag}": torch.ones(1)} if flag else {})


def nearest(x, codes):
    return torch.cdist(x, codes).argmin(1)


def alike(x, codes):
    return (normalize(x) @ normalize(codes).T).argmax(1)


def residual(x, codebooks):
    """Returns the tokens of codebooks that each take what those before it left."""
    tokens = []
    for codes in codebooks:
        tokens.append(nearest(x, codes))
        x = x - codes[tokens[-1]]
    return torch.stack(tokens)


def grid(x):
    """Returns the corner of a fixed grid, a token for each frame."""
    return ((x.tanh() * 2).round() + 2) @ 5.0 ** torch.arange(x.shape[1])


def one_book(path, before="", names=("embed", "embed_avg", "cluster_size"), behind="", *, lying=False, look=nearest):
    """Returns a codec with a projection in front of one codebook, and perhaps one behind it."""
    state = book(path, names, lying=lying)
    for module in filter(None, (before, behind)):
        state |= linear(module)

    def tokens(state, x):
        codes = state[f"{path}.{names[0]}"]
        return look(apply(state, before, x) if before else x, codes.T if lying else codes)

    return state, tokens


def layers(pattern, names, flag="", before="", count=3, *, lying=False):
    """Returns a codec of residual layers, and perhaps a projection in front of them."""
    state = linear(before) if before else {}
    for number in range(count):
        path, _, _ = pattern.format(number).partition("!")
        state |= book(path, names, flag, lying=lying)

    def tokens(state, x):
        codes = [state[f"{pattern.format(number)}.{names[0]}"] for number in range(count)]
        return residual(apply(state, before, x) if before else x, [each.T if lying else each for each in codes])

    return state, tokens


def factorised(pattern, names, before="", count=3):
    state = linear(before) if before else {}
    paths = [pattern.format(number) for number in range(count)]
    for path in paths:
        state |= layer(path, *names, "old weight norm")
    return state, lambda state, x: chain(state, paths, names, apply(state, before, x) if before else x)[0]


def amphion_euclidean():
    state, tokens = factorised("quantizer.quantizers.{}", (*AMPHION, "codebook.embed"))
    return state | {f"quantizer.quantizers.{n}.codebook.cluster_size": 1 + torch.rand(CODES) for n in range(3)}, tokens


def fixed_grid(before, path):
    state = (
        (linear(before) if before else {})
        | linear(f"{path}.project_in", SMALL)
        | linear(f"{path}.project_out", DIM, SMALL)
    )
    return state, lambda state, x: grid(apply(state, f"{path}.project_in", apply(state, before, x) if before else x))


def simvq():
    state = linear("quant_conv") | linear("post_quant_conv") | linear("quantize.embedding_proj")
    state["quantize.embedding.weight"] = values(CODES, DIM)

    def tokens(state, x):
        codes = apply(state, "quantize.embedding_proj", state["quantize.embedding.weight"])
        return nearest(apply(state, "quant_conv", x), codes)

    return state, tokens


def vq_kd(before, further):
    """BEATs' and BEiT v2's: two layers with a tanh between them, the nearest direction."""
    names = ("weight", "embed_avg", "cluster_size")
    state = book("quantize.embedding", names, "initted") | linear(f"{before}.0") | linear(f"{before}.2")
    state |= {"quantize.cluster_size": torch.rand(CODES)} | (linear(f"{further}.0") if further else {})

    def tokens(state, x):
        x = apply(state, f"{before}.2", apply(state, f"{before}.0", x).tanh())
        return alike(x, state["quantize.embedding.weight"])

    return state, tokens


def bicodec():
    state = layer("quantizer", *AMPHION, "codebook.weight") | {"quantizer.cluster_size": torch.rand(CODES)}
    state |= linear("speaker_encoder.perceiver_sampler.proj_context") | linear("speaker_encoder.project")
    state |= linear("speaker_encoder.quantizer.project_in", SMALL) | linear(
        "speaker_encoder.quantizer.project_out", DIM, SMALL
    )
    names = (*AMPHION, "codebook.weight")

    def tokens(state, x):
        sampled = apply(state, "speaker_encoder.perceiver_sampler.proj_context", x)
        speaker = grid(apply(state, "speaker_encoder.quantizer.project_in", sampled))
        return torch.cat([chain(state, ["quantizer"], names, x)[0][0].float(), speaker])

    return state, tokens


def facodec(root, books, prosody_layers=()):
    """Prosody, perhaps from features of its own, and content; timbre and residual take what is left."""
    paths = {name: [f"{root}{pattern}.{n}" for n in range(count)] for name, (pattern, count) in books.items()}
    names = FACODEC if "layers" in next(iter(books.values()))[0] else DAC
    state = {}
    for path in (path for each in paths.values() for path in each):
        state |= layer(path, *names, "old weight norm")
    for module in prosody_layers:
        state |= linear(module)

    def tokens(state, x):
        own = x
        for module in prosody_layers:
            own = apply(state, module, own)
        prosody, content, *rest = paths.values()
        found, out = chain(state, prosody, names, own)
        tokens = [found]
        found, more = chain(state, content, names, x)
        tokens.append(found)
        left = x - out - more
        for each in rest:
            found, out = chain(state, each, names, left)
            tokens.append(found)
            left = left - out
        return torch.cat(tokens)

    return state, tokens


def hifi_codec():
    half = DIM // 2
    modules = [f"quantizer_modules{suffix}.{group}.embedding.weight" for suffix in ("", "2") for group in range(2)]
    state = {name: values(CODES, half) for name in modules}

    def tokens(state, x):
        groups = x.split(half, 1)
        return torch.cat(
            [residual(groups[group], [state[modules[group]], state[modules[2 + group]]]) for group in (0, 1)]
        )

    return state, tokens


def funcodec(flags):
    """All quantizers in one tensor."""
    path, count = "quantizer.rq.model", 3
    state = {f"{path}.embed": values(count, CODES, DIM), f"{path}.embed_avg": values(count, CODES, DIM)}
    state |= {f"{path}.cluster_size": 1 + torch.rand(count, CODES)} | (
        {f"{path}.inited": torch.ones(count, 1)} if flags else {}
    )
    state |= linear("quantizer.input_proj") | linear("quantizer.output_proj")
    return state, lambda state, x: residual(apply(state, "quantizer.input_proj", x), state[f"{path}.embed"])


def funcodec_layers():
    names = ("project_in", "project_out", "_codebook.embed")
    paths = [f"quantizer.rq.model.layers.{number}" for number in range(2)]
    state = {}
    for path in paths:
        state |= layer(path, *names) | {f"{path}._codebook.cluster_size": 1 + torch.rand(CODES)}
    return state, lambda state, x: chain(state, paths, names, x)[0]


def esc():
    """At each scale groups of channels, projected down; a scale takes what those before it, decoded, leave."""
    scales, half = 3, DIM // 2
    state = {}
    for scale in range(scales):
        for group in range(2):
            path = f"quantizers.{scale}"
            state |= linear(f"{path}.down_projs.{group}", SMALL, half, bias=False)
            state |= linear(f"{path}.up_projs.{group}", half, SMALL, bias=False)
            state[f"{path}.vqs.{group}.embedding.weight"] = values(CODES, SMALL)
    for number in range(scales - 1):
        state |= linear(f"decoder.blocks.{number}.linear")

    def quantise(state, scale, x):
        tokens, out = [], []
        for group, part in enumerate(x.split(half, 1)):
            codes = state[f"quantizers.{scale}.vqs.{group}.embedding.weight"]
            tokens.append(alike(apply(state, f"quantizers.{scale}.down_projs.{group}", part), codes))
            out.append(apply(state, f"quantizers.{scale}.up_projs.{group}", codes[tokens[-1]]))
        return tokens, torch.cat(out, 1)

    def tokens(state, x):
        found, decoded = quantise(state, 0, x)
        for scale in range(1, scales):
            more, out = quantise(state, scale, x - decoded)
            found = found + more
            decoded = apply(state, f"decoder.blocks.{scale - 1}.linear", decoded + out)
        return torch.stack(found)

    return state, tokens


def vq_vae_2():
    """What the top gives is decoded and goes into the features of the bottom."""
    state = book("quantize_t", lying=True) | book("quantize_b", lying=True)
    state |= linear("quantize_conv_t") | linear("quantize_conv_b") | linear("dec_t.blocks.0") | linear("upsample_t")

    def tokens(state, x):
        codes = state["quantize_t.embed"].T
        top = nearest(apply(state, "quantize_conv_t", x), codes)
        features = x + apply(state, "dec_t.blocks.0", codes[top])
        return torch.cat([top, nearest(apply(state, "quantize_conv_b", features), state["quantize_b.embed"].T)])

    return state, tokens


def mimi(downsample):
    """Both books take the same features; codes are sums over counts."""
    state, books = {downsample: values(DIM, DIM)}, {"rvq_first": 1, "rvq_rest": 2}
    for name, count in books.items():
        for number in range(count):
            path = f"quantizer.{name}.vq.layers.{number}._codebook"
            state |= book(path, ("embedding_sum", "", "cluster_usage"), "_initialized", SMALL)
        state |= {f"quantizer.{name}.input_proj.weight": values(SMALL, DIM)}
        state |= {f"quantizer.{name}.output_proj.weight": values(DIM, SMALL)}

    def tokens(state, x):
        x, found = x @ state[downsample].T, []
        for name, count in books.items():
            paths = [f"quantizer.{name}.vq.layers.{number}._codebook" for number in range(count)]
            codes = [state[f"{p}.embedding_sum"] / state[f"{p}.cluster_usage"].clamp(min=1e-5)[:, None] for p in paths]
            found.append(residual(x @ state[f"quantizer.{name}.input_proj.weight"].T, codes))
        return torch.cat(found)

    return state, tokens


def gumbel(codes, weight_proj, before=(), behind=""):
    """The projection's largest logit is the token; codes are read by it, and so part of what a token means."""
    state = {codes: values(1, CODES, SMALL) if codes.endswith(("vars", "codevectors")) else values(CODES, SMALL)}
    state |= linear(weight_proj, CODES)
    for module in before:
        state |= (
            linear(module) if "norm" not in module else {f"{module}.weight": values(DIM), f"{module}.bias": values(DIM)}
        )
    state |= linear(behind, DIM, SMALL) if behind else {}

    def tokens(state, x):
        for module in before:
            weight, bias = state[f"{module}.weight"], state[f"{module}.bias"]
            x = layer_norm(x, (DIM,), weight, bias) if "norm" in module else apply(state, module, x)
        return apply(state, weight_proj, x).argmax(1)

    return state, tokens


def vq_wav2vec():
    state = {"vector_quantizer.embedding": values(CODES, 2, DIM // 2)}
    state |= {"vector_quantizer.projection.0.weight": values(DIM, DIM)}

    def tokens(state, x):
        parts = (x @ state["vector_quantizer.projection.0.weight"].T).split(DIM // 2, 1)
        return torch.cat([nearest(part, state["vector_quantizer.embedding"][:, n]) for n, part in enumerate(parts)])

    return state, tokens


def soundstream():
    state = linear("encoder_attn.layers.0.0.to_q") | linear("encoder_film.to_cond")
    for number in range(2):
        path = f"rq.rvqs.0.layers.{number}._codebook"
        state |= {f"{path}.embed": values(1, CODES, DIM), f"{path}.embed_avg": values(1, CODES, DIM)}
        state |= {f"{path}.cluster_size": 1 + torch.rand(1, CODES), f"{path}.initted": torch.tensor(True)}

    def tokens(state, x):
        x = apply(state, "encoder_film.to_cond", apply(state, "encoder_attn.layers.0.0.to_q", x))
        return residual(x, [state[f"rq.rvqs.0.layers.{number}._codebook.embed"][0] for number in range(2)])

    return state, tokens


def stable_audio():
    state = {}
    for number in range(2):
        path = f"bottleneck.quantizer.layers.{number}._codebook"
        state |= {f"{path}.embed": values(1, CODES, DIM), f"{path}.embed_avg": values(1, CODES, DIM)}
        state |= {f"{path}.cluster_size": 1 + torch.rand(1, CODES)}
    return state, lambda state, x: residual(
        x, [state[f"bottleneck.quantizer.layers.{number}._codebook.embed"][0] for number in range(2)]
    )


def fish():
    paths = ["quantizer.semantic_quantizer.quantizers.0", *(f"quantizer.quantizer.quantizers.{n}" for n in range(2))]
    state = (
        linear("quantizer.downsample.0.0") | linear("quantizer.pre_module.layers.0") | linear("quantizer.upsample.0")
    )
    for path in paths:
        state |= layer(path, *DAC, "old weight norm")

    def tokens(state, x):
        x = apply(state, "quantizer.pre_module.layers.0", apply(state, "quantizer.downsample.0.0", x))
        return chain(state, paths, DAC, x)[0]

    return state, tokens


def glm():
    state = {
        "codebook.weight": values(CODES, DIM),
        "ema_weight": values(CODES, DIM),
        "ema_count": 1 + torch.rand(CODES),
    }
    state |= {"embed_positions2.weight": values(3, DIM), "layer_norm.weight": values(DIM)}
    return state, lambda state, x: nearest(x, state["codebook.weight"])


def best_rq():
    state = {"quantizer.P": values(DIM, SMALL), "quantizer.CB": values(CODES, SMALL)}
    return state, lambda state, x: alike(x @ state["quantizer.P"], state["quantizer.CB"])


EMBED = ("embed", "embed_avg", "cluster_size")
PLAIN = ("weight", "embed_avg", "cluster_size")
PLACHTAA = {f"{name}_quantizer": (f"{name}_quantizer.quantizers", n) for name, n in (("prosody", 1), ("content", 2))}
TIMBRE = {f"{name}_quantizer": (f"{name}_quantizer.quantizers", 2) for name in ("timbre", "residual")}
GROUPS = {name: (f"{name}.layers", 2) for name in "012"}
MELSPEC = ("melspec_linear", "melspec_encoder", "melspec_linear2")
ENCODEC = "quantizer.vq.layers.{}._codebook"

CASES = {
    "gpt-sovits": lambda: layers(ENCODEC, EMBED, "inited", "ssl_proj", 1),
    "encodec": lambda: layers(ENCODEC, EMBED, "inited"),
    "encodec: X-Codec": lambda: layers(ENCODEC, EMBED, "inited", "fc_prior"),
    "encodec: WavTokenizer": lambda: layers(ENCODEC, EMBED, "inited", count=1),
    "funcodec": lambda: funcodec(True),
    "funcodec: no flags": lambda: funcodec(False),
    "funcodec: a module each": funcodec_layers,
    "soundstream": soundstream,
    "stable-audio": stable_audio,
    "stable-audio-dac": lambda: factorised("bottleneck.quantizer.quantizers.{}", DAC),
    "nemo": lambda: layers("vector_quantizer.codebooks.{}", ("codes", "codes_avg", "cluster_size"), "initialized"),
    "vq-vae-2": vq_vae_2,
    "dvae": lambda: one_book("codebook", lying=True),
    "dl-art-school": lambda: layers("codebook", EMBED, "initted", count=1),
    "repcodec": lambda: layers("quantizer.codebook.layers.{}", EMBED, "", "projector.project", lying=True),
    "taming-ema": lambda: one_book("quantize.embedding", "quant_conv", PLAIN, "post_quant_conv"),
    "beats": lambda: vq_kd("quantize_layer", ""),
    "beats: BEiT v2": lambda: vq_kd("encode_task_layer", "decode_task_layer"),
    "vq-ema": lambda: one_book("_vq_vae", "_pre_vq_conv", ("_embedding.weight", "_ema_w", "_ema_cluster_size")),
    "videogpt": lambda: one_book("codebook", "pre_vq_conv.conv", ("embeddings", "z_avg", "N"), "post_vq_conv.conv"),
    "torchmultimodal": lambda: one_book("codebook", "", ("embedding", "code_avg", "code_usage")),
    "jukebox": lambda: layers("bottleneck.level_blocks.{}", ("k",), count=1),
    "t2m-gpt": lambda: one_book("quantizer", "", ("codebook",)),
    "glm-4-voice": glm,
    "mimi": lambda: mimi("downsample.conv.conv.conv.weight"),
    "mimi: transformers": lambda: mimi("downsample.conv.weight"),
    "mimi: transformers, in memory": lambda: mimi("encoder.downsample.conv.weight"),
    "s3tokenizer-v1": lambda: one_book("quantizer._codebook", "", ("embed",), look=alike),
    "s3tokenizer-v2": lambda: (
        linear("quantizer._codebook.project_down", SMALL),
        lambda state, x: grid(apply(state, "quantizer._codebook.project_down", x)),
    ),
    "simvq-authors": simvq,
    "xcodec2": lambda: fixed_grid("fc_prior", "generator.quantizer"),
    "fsq": lambda: fixed_grid("", "quantizer"),
    "fsq: transformers' X-Codec 2": lambda: fixed_grid("fc_encoder", "quantizer"),
    "dac": lambda: factorised("quantizer.quantizers.{}", DAC),
    "fish-dac": fish,
    "maskgct": lambda: factorised("quantizer.quantizers.{}", (*AMPHION, "codebook.weight"), "down"),
    "bicodec": bicodec,
    "facodec": lambda: facodec("quantizer.", PLACHTAA | TIMBRE),
    "facodec: prosody apart": lambda: facodec(
        "",
        PLACHTAA | {"residual": TIMBRE["residual_quantizer"]},
        ("melspec_linear", "melspec_encoder", "melspec_linear2"),
    ),
    "hifi-codec": hifi_codec,
    "esc": esc,
    "amphion-euclidean": amphion_euclidean,
    "amphion-simple": lambda: factorised("quantizer.quantizers.{}", (*AMPHION, "codebook.embed.weight")),
    "factorised-vq": lambda: facodec("quantizer.", GROUPS),
    "factorised-vq: BigCodec's decoder": lambda: factorised("quantizer.layers.{}", FACODEC),
    "bigcodec": lambda: factorised("generator.quantizer.layers.{}", FACODEC, count=1),
    "vqgan": lambda: one_book("quantize.embedding", "quant_conv", ("weight",), "post_quant_conv"),
    "vqgan-gumbel": lambda: gumbel("quantize.embed.weight", "quantize.proj", ("quant_conv",), "post_quant_conv"),
    "wav2vec2": lambda: gumbel("quantizer.vars", "quantizer.weight_proj", ("layer_norm",), "project_q"),
    "wav2vec2: transformers": lambda: gumbel(
        "quantizer.codevectors", "quantizer.weight_proj", ("wav2vec2.feature_projection.layer_norm",), "project_q"
    ),
    "vq-wav2vec": vq_wav2vec,
    "encodec-transformers": lambda: layers("quantizer.layers.{}.codebook", EMBED, "inited"),
    "xcodec-transformers": lambda: layers("quantizer.quantizers.{}.codebook", EMBED, "inited", "fc"),
    "best-rq": best_rq,
}


SEQUENCE, IMAGE = (2, 100, DIM), (2, DIM, 10, 10)
QUANTIZER = {"dim": DIM, "codebook_size": CODES, "codebook_dim": SMALL}
LIBRARY = {
    "vector-quantize-pytorch": (lambda: vqp.VectorQuantize(**QUANTIZER), SEQUENCE),
    "vector-quantize-pytorch: residual": (lambda: vqp.ResidualVQ(num_quantizers=3, **QUANTIZER), SEQUENCE),
    "vector-quantize-pytorch: groups": (
        lambda: vqp.GroupedResidualVQ(groups=2, num_quantizers=2, **QUANTIZER),
        SEQUENCE,
    ),
    "hierarchical-vq": (
        lambda: HierarchicalVQ(dim=DIM, codebook_size=CODES, scales=[1, 2, 4, 8], kmeans_init=False),
        (2, DIM, 8),
    ),
    "random-projection": (lambda: vqp.RandomProjectionQuantizer(num_codebooks=2, **QUANTIZER), SEQUENCE),
    "simvq": (lambda: vqp.SimVQ(dim=DIM, codebook_size=CODES), SEQUENCE),
    "simvq: residual": (lambda: vqp.ResidualSimVQ(dim=DIM, codebook_size=CODES, num_quantizers=2), SEQUENCE),
    "latent-quantize": (lambda: vqp.LatentQuantize(levels=[5, 5, 8], dim=DIM), IMAGE),
    "lfq": (lambda: vqp.LFQ(dim=DIM, codebook_size=16), SEQUENCE),
    "lfq: residual": (lambda: vqp.ResidualLFQ(dim=DIM, codebook_size=16, num_quantizers=2), SEQUENCE),
    "fsq-alone": (lambda: vqp.FSQ(dim=DIM, levels=[5, 5, 5]), SEQUENCE),
    "fsq-alone: residual": (lambda: vqp.ResidualFSQ(dim=DIM, levels=[5, 5, 5], num_quantizers=2), SEQUENCE),
}


def library(build, shape):
    """Returns a quantizer of vector-quantize-pytorch, and its own tokens."""
    module, frames = build().eval(), torch.randn(shape, generator=torch.Generator().manual_seed(2))
    torch.no_grad()(module)(frames)

    def tokens(state, _):
        module.load_state_dict(state)
        with torch.no_grad():
            out = module(frames)
        found = out[1] if isinstance(out, tuple) else out
        return torch.cat([each.flatten() for each in found]) if isinstance(found, (list, tuple)) else found.flatten()

    return {name: value.clone() for name, value in module.state_dict().items()}, tokens


CASES |= {case: (lambda args=args: library(*args)) for case, args in LIBRARY.items()}
ROWS = {family.name: family for family in FAMILIES}


@pytest.fixture(params=CASES)
def codec(request):
    """A row's name, the state dict of a codec of it with an encoder beside, and what its tokens are."""
    torch.manual_seed(0)
    row = request.param.partition(":")[0]
    state, tokens = CASES[request.param]()
    encoder = next(iter(ROWS[row].encoders), "")
    beside = {} if encoder in ("", ANYTHING) else {f"{encoder}.last.weight": values(2, 2)}
    return row, state, tokens, beside


def moved(value):
    generator = torch.Generator().manual_seed(value.numel())
    if not value.dtype.is_floating_point:
        return ~value if value.dtype == torch.bool else value * 3
    return value + (value.abs().mean() + 0.2) * torch.randn(value.shape, generator=generator)


def shapes_of(state):
    return {name: tuple(value.shape) for name, value in state.items()}


def decides(found, family):
    """Says whether the table calls a tensor relevant: by itself, or as what codes are calculated from."""
    calculated = family.derivation == Derivation.SUM_OVER_COUNT and found.role in (Role.EMA_SUM, Role.EMA_COUNT)
    return found.token_relevant or calculated


def in_doubt(found, family):
    """Says whether a tensor counts though its movement alone changes no token here."""
    read_by_another = found.role == Role.CODES and family.metric == Metric.ARGMAX
    # The last block of ESC's decoder follows the last lookup; the row counts all blocks.
    return found.role == Role.INIT_FLAG or read_by_another or found.name.startswith("decoder.blocks.1.")


def test_a_tensor_counts_where_its_movement_changes_a_token(codec):
    """Every tensor of the codec is moved by itself; the row calls just those relevant that change a token."""
    row, state, tokens, beside = codec
    (one,) = match(shapes_of(state | beside))
    assert (one.family.name, one.unplaced) == (row, "")
    played = {found.name: found for found in one.found}
    frames = torch.randn(FRAMES, DIM, generator=torch.Generator().manual_seed(1))
    before = tokens(state, frames)
    wrong = {}
    for name, value in state.items():
        if name not in played:
            relevant, doubtful = False, False
        else:
            relevant, doubtful = decides(played[name], one.family), in_doubt(played[name], one.family)
        if played.get(name) is None or played[name].role != Role.INIT_FLAG:
            flips = not torch.equal(tokens({**state, name: moved(value)}, frames), before)
            if flips is not relevant and not (relevant and doubtful):
                wrong[name] = (flips, relevant)
    tokens(state, frames)
    assert wrong == {}


def test_every_row_is_asked():
    """No row of the table is without a codec here."""
    assert {case.partition(":")[0] for case in CASES} == {family.name for family in FAMILIES if not family.structural}


def test_a_module_that_the_row_does_not_place_is_named(codec):
    """Whatever else stands beside the codebook may be in front of it, unless the projection takes the features."""
    row, state, _, beside = codec
    matches = match(shapes_of(state | beside | {"stranger.weight": values(2, 2)}))
    if row in ("lfq", "fsq-alone"):
        assert matches == []
        return
    assert [one.unplaced for one in matches] == ["" if ANYTHING in ROWS[row].encoders else "stranger"]


class Part(torch.nn.Module):
    """A module of a codec: anything but one of torch's own classes."""


def module_of(state, buffers):
    """Returns a module with this state dict; what a moving average writes is a buffer."""
    root = Part()
    for name, value in state.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            if part not in at._modules:
                at.add_module(part, Part())
            at = at._modules[part]
        if name in buffers or not value.dtype.is_floating_point:
            at.register_buffer(last, value.clone())
        else:
            at.register_parameter(last, torch.nn.Parameter(value.clone()))
    return root.train()


BOOKKEEPING = (Role.EMA_SUM, Role.EMA_COUNT)


def test_files_and_live_modules_agree(codec, tmp_path, capsys):
    """diff, inspect, history and lock say of a moved tensor what freeze and guard do with it in memory."""
    _, state, _, beside = codec
    state = state | beside
    (one,) = match(shapes_of(state))
    played = {found.name: found for found in one.found}
    counts = {name for name, found in played.items() if found.token_relevant or found.role in BOOKKEEPING}
    module = module_of(state, {name for name, found in played.items() if found.role in (*BOOKKEEPING, Role.INIT_FLAG)})
    assert {*vqcheck.freeze(module).held} == counts
    files, lock = [tmp_path / "run" / name for name in ("a.pth", "b.pth")], tmp_path / "a.lock"
    files[0].parent.mkdir()
    a, b = map(str, files)
    torch.save(state, a)
    assert main(["lock", a, "-o", str(lock)]) == 0

    def digests():
        capsys.readouterr()
        main(["inspect", b, "--format", "json"])
        (file,) = json.loads(capsys.readouterr().out)["files"]
        return file["vq_encoder"]["in_front"], file["vq_encoder"]["digests"]["sha256-f32v1"]["vq_encoder"]

    torch.save(state, b)
    in_front, before = digests()
    assert in_front == "stored"
    # The last of those that count, in front of the lookup where there is one; and one that does not count.
    flags = {name for name, found in played.items() if found.role == Role.INIT_FLAG}
    named = sorted(
        state.keys() - beside.keys() - flags, key=lambda name: played[name].order[3] if name in played else -1
    )
    samples = {name in counts: name for name in named}
    for counting, name in samples.items():
        live = module_of(state, {name for name, found in played.items() if found.role in BOOKKEEPING})
        watch = vqcheck.guard(live, every=1)
        with torch.no_grad():
            value = operator.attrgetter(name)(live)
            value.copy_(moved(value))
        torch.save({**state, name: value.detach().clone()}, b)
        assert main(["diff", a, b]) == counting, name
        assert main(["lock", "--check", b, "-o", str(lock)]) == counting, name
        assert main(["history", str(files[0].parent), "--base", a]) == counting, name
        assert (digests()[1] != before) is counting, name
        if counting:
            with pytest.raises(CodebookChanged):
                watch.check()
        else:
            watch.check()


def in_a_model(path, *, known):
    """Returns a codec in a model that has, or has not, a layer which may stand in front of it."""
    codecs = {"vq": lambda: library(*LIBRARY["vector-quantize-pytorch"])[0], "": CASES["dac"]}
    state = codecs[path]() if path else codecs[path]()[0]
    state = {f"{path}.{name}" if path else name: value for name, value in state.items()}
    state |= {} if path else {"encoder.last.weight": values(2, 2), "decoder.first.weight": values(2, 2)}
    return state if known else state | linear("mixes")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("path", ["vq", ""])
def test_whoever_speaks_of_the_codec_says_that_its_front_is_not_known(path, known, tmp_path, capsys):
    """A library's quantizer in somebody's model, and DAC with one layer more: the layer moves, and nobody is wrong."""
    torch.manual_seed(0)
    state = in_a_model(path, known=known)
    folder, lock = tmp_path / "run", str(tmp_path / "a.lock")
    folder.mkdir()
    a, b = str(tmp_path / "a.pth"), str(folder / "b.pth")
    torch.save(state, a)
    torch.save({name: value + 1 if "mixes" in name else value for name, value in state.items()}, b)

    def said(*arguments):
        capsys.readouterr()
        assert main([*arguments]) == 0
        return capsys.readouterr().out

    texts = [said("diff", a, b), said("inspect", b)]
    assert ("codebook alone" in said("lock", a, "-o", lock)) is not known
    texts += [said("lock", "--check", b, "-o", lock), said("history", str(folder), "--base", a)]
    texts.append(repr(vqcheck.freeze(module_of(state, set()))))
    assert ["not known" in text for text in texts] == [not known] * len(texts)
    assert ["VQ encoder" in texts[0], "may be mixes" in texts[0]] == [known, not known]
    assert vqcheck.guard(module_of(state, set())).in_front_is_known is known
    front = "stored" if known else "unknown"
    document = json.loads(said("diff", a, b, "--format", "json"))
    assert [document[side]["in_front"] for side in "ab"] == [front, front]
    assert json.loads(said("inspect", b, "--format", "json"))["files"][0]["vq_encoder"]["in_front"] == front


AROUND = {
    "alone": (lambda book: {"vq": book}, "stored"),
    "with its optimizer": (lambda book: {"vq": book, "optimizer": optimizer()}, "stored"),
    "beside its average": (lambda book: {"vq": book, "ema": {"vq": book}}, "stored"),
    "beside a layer": (lambda book: {"vq": book, "mixes": linear("layer")}, "unknown"),
    "beside a layer in a model": (lambda book: {"model": {"vq": book, "mixes": linear("layer")}}, "unknown"),
}


def optimizer():
    layer = torch.nn.Linear(2, 2)
    adam = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
    return adam.state_dict()


@pytest.mark.parametrize("case", AROUND)
def test_a_layer_may_lie_in_a_dictionary_of_its_own(case, tmp_path):
    """A model saved module by module has what may be in front beside the quantizer's dictionary."""
    around, expected = AROUND[case]
    torch.save(around(library(*LIBRARY["vector-quantize-pytorch"])[0]), tmp_path / "a.pth")
    with vqcheck.open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert vqcheck.find_vq_encoder(checkpoint).in_front == expected


@pytest.mark.parametrize("names", [("encoder", "quantizer", "generator"), ("encoder", "quantizer", "mixes")])
def test_hifi_codec_keeps_each_module_in_a_dictionary(names, tmp_path):
    """Its encoder and its decoder lie beside the quantizer; another module may be in front."""
    state, _ = hifi_codec()
    torch.save({name: state if name == "quantizer" else linear("layer") for name in names}, tmp_path / "a.pth")
    with vqcheck.open_checkpoint(tmp_path / "a.pth") as checkpoint:
        encoder = vqcheck.find_vq_encoder(checkpoint)
    assert encoder.family.name == "hifi-codec"
    assert encoder.unplaced == ("mixes" if "mixes" in names else "")


@pytest.mark.parametrize("flags", [True, False])
def test_stacked_quantizers_each_have_their_flag(flags, compared, inspected):
    """One of three flags at 0 is a codebook that waits for its first batch, and another digest than all at 1."""
    state, _ = funcodec(flags)
    encoder = inspected(state).vq_encoder
    assert [(book.heads, book.codes) for book in encoder.books] == [(3, CODES)]
    assert compared(state, dict(state)).verdict == "identical"
    if not flags:
        return
    name = "quantizer.rq.model.inited"
    for unset in range(3):
        other = {**state, name: state[name].clone()}
        other[name][unset] = 0
        assert compared(state, other).verdict == "changed"
        assert inspected(other).verdict == "never trained"
        assert inspected(other).vq_encoder.f32.codebook != encoder.f32.codebook
        with pytest.raises(UsageError, match="never trained"):
            vqcheck.freeze(module_of(other, set(other)))
    halves = {**state, name: state[name].half()}
    assert inspected(halves).vq_encoder.f32.codebook == encoder.f32.codebook
