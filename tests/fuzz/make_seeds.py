"""Makes the sound small files of the saved corpus: `python tests/fuzz/make_seeds.py`. What was found stays."""

import io
import json
import pickle
import struct
import sys
import tempfile
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save as safetensors_bytes

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz import targets

from vqcheck.audit.make_lock import make_lock
from vqcheck.checkpoint.open import open_checkpoint

HERE = Path(__file__).parent
CODES, DIM, SSL = 4, 2, 3
CODEBOOK = "quantizer.vq.layers.0._codebook"


class HParams:
    """Stands in for the class of settings that GPT-SoVITS saves."""

    def __init__(self, **values):
        self.__dict__.update(values)


def sovits(seed=0):
    generator = torch.Generator().manual_seed(seed)
    count = 20 + 10 * torch.rand(CODES, generator=generator)
    total = torch.randn(CODES, DIM, generator=generator) * count[:, None]
    smoothed = (count + 1e-5) / (count.sum() + CODES * 1e-5) * count.sum()
    return {
        f"{CODEBOOK}.inited": torch.ones(1),
        f"{CODEBOOK}.cluster_size": count,
        f"{CODEBOOK}.embed": total / smoothed[:, None],
        f"{CODEBOOK}.embed_avg": total,
        "ssl_proj.weight": torch.randn(DIM, SSL, 2, generator=generator),
        "ssl_proj.bias": torch.randn(DIM, generator=generator),
    }


def dac():
    layers = range(2)
    return {
        f"quantizer.quantizers.{layer}.{name}": torch.randn(*shape, generator=torch.Generator().manual_seed(layer))
        for layer in layers
        for name, shape in (
            ("codebook.weight", (4, 2)),
            ("in_proj.weight_g", (2, 1, 1)),
            ("in_proj.weight_v", (2, 3, 1)),
            ("in_proj.bias", (2,)),
            ("out_proj.weight_g", (3, 1, 1)),
            ("out_proj.weight_v", (3, 2, 1)),
            ("out_proj.bias", (3,)),
        )
    }


def unknown():
    state = sovits()
    return {
        f"somewhere.{layer}.{name}": state[f"{CODEBOOK}.{name}"]
        for layer in range(2)
        for name in ("embed", "embed_avg", "cluster_size")
    }


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    # Without the alignment to 64 bytes and the build's own members: every byte counts in a corpus.
    if options.get("_use_new_zipfile_serialization", True) is False:
        return buffer.getvalue()
    small = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(small, "w") as new:
        for name in old.namelist():
            if name.endswith(("data.pkl", "byteorder")) or "/data/" in name:
                new.writestr(zipfile.ZipInfo(name), old.read(name))
    return small.getvalue()


class Codebook(torch.nn.Module):
    """A module with the names of GPT-SoVITS's."""

    def __init__(self):
        super().__init__()
        for name, value in sovits().items():
            if name.startswith(CODEBOOK):
                self.register_buffer(name.removeprefix(f"{CODEBOOK}."), value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.embed.t()


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self._codebook = Codebook()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._codebook(x)


class Sovits(torch.nn.Module):
    """Scripted, traced, or saved whole."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.ssl_proj = torch.nn.Conv1d(SSL, DIM, 2)
        self.quantizer = torch.nn.Module()
        self.quantizer.vq = torch.nn.Module()
        self.quantizer.vq.layers = torch.nn.Sequential(Layer())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.quantizer.vq.layers(self.ssl_proj(x).transpose(1, 2))


def traced(model):
    return torch.jit.trace(model, torch.ones(1, SSL, 4))


def script(make):
    """Return a TorchScript archive without what torch keeps for debugging."""
    buffer, small = io.BytesIO(), io.BytesIO()
    torch.jit.save(make(Sovits().eval()), buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(small, "w") as new:
        for name in old.namelist():
            if name.endswith((".pkl", ".py", "byteorder")) or "/data/" in name:
                new.writestr(zipfile.ZipInfo(name), old.read(name))
    return small.getvalue()


def npz(save, state):
    buffer = io.BytesIO()
    save(buffer, **state)
    return buffer.getvalue()


def npy(value):
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def distributed():
    """Return the index and the one file of a distributed checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        dcp.save({"model": sovits(), "step": 3}, checkpoint_id=folder)
        return (Path(folder) / ".metadata").read_bytes(), (Path(folder) / "__0_0.distcp").read_bytes()


def half(state):
    return {name: value.half() for name, value in state.items()}


def configured():
    """Return what an s2 export of a small model holds."""
    config = HParams(train={"epochs": 8, "lr": 1e-4}, model={"version": "v2", "semantic_frame_rate": "25hz"})
    return {"weight": OrderedDict(half(sovits())), "config": config, "info": "8epoch_400iteration"}


def training_file():
    parameter = torch.nn.Parameter(torch.ones(2))
    return {"model": sovits() | {"extra": parameter}, "iteration": 3, "optimizer": None, "learning_rate": 1e-4}


def checkpoints():
    legacy = {"_use_new_zipfile_serialization": False}
    turned = sovits()
    turned[f"{CODEBOOK}.embed"] = turned[f"{CODEBOOK}.embed"].T.contiguous().T
    s1 = {
        "config": {"train_semantic_path": "logs/me/6-name2semantic.tsv"},
        "weight": {"model.ar_audio_embedding.word_embeddings.weight": torch.ones(2, 2)},
    }
    values = {
        "export": configured(),
        "training": training_file(),
        "turned": turned,
        "shared": dict.fromkeys(dac(), torch.ones(4, 2)),
        "dac": dac(),
        "unknown": unknown(),
        "s1": s1,
        "bfloat16": {name: value.bfloat16() for name, value in sovits().items()},
    }
    # Saved in the old way it would have the path of this file in it.
    return {name: saved(value) for name, value in (values | {"whole": Sovits()}).items()}, {
        name: saved(value, **legacy) for name, value in values.items()
    }


def packed(archive):
    small = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(small, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
    return small.getvalue()


def zip64(archive):
    limits = zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT
    zipfile.ZIP64_LIMIT = zipfile.ZIP_FILECOUNT_LIMIT = 1
    try:
        return packed(archive)
    finally:
        zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limits


TOML = b"""[subject]
version = "tiny"
pretrained_s2G = "sound.pth"
freeze_quantizer = true

[data]
exp_dir = "."
generated_items = 4

[training]
batch_size = 2
betas = [0.8, 0.99]
learning_rate = 1e-4

[replay]
steps = 2
seed = 1
"""
S2 = {
    "train": {
        "batch_size": 4,
        "seed": 1234,
        "betas": [0.8, 0.99],
        "pretrained_s2G": "sound.pth",
        "pretrained_s2D": "",
        "fp16_run": True,
    },
    "data": {"exp_dir": ".", "sampling_rate": 32000, "filter_length": 2048},
    "model": {"version": "v2", "freeze_quantizer": True, "n_heads": 2, "upsample_rates": [10, 8]},
    "s2_ckpt_dir": "logs",
}
FAMILY = b"""name = "my-codec"
title = "My codec"
decay = 0.99
epsilon = 1e-5
dead_code_threshold = 2
optional = ["ema_sum", "ema_count"]
metric = "euclidean"
axes = "codes dim"

[tensors]
codes = "quantizer.vq.layers.{layer}._codebook.embed"
ema_sum = "quantizer.vq.layers.{layer}._codebook.embed_avg"
ema_count = ["quantizer.vq.layers.{layer}._codebook.cluster_size"]
init_flag = "quantizer.vq.layers.{layer}._codebook.inited"
input_proj = "ssl_proj"
"""
BOOKS = b"""name = "two"
[[tensors]]
book = "one"
codes = "quantizer.vq.layers.{layer}._codebook.embed"
[[tensors]]
book = "two"
codes = "*.table"
"""


def lock_of(path):
    with open_checkpoint(path) as file:
        return make_lock(file, None, None).text().encode()


def seeds(folder):
    modern, legacy = checkpoints()
    (folder / "sound.pth").write_bytes(modern["export"])
    lock = lock_of(folder / "sound.pth")
    bound = lock + b'tsv sha256-tokens-v1:%s "6-name2semantic.tsv"\ns1 sha256:%s "me.ckpt"\n' % (b"0" * 64, b"1" * 64)
    tensors = {
        "sovits": safetensors_bytes(sovits(), {"format": "pt"}),
        "half": safetensors_bytes(half(sovits())),
        "dac": safetensors_bytes(dac()),
        "unknown": safetensors_bytes(
            {name: value.clone() for name, value in unknown().items()}, {"alias": "somewhere.0.embed"}
        ),
    }
    one, two = dict(list(sovits().items())[:3]), dict(list(sovits().items())[3:])
    divided = {
        "metadata": {"total_size": 1},
        "weight_map": dict.fromkeys(one, "a.safetensors") | dict.fromkeys(two, "b.safetensors"),
    }
    broken = struct.pack("<Q", 1 << 40) + b"{"
    shards = {
        "a.safetensors": safetensors_bytes(one),
        "b.safetensors": safetensors_bytes(two),
        "broken.safetensors": broken,
    }
    (folder / "distributed").mkdir(exist_ok=True)
    (folder / "part").mkdir(exist_ok=True)
    index, part = distributed()
    numpy_state = {name: value.numpy() for name, value in sovits().items()}
    features = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(1))
    tsv = b"item_name\tsemantic_audio\na.wav\t1 2 3 3 1023\nb.wav\t7 8 9\n"
    around = {"distributed/__0_0.distcp": part, "part/.metadata": index}
    return shards | around | {"sound.pth": modern["export"], "sound.lock": lock}, {
        "torch-zip": modern | {"packed": packed(modern["export"]), "zip64": zip64(modern["unknown"])},
        "patched-header": {"05": b"05" + modern["export"][2:], "06": b"06" + packed(modern["turned"])[2:]},
        "legacy": legacy,
        "torchscript": {"scripted": script(torch.jit.script), "traced": script(traced)},
        "npz": {"plain": npz(np.savez, numpy_state), "packed": npz(np.savez_compressed, numpy_state)},
        "npy": {
            "bare": npy(np.ones((4, 2), "<f4")),
            "columns": npy(np.ones((4, 2), "<f4", "F")),
            "state": npy(numpy_state),
        },
        "numpy-pickle": {f"protocol-{number}": pickle.dumps(numpy_state, number) for number in (2, 4, 5)},
        "distributed": {"model": index},
        "distributed-part": {"model": part},
        "safetensors": tensors,
        "sharded": {"index": json.dumps(divided).encode()},
        "features": {
            "half": saved(features.half()),
            "turned": saved(features.transpose(1, 2).contiguous().transpose(1, 2)),
            "speaker": saved(torch.ones(1, 4)),
        },
        "lock": {"sound": lock, "bound": bound},
        "tsv": {"merged": tsv, "windows": b"\xef\xbb\xbf" + tsv.replace(b"\n", b"\r\n"), "headless": tsv[25:]},
        "name2text": {"two": b"a.wav\ta b c\t1 2\tabc\nb.wav\td e\t1\tde\n"},
        "config-toml": {"replay": TOML},
        "config-json": {"s2": json.dumps(S2, indent=1).encode()},
        "own-family": {"one": FAMILY, "two": BOOKS},
    }


def main():
    beside = HERE / "beside"
    beside.mkdir(exist_ok=True)
    around, corpora = seeds(beside)
    for name, data in around.items():
        (beside / name).write_bytes(data)
    for target in targets.TARGETS:
        folder = targets.CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in corpora[target].items():
            (folder / name).write_bytes(data)
        with suppress(FileNotFoundError):
            (folder / ".keep").unlink()


if __name__ == "__main__":
    main()
