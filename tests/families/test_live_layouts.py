"""Every layout on record as a module in memory: freeze holds it, and guard and replay see each change."""

import math
import sys
import types

import pytest
import torch
from sheet import CODECS, LAYOUTS, decides, roles_of
from torch import nn

from vqcheck import find_vq_encoder, freeze, guard, open_checkpoint
from vqcheck.codebook.inspection import inspect
from vqcheck.errors import CodebookChanged
from vqcheck.experiment.config import Config
from vqcheck.live.encoder import find
from vqcheck.live.module_checkpoint import digests
from vqcheck.replay.run import replay
from vqcheck.replay.trace import ArmVerdict

CODES_ARE_COLUMNS = {"xtts_dvae", "xtts_dvae_square", "rosinality_vqvae2", "rosinality_vqvae2_ddp"}
CODES_BEFORE_HEADS = {"fairseq_vqwav2vec_kmeans"}
SUMS_ARE_SOURCES = {"hf_mimi", "hf_mimi_rescaled", "moshi_mimi_quantizer"}
NOT_NEAREST = {
    *SUMS_ARE_SOURCES,
    "vqp_simvq",
    "vqp_residualsimvq",
    "vqp_latentquantize",
    "hf_wav2vec2_pretraining",
    "speechbrain_gumbel",
    "fairseq_wav2vec2_gumbel",
    "taming_gumbel",
}
"""Codecs whose token is not the nearest of the stored vectors."""
SMALL = [name for name in CODECS if not name.startswith("gptsovits_v2_n")]
MOVED = 3


class Part(nn.Module):
    """A module of a codec: anything but one of torch's own classes."""


def module_of(codec, state):
    """Returns a module whose state dict is laid out as a codec's, parameters and buffers as on record."""
    root = Part()
    for tensor in LAYOUTS[codec]["tensors"]:
        for name in tensor["names"]:
            *path, last = name.split(".")
            at = root
            for part in path:
                if part not in at._modules:
                    at.add_module(part, Part())
                at = at._modules[part]
            if tensor["storage"] == "param":
                at.register_parameter(last, nn.Parameter(state[name].clone()))
            else:
                at.register_buffer(last, state[name].clone())
    return root.train()


@pytest.fixture
def live(state_of):
    return lambda codec: module_of(codec, state_of(codec))


def tensor_at(module, name):
    return module.state_dict()[name]


def sources_of(codec):
    """Returns the names of the tensors that codes stand in, or are calculated from."""
    role = "ema_sum" if codec in SUMS_ARE_SOURCES else "codes"
    return [name for name, played in roles_of(codec).items() if played == role]


def by_code(codec, tensor):
    """Returns `[codes, ...]`, a view of codes as a codec lays them out."""
    if tensor.dim() == 1:
        return tensor[:, None]
    if codec in CODES_BEFORE_HEADS:
        return tensor
    return tensor.movedim(1 if codec in CODES_ARE_COLUMNS else -2, 0)


@pytest.mark.parametrize("codec", CODECS)
def test_a_module_has_the_labels_and_the_digest_of_its_checkpoint(codec, live, saved):
    """Each tensor is called in memory what it is called in the file, in the same order; so are the digests."""
    module = live(codec)
    with open_checkpoint(saved(module.state_dict())) as checkpoint:
        encoder = find_vq_encoder(checkpoint)
        of_file = {tensor.tensor.name: encoder.label(tensor) for tensor in encoder.tensors}
        assert digests(module) == inspect(checkpoint).vq_encoder.f32
    found = find(module)
    in_memory = {tensor.name: tensor.label for tensor in found.tensors}
    assert list(in_memory.items()) == [(name, label) for name, label in of_file.items() if name in in_memory]
    assert {tensor.name for tensor in found.behind} == of_file.keys() - in_memory.keys()


@pytest.mark.parametrize("codec", CODECS)
def test_freeze_holds_what_decides_tokens_and_nothing_else(codec, live):
    """After any train(), what counts takes no gradient and stands in modules in eval mode; what is behind learns on."""
    module = live(codec)
    judged = {name for name in roles_of(codec) if decides(codec, name)}
    learning = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    handle = freeze(module)
    module.train()
    assert set(handle.held) == judged
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad == (name not in judged)
    assert not any(module.get_submodule(name.rpartition(".")[0]).training for name in handle.buffers)
    handle.remove()
    assert {name for name, parameter in module.named_parameters() if parameter.requires_grad} == learning
    assert all(each.training for each in module.modules())


@pytest.mark.parametrize("codec", SMALL)
def test_a_guard_sees_each_judged_role_and_no_other(codec, live):
    """One changed value of any judged role raises with the tensor's name; one behind the last lookup does not."""
    module = live(codec)
    by_role = {(role, decides(codec, name)): name for name, role in roles_of(codec).items()}
    for (_, judged), name in by_role.items():
        watching = guard(module, every=1)
        values = tensor_at(module, name).view(-1)
        with torch.no_grad():
            values[0] = ~values[0] if values.dtype == torch.bool else values[0] * 1.25 + 1
        if not judged:
            watching.check()
            continue
        with pytest.raises(CodebookChanged) as caught:
            watching.check()
        assert [change.name for change in caught.value.finding.changes] == [name]
        if values.dtype == torch.bool:
            values[0] = ~values[0]


class Training:
    """Training code that turns one code of every codebook round, or moves the projection of a fixed grid."""

    def __init__(self, codec, module):
        self.codec, self.module = codec, module
        self.sources = [tensor_at(module, name) for name in sources_of(codec)]
        self.others = [] if self.sources else [tensor_at(module, name) for name in roles_of(codec)]
        if self.sources and codec not in NOT_NEAREST:
            codes = by_code(codec, self.sources[0])
            self.probe = codes.reshape(len(codes), -1, codes.shape[-1])[:, 0].clone()

    def step(self, _number):
        for source in self.sources:
            by_code(self.codec, source)[MOVED] *= -1
        for other in self.others:
            other.add_(1)
        return {"loss": sum(tensor.float().sum() for tensor in (*self.sources, *self.others))}


@pytest.mark.parametrize("codec", SMALL)
def test_a_replay_counts_codes_however_they_lie(codec, live, monkeypatch):
    """Where one code moved, one is counted for each head, layer and book; drift is that of all; one frame flips."""
    module, training = live(codec), []
    before = {name: tensor_at(module, name).clone() for name in sources_of(codec)}
    factory = types.ModuleType("layout_on_record")
    factory.make = lambda: training.append(Training(codec, module)) or training[0]
    monkeypatch.setitem(sys.modules, "layout_on_record", factory)
    subject = {"subject": {"factory": "layout_on_record:make"}, "replay": {"steps": 1}}
    (arm,) = replay(Config.model_validate(subject)).arms
    assert arm.verdict == ArmVerdict.DRIFTED
    (step,) = arm.steps
    assert {write.file for write in arm.first_writes} == {__file__}

    codes = {name: len(by_code(codec, value)) for name, value in before.items()}
    heads = {name: value.numel() // codes[name] // by_code(codec, value).shape[-1] for name, value in before.items()}
    expected = sorted((codes[name] * heads[name], heads[name]) for name in before)
    assert sorted((tensor.rows, tensor.rows_changed) for tensor in step.tensors if tensor.holds_codes) == expected
    moved = [(tensor_at(module, name) - value).double().norm() for name, value in before.items()]
    assert step.drift == pytest.approx(math.hypot(*moved), rel=1e-6)
    assert step.flipped_tokens == int(hasattr(training[0], "probe"))
    if not before:
        assert any(tensor.role == "input_proj" and tensor.changed for tensor in step.tensors)
