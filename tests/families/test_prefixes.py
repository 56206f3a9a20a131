"""Whatever stands in front of a codec, or is wrapped around its parts: it is found whole, or refused, never in half."""

import json
from pathlib import Path

import pytest
import torch

from vqcheck import freeze, guard, open_checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.canonical_shape import UnclearError
from vqcheck.codebook.match import match
from vqcheck.errors import CheckpointError, CodebookChanged, NoCodebookError

LAYOUTS = json.loads((Path(__file__).parent / "layouts.json").read_text(encoding="utf-8"))
BOOK = "quantizer.vq.layers.0._codebook"
PREFIXES = ["vits.", "s2.", "student.model.", "net.0.", "synthesizer.module.", "a.b.c.d.e.", "quantizer.", "enc_p."]


def gpt_sovits(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{BOOK}.inited": torch.ones(1),
        f"{BOOK}.cluster_size": torch.rand(16, generator=generator) * 9 + 3,
        f"{BOOK}.embed": torch.randn(16, 4, generator=generator),
        f"{BOOK}.embed_avg": torch.randn(16, 4, generator=generator),
        "ssl_proj.weight": torch.randn(4, 6, 2, generator=generator),
        "ssl_proj.bias": torch.randn(4, generator=generator),
        "enc_p.ssl_proj.weight": torch.randn(3, 4, 1, generator=generator),
        "enc_p.text_embedding.weight": torch.randn(732, 1, generator=generator),
    }


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix_may_stand_in_front_of_gpt_sovits(prefix, compared, inspected, saved):
    """It is GPT-SoVITS with the bare one's digest; its projection counts, the text encoder does not."""
    bare, state = gpt_sovits(), under(prefix, gpt_sovits())
    encoder = inspected(state).vq_encoder
    assert (encoder.family, encoder.prefix) == ("gpt-sovits", prefix)
    assert encoder.f32.vq_encoder == inspected(bare).vq_encoder.f32.vq_encoder
    assert compared(bare, state).verdict == "identical"
    for name, verdict in (("ssl_proj.bias", "changed"), ("enc_p.ssl_proj.weight", "identical")):
        moved = {**state, prefix + name: state[prefix + name] + 1}
        assert compared(state, moved).verdict == verdict
        assert compared(bare, moved).verdict == verdict
    with open_checkpoint(saved(state)) as checkpoint:
        assert model.identify(checkpoint).version == "v2"


@pytest.mark.parametrize(
    "codec", sorted(name for name in LAYOUTS if LAYOUTS[name]["tensors"] and not name.startswith("neg_"))
)
def test_any_prefix_may_stand_in_front_of_any_codec(codec, state_of):
    """The same tensors play the same roles behind a prefix that nobody listed."""
    shapes = {name: tuple(value.shape) for name, value in state_of(codec).items()}
    (bare,) = match(shapes)
    (found,) = match({f"my.own.{name}": shape for name, shape in shapes.items()})
    assert found.family is bare.family
    assert found.found == tuple(each._replace(name=f"my.own.{each.name}") for each in bare.found)


WRAPPED = {
    "compiled quantizer": lambda name: name.replace("quantizer.", "quantizer._orig_mod."),
    "compiled codebook": lambda name: name.replace("_codebook.", "_codebook._orig_mod."),
    "FSDP around every layer": lambda name: ".".join(
        f"{part}._fsdp_wrapped_module" for part in name.split(".")[:-1]
    ) + f".{name.split('.')[-1]}",
    "checkpointed layer": lambda name: name.replace("layers.0.", "layers.0._checkpoint_wrapped_module."),
    "DDP around a compiled model": lambda name: f"module._orig_mod.{name}",
    "all of it, repeated": lambda name: "_orig_mod.module._orig_mod." + name.replace(".", ".module.", 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrappers_in_a_name_are_no_difference(kind, compared, inspected):
    """Wrappers of torch may stand anywhere: equal tensors are identical, and each judged one that moved is found."""
    bare = gpt_sovits()
    wrapped = {WRAPPED[kind](name): value for name, value in bare.items()}
    assert wrapped.keys() != bare.keys()
    assert compared(bare, wrapped).verdict == "identical"
    encoder = inspected(wrapped).vq_encoder
    assert encoder.f32 == inspected(bare).vq_encoder.f32
    assert {tensor.name for tensor in encoder.tensors} <= wrapped.keys()
    for name in (f"{BOOK}.embed", "ssl_proj.weight"):
        moved = {**wrapped, WRAPPED[kind](name): bare[name] + 1}
        assert compared(bare, moved).verdict == "changed"


@pytest.mark.parametrize("name", [f"{BOOK}.embed", "ssl_proj.weight"])
def test_two_names_that_are_one_without_wrappers_are_refused(name, compared):
    """Which of them the model uses cannot be told, so neither is taken; elsewhere in the model it does not matter."""
    state = gpt_sovits()
    with pytest.raises(CheckpointError, match="but for wrappers"):
        compared(state, {**state, f"_orig_mod.{name}": state[name] + 1})
    harmless = {**state, "dec.weight": torch.ones(1), "dec._orig_mod.weight": torch.ones(2)}
    assert compared(state, harmless).verdict == "identical"


def test_several_models_have_each_their_own_projection(compared, inspected):
    """Under different prefixes in one file each codebook goes with the projection beside it."""
    state = under("zh.", gpt_sovits(1)) | under("en.", gpt_sovits(2))
    labels = {tensor.label: tensor.name for tensor in inspected(state).vq_encoder.tensors}
    others = {t.label: t.name for other in inspected(state).others for t in other.tensors}
    for names in (labels, others):
        for label, name in names.items():
            projections = [other for other in names.values() if other.endswith("ssl_proj.weight")]
            assert not label.endswith("codes") or name.split(".")[0] in {each.split(".")[0] for each in projections}
    for prefix in ("zh.", "en."):
        for name in ("ssl_proj.weight", f"{BOOK}.embed"):
            moved = {**state, prefix + name: state[prefix + name] + 1}
            assert compared(state, moved).verdict == "changed"


APART = {
    "projection elsewhere": lambda state: {
        ("front." if name.startswith("ssl_proj") else "net.") + name: value for name, value in state.items()
    },
    "projection elsewhere, no text encoder": lambda state: {
        ("front." if name.startswith("ssl_proj") else "net.") + name: value
        for name, value in state.items()
        if "enc_p" not in name
    },
    "text encoder elsewhere, no projection": lambda state: {
        ("text." if name.startswith("enc_p") else "net.") + name: value
        for name, value in state.items()
        if not name.startswith("ssl_proj")
    },
    "projection at the top": lambda state: {
        ("" if name.startswith("ssl_proj") else "net.") + name: value for name, value in state.items()
    },
    "codebook of an unknown layout": lambda state: {
        name.replace("quantizer.vq", "tokenizer"): value for name, value in state.items()
    },
}


@pytest.mark.parametrize("kind", APART)
def test_a_projection_apart_from_its_codebook_is_not_dropped(kind, saved, vqcheck, tmp_path):
    """Without a common prefix nobody knows what belongs together: status 2 for a file, an error for a live module."""
    state = APART[kind](gpt_sovits())
    path = saved(state)
    for command in (["diff", path, path], ["lock", path, "-o", tmp_path / "a.lock"]):
        assert vqcheck(*command).returncode == 2
    with pytest.raises(NoCodebookError, match=r"(ssl_proj|enc_p).*stands under another prefix"):
        guard(module_of(state))


def test_it_can_be_said_what_belongs_together(saved, vqcheck, tmp_path):
    """A row of the user's names both, and both are judged then."""
    state = APART["projection elsewhere"](gpt_sovits())
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "mine"\nprojects = true\n[tensors]\n'
        f'codes = "net.{BOOK}.embed"\ninput_proj = "front.ssl_proj"\n'
    )  # fmt: skip
    a = saved(state)
    assert vqcheck("diff", a, a, "--family", own).returncode == 0
    b = saved({**state, "front.ssl_proj.bias": state["front.ssl_proj.bias"] + 1}, "b.pth")
    assert vqcheck("diff", a, b, "--family", own).returncode == 1


def test_a_projection_that_neither_file_holds_is_no_agreement(saved, vqcheck):
    """Two files of GPT-SoVITS that are no LoRA exports, both without ssl_proj, cannot be checked."""
    state = {name: value for name, value in gpt_sovits().items() if not name.startswith("ssl_proj")}
    run = vqcheck("diff", saved(state), saved(state, "b.pth"))
    assert (run.returncode, run.stdout) == (2, "")
    assert "ssl_proj" in run.stderr
    lora = {**state, "cfm.to_q.lora_A.default.weight": torch.ones(2, 2)}
    run = vqcheck("diff", saved(lora), saved(lora, "b.pth"))
    assert run.returncode == 0
    assert "same VQ encoder" not in run.stdout
    assert "neither file stores the projection" in run.stdout
    whole = saved(gpt_sovits(), "c.pth")
    assert vqcheck("diff", whole, saved(state)).returncode == 1


ELSEWHERE = {
    "X-Codec": ({f"{BOOK}.embed": (16, 4), f"{BOOK}.cluster_size": (16,)}, "fc_prior.weight", (4, 8)),
    "X-Codec 2": (
        {"generator.quantizer.project_in.weight": (3, 8), "generator.quantizer.project_out.weight": (8, 3)},
        "fc_prior.weight",
        (8, 8),
    ),
    "VQGAN": ({"quantize.embedding.weight": (16, 4)}, "quant_conv.weight", (4, 4, 1, 1)),
    "SimVQ": (
        {"quantize.embedding.weight": (16, 4), "quantize.embedding_proj.weight": (4, 4)},
        "quant_conv.weight",
        (4, 4, 1, 1),
    ),
    "BEATs": (
        {
            "quantize.embedding.weight": (16, 4),
            "quantize.embedding.cluster_size": (16,),
            "quantize.embedding.embed_avg": (16, 4),
            "quantize.embedding.initted": (1,),
        },
        "encode_task_layer.0.weight",
        (4, 8),
    ),
    "VQ-VAE-2": (
        {f"quantize_t.{name}": shape for name, shape in
         (("embed", (4, 16)), ("embed_avg", (4, 16)), ("cluster_size", (16,)))},
        "quantize_conv_t.weight",
        (4, 8, 1, 1),
    ),
    "VectorQuantizerEMA": (
        {"_vq_vae._embedding.weight": (16, 4), "_vq_vae._ema_w": (16, 4), "_vq_vae._ema_cluster_size": (16,)},
        "_pre_vq_conv.weight",
        (4, 8, 1, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("codec", ELSEWHERE)
def test_what_stands_in_front_of_a_codec_counts_or_is_refused(codec, compared):
    """Beside the codebook a projection that moved is found; under another prefix it cannot be told whose it is."""
    shapes, name, shape = ELSEWHERE[codec]
    state = {key: torch.rand(size) + 1 for key, size in shapes.items()} | {name: torch.randn(shape)}
    for prefix in ("", "my.own."):
        both = under(prefix, state)
        assert compared(both, {**both, prefix + name: state[name] + 1}).verdict == "changed"
    apart = {("a." if key == name else "b.") + key: value for key, value in state.items()}
    with pytest.raises(UnclearError, match=name.split(".")[0]):
        match({key: tuple(value.shape) for key, value in apart.items()})


def module_of(state):
    """Returns a module whose state dict this is; numbers are kept as names."""
    root = torch.nn.Module()
    for name, value in state.items():
        at = root
        *path, last = name.split(".")
        for part in path:
            if part not in at._modules:
                at.add_module(part, torch.nn.Module())
            at = at._modules[part]
        if "ssl_proj" in name:
            at.register_parameter(last, torch.nn.Parameter(value.clone()))
        else:
            at.register_buffer(last, value.clone())
    return root


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_live_module_is_watched_and_frozen_whole_behind_any_prefix(prefix):
    """Guard raises for a moved projection, freeze takes it out of training, replay follows it."""
    from vqcheck.live.encoder import find
    from vqcheck.live.watch import EncoderWatch

    module = module_of(under(prefix, gpt_sovits()))
    watching, watch = guard(module, every=1), EncoderWatch(find(module))
    name = f"{prefix}ssl_proj.weight"
    assert name in freeze(module).parameters
    assert f"{prefix}enc_p.ssl_proj.weight" not in watching.names
    with torch.no_grad():
        dict(module.named_parameters())[name].add_(1)
    assert [step.label for step in watch.look() if step.changed] == ["input_proj.weight"]
    with pytest.raises(CodebookChanged, match=r"ssl_proj\.weight"):
        watching.check()


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_live_module_is_watched_whole_through_any_wrapper(kind):
    """The names that a guard and a replay watch are those of the wrapped module."""
    from vqcheck.live.module_checkpoint import digests

    bare = module_of(gpt_sovits())
    module = module_of({WRAPPED[kind](name): value for name, value in gpt_sovits().items()})
    assert len(guard(module).names) == 6
    assert WRAPPED[kind]("ssl_proj.bias") in guard(module).names
    assert digests(module) == digests(bare)


def test_a_quantizer_without_its_projection_is_no_whole_model():
    """Guard and freeze of GPT-SoVITS without ssl_proj say that it is missing."""
    state = {name: value for name, value in gpt_sovits().items() if not name.startswith("ssl_proj")}
    for hold in (guard, freeze):
        with pytest.raises(NoCodebookError, match="not the projection in front"):
            hold(module_of(state))


def test_an_unknown_layout_says_that_what_is_in_front_is_not_known(saved, vqcheck, valid):
    """In text and in JSON, for equal files and for others; and it has no digest of a whole VQ encoder."""
    state = {"net.embed": torch.randn(8, 4), "net.embed_avg": torch.randn(8, 4), "net.cluster_size": torch.ones(8)}
    a, b = saved(state), saved({**state, "net.embed": state["net.embed"] + 1}, "b.pth")
    for other in (a, b):
        run = vqcheck("diff", a, other)
        assert "not known" in run.stdout
        assert "VQ encoder" not in run.stdout.replace("The VQ encoders", "")
        document = valid(vqcheck("diff", a, other, "--format", "json").stdout)
        assert [document[side]["in_front"] for side in "ab"] == ["unknown", "unknown"]
        assert document["a"]["digests"]["vq_encoder"] is None
    whole = saved(gpt_sovits(), "c.pth")
    document = valid(vqcheck("diff", whole, whole, "--format", "json").stdout)
    assert document["a"]["in_front"] == "stored"
    assert "codebook alone" in vqcheck("lock", a, "-o", a.parent / "x.lock").stdout


@pytest.mark.parametrize("cut", ["quantizer.", "quantizer.vq.", "quantizer.vq.layers.0."])
@pytest.mark.parametrize("flag", [0.0, -0.0])
def test_the_init_flag_counts_in_a_quantizer_saved_without_its_model(cut, flag, compared):
    """Taken for false by torch, the first forward would write every code anew, whatever the names begin with."""
    state = {name.removeprefix(cut): value for name, value in gpt_sovits().items() if name.startswith(cut)}
    name = f"{BOOK}.inited".removeprefix(cut)
    assert not bool(torch.tensor([flag]))
    assert compared(state, {**state, name: torch.tensor([flag])}).exit_code == 1
    assert compared(state, {**state, name: torch.tensor([2.0])}).exit_code == 0
    assert compared({**state, name: torch.tensor([0.0])}, {**state, name: torch.tensor([-0.0])}).verdict == "identical"
