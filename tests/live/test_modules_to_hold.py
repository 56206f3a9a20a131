"""The modules that are held are those that might write the codebook, and no more than belongs to the VQ encoder."""

import pytest
import torch
from torch import nn

import vqcheck
from vqcheck.live.encoder import find, stored_tensors
from vqcheck.live.freeze import modules_to_hold


class Module(nn.Module):
    """A module with children and buffers as given; not one of torch's own classes."""

    def __init__(self, children=(), **buffers):
        super().__init__()
        for name, child in dict(children).items():
            self.add_module(name, child)
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor)


def ones(*shape):
    return torch.ones(shape)


def book():
    return Module(embed=ones(6, 4), embed_avg=ones(6, 4), cluster_size=ones(6), inited=ones(1))


def encoder():
    return nn.Conv1d(4, 4, 1)


def encodec():
    layers = nn.ModuleList([Module({"_codebook": book()}) for _ in range(2)])
    return Module({"encoder": encoder(), "quantizer": Module({"vq": Module({"layers": layers})})})


def jukebox():
    blocks = nn.ModuleList([Module(k=ones(6, 4)) for _ in range(2)])
    return Module({"encoders": encoder(), "bottleneck": Module({"level_blocks": blocks})})


def taming():
    embedding = Module(weight=ones(6, 4), cluster_size=ones(6), embed_avg=ones(6, 4))
    return Module({"encoder": encoder(), "quant_conv": encoder(), "quantize": Module({"embedding": embedding})})


def zalando():
    inner = Module({"_embedding": nn.Embedding(6, 4)}, _ema_w=ones(6, 4), _ema_cluster_size=ones(6))
    return Module({"_encoder": encoder(), "_vq_vae": inner})


def dac_with_something_else_inside():
    layer = Module({"in_proj": encoder(), "codebook": nn.Embedding(6, 4), "out_proj": encoder()})
    quantizer = Module({"quantizers": nn.ModuleList([layer]), "norm": nn.LayerNorm(4)})
    return Module({"encoder": encoder(), "quantizer": quantizer})


HELD = {
    encodec: ("quantizer",),
    jukebox: ("bottleneck",),
    taming: ("quant_conv", "quantize"),
    zalando: ("_vq_vae",),
    dac_with_something_else_inside: ("quantizer.quantizers.0",),
}


@pytest.mark.parametrize("build", HELD)
def test_the_class_that_writes_is_held(build):
    """The way outwards from each codebook ends before the first module that holds anything else."""
    model = build()
    encoder = find(model)
    assert set(modules_to_hold(encoder)) == set(HELD[build])


def test_torchs_own_containers_are_passed_through():
    """A Sequential has no mode of its own; holding it would hold whatever else is in it."""
    quantizer = Module({"vq": Module({"layers": nn.ModuleList([Module({"_codebook": book()})])})})
    model = nn.Sequential()
    model.add_module("quantizer", quantizer)
    model.add_module("drop", nn.Dropout())
    assert vqcheck.freeze(model).modules == ("quantizer",)
    model.train()
    assert model.training
    assert model.get_submodule("drop").training


def test_every_known_codebook_is_found_and_a_moving_average_is_not():
    """A model of two codecs has both frozen; the moving average of a model is meant to move."""
    model = Module({"codec": encodec(), "dac": dac_with_something_else_inside(), "ema_model": encodec()})
    held = vqcheck.freeze(model).held
    assert any(name.startswith("codec.quantizer.") for name in held)
    assert any(name.startswith("dac.quantizer.") for name in held)
    assert not any(name.startswith("ema_model") for name in held)


def test_stored_tensors_are_those_of_the_state_dict():
    """Names are those of the state dict; tensors that are not saved do not count."""
    model = encodec()
    model.register_buffer("scratch", ones(2), persistent=False)
    model.lazy = nn.LazyLinear(3)
    assert set(stored_tensors(model)) == {name for name in model.state_dict() if not name.startswith("lazy")}


def test_rows_are_codes_in_any_orientation():
    """Where codes are columns, as in VQ-VAE-2, the guard counts codes all the same."""
    bottom = Module(embed=torch.rand(4, 6), embed_avg=ones(4, 6), cluster_size=ones(6))
    model = Module({"quantize_conv_t": encoder(), "quantize_t": bottom})
    guard = vqcheck.guard(model)
    bottom.embed[:, 2] += 1
    with pytest.raises(vqcheck.errors.CodebookChanged, match=r"quantize_t\.embed: 1 of 6 rows, by at most 1,"):
        guard.check()
