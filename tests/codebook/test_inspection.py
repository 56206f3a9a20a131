"""What `inspect` lists beside the model: further state dicts, and nothing that only looks like one."""

import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.inspection import inspect

SCORE = torch.tensor(0.875)
CALLBACKS = {
    "my_model_ckpt{'monitor': 'top_3_acc', 'mode': 'max'}": {
        "monitor": "top_3_acc",
        "best_model_score": SCORE,
        "best_k_models": {"logs/me/logs_s1_v2/ckpt/epoch=14-step=300.ckpt": SCORE},
        "kth_value": SCORE,
    },
    "EarlyStopping": {"best_score": torch.ones(1), "wait_count": 0},
}


@pytest.mark.parametrize("name", ["gpt-e15.ckpt", "base_v2.pth"])
def test_a_callback_is_no_state_dict(checkpoints, tmp_path, name):
    """Lightning keeps scores as tensors in the callbacks of a checkpoint, s1's as well as a generator's."""
    state = torch.load(checkpoints / name, weights_only=True)["weight"]
    torch.save({"state_dict": state, "callbacks": CALLBACKS, "epoch": 14, "global_step": 300}, tmp_path / "a.ckpt")
    with open_checkpoint(tmp_path / "a.ckpt") as file:
        assert len(file.state_dicts) > 1
        assert inspect(file).other_containers == ()


@pytest.mark.parametrize("weights", [{"a.weight": torch.ones(2, 2)}, {"a.bias": torch.ones(2), "step": SCORE}])
def test_weights_in_a_callback_are(checkpoints, tmp_path, weights):
    """A callback that averages the model keeps a state dict, and that is told."""
    state = torch.load(checkpoints / "base_v2.pth", weights_only=True)["weight"]
    torch.save({"state_dict": state, "callbacks": CALLBACKS | {"Average": {"kept": weights}}}, tmp_path / "a.ckpt")
    with open_checkpoint(tmp_path / "a.ckpt") as file:
        assert inspect(file).other_containers == ("callbacks.Average.kept",)
