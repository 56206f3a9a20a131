"""Names, shapes, dtypes and order of every tensor, since weights and optimizer states of old runs must fit."""

import pytest
import torch

from vqcheck.synthesizer import MultiPeriodDiscriminator, StateDictMismatchError, SynthesizerTrnV3, preset

GENERATORS = ("v1", "v2", "v2Pro", "v2ProPlus")
DISCRIMINATORS = (("v1", "mpd_v1"), ("v2", "mpd_v2"), ("v2Pro", "mpd_v2Pro"), ("v2ProPlus", "mpd_v2Pro"))
PARAMETERS = {"v1": 772, "v2": 772, "v2Pro": 777, "v2ProPlus": 777}
NUMBERS = {"v1": 52_846_337, "v2": 52_883_969, "v2Pro": 81_001_985, "v2ProPlus": 99_912_321}
BUFFERS = ("inited", "cluster_size", "embed", "embed_avg")


def generator(version):
    with torch.device("meta"):
        return preset(version).synthesizer()


def discriminator(version, **changes):
    with torch.device("meta"):
        return MultiPeriodDiscriminator(version=version, **changes)


def described(module):
    return [
        (name, list(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in module.state_dict().items()
    ]


def state_of(entries):
    return {name: torch.empty(shape, dtype=getattr(torch, dtype), device="meta") for name, shape, dtype in entries}


@pytest.mark.parametrize("version", GENERATORS)
def test_generator_has_the_recorded_tensors(version, state_dict_map):
    """The synthesizer's state dict has the recorded names, shapes and dtypes in the recorded order."""
    assert described(generator(version)) == state_dict_map(version)


@pytest.mark.parametrize(("version", "name"), DISCRIMINATORS)
def test_discriminator_has_the_recorded_tensors(version, name, state_dict_map):
    """The discriminator's state dict has the recorded names, shapes and dtypes in the recorded order."""
    assert described(discriminator(version)) == state_dict_map(name)


@pytest.mark.parametrize("version", GENERATORS)
def test_parameters_stand_in_the_recorded_order(version, state_dict_map):
    """Parameters follow each other as recorded, so an optimizer's state carries over; buffers are no parameters."""
    recorded = [name for name, _, _ in state_dict_map(version) if not name.endswith(BUFFERS)]
    model = generator(version)
    assert [name for name, _ in model.named_parameters()] == recorded
    assert len(recorded) == PARAMETERS[version]
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == NUMBERS[version]


@pytest.mark.parametrize("version", GENERATORS)
def test_recorded_state_loads_strictly(version, state_dict_map):
    """A state dict with the recorded entries loads strictly, and saving gives the same entries back."""
    model = generator(version)
    result = model.load_state_dict(state_of(state_dict_map(version)), strict=True, assign=True)
    assert result.missing_keys == result.unexpected_keys == []
    assert described(model) == state_dict_map(version)


@pytest.mark.parametrize(
    ("built", "given", "named"),
    [
        ("v2", "v1", r"enc_p.text_embedding.weight: expected shape \[732, 192\], given \[322, 192\]"),
        ("v1", "v2", r"enc_p.text_embedding.weight: expected shape \[322, 192\], given \[732, 192\]"),
        ("v2", "v2Pro", r"dec.cond.weight: expected shape \[512, 512, 1\], given \[512, 1024, 1\]"),
        ("v2Pro", "v2ProPlus", r"dec.conv_pre.weight: expected shape \[512, 192, 7\], given \[768, 192, 7\]"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_state_of_another_version_is_refused(built, given, named, strict, state_dict_map):
    """Weights of another version end in an error that names the version built, a tensor and both shapes."""
    model = generator(built)
    with pytest.raises(StateDictMismatchError, match=rf"state_dict does not fit .* version '{built}': .*{named}"):
        model.load_state_dict(state_of(state_dict_map(given)), strict=strict)


def test_refusal_is_what_torch_would_raise(state_dict_map):
    """Code that expects torch's RuntimeError, or a ValueError, catches ours."""
    assert issubclass(StateDictMismatchError, RuntimeError)
    assert issubclass(StateDictMismatchError, ValueError)
    with pytest.raises(RuntimeError):
        discriminator("v2").load_state_dict(state_of(state_dict_map("mpd_v2Pro")))


def test_missing_and_unknown_tensors_count_only_when_strict(tiny):
    """With strict a missing and an unknown tensor are both named; without it they are let through, as torch does."""
    model = tiny()
    state = model.state_dict()
    state["cfm.weight"] = torch.zeros(3)
    del state["ssl_proj.bias"]
    unknown = r"cfm.weight: expected nothing, given shape \[3\]"
    missing = r"ssl_proj.bias: expected shape \[32\], given nothing"
    message = f"{unknown}; {missing}"
    with pytest.raises(StateDictMismatchError, match=message):
        model.load_state_dict(state)
    result = model.load_state_dict(state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["ssl_proj.bias"], ["cfm.weight"])


def test_whole_checkpoint_is_not_a_state_dict(tiny):
    """A checkpoint that was not unwrapped is refused, and what it holds instead of tensors is named."""
    model = tiny()
    with pytest.raises(
        StateDictMismatchError, match="weight: expected nothing, given a OrderedDict; info: expected nothing"
    ):
        model.load_state_dict({"weight": model.state_dict(), "info": "2epoch"})
    state = model.state_dict()
    state["info"] = "2epoch"
    with pytest.raises(StateDictMismatchError, match="info: expected nothing, given a str"):
        model.load_state_dict(state)


def test_spectral_norm_discriminator_is_normed_everywhere():
    """With use_spectral_norm every convolution is spectral-normed and none weight-normed."""
    model = MultiPeriodDiscriminator(use_spectral_norm=True, narrowing=32)
    names = [name.rsplit(".", 1)[-1] for name in model.state_dict()]
    assert sorted(set(names)) == ["bias", "weight_orig", "weight_u", "weight_v"]
    assert names.count("weight_orig") == 7 + 5 * 6
    logits, _, features, _ = model(torch.randn(1, 1, 640), torch.randn(1, 1, 640))
    assert len(logits) == 6
    assert [len(maps) for maps in features] == [7, 6, 6, 6, 6, 6]


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_v3_and_v4_have_the_recorded_tensors(version, state_dict_map):
    """Both have the recorded names, shapes and dtypes in the recorded order, 384,394,985 numbers in all."""
    with torch.device("meta"):
        model = SynthesizerTrnV3(1025, 32, version=version)
    assert described(model) == state_dict_map("v3")
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 384_394_985
    model.load_state_dict(state_of(state_dict_map("v3")), strict=True)
    assert "linear_mel" in dict(model.named_children())
