"""Arrays of numpy are read as numpy loads them, from archives, bare files and pickles; what might differ is refused."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from random import Random

import numpy as np
import pytest

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.errors import CheckpointError

CODEBOOK = "quantizer.vq.layers.0._codebook"
TYPES = ("<f2", "<f4", "<f8", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "|b1")


def arrays():
    random = np.random.default_rng(0)
    held = {f"a.{kind[1:]}": (random.random((3, 4)) * 9).astype(kind) for kind in TYPES}
    held |= {"columns": np.asfortranarray(random.random((4, 3, 2))), "number": np.array(2.5, dtype="<f4")}
    return held | {
        "empty": np.zeros((0, 3), dtype="<f4"),
        "row": np.arange(5, dtype="<i8"),
        "view": np.ones((4, 6))[::2, 1:3],
    }


def npz(held, save=np.savez):
    buffer = io.BytesIO()
    save(buffer, **held)
    return buffer.getvalue()


def npy(value, **options):
    buffer = io.BytesIO()
    np.save(buffer, value, **options)
    return buffer.getvalue()


WRITTEN = {
    "npz": lambda held: npz(held),  # noqa: PLW0108 - it has options
    "npz, compressed": lambda held: npz(held, np.savez_compressed),
    "npy of a dictionary": lambda held: npy(held, allow_pickle=True),
    **{f"pickle, protocol {number}": lambda held, number=number: pickle.dumps(held, number) for number in (2, 3, 4, 5)},
    "pickle of an ordered dictionary": lambda held: pickle.dumps(OrderedDict(held)),
    "pickle of a list": lambda held: pickle.dumps([held, {"state": {0: np.ones(2)}, "param_groups": [{"lr": 0.1}]}]),
    "pickle of a tuple in a dictionary": lambda held: pickle.dumps({"epoch": 3, "model": held, "rest": (np.ones(3),)}),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_what_is_read_is_what_numpy_loads(how, put, read_all):
    expected = {name: (value.shape, np.ascontiguousarray(value).tobytes()) for name, value in arrays().items()}
    found = {name: each[1:] for name, each in read_all(put(WRITTEN[how](arrays()))).items()}
    assert found == expected


@pytest.mark.parametrize("how", WRITTEN)
def test_a_state_dict_of_arrays_is_compared_with_the_checkpoint_it_was_made_from(how, put, vq_state, save, tmp_path):
    state = vq_state()
    base = str(save(state))
    held = {name: value.numpy() for name, value in state.items()}
    assert main(["diff", base, str(put(WRITTEN[how](held), "same"))]) == 0
    held[f"{CODEBOOK}.embed"][3, 1] += 1
    assert main(["diff", base, str(put(WRITTEN[how](held), "moved"))]) == 1
    assert main(["inspect", str(tmp_path / "moved")]) == 0


def test_a_bare_array_is_a_codebook_where_the_user_says_so(put, capsys):
    row = str(put(b'name = "mine"\n[tensors]\ncodes = "array"\n', "row.toml"))
    book = np.random.default_rng(0).random((8, 4)).astype("<f4")
    a, same = str(put(npy(book), "a.npy")), str(put(npy(np.asfortranarray(book)), "same.npy"))
    b = str(put(npy(book + np.eye(8, 4, dtype="<f4")), "b.npy"))
    assert main(["diff", a, same, "--family", row]) == 0
    assert main(["diff", a, b, "--family", row]) == 1
    assert main(["inspect", a]) == 2
    assert "--family" in "".join(capsys.readouterr())


def member(data, name="t.npy", **more):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
        for key, value in more.items():
            archive.writestr(key.replace("_", "."), value)
    return buffer.getvalue()


def header(text, version=b"\1\0", data=bytes(16)):
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text.encode("latin-1") + data


SOUND = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n"

HEADERS = {
    "no tuple": SOUND.replace("(4,)", "(4)"),
    "a list": SOUND.replace("(4,)", "[4,]"),
    "a negative size": SOUND.replace("(4,)", "(-4,)"),
    "an octal size": SOUND.replace("(4,)", "(04,)"),
    "a calculated size": SOUND.replace("(4,)", "(2+2,)"),
    "a key twice": SOUND.replace("'shape'", "'descr': '>f4', 'shape'"),
    "another key": SOUND.replace("'shape'", "'more': 1, 'shape'"),
    "a number for the order": SOUND.replace("False", "0"),
    "an escape": SOUND.replace("'<f4'", r"'\x3cf4'"),
    "a prefix": SOUND.replace("'<f4'", "b'<f4'"),
    "two texts in one": SOUND.replace("'<f4'", "'<' 'f4'"),
    "a comment": SOUND.replace("}", "} # a"),
    "another shape": SOUND.replace("(4,)", "(5,)"),
    "fewer elements": SOUND.replace("(4,)", "(3,)"),
    "a call": "__import__('os').mkdir('made')",
    "too long": SOUND.rstrip() + " " * 20_000,
}


@pytest.mark.parametrize("what", HEADERS)
@pytest.mark.parametrize("packed", [True, False])
def test_a_header_that_numpy_does_not_write_is_refused(what, packed, put, read_all):
    data = header(HEADERS[what])
    with pytest.raises(CheckpointError):
        read_all(put(member(data) if packed else data, "a.npz" if packed else "a.npy"))
    assert not os.path.exists("made")


def test_the_sound_header_is_read_in_every_version(put, read_all):
    """Else the test above would prove nothing."""
    for version in (b"\1\0", b"\2\0", b"\3\0"):
        assert read_all(put(header(SOUND, version), "a.npy"))["array"] == ("float32", (4,), bytes(16))


UNREAD = {
    "big-endian": np.arange(4, dtype=">f4"),
    "records": np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4")]),
    "complex": np.ones(3, dtype="<c8"),
    "texts": np.array(["a", "bc"]),
    "raw bytes": np.zeros(3, dtype="|V2"),
    "times": np.zeros(2, dtype="<M8[s]"),
    "long doubles": np.ones(3, dtype=np.longdouble),
    "objects": np.array([{"a": 1}, 2], dtype=object),
}


@pytest.mark.parametrize("what", UNREAD)
@pytest.mark.parametrize("how", ["npz", "npy", "pickle"])
def test_elements_that_are_not_read_are_refused_by_name(what, how, put, read_all):
    value = UNREAD[what]
    if what == "long doubles" and value.dtype.itemsize == 8:
        pytest.skip("they are doubles here")
    held = {"npz": lambda: npz({"t": value}), "npy": lambda: npy(value), "pickle": lambda: pickle.dumps({"t": value})}[
        how
    ]()
    with pytest.raises(
        CheckpointError, match=r"vqcheck does not read|element type|takes none|does not write|not supported"
    ):
        read_all(put(held))


class Calling:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Foreign(np.ndarray):
    pass


def pickles(tmp_path):
    array = np.arange(4, dtype="<f4")
    sound = pickle.dumps({"t": array}, 4)
    big = sound.replace(b"\x8c\x01<", b"\x8c\x01>")
    return {
        "a call": pickle.dumps({"t": array, "x": Calling(str(tmp_path / "made"))}),
        "another class of arrays": pickle.dumps({"t": array.view(Foreign)}),
        "masked values": pickle.dumps({"t": np.ma.array(array, mask=[0, 1, 0, 0])}),
        "a generator": pickle.dumps({"t": array, "x": Random(1)}),
        "another byte order": big,
        "an order that is not told": sound.replace(b"\x8c\x01<", b"\x8c\x01="),
        "other bytes behind": sound + b"more",
        "fewer bytes": sound.replace(b"C\x10" + array.tobytes(), b"C\x0f" + array.tobytes()[:-1]),
        "cut off": sound[:-20],
        "more axes": sound.replace(b"K\x04\x85", b"K\x04K\x02\x86"),
        "objects with arrays": npy(np.array([array, array, None], dtype=object)[:2], allow_pickle=True),
    }


@pytest.mark.parametrize("what", pickles(Path()))
def test_a_pickle_that_holds_more_than_arrays_is_refused(what, put, read_all, tmp_path):
    with pytest.raises(CheckpointError):
        read_all(put(pickles(tmp_path)[what]))
    assert not (tmp_path / "made").exists()


def test_an_element_type_that_is_changed_behind_an_array_is_refused(put, read_all):
    """Numpy changes it in place, and with it what the array's bytes mean."""

    class Late:
        def __init__(self, dtype):
            self.dtype = dtype

        def __reduce__(self):
            return np.dtype, ("f4", False, True), (3, ">", None, None, None, -1, -1, 0)

    dtype = np.dtype("<f4").newbyteorder("<")
    state = (1, (4,), dtype, False, np.arange(4, dtype="<f4").tobytes())
    data = pickle.dumps({"t": np.arange(4, dtype="<f4")}, 2)
    at = data.index(b"K\x03X\x01\x00\x00\x00<")
    assert state[2] == dtype
    # The state of the element type once more, in front of the end.
    again = b"h" + data[data.rindex(b"q", 0, at) + 1 :][:1] + data[at - 1 : data.index(b"b", at) + 1] + b"0"
    with pytest.raises(CheckpointError):
        read_all(put(data[:-1] + again + b"."))


def test_names_of_members_that_numpy_takes_for_one_are_refused(put, read_all):
    sound = header(SOUND)
    for more in ({"t": sound}, {"T_npy": sound}, {"t_txt": b"text"}):
        with pytest.raises(CheckpointError):
            read_all(put(member(sound, **more)))
    with pytest.raises(CheckpointError, match="overwritten"):
        read_all(put(b"05" + member(sound)[2:]))


def test_a_member_twice_is_refused(put, read_all):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("t.npy", header(SOUND))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("t.npy", header(SOUND, data=b"\1" * 16))
    with pytest.raises(CheckpointError, match="twice"):
        read_all(put(buffer.getvalue()))


def test_many_beginnings_of_packed_members_unpack_to_little(put):
    """Two thousand members of a mebibyte of zeros each, in a file of two."""
    buffer = io.BytesIO()
    zeros = header("{'descr': '|u1', 'fortran_order': False, 'shape': (1048576,), }\n", data=bytes(1 << 20))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", zeros)
    path = put(buffer.getvalue())
    tracemalloc.start()
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.tensors) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 19


def test_mutated_files_are_refused_or_read_as_numpy_reads_them(put):
    """Bytes exchanged at random, in files of each kind."""
    equal = refused = 0
    sound = {
        "npz": npz({"t": np.arange(6, dtype="<f4").reshape(2, 3)}),
        "npy": npy(np.arange(6, dtype="<f4").reshape(2, 3)),
    }
    for seed in range(600):
        chance = Random(seed)
        kind = chance.choice(sorted(sound))
        data = bytearray(sound[kind])
        for _ in range(chance.choice((1, 2))):
            data[chance.randrange(len(data))] = chance.choice(
                (0, 1, 0x20, 0x27, 0x28, 0x31, 0x33, 0x3C, 0x3E, chance.randrange(256))
            )
        path = put(bytes(data), f"a.{kind}")
        try:
            with open_checkpoint(path) as checkpoint:
                found = {name: (each.shape, bytes(checkpoint.read(each))) for name, each in checkpoint.tensors.items()}
        except CheckpointError:
            refused += 1
            continue
        try:
            loaded = np.load(path)
            held = dict(loaded) if kind == "npz" else {"array": loaded}
        except (
            ValueError,
            OSError,
            zipfile.BadZipFile,
            SyntaxError,
            TypeError,
            KeyError,
            NotImplementedError,
            EOFError,
        ):
            continue
        assert found == {name: (value.shape, value.tobytes()) for name, value in held.items()}, seed
        equal += 1
    assert equal > 50
    assert refused > 50


def test_tuples_in_tuples_without_end_are_gone_through_once(put, read_all):
    """Twenty-five tuples, each twice in the next: thirty million."""
    inner = (np.arange(3, dtype="<f4"),)
    for _ in range(25):
        inner = (inner, inner)
    assert list(read_all(put(pickle.dumps({"t": np.ones(2, "<f4"), "x": inner})))) == ["t"]
