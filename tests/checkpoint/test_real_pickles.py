"""What trainers save beside tensors is read: settings, schedulers, callbacks, random states, of each framework.

Where a framework is not installed, classes of the same qualified names and the same pickled form stand in for it.
"""

import argparse
import collections
import datetime as dt
import decimal
import functools
import io
import pathlib
import random
import sys
import types
import typing
import uuid

import numpy as np
import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint

PROTOCOLS = range(2, 6)


def model():
    return torch.nn.Sequential(torch.nn.Conv1d(2, 3, 1), torch.nn.BatchNorm1d(3))


@pytest.fixture
def stand_in(monkeypatch):
    """Returns a class of a module that is not installed."""

    def make(module, name, bases=(), **members):
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            if path not in sys.modules:
                monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
        made = type(name, bases, {"__module__": module, **members})
        monkeypatch.setattr(sys.modules[module], name, made, raising=False)
        return made

    return make


@pytest.fixture
def config(stand_in):
    """An omegaconf configuration, in the form that omegaconf pickles."""
    metadata = stand_in("omegaconf.base", "ContainerMetadata")
    any_node = stand_in("omegaconf.nodes", "AnyNode")
    plain = stand_in("omegaconf.base", "Metadata")

    def node(value):
        made, described = any_node(), plain()
        described.__dict__ |= {"ref_type": typing.Any, "object_type": None, "optional": True, "flags": {}}
        made.__dict__ |= {"_metadata": described, "_parent": None, "_val": value}
        return made

    kind = stand_in("omegaconf.dictconfig", "DictConfig")
    made, described = kind(), metadata()
    described.__dict__ |= {
        "ref_type": typing.Any,
        "object_type": dict,
        "key_type": typing.Optional[int],  # noqa: UP045 - as the library spells it
        "element_type": dict[str, typing.Any],
        "resolver_cache": collections.defaultdict(dict),
    }
    content = {"rate": node(32000), "path": node("a/b"), "none": node(None)}
    made.__dict__ |= {"_metadata": described, "_content": content, "_parent": None}
    content["rate"]._parent = made
    return made


def schedulers(parameters):
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    made = [
        torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4]),
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10),
        torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0),
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
    ]
    states = [scheduler.state_dict() for scheduler in made]
    # As torch before 2.0 kept it.
    states[1]["anneal_func"] = torch.optim.lr_scheduler.OneCycleLR._annealing_cos
    return optimizer.state_dict(), states


def lightning(stand_in, _):
    net = model()
    optimizer, states = schedulers(net.parameters())
    attributes = stand_in("pytorch_lightning.utilities.parsing", "AttributeDict", (dict,))
    loss = torch.tensor(0.5)
    return (
        "state_dict",
        net.state_dict(),
        {
            "epoch": 3,
            "global_step": 300,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": net.state_dict(),
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
            "callbacks": {
                "ModelCheckpoint{'monitor': 'val'}": {
                    "monitor": "val",
                    "best_model_score": loss,
                    "best_model_path": "a.ckpt",
                    "dirpath": pathlib.PurePosixPath("/a/b"),
                    "best_k_models": {"a.ckpt": loss},
                    "kth_value": loss,
                    "last": np.float64(0.25),
                },
                "EarlyStopping": {"wait_count": 0, "best_score": loss, "patience": 3},
            },
            "optimizer_states": [optimizer],
            "lr_schedulers": states,
            "hparams_name": "config",
            "hparams_type": attributes,
            "hyper_parameters": attributes(
                optimizer=functools.partial(torch.optim.AdamW, lr=1e-3, betas=(0.8, 0.99)),
                dtype=torch.float16,
                device=torch.device("cpu"),
                mel_mean=torch.zeros(2),
            ),
        },
    )


def audiocraft(_, config):
    net = model()
    return (
        "best_state",
        net.state_dict(),
        {
            "xp.cfg": config,
            "xp.sig": "abcd",
            "version": "1.3.0",
            "history": [{"train": {"loss": np.float32(0.5)}, "valid": {"loss": 0.25}}],
            "optimizer": {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2)}}, "param_groups": []},
            "best_state": net.state_dict(),
        },
    )


def deepspeed(stand_in, _):
    net = model()
    scaler = stand_in("deepspeed.runtime.fp16.loss_scaler", "DynamicLossScaler")()
    scaler.__dict__ |= {"cur_scale": 65536.0, "cur_iter": 7, "dtype": torch.float16, "raise_error_at_min_scale": True}
    fragment = stand_in("deepspeed.utils.tensor_fragment", "fragment_address")()
    fragment.__dict__ |= {"numel": 6, "start": 0}
    shapes = collections.OrderedDict((name, value.shape) for name, value in net.named_parameters())
    return (
        "module",
        net.state_dict(),
        {
            "module": net.state_dict(),
            "buffer_names": ["1.running_mean"],
            "optimizer": None,
            "param_shapes": [shapes],
            "frozen_param_shapes": None,
            "shared_params": collections.OrderedDict(),
            "lr_scheduler": {"last_batch_iteration": 3, "warmup": np.int64(100)},
            "sparse_tensor_module_names": set(),
            "skipped_steps": 0,
            "global_steps": 300,
            "loss_scaler": scaler,
            "param_slice_mappings": [collections.OrderedDict(weight=fragment)],
            "ds_config": {"train_batch_size": 8, "fp16": {"enabled": True}},
            "args": argparse.Namespace(local_rank=0, deepspeed_config=pathlib.PurePosixPath("ds.json")),
            "ds_version": "0.14.0",
        },
    )


def fairseq(stand_in, config):
    net = model()
    words = stand_in("fairseq.data.dictionary", "Dictionary")()
    words.__dict__ |= {"symbols": ["<s>", "a"], "indices": {"<s>": 0, "a": 1}, "count": [1, 2]}
    return (
        "model",
        net.state_dict(),
        {
            "args": argparse.Namespace(arch="hubert", layers=[1, 2], dropout=0.1, tmp=None),
            "cfg": config,
            "model": net.state_dict(),
            "criterion": None,
            "optimizer_history": [{"criterion_name": "Hubert", "optimizer_name": "Adam", "num_updates": 3}],
            "task_state": {"dictionaries": [words]},
            "extra_state": {
                "train_iterator": {"epoch": 1, "iterations_in_epoch": 0, "shuffle": True},
                "val_loss": np.float64(0.5),
                "best": torch.tensor(0.25),
                "metrics": collections.OrderedDict(default=[(100, "loss", collections.deque([1.0], maxlen=5))]),
            },
            "last_optimizer_state": None,
        },
    )


def so_vits(stand_in, _):
    net = model()
    settings = stand_in("utils", "HParams")
    config, inner = settings(), settings()
    inner.__dict__ |= {"sampling_rate": 32000, "spk2id": {"me": 0}}
    config.__dict__ |= {"data": inner, "version": "v2", "when": dt.datetime(2024, 5, 2, 3, tzinfo=dt.timezone.utc)}
    return (
        "weight",
        net.state_dict(),
        {
            "weight": {name: value.half() for name, value in net.state_dict().items()},
            "config": config,
            "info": "8epoch_400iteration",
        },
    )


def everything(*_):
    net = model()
    generator = np.random.RandomState(1)
    return (
        "model",
        net.state_dict(),
        {
            "model": net.state_dict(),
            "rng": {
                "python": random.Random(1).getstate(),
                "numpy": np.random.RandomState(1).get_state(),
                "object": generator,
                "generator": np.random.default_rng(1),
                "torch": torch.get_rng_state(),
            },
            "arrays": [np.arange(6).reshape(2, 3), np.array(["a", "b"]), np.zeros(3, np.float16)],
            "scalars": [np.float32(1), np.str_("x"), np.bool_(True), np.datetime64("2024-05-02"), 1j],
            "times": [dt.timedelta(1), dt.date(2024, 5, 2), dt.timezone.utc],
            "numbers": [decimal.Decimal("0.1"), uuid.UUID(int=3), range(3), slice(1, 2)],
            "sets": [{1, 2}, frozenset({3})],
            "counts": collections.Counter("abca"),
            "bytes": [b"\x80abc", b"", bytearray(b"x"), bytearray()],
            "namespace": types.SimpleNamespace(rate=3),
            "types": [type(None), int, dict, torch.nn.Linear, typing.Any, typing.Optional[int]],  # noqa: UP045
            "layout": torch.strided,
            "version": torch.__version__,
            "ordered": collections.OrderedDict(a=1),
            "default": collections.defaultdict(list, a=[1]),
        },
    )


KINDS = {each.__name__: each for each in (lightning, audiocraft, deepspeed, fairseq, so_vits, everything)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_of_a_framework_is_read(kind, protocol, zipped, stand_in, config, put, torch_bytes):
    container, state, saved = KINDS[kind](stand_in, config)
    buffer = io.BytesIO()
    torch.save(saved, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    path = put(buffer.getvalue())
    loaded = torch.load(path, weights_only=False)[container]
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.container == container
        read = {name: bytes(checkpoint.read(tensor)) for name, tensor in checkpoint.tensors.items()}
        assert checkpoint.information
    assert read == {name: torch_bytes(value) for name, value in loaded.items()}
    assert read.keys() == state.keys()
