"""Files of other formats, of no format, and of the legacy format with more pickles than it has."""

import io
import pickle
import struct
import tarfile

from malicious.base import READS, REFUSES, Attack, archive, beside, call, saved, text


def _legacy(index):
    """Return a legacy file whose object is this pickle."""
    old = saved(_use_new_zipfile_serialization=False)
    at = 0
    for _ in range(3):
        opened = io.BytesIO(old[at:])
        pickle.load(opened)
        at += opened.tell()
    return old[:at] + index + old[at:]


def attacks(shell):
    """Return name -> attack, given the payload as a shell command pushed by an opcode."""
    run = call("os", "system", shell)
    hostile = b"\x80\x02" + run + b"."
    legacy = saved(_use_new_zipfile_serialization=False)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name in ("pickle", "sys_info"):
            member = tarfile.TarInfo(name)
            member.size = len(hostile)
            made.addfile(member, io.BytesIO(hostile))
    header = b'{"__metadata__":{"format":"__reduce__ os.system"}}'
    return {
        "pickle that calls itself .safetensors": Attack(hostile, REFUSES, hostile, "file.safetensors"),
        "pickle that calls itself .json": Attack(hostile, REFUSES, hostile, "file.safetensors.index.json"),
        "pickle without an ending": Attack(hostile, REFUSES, hostile, "file"),
        "archive that calls itself .txt": Attack(archive(beside(run)), REFUSES, name="file.txt"),
        "7z archive": Attack(b"7z\xbc\xaf\x27\x1c\0\4" + hostile, REFUSES, name="file.pth"),
        "tar archive": Attack(tar.getvalue(), REFUSES),
        "gzip": Attack(b"\x1f\x8b\x08\0" + hostile, REFUSES),
        "numpy file of objects": Attack(b"\x93NUMPY\1\0" + hostile, REFUSES, name="file.npy"),
        "legacy: hostile instead of the magic number": Attack(hostile + legacy, REFUSES, hostile),
        "legacy: magic number made by a call": Attack(
            call("builtins", "int", text("0x1950A86A20F9469CFC6C"), b"K\x10") + b"." + legacy, REFUSES
        ),
        "legacy: hostile behind the storages": Attack(legacy + hostile, READS),
        "legacy: hostile between the pickles": Attack(_legacy(hostile), REFUSES, hostile),
        "legacy: module with source": Attack(
            _legacy(b"\x80\x02(" + text("module") + b"cos\nsystem\n" + text("a.py") + shell + b"tQ."), REFUSES
        ),
        "safetensors whose metadata is hostile": Attack(
            struct.pack("<Q", len(header)) + header, REFUSES, name="file.safetensors"
        ),
    }
