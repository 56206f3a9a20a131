"""A folder's checkpoints are put in training order, and the first that moved is named."""

import json
import shutil

import pytest
import torch

from vqcheck.audit.history import read_history
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.errors import CheckpointError, NoCodebookError, UsageError
from vqcheck.experiment.run_base import BaseProblem, UnusedBase

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


def test_equal_files_are_read_once(run, monkeypatch):
    """A digest takes one pass over what it covers: running sums are read for nothing else."""
    folder, read = run(G_100="G_400.pth", G_900="G_400.pth", base="base_v2.pth"), []
    for name in ("read", "pieces"):

        def counted(file, tensor, original=getattr(Checkpoint, name)):
            read.append(tensor.name)
            return original(file, tensor)

        monkeypatch.setattr(Checkpoint, name, counted)
    assert read_history(folder, "all").verdict == "identical"
    assert read.count(f"{CODEBOOK}.embed_avg") == 3


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


def test_files_without_a_codebook_are_skipped_by_name(run, checkpoints, tmp_path):
    """A discriminator and an s1 checkpoint are named as what they are, and do not fail the run."""
    torch.save({"model": {"discriminators.0.convs.0.bias": torch.ones(2)}}, tmp_path / "D_400.pth")
    shutil.copy(checkpoints / "gpt-e15.ckpt", tmp_path)
    history = read_history(run(base="base_v2.pth", G_400="G_400.pth"), "all")
    assert history.exit_code == 0
    assert {each.name: "discriminator" in each.reason or "s1" in each.reason for each in history.skipped} == {
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


def test_another_codecs_file_is_skipped(run, vq_state, tmp_path):
    """A file of another codec in the same folder is named, and not compared with this one's."""
    bare = {name: value for name, value in vq_state().items() if name.startswith("quantizer")}
    torch.save({"model": bare, "iteration": 9}, tmp_path / "codec_900.pth")
    history = read_history(run(base="base_v2.pth", G_400="G_400.pth"), "all")
    assert history.exit_code == 0
    assert [each.name for each in history.skipped if each.family] == ["codec_900.pth"]


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


class TestPrecision:
    """A file that stores less precision is compared by rounding; a wider one shows moves that it hides."""

    @pytest.fixture
    def folder(self, tmp_path):
        """Saves files of one run; each is (name, state, what stands around it)."""

        def make(**files):
            for name, (state, around) in files.items():
                torch.save({"model" if "iteration" in around else "weight": state, **around}, tmp_path / f"{name}.pth")
            return read_history(str(tmp_path), "all")

        return make

    @staticmethod
    def near(state, sign):
        """Return float32 values that all round to the float16 ones, half a step off them at most."""
        moved = {name: value.half().float() for name, value in state.items()}
        name = f"{CODEBOOK}.embed"
        step = torch.nextafter(state[name].half(), torch.full_like(state[name].half(), 6e4)).float() - moved[name]
        moved[name] = moved[name] + sign * 0.3 * step
        assert torch.equal(moved[name].half(), state[name].half())
        assert not torch.equal(moved[name], state[name].half().float())
        return moved

    def half(self, state):
        return {name: value.half() for name, value in state.items()}

    def test_training_within_half_a_step_of_the_base_is_a_change(self, folder, vq_state):
        """Two files that round to the float16 base differ from it and from each other."""
        state = vq_state()
        history = folder(
            s2G=(self.half(state), {}),
            G_200=(self.near(state, 1), {"iteration": 1}),
            G_300=(self.near(state, -1), {"iteration": 2}),
        )
        rows = only(history).rows
        assert (history.exit_code, only(history).first_moved.name) == (1, "G_200.pth")
        assert [row.from_base.verdict for row in rows[1:]] == ["changed", "changed"]
        assert rows[2].from_previous.verdict == "changed"
        assert rows[2].from_previous.against[0] == "G_200.pth"

    def test_without_the_base_the_two_still_differ(self, folder, vq_state):
        """An export between them, which both round to, does not stand in for the training file before it."""
        state = vq_state()
        export = (self.half(state), {"info": "1epoch_250iteration"})
        first = (self.near(state, 1), {"iteration": 1})
        history = folder(G_200=first, me_e1_s250=export, G_300=(self.near(state, -1), {"iteration": 2}))
        rows = only(history).rows
        assert [row.name for row in rows] == ["G_200.pth", "me_e1_s250.pth", "G_300.pth"]
        assert [row.from_previous.verdict for row in rows[1:]] == ["rounded", "changed"]
        assert rows[2].from_previous.against == ("me_e1_s250.pth", "G_200.pth")
        assert only(history).first_moved.name == "G_300.pth"

    def test_a_wider_file_after_its_rounding_has_not_moved(self, folder, vq_state):
        """What an export shows is not that the next training file moved by less than its step."""
        state = vq_state()
        export = (self.half(state), {"info": "1epoch_100iteration"})
        history = folder(me_e1_s100=export, G_200=(self.near(state, 1), {"iteration": 2}))
        assert (history.verdict, history.exit_code) == ("rounded", 0)

    def test_a_wider_file_that_does_not_round_to_the_one_before_has_moved(self, folder, vq_state):
        """A move by more than a step is seen at the export's precision."""
        state = vq_state()
        moved = self.near(state, 1)
        moved[f"{CODEBOOK}.embed"] = moved[f"{CODEBOOK}.embed"] * 1.01
        export = (self.half(state), {"info": "1epoch_100iteration"})
        history = folder(me_e1_s100=export, G_200=(moved, {"iteration": 2}))
        assert (history.exit_code, only(history).first_moved.name) == (1, "G_200.pth")

    def test_a_frozen_run_from_a_float32_base_may_be_exported(self, folder, vq_state):
        """The commonest flows stay green: base, training file and export of one step, in one folder."""
        state = vq_state()
        history = folder(
            base=(state, {}),
            G_400=(state, {"iteration": 8}),
            me_e8_s400=(self.half(state), {"info": "8epoch_400iteration"}),
            G_500=(state, {"iteration": 10}),
        )
        rows = only(history).rows
        assert [row.name for row in rows] == ["base.pth", "G_400.pth", "me_e8_s400.pth", "G_500.pth"]
        assert (history.verdict, history.exit_code) == ("rounded", 0)


class TestWhatIsNotStored:
    """A LoRA export leaves ssl_proj out; each tensor is compared with the last file that stores it."""

    @pytest.fixture
    def folder(self, vq_state, tmp_path):
        """Saves a training file, a LoRA export and another training file, whose ssl_proj is scaled by the factor."""

        def make(factor=1.0, lora=(), codes=1.0):
            state = {name: value.half().float() for name, value in vq_state().items()}
            torch.save({"model": state, "iteration": 1}, tmp_path / "G_100.pth")
            export = {name: value.half() for name, value in state.items() if "ssl_proj" not in name}
            export[f"{CODEBOOK}.embed"] = export[f"{CODEBOOK}.embed"] * codes
            export |= {"cfm.to_q.lora_A.default.weight": torch.ones(1)} | dict(lora)
            torch.save({"weight": export, "info": "2epoch_200iteration"}, tmp_path / "me_e2_s200_l32.pth")
            state["ssl_proj.weight"] = state["ssl_proj.weight"] * factor
            torch.save({"model": state, "iteration": 3}, tmp_path / "G_300.pth")
            return read_history(str(tmp_path), "all")

        return make

    def test_a_change_behind_it_is_seen(self, folder):
        """ssl_proj of the third file is that of the first, or not."""
        assert folder().exit_code == 0
        history = folder(factor=2)
        assert (history.exit_code, only(history).first_moved.name) == (1, "G_300.pth")
        assert only(history).rows[2].from_previous.against == ("me_e2_s200_l32.pth", "G_100.pth")

    def test_its_own_codebook_is_judged(self, folder):
        """A LoRA export with another codebook is the first that moved."""
        history = folder(codes=1.5)
        assert (history.exit_code, only(history).first_moved.name) == (1, "me_e2_s200_l32.pth")

    def test_its_digest_says_that_it_is_the_codebooks(self, folder):
        """A digest of a part is not shown as that of the whole."""
        assert [row.digest_of for row in only(folder()).rows] == ["vq_encoder", "codebook", "vq_encoder"]

    @pytest.mark.parametrize("step", [50, 200])
    def test_only_a_lora_export_may_leave_it_out(self, vq_state, tmp_path, step):
        """A training file that lacks ssl_proj lost it, wherever it stands in the run."""
        state = vq_state()
        bare = {name: value for name, value in state.items() if "ssl_proj" not in name} | {"enc_p.x": torch.ones(1)}
        torch.save({"model": state, "iteration": 100}, tmp_path / "G_100.pth")
        torch.save({"model": bare, "iteration": step}, tmp_path / f"G_{step}.pth")
        history = read_history(str(tmp_path), "all")
        assert (history.exit_code, only(history).first_moved.name) == (1, f"G_{max(step, 100)}.pth")

    def test_a_tensor_that_no_earlier_file_stores_is_missing_there(self, vq_state, tmp_path):
        """A bias that appears is a change as one that disappears is."""
        state = vq_state()
        bare = {name: value for name, value in state.items() if name != "ssl_proj.bias"}
        torch.save({"model": bare, "iteration": 1}, tmp_path / "G_100.pth")
        torch.save({"model": state, "iteration": 2}, tmp_path / "G_200.pth")
        assert only(read_history(str(tmp_path), "all")).first_moved.name == "G_200.pth"
        torch.save({"model": bare, "iteration": 1}, tmp_path / "G_200.pth")
        torch.save({"model": state, "iteration": 0}, tmp_path / "G_100.pth")
        assert only(read_history(str(tmp_path), "all")).first_moved.name == "G_200.pth"


class TestBase:
    """Every checkpoint is judged against the file that the run started from, if it can be found."""

    @pytest.fixture
    def experiment(self, checkpoints, tmp_path, monkeypatch):
        """An experiment of which both checkpoints drifted equally, and its base at the root of the tree."""
        root = tmp_path / "tree"
        folder = root / "logs" / "me" / "logs_s2_v2"
        folder.mkdir(parents=True)
        for step in (400, 800):
            shutil.copy(checkpoints / "G_437.pth", folder / f"G_{step}.pth")
        (root / "pretrained").mkdir()
        shutil.copy(checkpoints / "base_v2.pth", root / "pretrained" / "s2G.pth")
        monkeypatch.chdir(tmp_path)
        return folder

    @staticmethod
    def configure(place, name="s2.json", pretrained="pretrained/s2G.pth", exp_dir="logs/me", **more):
        values = {"train": {"pretrained_s2G": pretrained}, "data": {"exp_dir": exp_dir}, "model": {"version": "v2"}}
        (place / name).write_text(json.dumps(values | more), "utf-8")

    def test_files_that_agree_are_compared_with_nothing_else(self, experiment):
        """Without a base equal drift is not seen, and that is what the result says."""
        found = only(read_history(str(experiment), "all"))
        assert (found.verdict, found.compared_with, found.base) == ("identical", "each other", None)

    def test_a_given_base_shows_the_drift(self, experiment, checkpoints):
        """All of it, at the first checkpoint; and a base that they agree with shows none."""
        found = only(read_history(str(experiment), "all", base=str(checkpoints / "base_v2.pth")))
        assert (found.exit_code, found.first_moved.name, found.base.told_by) == (1, "G_400.pth", "option")
        assert (found.rows[0].from_base.ema_steps, found.rows[0].from_previous) == (37, None)
        agreeing = only(read_history(str(experiment), "all", base=str(checkpoints / "G_437.pth")))
        assert (agreeing.verdict, agreeing.compared_with) == ("identical", "base")

    @pytest.mark.parametrize("where", ["folder", "experiment"])
    def test_the_configuration_beside_names_the_base(self, experiment, where):
        """The run's s2 JSON is in the folder or above it; its relative path counts from a folder above."""
        self.configure(experiment if where == "folder" else experiment.parent)
        found = only(read_history(str(experiment), "all"))
        assert (found.exit_code, found.base.told_by) == (1, "configuration")
        assert found.base.path.endswith("s2G.pth")

    @pytest.mark.parametrize(
        "configuration",
        [
            {"exp_dir": "logs/you"},
            {"model": {"version": "v1"}},
            {"pretrained": ""},
            {"pretrained": 3},
            {"train": []},
            {"name": "s2.txt"},
        ],
    )
    def test_other_configurations_name_none(self, experiment, configuration):
        """That of another experiment or version, one without a base, and other files do not count."""
        self.configure(experiment.parent, **configuration)
        found = only(read_history(str(experiment), "all"))
        assert (found.base, found.unused_base) == (None, None)

    def test_a_base_that_is_not_there_is_told(self, experiment):
        """What the configuration names and cannot be found is said beside the comparison with each other."""
        self.configure(experiment.parent, pretrained="pretrained/gone.pth")
        found = only(read_history(str(experiment), "all"))
        assert (found.exit_code, found.compared_with) == (0, "each other")
        assert found.unused_base == UnusedBase(BaseProblem.ABSENT, ("pretrained/gone.pth",))

    def test_two_bases_are_one_too_many(self, experiment, checkpoints):
        """Which of two it was is not guessed; the same file under two names is one."""
        self.configure(experiment.parent)
        self.configure(experiment, name="again.json", pretrained="./pretrained/s2G.pth")
        assert only(read_history(str(experiment), "all")).exit_code == 1
        self.configure(experiment, name="other.json", pretrained=str(checkpoints / "G_437.pth"))
        found = only(read_history(str(experiment), "all"))
        assert found.base is None
        assert (found.unused_base.problem, len(found.unused_base.files)) == (BaseProblem.SEVERAL, 2)

    def test_an_export_names_its_base_itself(self, experiment, checkpoints):
        """The configuration inside an export counts as the run's."""
        shutil.copy(checkpoints / "drifted_v2_e8_s400.pth", experiment)
        (experiment / "pretrained_models").mkdir()
        shutil.copy(checkpoints / "base_v2.pth", experiment / "pretrained_models" / "s2G_v2.pth")
        found = only(read_history(str(experiment), "all"))
        assert (found.exit_code, found.base.told_by) == (1, "configuration")

    def test_one_checkpoint_and_its_base_are_a_history(self, run, checkpoints):
        """With a base there is something to compare with; the base itself is nothing."""
        folder = run(G_400="G_400.pth")
        base = str(checkpoints / "base_v2.pth")
        assert read_history(folder, "all", base=base).exit_code == 0
        assert read_history(folder, "all", base=str(checkpoints / "G_437.pth")).exit_code == 1
        assert read_history(folder, "all", base=f"{folder}/G_400.pth").exit_code == 2

    def test_a_base_without_a_codebook_is_an_error(self, run, checkpoints, tmp_path):
        """So is one that cannot be read: nothing was judged against it."""
        folder = run(G_400="G_400.pth")
        with pytest.raises(NoCodebookError, match="gpt-e15"):
            read_history(folder, "all", base=str(checkpoints / "gpt-e15.ckpt"))
        with pytest.raises(CheckpointError, match="absent"):
            read_history(folder, "all", base=str(tmp_path / "absent.pth"))

    def test_a_base_that_was_never_trained_is_told(self, run, checkpoints):
        """It is named among the others."""
        history = read_history(run(G_400="G_400.pth"), "all", base=str(checkpoints / "never_trained_v2.pth"))
        assert history.never_trained == ("never_trained_v2.pth",)


class TestVoices:
    """A folder of weights holds everybody's exports: each voice is a run of its own."""

    @pytest.fixture
    def weights(self, checkpoints, tmp_path):
        """Copies exports under the names given."""

        def make(*files):
            for name, source in files:
                shutil.copy(checkpoints / source, tmp_path / name)
            return str(tmp_path)

        return make

    STILL, MOVED = "frozen_v2_e8_s400.pth", "drifted_v2_e8_s400.pth"

    def test_voices_are_never_ordered_across(self, weights):
        """Two voices with different codebooks moved neither; in one voice the same files are a move."""
        apart = weights(
            ("ann_e4_s80.pth", self.STILL),
            ("ann_e8_s160.pth", self.STILL),
            ("bob_e4_s90.pth", self.MOVED),
            ("bob_e8_s170.pth", self.MOVED),
        )
        history = read_history(apart, "all")
        assert [(run.name, run.verdict, len(run.rows)) for run in history.runs] == [
            ("ann", "identical", 2),
            ("bob", "identical", 2),
        ]
        assert history.exit_code == 0
        moved = read_history(weights(("bob_e12_s270.pth", self.STILL)), "all")
        assert [run.verdict for run in moved.runs] == ["identical", "changed"]
        assert (moved.exit_code, moved.worst.name) == (1, "bob")
        assert moved.worst.first_moved.name == "bob_e12_s270.pth"

    def test_the_worst_voice_decides(self, weights, tmp_path):
        """One that could not be checked beats one that moved; each keeps its own verdict."""
        folder = weights(
            ("ann_e4_s80.pth", self.STILL),
            ("ann_e8_s160.pth", self.MOVED),
            ("bob_e4_s80.pth", self.STILL),
            ("cy_e4_s80.pth", self.STILL),
            ("cy_e8_s160.pth", self.STILL),
        )
        history = read_history(folder, "all")
        assert [run.verdict for run in history.runs] == ["changed", "could not check", "identical"]
        assert history.exit_code == 2
        (tmp_path / "cy_e12_s200.pth").write_bytes(b"PK\x03\x04")
        assert [run.verdict for run in read_history(folder, "all").runs][2] == "could not check"

    def test_a_given_base_is_everybodys(self, weights, checkpoints):
        """Each voice is judged against it."""
        folder = weights(("ann_e4_s80.pth", self.STILL), ("bob_e4_s80.pth", self.MOVED))
        history = read_history(folder, "all", base=str(checkpoints / "base_v2.pth"))
        assert [(run.name, run.exit_code) for run in history.runs] == [("ann", 0), ("bob", 1)]

    def test_a_lone_base_in_the_folder_is_everybodys(self, weights):
        """A single file without a step beside the voices is what they started from; other files are not."""
        voices = ("ann_e4_s80.pth", self.STILL), ("bob_e4_s80.pth", self.MOVED)
        history = read_history(weights(*voices, ("s2G.pth", "base_v2.pth")), "all")
        assert [(run.name, run.exit_code) for run in history.runs] == [("ann", 0), ("bob", 1), ("", 2)]
        others = read_history(weights(("G_400.pth", "G_400.pth")), "all")
        assert [(run.name, run.exit_code) for run in others.runs] == [("ann", 2), ("bob", 2), ("", 0)]

    def test_one_voice_and_its_training_files_are_one_run(self, weights):
        """An export and a G_* of one run belong together, in the order of steps."""
        history = read_history(weights(("G_400.pth", "G_400.pth"), ("ann_e8_s400.pth", self.STILL)), "all")
        assert [row.name for row in only(history).rows] == ["G_400.pth", "ann_e8_s400.pth"]
        assert history.exit_code == 0

    def test_ranks_of_lora_are_different_runs(self, weights):
        """The same voice trained twice, by ranks, is two runs."""
        lora = "lora_v3_e2_s50_l32.pth"
        folder = weights(("ann_e2_s50_l32.pth", lora), ("ann_e2_s50_l64.pth", lora), ("ann_e4_s99_l32.pth", lora))
        found = [(run.name, len(run.rows)) for run in read_history(folder, "all").runs]
        assert found == [("ann (LoRA rank 32)", 2), ("ann (LoRA rank 64)", 1)]

    def test_a_renamed_export_is_the_voices_that_it_names(self, checkpoints, tmp_path):
        """Where the name does not follow the pattern the configuration inside does."""
        shutil.copy(checkpoints / self.STILL, tmp_path / "my favourite.pth")
        shutil.copy(checkpoints / self.MOVED, tmp_path / "bob_e8_s400.pth")
        assert [run.name for run in read_history(str(tmp_path), "all").runs] == ["bob", "demo"]


@pytest.mark.parametrize("moved", [False, True])
def test_lora_rows_decide_the_status(vq_state, tmp_path, moved):
    """Of LoRA exports alone, equal codebooks are consistent and a moved one is not."""
    state = {name: value.half() for name, value in vq_state().items() if "ssl_proj" not in name}
    state["cfm.to_q.lora_A.default.weight"] = torch.ones(1)
    for step in (50, 99):
        if moved and step == 99:
            state[f"{CODEBOOK}.embed"] = state[f"{CODEBOOK}.embed"] * 2
        torch.save({"weight": state, "info": f"2epoch_{step}iteration"}, tmp_path / f"me_e2_s{step}_l32.pth")
    history = read_history(str(tmp_path), "all")
    assert (history.exit_code, {row.digest_of for row in only(history).rows}) == (int(moved), {"codebook"})


@pytest.mark.parametrize("named", ["option", "configuration"])
def test_a_base_without_the_projection_is_no_base_of_files_that_have_one(named, vq_state, tmp_path):
    """A LoRA export shows nothing of ssl_proj, so any would pass; for exports that lack it, too, it is one."""
    state = vq_state()
    lora = {name: value for name, value in state.items() if not name.startswith("ssl_proj.")}
    lora["cfm.lora_A.default.weight"] = torch.zeros(2)
    base = tmp_path / "lora.pth"
    torch.save({"weight": lora, "info": "1epoch_10iteration", "lora_rank": 32}, base)
    folder = tmp_path / "run"
    folder.mkdir()
    other = {**state, "ssl_proj.weight": state["ssl_proj.weight"] * 2}
    config = {"train": {"pretrained_s2G": str(base)}, "data": {"exp_dir": "run"}}
    torch.save({"model": other, "iteration": 2, "config": config}, folder / "G_200.pth")
    if named == "option":
        with pytest.raises(UsageError, match=r"holds the codebook alone, and G_200\.pth what stands in front"):
            read_history(str(folder), "all", base=str(base))
    else:
        history = read_history(str(folder), "all")
        assert (history.exit_code, only(history).base) == (2, None)
        assert only(history).unused_base == UnusedBase(BaseProblem.HOLDS_LESS, ("lora.pth",), "G_200.pth")
    torch.save({"weight": lora, "info": "2epoch_20iteration", "lora_rank": 32}, folder / "G_200.pth")
    assert read_history(str(folder), "all", base=str(base)).exit_code == 0
