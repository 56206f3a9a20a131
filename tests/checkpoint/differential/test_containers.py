"""Dictionaries are filled as torch fills them, by whatever class and opcodes, or the file is refused."""

import pytest
from differential.crafted import (
    CONTAINER,
    NAME,
    TENSOR_A,
    TENSOR_B,
    A,
    B,
    archive,
    index,
    pickled,
    state_dict,
)
from fuzz.differential.opcodes import (
    EMPTY,
    NONE,
    built,
    call,
    dictionary,
    group,
    integer,
    named,
    new,
    pairs,
    several,
    text,
)

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError

ITEMS_A, ITEMS_B = [(text(NAME), TENSOR_A)], [(text(NAME), TENSOR_B)]
OTHER = [(text("module." + NAME), TENSOR_A)]


def listed(items):
    return several(*(group(key, value) for key, value in items))


FILLED = {
    "Counter of a dictionary": (call("collections", "Counter", dictionary(*ITEMS_B)), False),
    "Counter and items": (call("collections", "Counter", dictionary(*ITEMS_B)) + pairs(OTHER), False),
    "Counter, then items": (call("collections", "Counter") + pairs(ITEMS_B), False),
    "Counter replaced by items": (call("collections", "Counter", dictionary(*ITEMS_A)) + pairs(ITEMS_B), False),
    "OrderedDict of pairs": (call("collections", "OrderedDict", listed(ITEMS_B)), False),
    "OrderedDict of a dictionary": (call("collections", "OrderedDict", dictionary(*ITEMS_B)), False),
    "OrderedDict made anew is empty": (new("collections", "OrderedDict", listed(ITEMS_A)) + pairs(ITEMS_B), False),
    "OrderedDict with metadata": (built(EMPTY + pairs(ITEMS_B), dictionary((text("_metadata"), EMPTY))), False),
    "defaultdict of a dictionary": (call("collections", "defaultdict", NONE, dictionary(*ITEMS_B)), True),
    "defaultdict and items": (call("collections", "defaultdict", named("builtins", "list")) + pairs(ITEMS_B), True),
    "dict of a dictionary": (call("builtins", "dict", dictionary(*ITEMS_B)), True),
    "dict made anew is empty": (new("builtins", "dict", dictionary(*ITEMS_A)) + pairs(ITEMS_B), True),
    "dict with keywords": (named("builtins", "dict") + b")}\x92" + pairs(ITEMS_B), True),
    "dict reconstructed": (
        call("copyreg", "_reconstructor", named("builtins", "dict"), named("builtins", "dict"), dictionary(*ITEMS_B)),
        True,
    ),
}


@pytest.mark.parametrize("way", FILLED)
def test_a_dictionary_is_seen_as_torch_fills_it_before_one_of_another_name(way, agreed):
    weight, full = FILLED[way]
    root = dictionary((text(CONTAINER), weight), (text("model"), state_dict()))
    agreed(archive(pickled(root)), B, full=full)


def test_a_list_that_two_dictionaries_are_made_of_fills_both(agreed):
    spot = b"\xfa"
    again = b"ccollections\nOrderedDict\n(h" + spot + b"tR"
    root = dictionary(
        (text("first"), listed(ITEMS_B) + b"q" + spot),
        (text("once"), again),
        (text(CONTAINER), again),
        (text("model"), state_dict()),
    )
    agreed(archive(pickled(root)), B)


def test_a_dictionary_changed_later_through_the_memo_is_changed(agreed):
    root = dictionary((text(CONTAINER), state_dict() + b"q\xfa"), (text("x"), b"h\xfa" + text(NAME) + TENSOR_B + b"s"))
    agreed(archive(pickled(root)), B)


@pytest.mark.parametrize("name", ["keys", "items", "copy", "__iter__", "get"])
def test_a_dictionary_whose_methods_are_replaced_is_refused(name, put, vqcheck_value):
    weight = built(EMPTY + pairs(ITEMS_A), dictionary((text(name), named("collections", "Counter"))))
    with pytest.raises(CheckpointError, match="gives a dictionary a state of its own"):
        vqcheck_value(put(archive(index(weight))))


def test_a_state_dict_behind_any_number_of_empty_ones_is_found_or_the_file_refused(agreed, put, vqcheck_value):
    def root(count):
        empty = [(text(f"e{number}"), b"}") for number in range(count)]
        return pickled(dictionary((text("a"), state_dict()), *empty, (text(CONTAINER), state_dict(TENSOR_B))))

    agreed(archive(root(10_001)), B)
    with pytest.raises(CheckpointError, match="holds more than 100000 dictionaries"):
        vqcheck_value(put(archive(root(100_001))))


@pytest.mark.parametrize("deep", [5, 30])
def test_a_state_dict_at_any_depth_is_seen(deep, put):
    inner = state_dict(TENSOR_B)
    for _ in range(deep):
        inner = dictionary((text("in"), inner))
    with open_checkpoint(put(archive(index(state_dict(), (text("other"), inner))))) as checkpoint:
        assert checkpoint.other_containers == (".".join(["other"] + ["in"] * deep),)


def test_an_object_that_holds_tensors_without_being_a_dictionary_is_no_state_dict(agreed):
    namespace = built(new("argparse", "Namespace"), dictionary((text("t"), TENSOR_B)))
    agreed(archive(index(state_dict(), (text("args"), namespace))), A, full=True)
    holders = [call("collections", "deque", several(TENSOR_B), integer(3)), call("builtins", "set", several(TENSOR_B))]
    agreed(archive(index(state_dict(), *((integer(at), each) for at, each in enumerate(holders)))), A, full=True)
