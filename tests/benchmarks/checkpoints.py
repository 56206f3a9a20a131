"""Makes the checkpoints that benchmarks read: training files of GPT-SoVITS's layout and full-size VQ encoders.

Torch is imported inside: these functions run in processes of their own.
"""

import json
from pathlib import Path

CODEBOOK = "quantizer.vq.layers.0._codebook"
CODES, DIM = 1024, 768


def generator(seed):
    """Return a seeded random number generator of torch."""
    import torch

    return torch.Generator().manual_seed(seed)


def running_sums(random, codes=CODES, dim=DIM):
    """Return (counts `[codes]`, running sums `[codes, dim]`) of a codebook that has been trained."""
    import torch

    count = 20 + 10 * torch.rand(codes, generator=random)
    return count, 0.4 * torch.randn(codes, dim, generator=random) * count[:, None]


def book(count, total, path=CODEBOOK):
    """Return the tensors of one EMA codebook, its codes fitting its sums."""
    import torch

    smoothed = (count + 1e-5) / (count.sum() + len(count) * 1e-5) * count.sum()
    return {
        f"{path}.inited": torch.ones(1),
        f"{path}.cluster_size": count,
        f"{path}.embed": total / smoothed[:, None],
        f"{path}.embed_avg": total,
    }


def projection(random, dim=DIM):
    """Return the projection in front of the codebook."""
    import torch

    return {
        "ssl_proj.weight": 0.02 * torch.randn(dim, dim, 2, generator=random),
        "ssl_proj.bias": 0.02 * torch.randn(dim, generator=random),
    }


def updated(count, total, random, *, steps=37, frames=2000, decay=0.99):
    """Return counts and sums after EMA updates; code 0 is never hit, so that the number of steps can be told."""
    import torch

    for _ in range(steps):
        picked = torch.randint(1, len(count), (frames,), generator=random)
        seen = total[picked] / count[picked, None] + 0.1 * torch.randn(frames, total.size(1), generator=random)
        count = decay * count + (1 - decay) * torch.bincount(picked, minlength=len(count))
        total = decay * total + (1 - decay) * torch.zeros_like(total).index_add_(0, picked, seen)
    return count, total


def rest_of_model(megabytes, tensors, seed):
    """Return the parameters of a model beside its VQ encoder, so that the whole takes that many megabytes."""
    import torch

    random = generator(seed)
    each = max(1, (megabytes * 1_000_000 // 4 - 2_800_000) // tensors)
    return {f"enc_p.layer.{i}.weight": torch.randn(each, generator=random) for i in range(tensors)}


def training_file(state):
    """Return what a trainer saves around a state dict."""
    return {"model": state, "iteration": 8, "learning_rate": 1e-4, "optimizer": {}}


def save(state, path, *, wrap=training_file, metadata=None):
    """Save a state dict twice: as a training checkpoint `.pth`, and bare as `.safetensors`, with what that may say."""
    import safetensors.torch
    import torch

    path = Path(path)
    torch.save(wrap(state), path.with_suffix(".pth"))
    tensors = {name: value.contiguous() for name, value in state.items()}
    safetensors.torch.save_file(tensors, f"{path}.safetensors", metadata)


def trained_pair(folder, megabytes):
    """Write `a` and `b`, whose models differ and whose VQ encoders are equal, and `c`, whose codebook moved."""
    random = generator(1)
    count, total = running_sums(random)
    layers = projection(random)
    moved = updated(count, total, random)
    for name, seed, sums in (("a", 2, (count, total)), ("b", 3, (count, total)), ("c", 3, moved)):
        save(rest_of_model(megabytes, 770, seed) | layers | book(*sums), Path(folder) / name)


def sparse(path, megabytes, tensors=770):
    """Write a training checkpoint whose model beside the full-size VQ encoder is a hole in the file: it takes no disk.

    Torch writes the archive and leaves all storages out; the VQ encoder's are filled in.
    """
    import torch
    from torch.serialization import skip_data

    random = generator(1)
    vq_encoder = projection(random) | book(*running_sums(random))
    each = max(1, (megabytes * 1_000_000 // 4 - 2_800_000) // tensors)
    state = vq_encoder | {f"enc_p.layer.{i}.weight": torch.empty(each) for i in range(tensors)}
    with skip_data():
        torch.save(training_file(state), path)
    archive = torch._C.PyTorchFileReader(str(path))
    with open(path, "r+b") as file:
        for number, tensor in enumerate(vq_encoder.values()):
            file.seek(archive.get_record_offset(f"data/{number}"))
            file.write(tensor.numpy().tobytes())


def residual(path, books):
    """Write a residual codec (EnCodec's layout) of that many codebooks of 1024 codes in 128 dimensions."""
    import torch

    random = generator(1)
    state = {"encoder.model.0.conv.weight": torch.randn(64, 1, 7, generator=random)}
    for number in range(books):
        state |= book(*running_sums(random, dim=128), path=f"quantizer.vq.layers.{number}._codebook")
    torch.save(state, path)


def many_names(path, tensors):
    """Write a safetensors file of that many small tensors, without the library: its header is the whole work."""
    header = {
        f"enc_p.layer.{i}.weight": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
        for i in range(tensors)
    }
    data = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        file.truncate(8 + len(data) + 4 * tensors)
