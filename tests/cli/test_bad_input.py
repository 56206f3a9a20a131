"""A bad file ends `inspect` and `diff` in one clear line on stderr and status 2; nothing runs, memory is bounded."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile

import pytest
from warm import HANGS

MILLION = 1_000_000


def torch_zip(index, *more):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (("archive/data.pkl", index), *more):
            archive.writestr(name, data)
    return buffer.getvalue()


def header(text, data=b""):
    return struct.pack("<Q", len(text)) + text + data


def changed(data, at, layout, value):
    data = bytearray(data)
    struct.pack_into(layout, data, at % len(data), value)
    return bytes(data)


def tensor(size, stride, count=b"K\x04", offset=b"K\x00"):
    """Return the pickle of a state dict with one float32 tensor that makes these claims."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride + b"\x89NtR"
    name = b"quantizer.vq.layers.0._codebook.embed"
    return b"\x80\x02}X" + struct.pack("<I", len(name)) + name + call + b"s."


TWO = torch_zip(b"}.", ("archive/version", "3"))
SECOND = TWO.rindex(b"PK\x01\x02")
STORED = ("archive/data/0", bytes(16))
SHELL = b"(X\x13\x00\x00\x00touch hacked-marker"
MARKER = "hacked-marker"
HOSTILE = {
    "os.system": b"cos\nsystem\n" + SHELL + b"tR.",
    "eval": b"cbuiltins\neval\n(X\x19\x00\x00\x00open('hacked-marker','w')tR.",
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nX\x08\x00\x00\x00__call__tR" + SHELL + b"tR.",
    "INST": SHELL + b"ios\nsystem\n.",
    "nested": b"}X\x06\x00\x00\x00weight}X\x01\x00\x00\x00acos\nsystem\n" + SHELL + b"tRss.",
}
BAD = {
    "empty": (b"", "is empty"),
    "text": (b"hello, world\n", "is a text file, not a checkpoint"),
    "random": (bytes((n * 7919 + 13) % 251 for n in range(5_000)), "is not a checkpoint"),
    "truncated zip": (TWO[:-30], "truncated"),
    "overlapping members": (changed(TWO, SECOND + 42, "<L", 0), "overlaps another member"),
    "member that lies about its size": (changed(TWO, 22, "<L", 9), "disagrees with the zip directory about its size"),
    "member outside the file": (
        changed(TWO, SECOND + 42, "<L", 1 << 30),
        "overlaps another member of the archive or the",
    ),
    "encrypted member": (changed(TWO, SECOND + 8, "<H", 1), "is encrypted"),
    "appended bytes": (TWO + b"more", "is followed by other bytes"),
    "negative size": (torch_zip(tensor(b"J\xff\xff\xff\xff\x85", b"K\x01\x85"), STORED), "negative or overflowing"),
    "overflowing stride": (torch_zip(tensor(b"K\x04\x85", b"\x8a\x09" + b"\x7f" * 9 + b"\x85"), STORED), "overflowing"),
    "different lengths": (torch_zip(tensor(b"K\x04\x85", b")"), STORED), "different lengths"),
    "storage outside its member": (
        torch_zip(tensor(b"K\x05K\x01\x86", b"K\x01K\x01\x86"), STORED),
        "outside its storage",
    ),
    "2^40 elements": (
        torch_zip(tensor(b"\x8a\x06\0\0\0\0\0\x01K\x01\x86", b"K\0K\0\x86"), STORED),
        "claims 4398046511104 bytes",
    ),
    "nested lists": (torch_zip(b"(" * 100_000 + b"l" * 100_000 + b"."), "holds no state dict"),
    "too many instructions": (torch_zip(b"(" * 2_100_000), "more than 2000000 instructions"),
    "huge memo index": (torch_zip(b"Nr\xff\xff\xff\xff."), "holds no state dict"),
    "string of 2^60": (torch_zip(b"\x8d" + struct.pack("<Q", 1 << 60) + b"."), "ends early"),
    "header that lies about its length": (header(b"{}")[:-1], r"header: claims 2 bytes, more than the file has"),
    "repeated key": (header(b'{"a":1,"a":2}'), "a key is repeated"),
    "nested JSON": (header(b'{"a":' * 50_000), "is nested too deeply"),
    "shard elsewhere": (b'{"weight_map":{"a":"../other"}}', "must be a file in the index's own folder"),
    "name that would break the line": (header(b'{"a\\nb\\u001b[31m":1}'), r"a\nb\x1b[31m: its header entry is damaged"),
    **{f"{name}, raw": (data, "is not a checkpoint") for name, data in HOSTILE.items()},
    **{f"{name}, zip": (torch_zip(data), "the pickle calls ") for name, data in HOSTILE.items()},
}


def assert_one_line(stderr, path, reason):
    assert stderr.count("\n") == 1
    assert stderr.startswith(f"vqcheck: {path}: ")
    assert stderr[:-1].isprintable()
    assert reason in stderr


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_ends_in_one_line_and_status_2(kind, vqcheck, checkpoints, tmp_path):
    data, reason = BAD[kind]
    path = tmp_path / "bad.pth"
    path.write_bytes(data)
    good = checkpoints / "base_v2.pth"
    inspected = vqcheck("inspect", path, cwd=tmp_path)
    assert (inspected.returncode, inspected.stdout) == (2, "")
    assert_one_line(inspected.stderr, path, reason)
    compared = vqcheck("diff", good, path, "--format", "json", cwd=tmp_path)
    assert compared.returncode == 2
    assert_one_line(compared.stderr, path, reason)
    document = json.loads(compared.stdout)
    assert (document["exit_code"], document["verdict"]) == (2, "could not check")
    assert reason in document["error"]
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("attack", HOSTILE)
def test_the_same_pickles_leave_their_marker_when_python_loads_them(attack, tmp_path):
    loads = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", loads], input=HOSTILE[attack], cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / MARKER).exists()


def test_good_files_end_in_no_line_and_status_0(vqcheck, checkpoints):
    good = checkpoints / "base_v2.pth"
    for arguments in (("inspect", good), ("diff", good, good)):
        done = vqcheck(*arguments)
        assert (done.returncode, done.stderr) == (0, "")


def test_json_of_a_bad_file_beside_a_good_one_is_one_valid_document(vqcheck, valid, checkpoints, tmp_path):
    done = vqcheck("inspect", tmp_path / "absent.pth", checkpoints / "base_v2.pth", "--format", "json")
    assert done.returncode == 2
    assert_one_line(done.stderr, tmp_path / "absent.pth", "no such file")
    document = valid(done.stdout)
    assert (document["exit_code"], len(document["files"])) == (2, 2)


def test_a_folder_a_missing_file_and_a_named_pipe_end_in_one_line(vqcheck, tmp_path):
    paths = {tmp_path: "is a directory", tmp_path / "absent": "no such file"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        paths[tmp_path / "pipe"] = "is not a regular file"
    for path, reason in paths.items():
        for arguments in (("inspect", path), ("diff", path, path)):
            done = vqcheck(*arguments)
            assert done.returncode == 2
            assert_one_line(done.stderr, path, reason)


def test_a_name_with_a_line_break_still_takes_one_line(vqcheck, tmp_path):
    path = tmp_path / "two\nlines.pth"
    path.write_bytes(b"")
    done = vqcheck("inspect", path)
    assert done.returncode == 2
    assert done.stderr == f"vqcheck: {tmp_path}/two\\nlines.pth: is empty; save or download it again\n"


PEAK = """
import sys
from vqcheck.cli.main import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))
sys.stdout.flush()
print("peak", peak)
sys.exit(code)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak of one process is known on Linux only")
@pytest.mark.parametrize(
    "data",
    [
        torch_zip(b"ca\nb\nq\x00" + b"h\x00)R" * 800_000),
        torch_zip(b"N" + b"".join(b"r" + struct.pack("<I", n * 1999) for n in range(1_000_000)) + b"0" * MILLION),
        header(b'{"a":[' + b"[]," * (MILLION - 10) + b"0]}"),
    ],
    ids=["objects", "memo", "JSON"],
)
def test_a_file_that_asks_for_too_much_ends_in_bounded_memory(data, tmp_path):
    path = tmp_path / "bad.pth"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "diff", path, path], capture_output=True, text=True, check=False, timeout=HANGS
    )
    assert done.returncode == 2
    assert_one_line(done.stderr, path, "")
    assert int(done.stdout.removeprefix("peak ")) < 512
