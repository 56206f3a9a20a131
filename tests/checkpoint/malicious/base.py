"""The sound checkpoint that attacks are built into, and the pieces of pickle and archive that they are built of."""

import io
import struct
import zipfile
from dataclasses import dataclass

import torch

READS, REFUSES = "reads the codebook", "ends in 2"
CODEBOOK = "quantizer.vq.layers.0._codebook"


@dataclass(frozen=True)
class Attack:
    """A hostile file."""

    data: bytes
    outcome: str
    pickle: bytes = b""
    """The hostile pickle by itself, where Python's own unpickler would run the payload in it."""
    name: str = "file.pth"


def state():
    generator = torch.Generator().manual_seed(0)
    count = 20 + 10 * torch.rand(4, generator=generator)
    return {
        f"{CODEBOOK}.inited": torch.ones(1),
        f"{CODEBOOK}.cluster_size": count,
        f"{CODEBOOK}.embed": torch.randn(4, 2, generator=generator),
        f"{CODEBOOK}.embed_avg": torch.randn(4, 2, generator=generator),
        "ssl_proj.weight": torch.randn(2, 3, 2, generator=generator),
    }


def members(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def saved(**options):
    buffer = io.BytesIO()
    torch.save({"weight": state()}, buffer, **options)
    return buffer.getvalue()


SOUND = saved()
PARTS = members(SOUND)
ROOT = next(name for name in PARTS if name.endswith("data.pkl")).removesuffix("data.pkl")
INDEX = PARTS[f"{ROOT}data.pkl"]


def archive(index, compression=zipfile.ZIP_STORED, extra=(), **renamed):
    """Return a torch archive around a pickle; `extra` is (name or ZipInfo, data)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        made.writestr(zipfile.ZipInfo(f"{ROOT}data.pkl"), index, compression)
        for name, data in PARTS.items():
            if "/data/" in name or name.endswith("byteorder"):
                made.writestr(zipfile.ZipInfo(renamed.get(name, name)), data, compression)
        for name, data in extra:
            made.writestr(name, data)
    return buffer.getvalue()


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def beside(expression, protocol=b"\x80\x02"):
    """Return the index of the sound checkpoint with one more key, whose value this expression makes."""
    # Both halves are dictionaries: the sound one is opened again and added to.
    return protocol + INDEX[2:-1] + text("info") + expression + b"s."


def call(module, name, *arguments):
    """Return opcodes that call a function of this name."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n(" + b"".join(arguments) + b"tR"
