"""The state dict is found where trainers put it, and what else a file says is bounded plain information."""

import pathlib
import pickle
import sys
import types
from collections import OrderedDict

import pytest
import torch

from vqcheck.checkpoint import container
from vqcheck.checkpoint.container import KNOWN, find_state_dicts, information
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.pickle_values import Global, PickleError, Placeholder
from vqcheck.checkpoint.torch_records import TensorRecord
from vqcheck.errors import CheckpointError

TENSOR = TensorRecord("float32", None, 0, (1,), (1,))


def paths(root):
    return [".".join(found.path) for found in find_state_dicts(root)]


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_container_is_opened_and_preferred_to_an_unknown_one(name, tmp_path):
    torch.save({"alpha": {"x": torch.ones(1), "y": torch.ones(1)}, name: {"t": torch.ones(2)}}, tmp_path / "a.pth")
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert (checkpoint.container, list(checkpoint.tensors)) == (name, ["t"])
        assert checkpoint.other_containers == ("alpha",)


def test_known_containers_are_preferred_in_their_fixed_order():
    assert paths({name: {"t": TENSOR} for name in reversed(KNOWN)}) == list(KNOWN)


def test_the_saved_object_itself_may_be_the_state_dict(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "a.pth")
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert (checkpoint.container, sorted(checkpoint.tensors)) == ("", ["bias", "weight"])
        assert checkpoint.information == {}


def test_a_bare_tensor_is_a_state_dict_with_one_empty_name(tmp_path, read_all):
    for saved in (torch.arange(3, dtype=torch.int16), torch.nn.Parameter(torch.ones(1))):
        torch.save(saved, tmp_path / "a.pth")
        assert list(read_all(tmp_path / "a.pth")) == [""]


def test_state_dicts_are_found_inside_others_and_the_shallower_is_preferred():
    root = {"trainer": {"state_dict": {"t": TENSOR}}, "state_dict": {"u": TENSOR}}
    assert paths(root) == ["state_dict", "trainer.state_dict"]


def test_optimizer_state_is_never_taken_for_a_state_dict(tmp_path):
    moments = {"state": {0: {"exp_avg": torch.ones(2)}, "named": {"exp_avg": torch.ones(2)}}, "param_groups": []}
    saved = {"optimizer": moments, "Optim_g": {"t": torch.ones(1)}, "net": torch.nn.Linear(2, 2).state_dict()}
    torch.save(saved, tmp_path / "a.pth")
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert (checkpoint.container, checkpoint.other_containers) == ("net", ())
        assert checkpoint.information == {}


def test_a_mapping_under_many_names_or_inside_itself_is_found_once():
    state = {"t": TENSOR}
    root = {f"name {index}": state for index in range(1000)}
    root["weight"] = state
    root["self"] = root
    state["back"] = root
    assert paths(root) == ["name 0"]
    # Thousands of names for each of five levels would otherwise be 10^15 paths.
    level = {"t": TENSOR}
    for _ in range(5):
        level = {f"key {index}": level for index in range(1000)}
    assert paths(level) == [".".join(["key 0"] * 5)]


def test_a_container_of_an_unreasonably_long_name_is_refused():
    assert paths({"k" * 200: {"t": TENSOR}}) == ["k" * 200]
    assert paths({"k" * 201: {"rate": 3}, "weight": {"t": TENSOR}}) == ["weight"]
    for held in ({"t": TENSOR}, {"deep": [{"t": TENSOR}]}):
        with pytest.raises(PickleError, match="holds tensors under a name of 201 characters"):
            paths({"k" * 201: held, "weight": {"t": TENSOR}})


@pytest.mark.parametrize("saved", [[torch.ones(1)], "text", {"epoch": 3}, {1: torch.ones(1)}, None])
def test_a_file_without_a_state_dict_says_so_and_what_to_save_instead(saved, tmp_path):
    torch.save(saved, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"holds no state dict .*; save state_dict\(\)"):
        open_checkpoint(tmp_path / "a.pth")


@pytest.fixture
def hparams(monkeypatch):
    """Upstream's settings class, pickled as `utils.HParams`."""

    class HParams:
        def __init__(self, **values):
            for key, value in values.items():
                setattr(self, key, HParams(**value) if isinstance(value, dict) else value)

    HParams.__module__, HParams.__qualname__ = "utils", "HParams"
    module = types.ModuleType("utils")
    module.HParams = HParams
    monkeypatch.setitem(sys.modules, "utils", module)
    return HParams


@pytest.mark.parametrize("protocol", range(2, 6))
def test_an_export_of_gpt_sovits_is_read_with_its_settings_as_plain_information(protocol, hparams, tmp_path):
    config = hparams(model={"version": "v2", "ssl_dim": 768}, train={"epochs": 8, "fp16_run": True}, name="me")
    saved = OrderedDict(weight={"t": torch.ones(2).half()}, config=config, info="8epoch_400iteration")
    torch.save(saved, tmp_path / "a.pth", pickle_protocol=protocol)
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert checkpoint.container == "weight"
        assert checkpoint.information == {
            "config": {
                "model": {"version": "v2", "ssl_dim": 768},
                "train": {"epochs": 8, "fp16_run": True},
                "name": "me",
            },
            "info": "8epoch_400iteration",
        }


class Custom:
    def __init__(self):
        self.depth = 3


class Slotted:
    __slots__ = ("x",)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_lightning_file_with_paths_and_classes_is_read_and_they_stay_names(protocol, tmp_path):
    saved = {
        "state_dict": OrderedDict({"model.a": torch.ones(1)}),
        "epoch": 15,
        "global_step": 300,
        "hyper_parameters": {
            "output_dir": pathlib.PurePosixPath("/home/me/out"),
            "relative": pathlib.PurePosixPath("a/b"),
            "custom": Custom(),
            "class": Custom,
            "slotted": Slotted(),
        },
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(1)}}}],
        "callbacks": {"EarlyStopping": {"best": torch.tensor(0.5)}},
    }
    torch.save(saved, tmp_path / "a.ckpt", pickle_protocol=protocol)
    with open_checkpoint(tmp_path / "a.ckpt") as checkpoint:
        assert (checkpoint.container, list(checkpoint.tensors)) == ("state_dict", ["model.a"])
        found = checkpoint.information
    assert (found["epoch"], found["global_step"], "optimizer_states" in found) == (15, 300, False)
    assert found["hyper_parameters"] == {
        "output_dir": "/home/me/out",
        "relative": "a/b",
        "custom": {"depth": 3},
        "class": f"<{__name__}.Custom>",
        "slotted": f"<{__name__}.Slotted>" if protocol > 2 else found["hyper_parameters"]["slotted"],
    }


def test_numbers_that_cannot_be_printed_or_written_as_json_become_texts():
    root = {"a": float("nan"), "b": float("-inf"), "c": 1 << 5000, "d": 1.5, "e": 7, "f": True, "g": b"abc", "h": None}
    assert information(root) == {
        "a": "nan",
        "b": "-inf",
        "c": "<integer of 5001 bits>",
        "d": 1.5,
        "e": 7,
        "f": True,
        "g": "<3 bytes>",
        "h": None,
    }


def size(plain):
    if isinstance(plain, dict):
        return sum(len(key) + size(value) for key, value in plain.items())
    return sum(map(size, plain)) if isinstance(plain, list) else len(str(plain))


def test_information_is_bounded_however_often_a_long_value_is_referred_to():
    long = "x" * 10_000_000
    path = Placeholder(Global("pathlib", "PosixPath"), (long,) * 1000)
    name = Placeholder(Global(long, long), ())
    wide = {str(index): 0 for index in range(100_000)}
    for value in (long, path, name, Global(long, long), wide, [wide] * 10_000, {long: long}):
        assert size(information({str(index): value for index in range(10_000)})) <= 2_000 * 4_100


def test_information_ends_where_values_are_nested_without_end():
    loop = {"name": "loop"}
    loop["self"] = loop
    cycle = Placeholder(Global("a", "b"), ())
    cycle.state = {"self": cycle}
    assert information({"loop": loop})["loop"]["name"] == "loop"
    assert size(information({"loop": loop, "cycle": cycle})) < 1_000


def test_information_leaves_out_tensors_and_what_holds_them():
    assert information({"t": TENSOR, "weight": {"t": TENSOR}, "config": {"t": 1, "u": TENSOR}, "n": 1}) == {"n": 1}
    assert information({"config": {"inner": {"t": TENSOR, "n": 1}}}) == {"config": {"inner": {"n": 1}}}
    assert information(TENSOR) == information([1]) == {}


def test_values_that_are_none_of_these_kinds_are_shown_as_an_ellipsis():
    assert information({"x": object(), "y": pickle}) == {"x": "...", "y": "..."}
    assert container.information({"o": Placeholder(Placeholder(None, ()), ())}) == {"o": "<object>"}


def test_state_dicts_in_lists_and_under_numbers_are_found_once():
    """By position or key; lists that hold themselves, or one thing twice, end; what optimizers hold is left out."""
    state = {"a.b": TENSOR}
    own = [state, state, 3, "text"]
    own.append(own)
    assert paths({"model": {"t": TENSOR}, "more": own}) == ["model", "more.[0]"]
    assert paths({7: {"x": [(state,)]}}) == ["[7].x.[0].[0]"]
    assert paths({"model": {"t": TENSOR}, "opt": {"state": {0: {"exp_avg": TENSOR}}}}) == ["model"]
    assert paths({"[0]": {"t": TENSOR}, 0: state}) == ["[0]", "[0]'"]


def test_lists_deeper_than_any_file_are_refused_where_tensors_lie_in_them():
    """Plain lists of any depth say nothing; what may be a model is not passed over."""
    deep = {"a.b": TENSOR}
    plain = 1
    for _ in range(60):
        deep, plain = [deep], [plain]
    assert paths({"model": {"t": TENSOR}, "x": plain}) == ["model"]
    with pytest.raises(PickleError, match="32 deep"):
        find_state_dicts({"model": {"t": TENSOR}, "x": deep})
