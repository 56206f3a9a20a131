"""An average of parameters has projections and no codebook; a model may be saved module by module: both are seen."""

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.codebook.find import find_copies
from vqcheck.errors import CheckpointError

FRAMES = torch.randn(1, 8, 40, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Saves objects under names, and runs a command on those names in their folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, **files):
        for name, value in files.items():
            torch.save(value, f"{name}.pth")
        return main([*arguments, "-q"])

    return call


def parameters(state, factor=1.0):
    """Return what an average of parameters holds of the model: no buffer, so nothing of the quantizer."""
    return {name: value * factor for name, value in state.items() if name.startswith("ssl_proj.")}


def tokens(state):
    """Return the tokens that torch derives: a projection of stride 2, then the nearest code."""
    weight, bias = state["ssl_proj.weight"], state["ssl_proj.bias"]
    frames = torch.nn.functional.conv1d(FRAMES, weight, bias, stride=2)[0].T
    return torch.cdist(frames, state["quantizer.vq.layers.0._codebook.embed"]).argmin(1)


def in_a_dictionary(state, average):
    return {"model": state, "ema": average}


def in_callbacks(state, average):
    return {"state_dict": state, "callbacks": {"EMA{'decay': 0.99}": {"shadow": average}}}


def in_the_same_dictionary(state, average):
    return {"weight": {**state, **{f"ema_model.module.{name}": value for name, value in average.items()}}}


@pytest.mark.parametrize("holding", [in_a_dictionary, in_callbacks, in_the_same_dictionary])
def test_an_average_of_parameters_is_a_copy(holding, vq_state, run):
    """Loaded over the model it gives other tokens, so it contradicts; one that is the model's own does not."""
    state = vq_state()
    moved = parameters(state, 1.5)
    assert not torch.equal(tokens(state), tokens(state | moved))
    files = {"base": {"weight": state}, "same": holding(state, parameters(state)), "moved": holding(state, moved)}
    assert run("diff", "base.pth", "same.pth", **files) == 0
    assert run("diff", "base.pth", "moved.pth") == run("diff", "moved.pth", "base.pth") == 2
    assert run("diff", "same.pth", "moved.pth") == 1
    assert run("diff", "moved.pth", "moved.pth") == 0
    assert run("lock", "same.pth", "-o", "a.lock") == 0
    assert run("lock", "--check", "same.pth", "-o", "a.lock") == 0
    assert run("lock", "--check", "moved.pth", "-o", "a.lock") == 1
    assert run("lock", "base.pth", "-o", "b.lock") == 0
    assert run("lock", "--check", "moved.pth", "-o", "b.lock") == 2


def test_what_only_has_the_name_of_a_projection_is_no_copy(vq_state, run):
    """The text encoder's own ssl_proj, of the average too, and projections of other shapes are somebody else's."""
    state = vq_state()
    other = {"enc_p.ssl_proj.weight": torch.zeros(8, 8, 2), "ssl_proj.weight": torch.zeros(3, 8, 2)}
    assert run("diff", "a.pth", "b.pth", a={"weight": state}, b={"model": state, "ema": other}) == 0


@pytest.mark.parametrize("split", ["quantizer", ""])
def test_a_projection_in_another_dictionary_than_the_codebook_is_refused(split, vq_state, run):
    """Two modules' dictionaries side by side, under their own names or the model's: half of it would be judged."""
    state = vq_state()

    def apart(state):
        halves = {"quantizer": {}, "ssl_proj": {}}
        for name, value in state.items():
            module, _, rest = name.partition(".")
            halves[module][rest if split else name] = value
        return halves

    moved = state | parameters(state, 1.5)
    assert not torch.equal(tokens(state), tokens(moved))
    assert run("diff", "a.pth", "b.pth", a=apart(state), b=apart(moved)) == 2
    assert run("lock", "a.pth", "-o", "a.lock") == 2
    with open_checkpoint("a.pth") as file, pytest.raises(CheckpointError, match=r"ssl_proj\.weight: stands in another"):
        find_copies(file)


@pytest.mark.parametrize(
    "hide",
    [
        lambda copy: {"extra": [copy]},
        lambda copy: {"extra": (1, (copy,))},
        lambda copy: {0: copy},
        lambda copy: {(1, 2): copy},
    ],
    ids=["list", "tuples", "number", "tuple key"],
)
def test_copies_that_stand_in_lists_or_under_numbers_are_compared(hide, vq_state, run):
    """What contradicts is told wherever it stands; the tensors that an optimizer counts through are no copies."""
    state = vq_state()
    moved = {**state, "ssl_proj.weight": state["ssl_proj.weight"] * 1.5}
    optimizer = {"opt": {"state": {number: {"exp_avg": torch.zeros(2)} for number in range(9)}}}
    assert run("diff", "a.pth", "b.pth", a={"weight": state}, b={"model": state, **hide(moved)}) == 2
    assert run("diff", "a.pth", "c.pth", c={"model": state, **hide(dict(state)), **optimizer}) == 0


def test_two_names_that_read_alike_hide_no_copy(vq_state, run):
    """A key that is text and a number beside it come to one name; both copies are compared all the same."""
    state = vq_state()
    moved = {**state, "ssl_proj.weight": state["ssl_proj.weight"] * 1.5}
    for first, second in ((state, moved), (moved, state)):
        files = {"a": {"weight": state}, "b": {"model": state, "[0]": first, 0: second}}
        assert run("diff", "a.pth", "b.pth", **files) == 2


@pytest.mark.parametrize("moved", ["quantize.embedding.weight", "quant_conv.weight", "quant_conv.bias"])
def test_an_average_under_names_without_dots_is_a_copy(moved, run):
    """So latent diffusion keeps it, beside the model: codes and the layer in front of them, all of them parameters."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"quantize.embedding.weight": (9, 4), "quant_conv.weight": (4, 4, 1, 1), "quant_conv.bias": (4,)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    def averaged(factor):
        values = {name: value * (factor if name == moved else 1) for name, value in state.items()}
        average = {f"model_ema.{name.replace('.', '')}": value for name, value in values.items()}
        return {"state_dict": {**state, **average, "model_ema.decay": torch.tensor(0.9)}}

    files = {"a": {"state_dict": state}, "same": averaged(1.0), "moved": averaged(1.5)}
    assert run("diff", "a.pth", "same.pth", **files) == 0
    assert run("diff", "a.pth", "moved.pth") == run("diff", "moved.pth", "a.pth") == 2
    assert run("diff", "same.pth", "moved.pth") == 1


def test_a_projection_behind_a_layer_is_looked_for_in_an_average_too(run):
    """In a chain of residuals it decides the tokens of the layers after it; the last layer's decides none."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for layer in range(2):
        module = f"quantizer.quantizers.{layer}"
        state[f"{module}.codebook.weight"] = torch.randn(8, 4, generator=generator)
        state[f"{module}.in_proj.weight"] = torch.randn(4, 6, 1, generator=generator)
        state[f"{module}.out_proj.weight"] = torch.randn(6, 4, 1, generator=generator)
    for layer, status in ((0, 2), (1, 0)):
        name = f"quantizer.quantizers.{layer}.out_proj.weight"
        files = {"a": {"model": state}, "b": {"model": state, "ema": {name: state[name] * 2}}}
        assert run("diff", "a.pth", "b.pth", **files) == status
