"""LoRA adapters have peft's names, train what upstream trains, and change nothing before they have learnt."""

import copy
import random

import pytest
import torch

from vqcheck.synthesizer import InputError, preset
from vqcheck.synthesizer.lora import add_lora

RANK = 32


@pytest.fixture(scope="module")
def outline():
    """The whole v3 network with adapters, without values."""
    with torch.device("meta"):
        net = preset("v3").synthesizer()
        add_lora(net, RANK)
    return net


@pytest.fixture
def net():
    """The tiny network with adapters."""
    torch.manual_seed(0)
    model = preset("tiny-v3").synthesizer(freeze_quantizer=True)
    model.initialise_codebook(torch.randn(2, 32, 80))
    add_lora(model, 4)
    return model


def batch():
    draw = torch.Generator().manual_seed(1)
    return {
        "ssl": torch.randn(2, 32, 24, generator=draw),
        "y": torch.rand(2, 161, 24, generator=draw),
        "mel": torch.randn(2, 20, 45, generator=draw).clamp(-1, 1),
        "ssl_lengths": torch.tensor([24, 20]),
        "y_lengths": torch.tensor([24, 20]),
        "text": torch.randint(0, 700, (2, 5), generator=draw),
        "text_lengths": torch.tensor([5, 4]),
        "mel_lengths": torch.tensor([45, 37]),
        "use_grad_ckpt": False,
    }


def test_the_names_are_pefts(outline):
    """861 entries; in each block base weight, base bias, A and B of to_q, to_k, to_v and to_out.0, in this order."""
    state = outline.state_dict()
    assert len(state) == 861
    block = "cfm.base_model.model.estimator.transformer_blocks.7.attn."
    names = [name for name in state if name.startswith(block)]
    assert names == [
        f"{block}{layer}.{tensor}"
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
        for tensor in ("base_layer.weight", "base_layer.bias", "lora_A.default.weight", "lora_B.default.weight")
    ]
    shapes = [tuple(state[name].shape) for name in names[:4]]
    assert shapes == [(1024, 1024), (1024,), (RANK, 1024), (1024, RANK)]


def test_what_learns_is_what_upstream_gives_its_optimizer(outline):
    """ref_enc 18, bridge 2, wns1 55, linear_mel 2 and 176 matrices; in full training cfm's 366 in their place."""
    learning = [name for name, parameter in outline.named_parameters() if parameter.requires_grad]
    counts = {part: sum(name.startswith(f"{part}.") for name in learning) for part in ("ref_enc", "bridge", "wns1")}
    assert counts == {"ref_enc": 18, "bridge": 2, "wns1": 55}
    assert sum(".lora_" in name for name in learning) == 176
    assert len(learning) == 253
    with torch.device("meta"):
        full = preset("v3").synthesizer()
    assert sum(parameter.requires_grad for parameter in full.parameters()) == 443


def test_an_export_leaves_out_what_does_not_learn(outline):
    """258 entries: everything but parameters without a gradient, so the codebook is in and the projection is not."""
    held = {name for name, parameter in outline.named_parameters() if not parameter.requires_grad}
    exported = [name for name in outline.state_dict() if name not in held]
    assert len(exported) == 258
    assert sum(name.startswith("quantizer.") for name in exported) == 4
    assert not any(name.startswith(("ssl_proj.", "enc_p.")) for name in exported)


def test_fresh_adapters_change_nothing(net):
    """B is zero and A uniform, so the loss is that of the network without them, to the bit."""
    plain = preset("tiny-v3").synthesizer(freeze_quantizer=True)
    state = {name: value for name, value in net.state_dict().items() if ".lora_" not in name}
    plain.load_state_dict(
        {name.replace(".base_layer", "").replace("base_model.model.", ""): value for name, value in state.items()}
    )
    losses = []
    for model in (net.eval(), plain.eval()):
        torch.manual_seed(5)
        random.seed(0)
        losses.append(model(**batch()).detach())
    assert torch.equal(*losses)
    layer = net.cfm.estimator.transformer_blocks[0].attn.to_q
    narrow, wide = (each["default"].weight.detach() for each in (layer.lora_A, layer.lora_B))
    assert float(wide.abs().max()) == 0
    assert 0.9 / 8 < float(narrow.abs().max()) <= 1 / 8  # 1 / sqrt of the 64 inputs


def test_a_layer_computes_the_sum(net):
    """The linear layer and B A x."""
    layer = net.cfm.estimator.transformer_blocks[0].attn.to_out[0]
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(3, 64)
    weight = layer.base_layer.weight + layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(layer(x), x @ weight.T + layer.base_layer.bias)


def test_two_steps_move_what_upstream_moves(net):
    """bridge, wns1 and B at the first step, A at the second; nothing else, and the codebook not by a bit.

    Without weight decay, which alone moves A in the first step: its gradient is 0 there.
    """
    learns = [each for each in net.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learns, 1e-3, weight_decay=0)
    moved = []
    for _ in range(2):
        before = {name: value.clone() for name, value in net.state_dict().items()}
        net.train()
        random.seed(0)
        net(**batch()).backward()
        optimizer.step()
        optimizer.zero_grad()
        moved.append({name for name, value in net.state_dict().items() if not torch.equal(value, before[name])})
    learning = {name for name, each in net.named_parameters() if each.requires_grad}
    first = {name for name in learning if name.startswith(("bridge.", "wns1.")) or ".lora_B." in name}
    assert moved[0] == first
    assert moved[1] == first | {name for name in learning if ".lora_A." in name}


def test_a_copy_is_a_network_of_its_own(net):
    """Names and values are kept, `inference` is found through the wrapper, and the original keeps its weights."""
    other = copy.deepcopy(net)
    assert list(other.state_dict()) == list(net.state_dict())
    with torch.no_grad():
        other.bridge[0].weight.zero_()
    assert float(net.bridge[0].weight.detach().abs().max()) > 0
    mel = other.cfm.inference(torch.randn(1, 20, 32), torch.tensor([20]), torch.zeros(1, 20, 5), 2)
    assert mel.shape == (1, 20, 20)


@pytest.mark.parametrize(
    ("name", "rank", "message"),
    [("tiny", 4, "SynthesizerTrn has no cfm"), ("tiny-v3", 0, "rank: expected at least 1, given 0")],
)
def test_what_cannot_be_adapted_is_refused(name, rank, message):
    with pytest.raises(InputError, match=message):
        add_lora(preset(name).synthesizer(), rank)
