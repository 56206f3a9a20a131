"""A folder's checkpoints are put in training order, and the first that moved is named."""

import shutil

import pytest
import torch

from vqcheck.errors import UsageError
from vqcheck.experiment.history import read_history

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def run(checkpoints, tmp_path):
    """Copies fixture files into a folder of their own under new names."""

    def make(**files):
        for name, source in files.items():
            shutil.copy(checkpoints / source, tmp_path / f"{name}.pth")
        return str(tmp_path)

    return make


def only(history):
    """Return the one run of a history."""
    (found,) = history.runs
    return found


def test_a_frozen_run_is_identical(run):
    """Training files and exports of a frozen run all hold the base's VQ encoder."""
    history = read_history(run(G_100="G_400.pth", G_900="G_400.pth", base="base_v2.pth"), "all")
    assert (history.verdict, history.exit_code, only(history).first_moved) == ("identical", 0, None)


def test_the_first_that_moved_is_named(run):
    """The drifted checkpoint is found with its drift and the updates that leaked since the row before."""
    history = read_history(run(base="base_v2.pth", G_400="G_400.pth", G_437="G_437.pth"), "all")
    rows = only(history).rows
    assert [row.name for row in rows] == ["base.pth", "G_400.pth", "G_437.pth"]
    assert (history.verdict, history.exit_code, only(history).first_moved.name) == ("changed", 1, "G_437.pth")
    moved = rows[2].from_previous
    assert (moved.against, rows[2].from_base.against) == (("G_400.pth",), ("base.pth",))
    assert (moved.verdict, moved.rows_changed, moved.rows) == ("changed", 128, 128)
    assert (moved.ema_steps, moved.precision) == (37, "exact")
    assert moved.displacement > 0
    assert rows[1].from_previous.verdict == "identical"


def test_an_export_is_no_move(run):
    """The float16 export of a drifted training file is its rounding, and so no further move."""
    history = read_history(run(G_437="G_437.pth", export="drifted_v2_e8_s400.pth"), "all")
    assert history.verdict == "rounded"
    assert history.exit_code == 0


def test_order_is_by_steps_then_by_number_in_the_name(vq_state, tmp_path):
    """G_800 comes before G_1000, and a base that says nothing of training comes first."""
    for name in ("G_1000", "G_800", "G_90", "zbase"):
        around = {} if name == "zbase" else {"iteration": 3}
        torch.save({"model": vq_state(), **around}, tmp_path / f"{name}.pth")
    names = [row.name for row in only(read_history(str(tmp_path), "all")).rows]
    assert names == ["zbase.pth", "G_90.pth", "G_800.pth", "G_1000.pth"]


def test_latest_only_files_are_ordered_by_epoch(vq_state, tmp_path):
    """Where a step number is the constant of "save latest only", epochs decide."""
    for name, epoch in (("G_233333333333", 9), ("G_500", 2), ("G_700", 4)):
        torch.save({"model": vq_state(), "iteration": epoch}, tmp_path / f"{name}.pth")
    names = [row.name for row in only(read_history(str(tmp_path), "all")).rows]
    assert names == ["G_500.pth", "G_700.pth", "G_233333333333.pth"]


def test_files_without_a_codebook_are_passed_over_by_name(run, checkpoints, tmp_path):
    """A discriminator and an s1 checkpoint are named as what they are, and do not fail the run."""
    torch.save({"model": {"discriminators.0.convs.0.bias": torch.ones(2)}}, tmp_path / "D_400.pth")
    shutil.copy(checkpoints / "gpt-e15.ckpt", tmp_path)
    history = read_history(run(base="base_v2.pth", G_400="G_400.pth"), "all")
    assert history.exit_code == 0
    assert {name: "discriminator" in what or "s1" in what for name, what in history.skipped} == {
        "D_400.pth": True,
        "gpt-e15.ckpt": True,
    }


def test_an_unreadable_file_is_never_green(run, tmp_path):
    """The others are shown, the broken one is named, and the whole could not be checked."""
    (tmp_path / "G_200.pth").write_bytes(b"PK\x03\x04 truncated")
    history = read_history(run(base="base_v2.pth", G_400="G_400.pth"), "all")
    assert [name for name, _ in only(history).unreadable] == ["G_200.pth"]
    assert (history.verdict, history.exit_code, len(only(history).rows)) == ("could not check", 2, 2)


def test_one_checkpoint_is_no_history(run):
    """With a single codebook nothing was compared."""
    assert read_history(run(base="base_v2.pth"), "all").exit_code == 2


def test_another_codecs_file_is_passed_over(run, vq_state, tmp_path):
    """A file of another codec in the same folder is named, and not compared with this one's."""
    bare = {name: value for name, value in vq_state().items() if name.startswith("quantizer")}
    torch.save({"model": bare, "iteration": 9}, tmp_path / "codec_900.pth")
    history = read_history(run(base="base_v2.pth", G_400="G_400.pth"), "all")
    assert history.exit_code == 0
    assert [name for name, what in history.skipped if "another codec" in what] == ["codec_900.pth"]


def test_latest_only_comes_last_among_known_steps(vq_state, tmp_path):
    """A file without a step number in a later epoch is later, whatever the other files' steps are."""
    for name, epoch in (("G_233333333333", 1), ("G_5", 2), ("G_700", 4)):
        torch.save({"model": vq_state(), "iteration": epoch}, tmp_path / f"{name}.pth")
    names = [row.name for row in only(read_history(str(tmp_path), "all")).rows]
    assert names == ["G_233333333333.pth", "G_5.pth", "G_700.pth"]


def test_scope_tokens_ignores_bookkeeping(vq_state, tmp_path):
    """Changed counts move the history by default, and not with `tokens`."""
    state = vq_state()
    torch.save({"model": state, "iteration": 1}, tmp_path / "G_1.pth")
    state[f"{CODEBOOK}.cluster_size"] = state[f"{CODEBOOK}.cluster_size"] * 0.9
    torch.save({"model": state, "iteration": 2}, tmp_path / "G_2.pth")
    assert read_history(str(tmp_path), "all").exit_code == 1
    assert read_history(str(tmp_path), "tokens").exit_code == 0


def test_never_trained_is_told(run):
    """Equal codebooks that wait for their first batch are named; trained ones are not."""
    untrained = read_history(run(a="never_trained_v2.pth", b="never_trained_v2.pth"), "all")
    assert untrained.never_trained == ("a.pth", "b.pth")


def test_shards_are_no_checkpoints(run, checkpoints, tmp_path):
    """Parts of one model are not taken for steps of a run."""
    shutil.copy(checkpoints / "base_v2.safetensors", tmp_path / "model-00001-of-00002.safetensors")
    history = read_history(run(base="base_v2.pth", G_400="G_400.pth"), "all")
    assert [row.name for row in only(history).rows] == ["base.pth", "G_400.pth"]


def test_a_hundred_checkpoints_are_read_one_at_a_time(vq_state, tmp_path):
    """A long run is grouped: equal digests are compared once, and all rows are there in order."""
    for step in range(100, 10_100, 100):
        torch.save({"model": vq_state(seed=int(step > 5_000)), "iteration": 1}, tmp_path / f"G_{step}.pth")
    seen = []
    history = read_history(str(tmp_path), "all", lambda done, total: seen.append((done, total)))
    assert [row.record.steps for row in only(history).rows] == list(range(100, 10_100, 100))
    assert only(history).first_moved.name == "G_5100.pth"
    assert seen[-1] == (200, 200)


@pytest.mark.parametrize("fault", ["missing", "empty", "file"])
def test_a_folder_without_checkpoints_is_an_error(tmp_path, fault):
    """A missing folder, an empty one and a file are each named."""
    folder = tmp_path / "run"
    if fault == "empty":
        folder.mkdir()
    if fault == "file":
        folder.write_text("x")
    with pytest.raises(UsageError, match="run"):
        read_history(str(folder), "all")
