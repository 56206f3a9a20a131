"""A checkout replayed from GPT-SoVITS's own s2 JSON: pretrained weights and a prepared experiment."""

import json
import os
from pathlib import Path

import pytest
import torch

from vqcheck import find_vq_encoder, open_checkpoint
from vqcheck.codebook.digest import F32V1, combine, tensor_digest
from vqcheck.errors import UsageError
from vqcheck.experiment.read_config import read_config, with_subject
from vqcheck.replay.run import replay
from vqcheck.replay.trace import ArmVerdict

FIXTURES = Path(__file__).parents[2] / "fixtures"
CODES, DIM = 64, 768


@pytest.fixture
def run(tree, tmp_path):
    """Writes an s2 JSON of this version beside pretrained weights, and returns the configuration read from it."""
    tree.change("= 24, 32, 4, 64, 10", f"= {DIM}, {CODES}, 4, 640, 10")  # real features, real spectrograms

    def write(version, **more):
        book = "quantizer.vq.layers.0._codebook"
        draw = torch.Generator().manual_seed(7)
        codes = torch.randn(CODES, DIM, generator=draw)
        weights = {
            f"{book}.inited": torch.ones(1),
            f"{book}.cluster_size": torch.full((CODES,), 20.0),
            f"{book}.embed": codes,
            f"{book}.embed_avg": 20 * codes,
            "ssl_proj.weight": torch.randn(DIM, DIM, 2, generator=draw) / 10,
            "ssl_proj.bias": torch.zeros(DIM),
            **more,
        }
        base = tmp_path / "s2G.pth"
        torch.save({"weight": {name: value.half() for name, value in weights.items()}, "config": {}}, base)
        values = {
            "train": {"batch_size": 2, "segment_size": 20480, "pretrained_s2G": "s2G.pth", "pretrained_s2D": ""},
            "data": {"exp_dir": str(FIXTURES / "experiment"), "hop_length": 640},
            "model": {"version": version, "freeze_quantizer": True, "hidden_channels": 192},
        }
        (tmp_path / "s2.json").write_text(json.dumps(values), "utf-8")
        config = read_config(str(tmp_path / "s2.json"), str(tmp_path))
        return with_subject(config, checkout=str(tree.path), python=os.environ.get("CHECKOUT_PYTHON")).changed(
            "replay", steps=2, device="cpu"
        )

    return write


def digests_of(path):
    with open_checkpoint(path) as file:
        encoder = find_vq_encoder(file)
        return combine(
            encoder, {each: tensor_digest(each, file.read(each.tensor), F32V1) for each in encoder.tensors}, F32V1
        )


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_an_s2_json_is_replayed_as_it_stands(run, tmp_path, version):
    """Both arms start from the codebook in the file, widened, and train on the recorded items."""
    result = replay(run(version))
    as_is, control = result.arms
    assert as_is.digest_at_start == control.digest_at_start == digests_of(tmp_path / "s2G.pth")
    assert [arm.verdict for arm in result.arms] == [ArmVerdict.FROZEN, ArmVerdict.DRIFTED]
    assert (result.setting.subject, result.setting.batch_size) == (version, 2)
    assert result.setting.weights.endswith("s2G.pth")
    assert result.setting.data.startswith("4 items of ")
    assert any("s2G.pth: lacks " in note and "enc_p" in note for note in result.setting.notes)
    assert any("data.symbols" in note for note in result.setting.notes)


def test_weights_of_another_version_are_refused(run):
    """The flow is learnt by v3 and v4 alone, so a file that holds one cannot be what a v2 run starts from."""
    flow = torch.zeros(2, 2)
    with pytest.raises(UsageError, match=r"s2G.pth: is a v3 or v4 checkpoint .*, the checkout is replayed as v2"):
        replay(run("v2", **{"cfm.estimator.proj_out.weight": flow}))


def test_weights_of_another_size_are_refused(run):
    """What does not fit the tree's networks is the user's own mistake, in one line."""
    with pytest.raises(UsageError, match=r"the pretrained weights do not fit this tree: .*ssl_proj\.bias") as told:
        replay(run("v2", **{"ssl_proj.bias": torch.zeros(DIM + 1)}))
    assert "\n" not in str(told.value)
