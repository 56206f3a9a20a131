"""A key that torch calculates, decodes or unescapes can replace another: it is read as torch reads it, or refused."""

import codecs
import struct

import pytest
import torch
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
    storage,
    tensor,
)
from fuzz.differential.opcodes import TRUE, call, dictionary, group, integer, new, number, text

from vqcheck.errors import CheckpointError


def rot13(name):
    return call("_codecs", "encode", text(codecs.encode(name, "rot13")), text("rot13"))


def escaped(name):
    return b"S'" + name.replace("e", "\\x65").encode() + b"'\n"


SCALAR = call(
    "numpy.core.multiarray",
    "scalar",
    call("numpy", "dtype", text("U7"), integer(0), integer(1))
    + group(integer(3), text("<"), b"NNN", integer(28), integer(4), integer(8))
    + b"b",
    call("_codecs", "encode", text(NAME.encode("utf-32-le").decode("latin-1")), text("latin1")),
)
CALCULATED = {
    "rot13": (rot13(NAME), False, "calls _codecs.encode with arguments"),
    "str": (call("builtins", "str", text(NAME)), True, "calls builtins.str"),
    "str made": (new("builtins", "str", text(NAME)), True, "makes an object of builtins.str"),
    "Python 2's unicode": (call("__builtin__", "unicode", text(NAME)), True, "calls __builtin__.unicode"),
    "numpy's text": (SCALAR, True, "holds a key that is calculated"),
    "escapes": (escaped(NAME), True, "holds a string with escapes"),
}


@pytest.mark.parametrize("way", CALCULATED)
def test_a_calculated_key_that_replaces_the_codebook_is_refused(way, refused):
    key, full, reason = CALCULATED[way]
    refused(archive(index(state_dict(TENSOR_A, (key, TENSOR_B)))), A, reason, full=full)


@pytest.mark.parametrize("way", CALCULATED)
def test_a_calculated_key_that_replaces_the_state_dict_is_refused(way, refused):
    key, full, reason = CALCULATED[way]
    if way == "numpy's text":
        key = key.replace(b"U7", b"U6").replace(b"K\x1c", b"K\x18")
        key = key.replace(
            text(NAME.encode("utf-32-le").decode("latin-1")), text(CONTAINER.encode("utf-32-le").decode())
        )
    else:
        key = {
            "rot13": rot13(CONTAINER),
            "str": call("builtins", "str", text(CONTAINER)),
            "str made": new("builtins", "str", text(CONTAINER)),
            "Python 2's unicode": call("__builtin__", "unicode", text(CONTAINER)),
            "escapes": escaped(CONTAINER),
        }[way]
    root = dictionary((text(CONTAINER), state_dict()), (key, state_dict(TENSOR_B)))
    refused(archive(pickled(root)), A, reason, full=full)


def short(name):
    return b"U" + bytes([len(name)]) + name.encode()


@pytest.mark.parametrize(
    ("key", "full"),
    [
        (text(NAME), False),
        (short(NAME), False),
        (b"T" + struct.pack("<I", len(NAME)) + NAME.encode(), True),
        (b"S'" + NAME.encode() + b"'\n", True),
        (b"V" + NAME.replace("e", "\\u0065").encode() + b"\n", True),
        (b"\x8c" + bytes([len(NAME)]) + NAME.encode(), True),
    ],
)
def test_a_key_spelled_otherwise_replaces_the_codebook_here_as_there(key, full, agreed):
    agreed(archive(index(state_dict(TENSOR_A, (key, TENSOR_B)))), B, full=full)


@pytest.mark.parametrize(
    "key",
    [
        call("_codecs", "encode", text(NAME), text("latin1")),
        text(NAME + "\0"),
        text(NAME.upper()),
        group(text(NAME)),
        integer(1),
        number(1.0),
        TRUE,
    ],
)
def test_a_key_that_is_another_to_torch_replaces_nothing(key, agreed):
    agreed(archive(index(state_dict(TENSOR_A, (key, TENSOR_B)))), A)


def test_a_number_is_no_name(agreed):
    values = {NAME: TENSOR_A, "0.5": TENSOR_A}
    weight = dictionary(*((text(name), value) for name, value in values.items()), (number(0.5), TENSOR_B))
    agreed(archive(index(weight)), A)


def test_a_key_of_a_storage_is_decoded_as_torch_decodes_it(agreed):
    both = {"é": B, "Ã©": A, "b": B}
    agreed(archive(index(state_dict(tensor(storage("", spelled=b"U\x02\xc3\xa9")))), both), B)


def test_a_calculated_key_among_settings_is_no_matter(agreed):
    setting = dictionary((call("pathlib", "PurePosixPath", text("a")), integer(3)))
    agreed(archive(index(state_dict(), (text("config"), setting))), A, full=True)


DEEP = group(group(group(group(integer(1)))))
NOT_A_NUMBER = number(float("nan")) + b"q\x7f"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TRUE, number(1.0)),
        (number(1.0), integer(1)),
        (number(-0.0), integer(0)),
        (number(0.5), number(0.5)),
        (number(2.0**40), b"\x8a\x06" + (1 << 40).to_bytes(6, "little")),
        (group(integer(1), text("a")), group(TRUE, text("a"))),
        (group(number(1.0)), group(integer(1))),
        (DEEP, DEEP),
        (NOT_A_NUMBER, b"h\x7f"),
    ],
)
def test_keys_that_python_takes_for_one_are_refused(first, second, put, vqcheck_value):
    """All that torch has is what the later one holds."""
    path = put(archive(pickled(dictionary((first, state_dict()), (second, state_dict(TENSOR_B))))))
    (loaded,) = torch.load(path, weights_only=True).values()
    assert loaded[NAME][0, 0] == -6
    with pytest.raises(CheckpointError, match="two keys that may be one"):
        vqcheck_value(path)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (number(0.5), number(0.25)),
        (group(integer(0), integer(1)), group(integer(0), integer(2))),
        (number(1.0), integer(2)),
        (number(1.0), text("1.0")),
        (group(text("1")), group(integer(1))),
        (DEEP, number(0.5)),
    ],
)
def test_keys_that_differ_hold_two_state_dicts(first, second, put, vqcheck_value):
    path = put(archive(pickled(dictionary((first, state_dict()), (second, state_dict(TENSOR_B))))))
    assert len(torch.load(path, weights_only=True)) == 2
    vqcheck_value(path)
