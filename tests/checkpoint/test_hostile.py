"""No matter what a file holds, nothing in it is run, memory stays bounded, and it is read or refused in one line.

Each file is opened in a process of its own that records what is executed there, and its peak memory.
"""

import io
import os
import pickle
import struct
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError

PEAK_MIB = 512
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
"""The first three pickles of a legacy torch file."""


class Call:
    """Pickled as a call of this function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def running(marker):
    """Return, by the way they do it, pickles that create a marker file when they are loaded by Python."""
    command = f"open({str(marker)!r}, 'w').close()"
    shell = f"touch {marker}"
    call = Call(os.system, shell)
    return {
        "GLOBAL and REDUCE": b"cos\nsystem\n(" + text(shell) + b"tR.",
        "INST": b"(" + text(shell) + b"ios\nsystem\n.",
        "OBJ": b"(cbuiltins\nexec\n" + text(command) + b"o.",
        # bytes.__new__ runs through what map.__new__ returned.
        "NEWOBJ": b"cbuiltins\nbytes\n(cbuiltins\nmap\n(cbuiltins\nexec\n(" + text(command) + b"lt\x81t\x81.",
        "NEWOBJ_EX": b"cbuiltins\nbytes\n(cbuiltins\nmap\n(cbuiltins\nexec\n(" + text(command) + b"lt}\x92t}\x92.",
        "STACK_GLOBAL": b"\x80\x04" + text("builtins") + text("exec") + b"\x93(" + text(command) + b"tR.",
        "builtins.getattr": b"cbuiltins\ngetattr\n(cos\nsystem\n" + text("__call__") + b"tR(" + text(shell) + b"tR.",
        "nested in a dictionary": pickle.dumps({"weight": {"a": [call]}}, 2),
        "nested pickle": pickle.dumps(Call(pickle.loads, pickle.dumps(call)), 4),
        "as the function that is called": b"cbuiltins\ngetattr\n(cbuiltins\nexec\n"
        + text("__call__")
        + b"tR("
        + text(command)
        + b"tR.",
        "BUILD": b"ctypes\nSimpleNamespace\n)R}" + text("a") + b"cos\nsystem\n" + text(shell) + b"\x85Rsb.",
    }


WAYS = sorted(running("marker"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["raw", "zip", "legacy"])
def test_nothing_that_a_pickle_names_is_run(way, form, tmp_path, put, zip_bytes, watched):
    marker = tmp_path / "marker"
    attack = running(marker)[way]
    path = put({"raw": lambda: attack, "zip": lambda: zip_bytes(attack), "legacy": lambda: MAGIC + attack}[form]())
    error, executed, peak = watched(path)
    assert executed == []
    assert not marker.exists()
    assert error.startswith(f"{path}: ")
    assert error.isprintable()
    assert peak < PEAK_MIB


@pytest.mark.parametrize("way", WAYS)
def test_the_same_pickles_are_seen_to_run_when_python_loads_them(way, tmp_path, put, watched):
    marker = tmp_path / "marker"
    _, executed, _ = watched(put(running(marker)[way]), "pickle")
    assert any(event.startswith(("os.system", "exec")) for event in executed)
    assert marker.exists()


@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"])
def test_the_extension_registry_is_never_asked(opcode, put, zip_bytes):
    with pytest.raises(CheckpointError, match=r"the pickle uses opcode 0x8[234], which has no place"):
        open_checkpoint(put(zip_bytes(b"\x80\x02" + opcode + b"(tR.")))


class HParams:
    pass


def test_hostile_settings_beside_good_tensors_are_read_as_names_and_stay_inert(
    tmp_path, put, torch_pickle, zip_bytes, claim, watched, torch_bytes
):
    marker = tmp_path / "marker"
    config = HParams()
    config.train = {"epochs": 3}
    config.hook = os.system
    config.state = eval
    index = torch_pickle({"weight": {"t": claim()}, "config": config, "info": "3epoch_10iteration"})
    path = put(zip_bytes(index, {"0": torch_bytes(torch.ones(4))}))
    assert watched(path)[:2] == (None, [])
    with open_checkpoint(path) as checkpoint:
        assert bytes(checkpoint.read(checkpoint.tensors["t"])) == torch_bytes(torch.ones(4))
        assert checkpoint.information == {
            "config": {
                "train": {"epochs": 3},
                "hook": f"<{os.system.__module__}.system>",
                "state": "<__builtin__.eval>",
            },
            "info": "3epoch_10iteration",
        }
    config.hook = Call(os.system, f"touch {marker}")
    index = torch_pickle({"weight": {"t": claim()}, "config": config})
    error, executed, _ = watched(put(zip_bytes(index, {"0": torch_bytes(torch.ones(4))})))
    assert "the pickle calls " in error
    assert executed == []
    assert not marker.exists()


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"size": (-4,)}, "negative or overflowing"),
        ({"stride": (-1,)}, "negative or overflowing"),
        ({"offset": -1}, "negative or overflowing"),
        ({"size": (1 << 62,)}, "negative or overflowing"),
        ({"stride": (1 << 64,)}, "negative or overflowing"),
        ({"offset": 1 << 63}, "negative or overflowing"),
        ({"size": (True,)}, "negative or overflowing"),
        ({"offset": False}, "negative or overflowing"),
        ({"size": (4.0,)}, "negative or overflowing"),
        ({"stride": (1.0,)}, "negative or overflowing"),
        ({"size": ("4",)}, "negative or overflowing"),
        ({"size": [4]}, "negative or overflowing"),
        ({"size": 4}, "negative or overflowing"),
        ({"size": (1,) * 65, "stride": (1,) * 65}, "negative or overflowing"),
        ({"size": (2, 2)}, "shape and strides have different lengths"),
        ({"stride": ()}, "shape and strides have different lengths"),
        ({"count": -4}, "wrong type"),
        ({"count": True}, "wrong type"),
        ({"count": 4.0}, "wrong type"),
        ({"key": 0}, "wrong type"),
        ({"kind": "FloatStorage"}, "wrong type"),
        ({"key": "0" * 201}, "unreasonable length"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_tensor_whose_claims_make_no_sense_is_refused_when_the_file_is_opened(
    claims, reason, form, put, torch_pickle, zip_bytes, claim
):
    index = torch_pickle({"t": claim(**claims)})
    data = zip_bytes(index, {"0": bytes(16)}) if form == "zip" else MAGIC + index
    with pytest.raises(CheckpointError, match=f"the pickle describes .*{reason}"):
        open_checkpoint(put(data))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"size": (5,), "count": 4}, "t: claims bytes outside its storage"),
        ({"offset": 1}, "t: claims bytes outside its storage"),
        ({"stride": (2,)}, "t: claims bytes outside its storage"),
        ({"offset": 1 << 61}, "t: claims bytes outside its storage"),
        ({"stride": ((1 << 62) - 1,)}, "t: claims bytes outside its storage"),
        ({"count": 5}, "t: its storage claims 5 elements, more than are stored"),
        ({"count": 1 << 40}, "t: its storage claims 1099511627776 elements"),
        ({"size": (1 << 40,), "count": 4}, "t: claims 4398046511104 bytes, more than the"),
        ({"size": (1 << 40, 1 << 40), "stride": (0, 0)}, r"t: claims \d+ bytes, more than the"),
        ({"key": "1"}, "t: its storage 1 is missing from the archive"),
        ({"kind": torch.DoubleStorage}, "t: its storage claims 4 elements, more than are stored"),
        ({"kind": torch.Tensor}, "t: element type Tensor is not supported"),
    ],
)
def test_a_tensor_that_claims_more_than_is_stored_is_refused_before_it_is_read(
    claims, reason, put, torch_pickle, zip_bytes, claim
):
    index = torch_pickle({"t": claim(**claims), "good": claim(key="good")})
    with open_checkpoint(put(zip_bytes(index, {"0": bytes(16), "good": bytes(16)}))) as checkpoint:
        assert checkpoint.read(checkpoint.tensors["good"]) == bytes(16)
        with pytest.raises(CheckpointError, match=reason):
            checkpoint.read(checkpoint.tensors["t"])


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
WRAP = b"ctorch._tensor\n_rebuild_from_type_v2\n"


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (REBUILD + b"(N(tK\x00tR.", "calls torch._utils._rebuild_tensor_v2 with arguments it does not take"),
        (REBUILD + b"(NK\x00(t(tNNtR.", "describes a tensor without a storage"),
        (REBUILD + b"(" + b"N" * 65 + b"tR.", "with arguments it does not take"),
        (WRAP + b"(" + WRAP + b"N(tNtR.", "wraps a tensor subclass in itself"),
        (WRAP + b"(NN(tNtR.", "rebuilds a tensor subclass in an unknown way"),
        (b"ctorch\nSize\n((J\xff\xff\xff\xffttR.", "negative or overflowing"),
        (b"ccollections\nOrderedDict\n(K\x01tR.", "something else than pairs"),
        (b"ccollections\nOrderedDict\n((K\x01ltR.", "something else than pairs"),
        (b"(" + text("storage") + b"tQ.", "not a torch storage"),
    ],
)
def test_a_call_of_torch_that_torch_would_not_write_is_refused(index, reason, put, zip_bytes):
    with pytest.raises(CheckpointError, match=f"archive/data.pkl: the pickle .*{reason}") as caught:
        open_checkpoint(put(zip_bytes(index)))
    assert str(caught.value).isprintable()


MILLION = 1_000_000


def same_argument_at_every_step(function, argument):
    """Return a pickle that makes one large value and calls a function with it over and over."""
    return argument + b"q\x010" + function + b"q\x020" + b"h\x02h\x01\x85R0" * 300_000 + b"N."


def many_pairs():
    return b"(" + b"".join(b"J" + struct.pack("<i", number) + b"N\x86" for number in range(100_000)) + b"l"


def storage_of_a_long_name():
    name = b"X" + struct.pack("<I", 20 * MILLION) + b"a" * 20 * MILLION
    return (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + name + text("cpu") + b"K\x01tq\x00" + b"Q0h\x00" * 400_000
    )


BOMBS = {
    "nested lists": lambda: b"(" * 100_000 + b"l" * 100_000 + b".",
    "nested tuples": lambda: b"N" + b"\x85" * 500_000 + b".",
    "nested dictionaries": lambda: b"}" + (text("a") + b"}") * 100_000 + b"s" * 100_000 + b".",
    "nested keys": lambda: b"}N" + b"\x85" * 100_000 + b"Ns.",
    "nested objects": lambda: b"ca\nb\n" + b")R" * 300_000 + b".",
    "nested states": lambda: b"ca\nb\nq\x00)R" + b"h\x00)R" * 100_000 + b"b" * 100_000 + b".",
    "marks": lambda: b"(" * 2_100_000,
    "objects": lambda: b"(ia\nb\n" * 2_100_000,
    "objects of one class": lambda: b"ca\nb\nq\x00" + b"h\x00)R" * 2_100_000,
    "dictionaries": lambda: b"}" * 2_100_000,
    "names": lambda: b"cab\ncd\n" * 2_100_000,
    "wide string": lambda: (
        b"X" + struct.pack("<I", 30 * MILLION) + b"\xf0\x9f\x98\x80" + b"a" * (30 * MILLION - 4) + b"."
    ),
    "memo": lambda: b"N" + b"".join(b"r" + struct.pack("<I", number * 1999) for number in range(2_100_000)) + b".",
    "greatest memo index": lambda: b"Nr\xff\xff\xff\xff.",
    "string of 2^60": lambda: b"\x8d" + struct.pack("<Q", 1 << 60) + b"a.",
    "bytes of 2^63": lambda: b"\x8e" + struct.pack("<Q", 1 << 63) + b"a.",
    "bytearray of 2^63": lambda: b"\x96" + struct.pack("<Q", 1 << 63) + b"a.",
    "frame of 2^64": lambda: b"\x95" + b"\xff" * 8 + b"N.",
    "integer of 2^31 bytes": lambda: b"\x8b\xff\xff\xff\x7f.",
    "huge key hashed at every step": lambda: (
        b"\x8b" + struct.pack("<I", 10 * MILLION) + b"\x7f" * 10 * MILLION + b"q\x00}" + b"h\x00Ns" * 600_000 + b"."
    ),
    "pairs copied at every step": lambda: same_argument_at_every_step(b"ccollections\nOrderedDict\n", many_pairs()),
    "sizes copied at every step": lambda: same_argument_at_every_step(
        b"ctorch\nSize\n", b"(" + b"K\x01" * 100_000 + b"t"
    ),
    "shape copied at every step": lambda: same_argument_at_every_step(
        b"ctorch._utils\n_rebuild_qtensor\n", b"(" + b"K\x01" * 100_000 + b"t"
    ),
    "long name of a storage at every step": storage_of_a_long_name,
    "a million instructions too many": lambda: b"N0" * 1_500_000 + b"N.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_pickle_that_asks_for_too_much_is_refused_in_bounded_memory(bomb, put, zip_bytes, watched):
    index = BOMBS[bomb]()
    packed = len(index) > 1_000_000
    path = put(zip_bytes(index, compression=zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED))
    error, executed, peak = watched(path)
    assert error.startswith(f"{path}: ")
    assert error.isprintable()
    assert len(error) < 1_000
    assert executed == []
    assert peak < PEAK_MIB


def test_the_peak_that_is_measured_grows_with_what_is_allocated(put, watched):
    little = watched(put(b"N."), "pickle")[2]
    assert watched(put(b"(" + b"]" * 3 * MILLION + b"l."), "pickle")[2] > little + 100


def shared_levels():
    shared = []
    for _ in range(30):
        shared = [shared] * 30
    return shared


CONFIGS = {
    "a long text many times": lambda: ["x" * MILLION] * 5_000,
    "a wide mapping many times": lambda: [{str(number): number for number in range(50_000)}] * 5_000,
    "levels of levels": shared_levels,
    "huge integers": lambda: [1 << 7_000] * 100,
    "no numbers": lambda: [float("nan"), float("inf")],
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_settings_that_ask_for_too_much_are_cut_while_tensors_are_read(
    kind, put, torch_pickle, zip_bytes, claim, watched
):
    index = torch_pickle({"config": CONFIGS[kind](), "weight": {"t": claim()}})
    error, executed, peak = watched(put(zip_bytes(index, {"0": bytes(16)})))
    assert (error, executed) == (None, [])
    assert peak < PEAK_MIB


def test_a_directory_of_very_many_members_is_read_in_bounded_memory(put, watched):
    entry = struct.Struct("<4s6H3L5H2L")
    count = 60_000
    local = b"PK\3\4" + bytes(26)
    central = b"".join(
        entry.pack(b"PK\1\2", 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 38 * number) + b"%08d" % number
        for number in range(count)
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(central), 38 * count, 0)
    error, _, peak = watched(put((local + bytes(8)) * count + central + end))
    assert "no data.pkl inside" in error
    assert peak < PEAK_MIB


JSON_BOMBS = {
    "lists": lambda: b'{"a":[' + b"[]," * 5 * MILLION + b"0]}",
    "objects": lambda: b'{"a":[' + b"{}," * 5 * MILLION + b"0]}",
    "just few enough lists": lambda: b'{"a":[' + b"[]," * (MILLION - 10) + b"0]}",
    "just few enough pairs": lambda: b"{" + b",".join(b'"%06d":1.5' % number for number in range(MILLION)) + b"}",
    "numbers": lambda: b'{"a":[' + b"1e5," * 2_100_000 + b"0]}",
    "just few enough numbers": lambda: b'{"a":[' + b"1e5," * (2 * MILLION - 10) + b"0]}",
    "depth": lambda: b'{"a":' * 2_100_000,
}


@pytest.mark.parametrize(
    ("form", "kind"),
    [("index", "depth"), ("index", "just few enough lists"), *(("header", kind) for kind in JSON_BOMBS)],
)
def test_json_that_asks_for_too_much_is_refused_in_bounded_memory(kind, form, put, safetensors_bytes, watched):
    data = JSON_BOMBS[kind]()
    path = put(safetensors_bytes(data) if form == "header" else data)
    error, _, peak = watched(path)
    assert error.startswith(f"{path}: ")
    assert len(error) < 1_000
    assert peak < PEAK_MIB


def test_a_member_that_inflates_without_end_is_refused_in_bounded_memory(put, torch_pickle, zip_bytes, claim, watched):
    index = torch_pickle({"t": claim(size=(100_000_000,), count=100_000_000)})
    buffer = io.BytesIO(zip_bytes(index))
    with (
        zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("archive/data/0", "w") as member,
    ):
        for _ in range(400):
            member.write(bytes(1_000_000))
    path = put(buffer.getvalue())
    assert path.stat().st_size < 4_000_000
    error, _, peak = watched(path)
    assert "t: claims 400000000 bytes, more than the 134217728 that are read" in error
    assert peak < PEAK_MIB


def good_files():
    state = {"t": torch.arange(20.0), "u": torch.ones(3).half()}
    modern, legacy = io.BytesIO(), io.BytesIO()
    torch.save({"weight": state, "info": "1epoch"}, modern)
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    return {"zip": modern.getvalue(), "legacy": legacy.getvalue()}


GOOD = good_files()


def read_everything(path):
    with open_checkpoint(path) as checkpoint:
        checkpoint.information  # noqa: B018 - computed when asked for
        return [checkpoint.read(tensor) for tensor in checkpoint.tensors.values()]


@pytest.mark.parametrize("form", GOOD)
def test_a_file_truncated_anywhere_is_refused_by_name(form, put):
    data = GOOD[form]
    assert read_everything(put(data))
    for cut in {0, 1, 2, 3, 4, 30, 100, len(data) // 2, len(data) - 1, *range(5, len(data), 97)}:
        path = put(data[:cut])
        with pytest.raises(CheckpointError) as caught:
            read_everything(path)
        assert str(caught.value).startswith(f"{path}: ")


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=400),
    head=st.sampled_from([b"", b"PK\3\4", b"06\3\4", b"\x80\x02", MAGIC, b"{"]),
)
def test_no_matter_what_the_bytes_are_a_file_is_refused_in_one_line(data, head, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "random.pth"
    path.write_bytes(head + data)
    with pytest.raises(CheckpointError) as caught:
        read_everything(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


@settings(max_examples=300, deadline=None)
@given(data=st.data(), form=st.sampled_from(sorted(GOOD)))
def test_no_matter_which_bytes_are_changed_a_file_is_read_or_refused_in_one_line(data, form, tmp_path_factory):
    damaged = bytearray(GOOD[form])
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=6)):
        damaged[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(damaged)
    said, lengths = f"{path}: read", []
    try:
        lengths = [len(values) for values in read_everything(path)]
    except CheckpointError as error:
        said = str(error)
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    assert all(length < 1_000 for length in lengths)


def test_files_of_other_kinds_are_not_checkpoints(put):
    for data in (
        b"hello, world\n",
        b"\x89PNG\r\n\x1a\n" + bytes(300),
        b"GGUF" + bytes(300),
        b"\xff\xd8\xff\xe0",
        b"#!/bin/sh\n",
    ):
        with pytest.raises(
            CheckpointError, match=r"is (not a checkpoint|a text file|a document or picture|a GGUF file)"
        ):
            open_checkpoint(put(data))
