"""`vqcheck replay` as a user runs it: reports, exit statuses, saved checkpoints, interruption, several processes."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from warm import HANGS

from vqcheck.cli.main import main

ROOT = Path(__file__).parents[2]

QUICK = """
[data]
generated_items = 6
[training]
batch_size = 2
[replay]
steps = 2
"""
SMALL_V2 = """
[subject]
version = "v2"
[data]
exp_dir = "{folder}"
[training]
batch_size = 2
segment_size = 5120
[model]
inter_channels = 16
hidden_channels = 16
filter_channels = 32
n_layers = 2
resblock_kernel_sizes = [3]
resblock_dilation_sizes = [[1, 3, 5]]
upsample_initial_channel = 64
gin_channels = 32
mrte_hidden = 32
mrte_heads = 2
posterior_layers = 2
flow_layers = 2
n_flows = 2
codebook_size = 32
[discriminator]
narrowing = 16
periods = [2]
[replay]
steps = 2
"""
INTERRUPTIBLE = """
import signal, sys
from vqcheck.cli.main import main
from vqcheck.report.render.live_view import ProgressLines
ProgressLines.begin = ProgressLines.arm = lambda *_: None
ProgressLines.step = lambda self, strategy, trace: print("step", trace.step, file=sys.stderr, flush=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
sys.exit(main())
"""


@pytest.fixture
def quick(tmp_path):
    """The path of a configuration that takes a second; a text is put in place of the usual one."""

    def make(text=QUICK):
        path = tmp_path / "replay.toml"
        path.write_text(text.replace("{folder}", (ROOT / "fixtures" / "experiment").as_posix()), "utf-8")
        return path

    return make


@pytest.fixture(scope="module")
def replayed():
    """What replays of equal configurations came to: for tests of what is told of one, and not of the replay."""
    return {}


@pytest.fixture
def here(capsys, monkeypatch, replayed):
    """Runs the command in this process, which has imported torch already; returns what a process would.

    A configuration is replayed once, however often it is told of.
    """
    import vqcheck.replay.run

    real = vqcheck.replay.run.replay

    def once(config, observer=None, save=None):
        if save is not None:
            return real(config, observer, save=save)
        asked = repr(config)
        if asked not in replayed:
            replayed[asked] = real(config, save=save)
        return replayed[asked]

    monkeypatch.setattr(vqcheck.replay.run, "replay", once)

    def run(*arguments, cwd=ROOT):
        monkeypatch.chdir(cwd)
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return run


@pytest.mark.slow
def test_the_default_replay_shows_before_and_after(vqcheck):
    """Without a configuration: the old way drifts with a commit loss between 0 and 1, both fixes hold every bit."""
    done = vqcheck("replay")
    assert done.returncode == 0
    assert all(line.startswith("replay: ") for line in done.stderr.splitlines())
    assert done.stdout.startswith("as expected  the codebook drifts under requires-grad; it is bit-identical under ")
    row = re.search(r"requires-grad +drifted +(\S+)\.\.(\S+) ", done.stdout)
    assert 0 < float(row[1]) < float(row[2]) < 1
    for fix in ("eval-in-forward", "maybe-no-grad"):
        assert re.search(rf"  {fix} +frozen +0 \(off\) .* 0/64 +still +0/", done.stdout)
    assert done.stdout.count("bit-identical after 30 steps") == 2
    assert "codebook.py:" in done.stdout


def test_a_quick_replay_has_five_steps_and_a_control(here, valid, quick):
    """The same arms and rules; a number of steps beside it is refused."""
    done = here("replay", quick(), "--quick", "--format", "json")
    document = valid(done.stdout)
    assert (done.returncode, document["verdict"], document["setting"]["steps"]) == (0, "as expected", 5)
    assert any(arm["control"] for arm in document["arms"])
    assert sum(arm["verdict"] == "frozen" for arm in document["arms"]) >= 1
    assert here("replay", quick(), "--quick", "--steps", "3").returncode == 2


def test_json_fits_its_schema(here, valid, quick):
    """The document is whole: every arm with every step, tensor, write and digest."""
    done = here("replay", quick(), "--format", "json")
    document = valid(done.stdout)
    assert done.returncode == document["exit_code"] == 0
    arms = {arm["strategy"]: arm for arm in document["arms"]}
    assert list(arms) == ["requires-grad", "eval-in-forward", "maybe-no-grad"]
    for arm in arms.values():
        assert (arm["verdict"], len(arm["steps"])) == (arm["expected"], 2)
    before, after = arms["requires-grad"], arms["maybe-no-grad"]
    assert {write["label"] for write in before["first_writes"]} == {"codes", "ema_sum", "ema_count"}
    assert all(write["operator"].startswith("aten.") and write["line"] > 0 for write in before["first_writes"])
    assert [step["commit_loss"] for step in after["steps"]] == [0.0, 0.0]
    assert {step["commit_loss_state"] for step in after["steps"]} == {"off (eval mode)"}
    assert all(step["shadow_commit_loss"] > 0 for step in after["steps"])
    assert after["digests"]["start"] == after["digests"]["end"] == before["digests"]["start"]
    assert before["digests"]["first_change"] != before["digests"]["start"]


def test_csv_has_a_row_for_each_step(here, quick, tmp_path):
    """The table has every arm's steps with the figures of each tensor, also when written to a file."""
    target = tmp_path / "trace.csv"
    done = here("replay", quick(), "--format", "csv", "-o", target)
    assert (done.returncode, done.stdout) == (0, "")
    rows = list(csv.DictReader(io.StringIO(target.read_text("utf-8"))))
    assert [(row["strategy"], row["step"]) for row in rows[:3]] == [
        ("requires-grad", "1"),
        ("requires-grad", "2"),
        ("eval-in-forward", "1"),
    ]
    assert [row["codes.changed"] for row in rows] == ["1", "1", "0", "0", "0", "0"]
    assert rows[0]["seconds"] == ""
    assert float(rows[1]["seconds"]) > 0
    assert all(0 < float(row["shadow_commit_loss"]) < 1 for row in rows)


@pytest.mark.slow
def test_a_recorded_experiment_under_every_strategy(here, valid, quick):
    """A TOML that names an experiment directory trains on its items; --all runs the matrix."""
    done = here("replay", quick(SMALL_V2), "--all", "--format", "json")
    document = valid(done.stdout)
    assert (done.returncode, document["verdict"]) == (0, "as expected"), done.stderr
    assert [arm["strategy"] for arm in document["arms"]] == [
        "none",
        "requires-grad",
        "eval-at-init",
        "no-grad",
        "eval-in-forward",
        "maybe-no-grad",
        "freeze",
    ]
    assert "4 items of" in document["setting"]["data"]
    assert any("ids in sorted order" in note for note in document["setting"]["notes"])


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2Pro"])
def test_an_s2_json_starts_from_its_checkpoints(here, valid, tmp_path, version):
    """GPT-SoVITS's own JSON is taken as it stands: pretrained G and D, experiment, sizes, batch size and seed."""
    from vqcheck.synthesizer import MultiPeriodDiscriminator, preset

    torch.manual_seed(0)
    sizes = {
        "inter_channels": 16,
        "hidden_channels": 16,
        "filter_channels": 32,
        "n_layers": 2,
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3, 5]],
        "upsample_initial_channel": 64,
        "gin_channels": 32,
        "mrte_hidden": 32,
        "mrte_heads": 2,
        "posterior_layers": 2,
        "flow_layers": 2,
        "n_flows": 2,
        "codebook_size": 32,
    }
    net_g = preset(version).synthesizer(**sizes)
    net_g.initialise_codebook(torch.randn(2, 768, 60))
    half = {name: value.half() for name, value in net_g.state_dict().items()}
    net_d = MultiPeriodDiscriminator(version=version, narrowing=16, periods=[2])
    (tmp_path / "pretrained").mkdir()
    torch.save({"weight": half, "config": {}}, tmp_path / "pretrained" / "s2G.pth")
    torch.save({"weight": net_d.state_dict()}, tmp_path / "pretrained" / "s2D.pth")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "me").symlink_to(ROOT / "fixtures" / "experiment")
    settings = {
        "train": {
            "batch_size": 2,
            "seed": 99,
            "fp16_run": True,
            "segment_size": 5120,
            "pretrained_s2G": "pretrained/s2G.pth",
            "pretrained_s2D": "pretrained/s2D.pth",
        },
        "data": {"exp_dir": "logs/me", "hop_length": 640, "mel_fmax": None, "n_speakers": 300},
        "model": {**sizes, "version": version, "narrowing": 16, "periods": [2], "freeze_quantizer": True},
    }
    (tmp_path / "s2.json").write_text(json.dumps(settings), "utf-8")
    done = here("replay", "s2.json", "--steps", "2", "--format", "json", cwd=tmp_path)
    document = valid(done.stdout)
    assert (done.returncode, document["verdict"]) == (0, "as expected"), done.stderr
    assert document["setting"]["weights"].endswith("s2G.pth")
    assert (document["setting"]["seed"], document["setting"]["batch_size"]) == (99, 2)
    # a frozen fp32 run keeps the digest of the fp16 file that it started from
    inspected = valid(here("inspect", tmp_path / "pretrained" / "s2G.pth", "--format", "json").stdout)
    stored = inspected["files"][0]["vq_encoder"]["digests"]["sha256-f32v1"]["vq_encoder"]
    assert {arm["digests"]["start"]["vq_encoder"] for arm in document["arms"]} == {stored}


@pytest.mark.slow
def test_saved_checkpoints_tell_the_same_story_to_diff(here, valid, quick, tmp_path):
    """The checkpoints that --save leaves are upstream's kind, and diff finds between them what the replay says."""
    folder = tmp_path / "saved"
    done = here("replay", quick(), "--save", folder, "--format", "json")
    arms = {arm["strategy"]: arm for arm in valid(done.stdout)["arms"]}
    paths = {name: Path(arm["checkpoint"]) for name, arm in arms.items()}
    saved = torch.load(paths["requires-grad"], weights_only=True)
    assert list(saved) == ["model", "iteration", "optimizer", "learning_rate"]
    assert (paths["requires-grad"].name, saved["iteration"], saved["learning_rate"]) == ("G_2.pth", 1, 1e-4)
    assert (folder / "requires-grad" / "D_2.pth").is_file()

    same = here("diff", paths["eval-in-forward"], paths["maybe-no-grad"], "--format", "json")
    assert (same.returncode, valid(same.stdout)["verdict"]) == (0, "identical")
    moved = here("diff", paths["maybe-no-grad"], paths["requires-grad"], "--format", "json")
    difference = valid(moved.stdout)
    assert (moved.returncode, difference["verdict"]) == (1, "changed")
    changed = {tensor["label"] for tensor in difference["tensors"] if tensor["verdict"] == "changed"}
    assert changed == {write["label"] for write in arms["requires-grad"]["first_writes"]}
    assert difference["b"]["digests"]["vq_encoder"] == arms["requires-grad"]["digests"]["end"]["vq_encoder"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for another process")
def test_ctrl_c_writes_what_was_measured(quick, valid, tmp_path):
    """An interrupted replay writes its steps so far, says that it is incomplete, and ends in 2."""
    target = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "replay", quick(), "--steps", "100000", "--format", "json", "-o", target],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        # in the middle of the first arm, however slow the machine
        assert process.stderr.readline() == b"step 1\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    assert (process.returncode, out) == (2, b""), errors
    document = valid(target.read_text("utf-8"))
    assert (document["verdict"], document["complete"], document["exit_code"]) == ("incomplete", False, 2)
    (arm,) = document["arms"]
    assert (arm["strategy"], arm["complete"]) == ("requires-grad", False)
    assert 0 < arm["steps_run"] < 100000


@pytest.mark.slow
def test_under_torchrun_ranks_are_compared(quick, valid, tmp_path):
    """Two processes train as one: one report, the same bits on every rank after every step, the same verdicts."""
    target = tmp_path / "trace.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "vqcheck"]
    done = subprocess.run(
        [
            *command,
            "replay",
            quick(),
            "--strategy",
            "none",
            "--strategy",
            "maybe-no-grad",
            "--format",
            "json",
            "-o",
            target,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    document = valid(target.read_text("utf-8"))
    assert (document["setting"]["processes"], document["verdict"]) == (2, "as expected")
    for arm in document["arms"]:
        assert arm["steps_with_rank_differences"] == 0
        assert [step["differing_across_ranks"] for step in arm["steps"]] == [[], []]


@pytest.mark.parametrize("encoding", ["gbk", "ascii"])
def test_every_console_can_show_the_report(here, quick, monkeypatch, encoding):
    """Sparklines use what the stream can encode; a pipe gets no colour and no live view."""
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    assert here("replay", quick()).returncode == 0
    text = console.buffer.getvalue().decode(encoding)
    assert "\x1b" not in text
    assert "\\u" not in text
    assert re.search(r" [▁▂▃▄▅▆▇█]{2} " if encoding != "ascii" else r" [_.~=+*#-]{2} ", text)


def test_quiet_says_nothing(here, quick):
    """With -q the exit status is the whole answer."""
    done = here("replay", quick(), "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_an_arm_that_fails_its_expectation_ends_in_1(here, valid, quick):
    """The configuration can expect otherwise, and then an arm that does the usual is the one that failed."""
    path = quick(QUICK + '[expected]\nno-grad = "frozen"\n')
    done = here("replay", path, "--strategy", "none", "--strategy", "no-grad", "--format", "json")
    document = valid(done.stdout)
    assert (done.returncode, document["verdict"]) == (1, "not as expected")
    text = here("replay", path, "--strategy", "none", "--strategy", "no-grad")
    assert text.stdout.startswith("not as expected  no-grad did not do what was expected")


BAD = {
    "no config": (["nowhere.toml"], None, r"nowhere\.toml: cannot be read"),
    "no experiment": ([], '[subject]\nversion = "v2"\n[data]\nexp_dir = "nowhere"', r"there is no .*nowhere"),
    "tiny on speech": ([], '[data]\nexp_dir = "{folder}"', "tiny' takes generated data only"),
    "unknown key": ([], "[replay]\nstep = 3", r"unknown key replay\.step; did you mean steps\?"),
    "unknown strategy": (["--strategy", "eval"], None, "unknown strategy 'eval'"),
    "both": (["--all", "--strategy", "none"], None, "exclude each other"),
    "no steps": (["--steps", "0"], None, "0 is not in the range"),
    "no CUDA": (["--device", "cuda:63"], None, "sees [0-9]+ CUDA devices"),
    "half on a CPU": (["--device", "cpu", "--precision", "fp16"], None, "needs CUDA"),
    "no checkpoint": ([], '[subject]\nversion = "v2"\npretrained_s2G = "gone.pth"', r"there is no .*gone\.pth"),
    "GPT": ([], '[subject]\nversion = "v2"\npretrained_s2G = "{folder}/../checkpoints/gpt-e15.ckpt"', "s1"),
    "other version": (
        [],
        '[subject]\nversion = "v2"\npretrained_s2G = "{folder}/../checkpoints/sovits_v2pro_e2_s100.pth"',
        "is a v2Pro checkpoint .* the configuration says v2",
    ),
    "never trained": (
        [],
        '[subject]\nversion = "v2"\npretrained_s2G = "{folder}/../checkpoints/never_trained_v2.pth"',
        "its codebook is never trained",
    ),
    "other sizes": (
        [],
        '[subject]\nversion = "v2"\npretrained_s2G = "{folder}/../checkpoints/base_v2.pth"',
        "has the shape .* the configured model's has",
    ),
    "no discriminator": (
        [],
        '[subject]\npretrained_s2D = "{folder}/../checkpoints/base_v2.pth"',
        "is not a discriminator",
    ),
    "sizes that clash": ([], "[model]\ngin_channels = 5", "gin_channels: expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_before_any_work(here, valid, quick, case):
    """Whatever is wrong is said in one line on stderr, with status 2 and a valid document for machines."""
    arguments, text, message = BAD[case]
    config = [] if text is None else [quick(text)]
    done = here("replay", *config, *arguments, "--format", "json")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(message, done.stderr)
    document = valid(done.stdout)
    assert (document["verdict"], document["exit_code"]) == ("could not check", 2)


def test_a_failed_run_in_csv_is_a_table_without_rows(here):
    """On status 2 the table is still one: a heading and no rows."""
    done = here("replay", "--strategy", "nothing", "--format", "csv")
    assert done.returncode == 2
    assert done.stdout.startswith("strategy,step,")
    assert len(done.stdout.splitlines()) == 1


def test_without_torch_the_command_says_what_to_install():
    """Where the extra is not installed the answer is the line that installs it."""
    code = "import sys; sys.modules['torch'] = None; from vqcheck.cli.main import main; sys.exit(main(['replay']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "replay needs torch: pip install 'vqcheck[replay]'" in done.stderr
