"""A pickle of plain data is read as Python reads it; of anything else only names remain, and nothing is ever run."""

import pickle
import pickletools
import struct
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcheck.checkpoint import pickle_machine
from vqcheck.checkpoint.pickle_machine import load
from vqcheck.checkpoint.pickle_values import Global, Meaning, OtherKey, PickleError, Placeholder, TruncatedPickleError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 300), 1 << 300)
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(st.characters(codec="ascii"), min_size=250, max_size=260)
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(1 << 31), (1 << 31) - 1), inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_plain_data_of_every_protocol_is_read_as_python_reads_it(value, protocol):
    data = pickle.dumps(value, protocol)
    assert load(b"before" + data + b"behind", start=6) == (value, 6 + len(data))


@given(value=st.binary(max_size=300), protocol=st.integers(3, 5))
def test_bytes_are_read_as_python_reads_them(value, protocol):
    assert load(pickle.dumps([value, value], protocol))[0] == [value, value]


def test_what_needs_rare_opcodes_is_read_as_python_reads_it():
    for value in (bytearray(b"abc"), b"x" * 300, "y" * 70_000, [1.5] * 2_000, tuple(range(1000)), 1 << 2000):
        assert load(pickle.dumps(value, 5))[0] == value
    for value in ({1, 2, 3}, frozenset({4, 5})):
        assert sorted(load(pickle.dumps(value, 4))[0].elements) == sorted(value)
    # What Python 2 wrote.
    assert load(b"S'it''s'\n.") == ("it''s", 10)
    assert load(b"U\x03abcT\x04\x00\x00\x00d\xc3\xa9e\x86.")[0] == ("abc", "d\u00e9e")
    assert load(b"(I01\nI00\nI-5\nL7L\nF0.5\nV\\u00e9\nt.")[0] == (True, False, -5, 7, 0.5, "é")
    assert load(b"I1\n2\x86.")[0] == (1, 1)
    assert load(b"(I1\n1I2\n0(l.")[0] == []


def test_a_value_that_holds_itself_is_read_as_one():
    value = []
    value.append(value)
    for protocol in PROTOCOLS:
        read, _ = load(pickle.dumps(value, protocol))
        assert read[0] is read


class Settings:
    def __init__(self, **values):
        self.__dict__.update(values)


class Table(dict):
    pass


class Row(list):
    pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_object_of_an_unknown_class_becomes_its_name_its_arguments_and_its_state(protocol):
    read, _ = load(pickle.dumps(Settings(rate=32000, name="v2"), protocol))
    assert isinstance(read, Placeholder)
    assert read.state == {"rate": 32000, "name": "v2"}
    named = read.callee if read.callee != Global("copy_reg", "_reconstructor") else read.args[0]
    assert (named.module, named.name) == (Settings.__module__, "Settings")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_an_object_that_is_a_dictionary_or_a_list_keeps_its_items(protocol):
    read, _ = load(pickle.dumps([Table(a=1, b=2), Row([3, 4])], protocol))
    assert read[0].items == {"a": 1, "b": 2}
    assert read[1].elements == [3, 4]


def test_an_ordered_dictionary_is_a_call_that_the_reader_may_give_a_meaning():
    data = pickle.dumps(OrderedDict(a=1), 2)
    read, _ = load(data)
    assert (read.callee, read.items) == (Global("collections", "OrderedDict"), {"a": 1})

    class Dictionaries(Meaning):
        def call(self, function, args):  # noqa: ARG002
            return {}

    assert load(data, Dictionaries())[0] == {"a": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"K\x05(K\x01K\x02ios\nsystem\n\x86.",
        b"K\x05(cos\nsystem\nK\x01K\x02o\x86.",
        b"K\x05cos\nsystem\n(K\x01K\x02tR\x86.",
        b"K\x05cos\nsystem\nK\x01K\x02\x86\x81\x86.",
        b"K\x05cos\nsystem\nK\x01K\x02\x86}\x92\x86.",
        b"K\x05X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93K\x01K\x02\x86R\x86.",
    ],
    ids=["INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "STACK_GLOBAL"],
)
def test_every_way_to_call_or_make_something_leaves_a_placeholder_and_the_rest_in_place(data):
    (five, made), _ = load(data)
    assert five == 5
    assert (made.callee, made.args) == (Global("os", "system"), (1, 2))


def test_a_key_that_is_costly_to_hash_is_no_text_and_no_other_key():
    keys = [(1, (2,)), 1 << 40, 0.5, b"raw", None, True, 7, "text", "0.5"]
    read, _ = load(pickle.dumps({key: index for index, key in enumerate(keys)}, 4))
    assert list(read.values()) == list(range(len(keys)))
    assert [str(key) for key in read] == [
        "<tuple 0>",
        str(1 << 40),
        "0.5",
        "<bytes 3>",
        "None",
        "True",
        "7",
        "text",
        "0.5",
    ]
    assert [isinstance(key, OtherKey) for key in read] == [True] * 4 + [False] * 5
    assert not any(key.is_calculated for key in read if isinstance(key, OtherKey))


@pytest.mark.parametrize("key", [b"ca\nb\n", b"ca\nb\n)R", b"cbuiltins\nstr\nVweight\n\x85R", b"ca\nb\n)\x81"])
def test_a_key_that_python_would_calculate_is_marked(key):
    (found,), _ = load(b"}" + key + b"Ns\x85.")
    assert [each.is_calculated for each in found] == [True]


@pytest.mark.parametrize(
    "number",
    [
        *(b"I010\n", b"I0x10\n", b"I+1\n", b"I 1\n", b"I1 \n", b"I1_0\n", b"I-0\n", b"I1L\n", b"L010L\n", b"L1LL\n"),
        *(b"L0b1\n", b"L 1L\n", b"F1_0\n", b"F 1\n", b"F0x1p0\n", b"Fnan(1)\n", b"Finfinity\n", "F\u0661\n".encode()),
    ],
)
def test_a_number_that_readers_take_differently_is_refused(number):
    with pytest.raises(PickleError, match="in a way that readers take differently"):
        load(number + b".")


@pytest.mark.parametrize("text", [b"S'a\\x62'\n", b"S'\\142'\n", b"S'\xe9'\n"])
def test_a_string_that_is_unescaped_or_decoded_differently_is_refused(text):
    with pytest.raises(PickleError, match="with escapes"):
        load(text + b".")


@pytest.mark.parametrize("text", [b"U\x01\xe9", b"T\x01\x00\x00\x00\xe9"])
def test_a_binary_string_that_is_no_utf_8_is_refused_as_torch_refuses_it(text):
    with pytest.raises(PickleError, match="UnicodeDecodeError"):
        load(text + b".")


def test_what_an_object_was_handed_is_never_forgotten():
    with pytest.raises(PickleError, match=r"sets an item of a\.b twice"):
        load(b"ca\nb\n)R(Va\nNVa\nNu.")


@settings(deadline=None)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS), data=st.data())
def test_a_pickle_cut_anywhere_is_called_truncated(value, protocol, data):
    whole = pickle.dumps([value, value, Settings], protocol)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(TruncatedPickleError, match="ends early"):
        load(whole[:cut])


def test_a_pickle_with_long_memo_indices_cut_anywhere_is_called_truncated():
    keys = [f"key {index}" for index in range(300)]
    whole = pickle.dumps(keys + keys, 2)
    assert b"j\x2b\x01\x00\x00" in whole
    for cut in range(len(whole) - 600, len(whole)):
        with pytest.raises(TruncatedPickleError):
            load(whole[:cut])
    with pytest.raises(PickleError, match="refers back to a value that it never stored"):
        load(b"j\x2b\x01\x00\x00N.")


def outcome(data):
    try:
        return f"ends at {load(data, max_steps=10_000)[1]}"
    except PickleError as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_no_matter_what_the_bytes_are_nothing_but_a_pickle_error_is_raised(data):
    assert len(outcome(data)) < 500


@settings(max_examples=150, deadline=None)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS), data=st.data())
def test_no_matter_which_bytes_are_changed_nothing_but_a_pickle_error_is_raised(value, protocol, data):
    damaged = bytearray(pickle.dumps([value, Settings(a=value), OrderedDict(b=1)], protocol))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=5)):
        damaged[at] = data.draw(st.integers(0, 255))
    assert len(outcome(damaged)) < 500


REFUSED = {"PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda opcode: opcode.name)
def test_every_opcode_is_understood_but_those_that_reach_outside_the_pickle(opcode):
    known = opcode.code.encode("latin-1")
    refused = f"uses opcode 0x{known[0]:02x}, which has no place"
    try:
        load(known + bytes(20))
        said = ""
    except PickleError as error:
        said = str(error)
    assert said.startswith(refused) == (opcode.name in REFUSED)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x8b\xff\xff\xff\xff.", "integer of 4294967295 bytes"),
        (b"\x8b\xe9\x03\x00\x00" + bytes(1001) + b".", "integer of 1001 bytes"),
        (b"I" + b"9" * 1001 + b"\n.", "integer of 1001 digits"),
        (b"L" + b"9" * 5000 + b"L\n.", "integer of 5001 digits"),
        (b"ca\nb\n" * 10_001 + b".", "names more than 10000 classes"),
        (b"N" * pickle_machine.MAX_STEPS + b".", "has more than 2000000 instructions"),
        (b"(Nd.", "odd number"),
        (b"N(NNu.", "not a dictionary"),
        (b"NNa.", "not a list"),
        (b"NN\x93.", "not text"),
        (b"ca\nb\nNR.", "arguments that are not a tuple"),
        (b"Sabc\n.", "without quotes"),
        (b"N\x51.", "persistent id"),
        (b"t.", "damaged"),
        (b"X\x01\x00\x00\x00\xff.", "damaged"),
        (b"h\x00.", "never stored"),
    ],
)
def test_a_pickle_that_no_checkpoint_has_is_refused_with_the_reason(data, reason):
    with pytest.raises(PickleError, match=reason):
        load(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x8b\xe8\x03\x00\x00" + bytes(1000) + b".",
        b"I" + b"9" * 1000 + b"\n.",
        b"ca\nb\n" * 10_000 + b".",
        b"N" * (pickle_machine.MAX_STEPS - 1) + b".",
    ],
)
def test_a_pickle_just_within_a_limit_is_read(data):
    assert load(data)[1] == len(data)


def test_an_index_of_the_greatest_value_costs_no_more_than_a_small_one():
    assert load(b"Nr" + struct.pack("<I", 0xFFFFFFFF) + b"0j" + struct.pack("<I", 0xFFFFFFFF) + b".")[0] is None
