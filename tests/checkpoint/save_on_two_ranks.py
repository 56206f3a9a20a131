"""One of two processes that save one model in every distributed way; `test_distributed` starts both."""

import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor


class Encoder(nn.Module):
    """Names of GPT-SoVITS's VQ encoder, its codebook as parameters so that FSDP divides it."""

    def __init__(self):
        super().__init__()
        self.ssl_proj = nn.Conv1d(6, 6, 2)
        book = nn.Module()
        for name, shape in (("inited", (1,)), ("cluster_size", (7,)), ("embed", (7, 6)), ("embed_avg", (7, 6))):
            book.register_parameter(name, nn.Parameter(torch.rand(*shape) + 20))
        layer, vq, self.quantizer = nn.Module(), nn.Module(), nn.Module()
        layer._codebook = book
        vq.layers = nn.ModuleList([layer])
        self.quantizer.vq = vq


def main(rank, store, folder):
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=2)
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2,))
    folder = Path(folder)
    model = Encoder()
    plain = {name: value.detach().clone() for name, value in model.state_dict().items()}
    if rank == "0":
        torch.save(plain, folder / "plain.pth")
    for axis in (0, 1):
        placed = [Shard(axis)] if axis else [Shard(0)]
        divided = {
            name: distribute_tensor(value, mesh, placed if value.dim() > axis else [Replicate()])
            for name, value in plain.items()
        }
        dcp.save({"model": divided, "step": 7}, checkpoint_id=folder / f"axis{axis}")
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.Adam(model.parameters())
    sum(value.sum() for value in model.parameters()).backward()
    held = {"model": get_model_state_dict(model), "optimizer": get_optimizer_state_dict(model, optimizer)}
    dcp.save(held, checkpoint_id=folder / "fsdp")
    full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if rank == "0":
        torch.save({"model": full}, folder / "full.pth")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
