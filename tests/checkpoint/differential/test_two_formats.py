"""A file that two readers take for two formats is refused: which of them a user calls, nobody knows here."""

import json
import pickle
import struct

import pytest
from differential.crafted import NAME, SHAPE, A, B, archive, index, legacy, legacy_state, legacy_storage, tensor
from safetensors.torch import load_file

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
DATA = legacy(legacy_state(tensor(legacy_storage("a"))))
LEGACY_B = legacy(legacy_state(tensor(legacy_storage("b"))), {"b": B})


def as_tar(data, spelled=lambda number: b"%06o\0 " % number):
    """Return a legacy file whose first 512 bytes are a tar header too."""
    head = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2)
    block = bytearray(head + b"\x80\x03B" + struct.pack("<I", 512 - len(head) - 7))
    block += bytes(512 - len(block))
    block[148:156] = b" " * 8
    block[148:156] = spelled(sum(block))
    return bytes(block) + b"0" + data[len(head) + 2 :]


def test_the_same_file_without_a_checksum_is_read(put, torch_value, vqcheck_value):
    path = put(as_tar(DATA, lambda number: b"%06o\0 " % (number + 1)))
    assert vqcheck_value(path) == torch_value(path, full=True) == A


@pytest.mark.parametrize(
    "spelled",
    [
        lambda number: b"%06o\0 " % number,
        lambda number: b" %o" % number + bytes(7 - len(b"%o" % number)),
        lambda number: b"0o%o\0\0" % number,
        lambda number: b"\x80" + number.to_bytes(7, "big"),
    ],
)
def test_a_tar_archive_that_is_a_legacy_file_too_is_refused(spelled, put, vqcheck_value):
    data = as_tar(DATA, spelled)
    assert len(data[148:156]) == 8
    with pytest.raises(CheckpointError, match="is a tar archive"):
        vqcheck_value(put(data))


def safetensors_and_pickle():
    """Return a safetensors file that says A; to a pickle its header is texts, and the file says B."""
    rest = pickle.dumps(MAGIC, 2)[2:] + LEGACY_B[len(pickle.dumps(MAGIC, 2)) :]
    entries = {
        "r": {"dtype": "U8", "shape": [len(rest)], "data_offsets": [0, len(rest)]},
        NAME: {"dtype": "F32", "shape": list(SHAPE), "data_offsets": [len(rest), len(rest) + len(A)]},
    }
    front = b'{"__metadata__":{"k":"'
    # BINUNICODE with its length in the second byte: three zeros and the front. Then SHORT_BINSTRINGs up to the data.
    length = ord("X") | (len(front) + 3) << 8
    ending = b'"},' + json.dumps(entries, separators=(",", ":")).encode()[1:]
    size_of_last = 127
    left = length - len(front) - 2 - size_of_last
    hops = b""
    while left:
        size = min(left, 128) if left >= 160 or left <= 128 else 80
        hops += b"U" + bytes([size - 2]) + b"x" * (size - 2)
        left -= size
    header = front + hops + b"U" + bytes([size_of_last]) + b"y" * (size_of_last - len(ending)) + ending
    assert len(header) == length
    return struct.pack("<Q", length) + header + rest + A


def test_a_safetensors_file_that_is_a_pickle_too_is_refused_unless_its_name_says_which(
    put, torch_value, vqcheck_value, torch_bytes
):
    data = safetensors_and_pickle()
    path = put(data)
    assert torch_value(path) == B
    with pytest.raises(CheckpointError, match="begins as a torch file and as a safetensors file"):
        vqcheck_value(path)
    named = put(data, "a.safetensors")
    assert torch_bytes(load_file(named)[NAME]) == A
    assert vqcheck_value(named) == A


def test_an_archive_that_begins_as_a_safetensors_file_is_refused(put):
    data = bytearray(archive(index()))
    data[6:9] = b"\0\0{"
    with pytest.raises(CheckpointError, match="begins as an archive and as a safetensors file"):
        open_checkpoint(put(bytes(data)))
