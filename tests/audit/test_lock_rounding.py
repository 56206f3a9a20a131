"""A lock does not accept an export in which rounding destroyed the projection in front of the lookup."""

import pytest
import torch

from vqcheck.cli.main import main


@pytest.mark.parametrize(
    ("factor", "rows", "status"),
    [(1.0, 8, 0), (1e-12, 8, 1), (1e8, 1, 1)],
    ids=["sound", "all zeros", "a row of infinities"],
)
def test_a_projection_that_an_export_lost_is_changed(factor, rows, status, vq_state, tmp_path, monkeypatch, capsys):
    """float16 makes zeros or infinities of it, as torch rounds: `diff` and the lock say so alike."""
    monkeypatch.chdir(tmp_path)
    state = vq_state()
    state["ssl_proj.weight"][:rows] *= factor
    narrow = {name: value.half() for name, value in state.items()}
    weight = narrow["ssl_proj.weight"]
    assert (status == 1) == (not torch.isfinite(weight).all() or not weight.any())
    torch.save({"model": state, "iteration": 8, "optimizer": {}}, "G_400.pth")
    torch.save({"weight": narrow, "info": "8epoch_400iteration"}, "me_e8_s400.pth")
    assert main(["lock", "G_400.pth", "-o", "a.lock", "-q"]) == 0
    assert main(["lock", "--check", "me_e8_s400.pth", "-o", "a.lock"]) == status
    assert main(["diff", "G_400.pth", "me_e8_s400.pth", "-q"]) == status
    assert ("input_proj.weight  changed" in capsys.readouterr().out) == (status == 1)
