"""A module in memory is judged as a checkpoint of it would be."""

import pytest
import torch
from torch import nn

from vqcheck import find_vq_encoder, open_checkpoint
from vqcheck.codebook.digest import F32V1, combine, tensor_digest
from vqcheck.live.encoder import find
from vqcheck.live.module_checkpoint import digests

CODES, DIM = 12, 5


class Quantizer(nn.Module):
    """A codebook as it is kept in many codecs, with a row for each dimension."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.register_buffer("embed", torch.randn(DIM, CODES, generator=generator).to(dtype))
        self.register_buffer("cluster_size", torch.rand(CODES, generator=generator).to(dtype))
        self.register_buffer("embed_avg", torch.randn(CODES, DIM, generator=generator).to(dtype).T)


def of_file(module, path):
    torch.save(module.state_dict(), path)
    with open_checkpoint(path) as file:
        encoder = find_vq_encoder(file)
        found = {tensor: tensor_digest(tensor, file.read(tensor.tensor), F32V1) for tensor in encoder.tensors}
        return combine(encoder, found, F32V1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_transposed_codebook_has_the_digest_of_its_checkpoint(tmp_path, dtype):
    """Codes that lie in columns, and sums that are a view of another tensor, are read in the order of codes."""
    module = nn.Sequential(nn.Identity(), Quantizer(dtype))
    assert not module[1].embed_avg.is_contiguous()
    assert digests(module) == of_file(module, tmp_path / "a.pth")


def test_a_codebook_that_is_a_negative_is_read_as_its_values():
    """What counts is what torch shows, not what stands in the memory that the tensor is a view of."""
    module = nn.Sequential(nn.Identity(), Quantizer())
    before = digests(module)
    memory, module[1].embed = module[1].embed, torch._neg_view(module[1].embed)
    assert digests(module) != before
    memory.neg_()
    assert digests(module) == before


def test_a_codebook_that_layers_share_has_the_digest_of_its_checkpoint(tmp_path):
    """A module that stands in several places is one codebook, as its tensors are stored once in a file."""
    book = Quantizer()
    book.embed, book.embed_avg = book.embed.T.contiguous(), book.embed_avg.T
    layers = nn.ModuleList([nn.Module(), nn.Module()])
    shared = nn.Module()
    shared.quantizer, shared.quantizer.vq = nn.Module(), nn.Module()
    shared.quantizer.vq.layers = layers
    for layer in layers:
        layer._codebook = book
    assert digests(shared) == of_file(shared, tmp_path / "a.pth")


def test_a_codebook_of_any_size_is_read():
    """What bounds the reading of files, which may claim more than they hold, does not bound what is in memory."""
    book = nn.Module()
    for name, shape in {
        "inited": (1,),
        "cluster_size": (4096,),
        "embed": (4096, 768),
        "embed_avg": (4096, 768),
    }.items():
        book.register_buffer(name, torch.ones(shape))
    net = nn.Module()
    net.ssl_proj = nn.Conv1d(768, 768, 2, 2)
    net.quantizer, net.quantizer.vq = nn.Module(), nn.Module()
    net.quantizer.vq.layers = nn.ModuleList([nn.Module()])
    net.quantizer.vq.layers[0]._codebook = book
    assert len(find(net).tensors) == 6
    assert digests(net).codebook
