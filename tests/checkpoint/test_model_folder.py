"""Folders as trainers write them are taken for the model in them: what lies beside it is not mistaken for it."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import save_file

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.errors import CheckpointError

CODEBOOK = "quantizer.vq.layers.0._codebook"


def trainer_folder(folder, state, name="model.safetensors"):
    """Write what transformers' Trainer and accelerate write for one step."""
    folder.mkdir(parents=True)
    if name.endswith(".json"):
        parts = (dict(list(state.items())[:3]), dict(list(state.items())[3:]))
        files = [f"{name.split('.')[0]}-{number:05}-of-00002.safetensors" for number in (1, 2)]
        for file, part in zip(files, parts, strict=True):
            save_file(part, folder / file)
        weight_map = {key: file for file, part in zip(files, parts, strict=True) for key in part}
        (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    elif name.endswith(".bin"):
        torch.save(state, folder / name)
    else:
        save_file(state, folder / name)
    moments = {"state": {0: {"exp_avg": torch.ones(4, 2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    for beside in ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_0.pth", "optimizer_1.bin"):
        torch.save(moments, folder / beside)
    torch.save({"learning_rate": 0.1}, folder / "training_args.bin")
    (folder / "trainer_state.json").write_text('{"global_step": 500}')
    (folder / "config.json").write_text("{}")


NAMES = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")


@pytest.mark.parametrize("name", NAMES)
def test_the_model_of_a_trainer_s_folder_is_taken_and_not_its_optimizer(name, tmp_path, vq_state, save, capsys):
    state = vq_state()
    trainer_folder(tmp_path / "checkpoint-500", state, name)
    with open_checkpoint(tmp_path / "checkpoint-500") as checkpoint:
        assert checkpoint.path.endswith(name)
        assert checkpoint.tensors.keys() == state.keys()
    assert main(["diff", str(save(state)), str(tmp_path / "checkpoint-500")]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "checkpoint-500"), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert found["path"].endswith(name)


def test_optimizers_alone_are_no_checkpoint(tmp_path, vq_state):
    trainer_folder(tmp_path / "a", vq_state())
    (tmp_path / "a" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="without weights"):
        open_checkpoint(tmp_path / "a")


@pytest.mark.parametrize("others", [["G_100.pth", "G_200.pth"], ["last.ckpt"]])
def test_training_files_beside_a_model_are_named_and_inspected_too(others, tmp_path, vq_state, capsys):
    """None of them is taken in silence for the whole folder."""
    save_file(vq_state(), tmp_path / "model.safetensors")
    for name in others:
        torch.save({"model": vq_state(seed=1)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"several checkpoints.*{others[0]}"):
        open_checkpoint(tmp_path)
    assert main(["inspect", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("model.safetensors", *others))


def test_the_folders_of_lightning_lead_to_its_checkpoint(tmp_path, vq_state, save):
    """lightning_logs/version_0 holds checkpoints/epoch=0-step=10.ckpt."""
    inner = tmp_path / "version_0" / "checkpoints"
    inner.mkdir(parents=True)
    state = {f"model.{name}": value for name, value in vq_state().items()}
    saved = {
        "state_dict": state,
        "epoch": 0,
        "global_step": 10,
        "optimizer_states": [{"state": {}, "param_groups": []}],
    }
    torch.save(saved, inner / "epoch=0-step=10.ckpt")
    assert main(["diff", str(save(vq_state())), str(tmp_path / "version_0")]) == 0
    torch.save(saved, inner / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"several checkpoints.*'vqcheck history' compares them all"):
        open_checkpoint(tmp_path / "version_0")
    assert main(["history", str(tmp_path / "version_0")]) == 0
    moved = {f"model.{name}": value for name, value in vq_state(seed=1).items()}
    torch.save(saved | {"state_dict": moved, "global_step": 20}, inner / "last.ckpt")
    assert main(["history", str(tmp_path / "version_0")]) == 1


@pytest.mark.parametrize("lost", ["decoder", f"{CODEBOOK}.embed", f"{CODEBOOK}.cluster_size", "ssl_proj.weight"])
def test_a_missing_shard_is_a_remark_where_nothing_of_the_codebook_is_in_it(lost, tmp_path, vq_state, save, capsys):
    state = vq_state() | {"decoder.weight": torch.rand(3, 3)}
    parts = {"a.safetensors": {}, "b.safetensors": {}}
    for name, value in state.items():
        parts["b.safetensors" if name.startswith(lost) else "a.safetensors"][name] = value
    for file, part in parts.items():
        save_file(part, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, part in parts.items() for name in part}}))
    base = str(save(vq_state(), "base.pth"))
    assert main(["diff", base, str(index)]) == 0
    (tmp_path / "b.safetensors").unlink()
    capsys.readouterr()
    for command in (["diff", base, str(index)], ["inspect", str(index)]):
        assert main(command) == (0 if lost == "decoder" else 2)
        assert "b.safetensors" in "".join(capsys.readouterr())


def test_a_copy_in_a_missing_shard_is_said_to_be_there(tmp_path, vq_state, save, capsys):
    """Its shapes are not known, so none of them is wrong."""
    save_file(vq_state(), tmp_path / "a.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    weight_map = dict.fromkeys(vq_state(), "a.safetensors") | {f"ema.{name}": "b.safetensors" for name in vq_state()}
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert main(["diff", str(save(vq_state())), str(index)]) == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert "lies in b.safetensors, which is missing" in shown
    assert "has the shape" not in shown


def test_a_missing_shard_with_another_layer_of_a_codec_that_nobody_knows_is_status_2(tmp_path, save):
    """The names alone are known of it; a layer like those that were found is a part of them."""
    state = {
        f"some.thing.{layer}.{name}": torch.rand(*shape) + 9
        for layer in range(3)
        for name, shape in (("embed", (8, 4)), ("embed_avg", (8, 4)), ("cluster_size", (8,)))
    }
    last = {name: value for name, value in state.items() if ".2." in name}
    save_file({name: value for name, value in state.items() if name not in last}, tmp_path / "a.safetensors")
    save_file(last, tmp_path / "b.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    weight_map = {name: "b.safetensors" if name in last else "a.safetensors" for name in state}
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert main(["diff", str(save(state)), str(index)]) == 0
    (tmp_path / "b.safetensors").unlink()
    assert main(["diff", str(save(state)), str(index)]) == 2


def test_a_list_of_state_dict_and_optimizer_is_read(tmp_path, vq_state, save):
    state = vq_state()
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save([state, optimizer.state_dict(), 7], tmp_path / "list.pth")
    assert main(["diff", str(save(state)), str(tmp_path / "list.pth")]) == 0
    with open_checkpoint(tmp_path / "list.pth") as checkpoint:
        assert checkpoint.has_optimizer
        assert checkpoint.other_containers == ()


def test_history_walks_the_folders_of_steps_in_training_order(tmp_path, vq_state, save, capsys):
    """By number, not by name; the model of the last step lies beside them; what moved first is found."""
    run = tmp_path / "run"
    for step, seed in ((500, 0), (1000, 0), (1500, 1)):
        trainer_folder(run / f"checkpoint-{step}", vq_state(seed=seed))
    shutil.copy(run / "checkpoint-1500" / "model.safetensors", run / "model.safetensors")
    (run / "runs").mkdir()
    base = str(save(vq_state(), "base.pth"))
    assert main(["history", str(run), "--base", base, "--format", "json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    names = [row["name"] for row in found["checkpoints"]]
    assert names == ["checkpoint-500", "checkpoint-1000", "checkpoint-1500", "model.safetensors"]
    assert found["first_moved"] == "checkpoint-1500"


def test_history_takes_distributed_checkpoints(tmp_path, vq_state, save):
    import torch.distributed.checkpoint as dcp

    for step in (20, 100):
        dcp.save(
            {"model": vq_state(), "optimizer": {"a": torch.ones(2)}}, checkpoint_id=tmp_path / "run" / f"step_{step}"
        )
    base = str(save(vq_state(), "base.pth"))
    assert main(["history", str(tmp_path / "run"), "--base", base]) == 0
    dcp.save({"model": vq_state(seed=1)}, checkpoint_id=tmp_path / "run" / "step_200")
    assert main(["history", str(tmp_path / "run"), "--base", base]) == 1


def test_history_leaves_the_optimizer_of_a_distributed_checkpoint_aside(tmp_path, vq_state, save):
    """Accelerate writes pytorch_model_fsdp_0 and optimizer_0 beside each other."""
    import torch.distributed.checkpoint as dcp

    dcp.save({"model": vq_state()}, checkpoint_id=tmp_path / "run" / "pytorch_model_fsdp_0")
    dcp.save({"optimizer": {"state": {"a": torch.ones(2)}}}, checkpoint_id=tmp_path / "run" / "optimizer_0")
    assert main(["history", str(tmp_path / "run"), "--base", str(save(vq_state()))]) == 0
    assert main(["history", str(tmp_path / "run"), "--base", str(save(vq_state(seed=1)))]) == 1


@pytest.mark.parametrize(("name", "status"), [("model_rank{}.pth", 2), ("G_400_r{}.pth", 1)])
def test_history_does_not_put_the_ranks_of_one_step_in_an_order(name, status, tmp_path, vq_state, save, capsys):
    for rank in range(2):
        shutil.move(save(vq_state(seed=rank)), tmp_path / name.format(rank))
    assert main(["history", str(tmp_path)]) == status
    shown = "".join(capsys.readouterr())
    assert ("the ranks of one step" in shown) == (status == 2)
    assert ("moved between" in shown) == (status == 1)


def test_folders_of_steps_without_checkpoints_are_no_part_of_a_history(tmp_path, vq_state, save):
    trainer_folder(tmp_path / "run" / "checkpoint-5", vq_state())
    (tmp_path / "run" / "epoch_3_samples").mkdir()
    (tmp_path / "run" / "epoch_3_samples" / "a.wav").write_bytes(b"RIFF")
    assert main(["history", str(tmp_path / "run"), "--base", str(save(vq_state()))]) == 0
    (tmp_path / "run" / "checkpoint-6").mkdir()
    (tmp_path / "run" / "checkpoint-6" / "model.safetensors").write_bytes(b"cut off")
    assert main(["history", str(tmp_path / "run"), "--base", str(save(vq_state()))]) == 2


def test_each_format_has_its_name_in_the_schema_of_inspect(tmp_path, vq_state, capsys, valid):
    """A document that names another would not be valid."""
    import numpy as np
    import torch.distributed.checkpoint as dcp

    held = {name: value.numpy() for name, value in vq_state().items()}
    np.savez(tmp_path / "a.npz", **held)
    np.save(tmp_path / "a.npy", np.ones((4, 2)))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(held))
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    dcp.save({"model": vq_state()}, checkpoint_id=tmp_path / "dcp")
    for name in ("a.npz", "a.npy", "a.pkl", "a.pt", "whole.pth", "dcp"):
        main(["inspect", str(tmp_path / name), "--format", "json"])
        (found,) = valid(capsys.readouterr().out)["files"]
        assert "error" not in found
