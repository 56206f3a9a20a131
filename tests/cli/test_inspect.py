"""`vqcheck inspect` as a user runs it."""

import json
import pathlib

import pytest
import torch

from vqcheck.cli.main import main


def fact(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"  {name} ")).split(maxsplit=1)[1]


@pytest.mark.parametrize(
    ("file", "facts"),
    [
        ("base_v2.pth", {"Model": "GPT-SoVITS v2 s2 synthesizer", "Format": "torch zip, state dict under 'weight'"}),
        ("base_v2.safetensors", {"Format": "safetensors", "Precision": "11 tensors float16"}),
        ("G_400.pth", {"Precision": "11 tensors float32", "Training": "epoch 8, step 400"}),
        ("frozen_v2_e8_s400.pth", {"Training": "info '8epoch_400iteration', epoch 8, step 400", "Not": "enc_q"}),
        ("sovits_v2pro_e2_s100.pth", {"Model": "GPT-SoVITS v2Pro", "Format": "header overwritten with code 05"}),
        ("lora_v3_e2_s50_l32.pth", {"Model": "GPT-SoVITS v3 s2 LoRA export", "Not": "ssl_proj"}),
    ],
)
def test_what_is_in_this_file(vqcheck, checkpoints, file, facts):
    """Format, container, version, precision, training state and what is missing are told for each kind of file."""
    run = vqcheck("inspect", checkpoints / file)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("healthy  ")
    health = "128 codes: 126 in use, 2 dead (count below 2), perplexity 115; sums and counts fit the codes"
    assert health in fact(run.stdout, "Health")
    for name, words in facts.items():
        assert words in fact(run.stdout, name)


@pytest.mark.parametrize("file", ["gpt-e15.ckpt", "lightning_s1.ckpt"])
def test_an_s1_checkpoint_is_described_and_could_not_be_checked(vqcheck, checkpoints, file):
    """It says what the file is and which file holds the codebook, and ends in 2."""
    run = vqcheck("inspect", checkpoints / file)
    assert run.returncode == 2
    assert "s1 GPT" in fact(run.stdout, "Model")
    assert "s2G" in fact(run.stdout, "VQ")


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 1)])
def test_never_trained_fails_only_when_strict(vqcheck, checkpoints, strict, code):
    """A codebook that waits for its first batch is said loudly, and is status 1 with `--strict`."""
    run = vqcheck("inspect", checkpoints / "never_trained_v2.pth", *strict)
    assert run.returncode == code
    assert "NEVER TRAINED" in run.stdout
    assert vqcheck("inspect", checkpoints / "base_v2.pth", *strict).returncode == 0


def test_codebooks_with_the_same_illness_share_a_line(vqcheck, save):
    """A residual codec of 32 codebooks that waits for its first batch says so once, not 32 times."""
    names = ("inited", "cluster_size", "embed", "embed_avg")
    tensors = {"inited": torch.zeros(1), "cluster_size": torch.zeros(4)}
    state = {
        f"quantizer.vq.layers.{layer}._codebook.{name}": tensors.get(name, torch.zeros(4, 2))
        for layer in range(32)
        for name in names
    }
    health = [line.split() for line in vqcheck("inspect", save(state)).stdout.splitlines() if "  Health" in line]
    assert [line[:4] for line in health] == [["Health", "0..31:", "NEVER", "TRAINED"]]


def test_verbose_shows_whole_digests(vqcheck, checkpoints):
    """Short digests are 12 digits, `-v` shows all 64."""
    path = checkpoints / "base_v2.pth"
    short, whole = (vqcheck("inspect", path, *flag).stdout for flag in ([], ["-v"]))
    digest = "a999277e57d91009e86fa5f7f0d281b5b8692c5cfa20462f75c1793c2c069235"
    assert fact(whole, "vq_encoder") == digest
    assert fact(short, "vq_encoder") == digest[:12]


class Settings:
    def __init__(self):
        self.rate = 32000


def test_verbose_names_the_classes_that_run_code(vqcheck, checkpoints, tmp_path):
    """Only those that are no plain data, and only when asked; JSON always has them."""
    state = torch.load(checkpoints / "base_v2.pth", weights_only=False)["weight"]
    torch.save({"weight": state, "config": Settings(), "where": pathlib.PurePosixPath("a")}, tmp_path / "a.pth")
    name = f"{Settings.__module__}.Settings"
    assert fact(vqcheck("inspect", "-v", tmp_path / "a.pth").stdout, "Runs code").endswith(
        f"weights_only=False: {name}"
    )
    assert "Runs code" not in vqcheck("inspect", tmp_path / "a.pth").stdout
    assert "Runs code" not in vqcheck("inspect", "-v", checkpoints / "base_v2.pth").stdout
    (file,) = json.loads(vqcheck("inspect", "--format", "json", tmp_path / "a.pth").stdout)["files"]
    assert file["classes"] == [name]


def test_one_bad_file_among_several(vqcheck, valid, checkpoints, tmp_path):
    """The good ones are described, the bad one is named on stderr, and 2 beats 0; JSON lists them all."""
    good, bad = checkpoints / "base_v2.pth", tmp_path / "absent.pth"
    run = vqcheck("inspect", good, bad)
    assert run.returncode == 2
    assert "healthy" in run.stdout
    assert run.stderr == f"vqcheck: {bad}: no such file\n"
    document = valid(vqcheck("inspect", good, bad, "--format", "json").stdout)
    assert [file["verdict"] for file in document["files"]] == ["healthy", "could not check"]
    assert document["exit_code"] == 2


@pytest.mark.parametrize(
    "file", ["base_v2.pth", "never_trained_v2.pth", "gpt-e15.ckpt", "lora_v3_e2_s50_l32.pth", "base_v2.safetensors"]
)
def test_json_fits_its_schema(vqcheck, valid, checkpoints, file):
    """Every kind of file gives one valid document whose status is the process's."""
    run = vqcheck("inspect", checkpoints / file, "--format", "json")
    document = valid(run.stdout)
    assert document["exit_code"] == run.returncode
    assert document["files"][0]["path"].endswith(file)


def test_help_shows_examples(vqcheck):
    """Each command's help has examples and the exit statuses."""
    for command in ("inspect", "diff"):
        run = vqcheck(command, "--help")
        assert run.returncode == 0
        assert f"vqcheck {command} " in run.stdout
        assert "Exit status" in run.stdout


def test_version(vqcheck):
    """`--version` names the program and its version."""
    from vqcheck import __version__

    run = vqcheck("--version")
    assert (run.returncode, run.stdout) == (0, f"vqcheck, version {__version__}\n")


def test_several_files_are_listed_first_a_line_each(checkpoints, capsys, monkeypatch):
    """On eighty columns, too: verdict, name, model and digest."""
    monkeypatch.chdir(checkpoints)
    names = ["base_v2.pth", "G_437.pth", "lora_v3_e2_s50_l32.pth", "gpt-e15.ckpt", "absent.pth"]
    assert main(["inspect", *names]) == 2
    table = capsys.readouterr().out.partition("Files\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert [line.split()[-1] for line in table] == ["a999277e57d9", "ca4be60f19cd", "alone", "GPT", "absent.pth"]
    assert all(name in line for name, line in zip(names, table, strict=True))
    assert max(map(len, table)) <= 80
    assert main(["inspect", "base_v2.pth"]) == 0
    assert "Files\n" not in capsys.readouterr().out


def test_patterns_are_expanded_where_no_shell_did_it(checkpoints, capsys, monkeypatch):
    """What the pattern finds is inspected by number."""
    monkeypatch.chdir(checkpoints)
    assert main(["inspect", "G_*.pth", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [file["path"] for file in found["files"]] == ["G_400.pth", "G_437.pth"]


@pytest.mark.parametrize("kind", ["text", "json", "html", "junit", "sarif", "csv", "github"])
def test_without_digests_no_value_is_read_and_none_is_judged(checkpoints, capsys, monkeypatch, valid, kind):
    from vqcheck.checkpoint.opened import Checkpoint
    from vqcheck.cli.main import main

    monkeypatch.setattr(Checkpoint, "read", lambda *_: pytest.fail("a value was read"))
    files = [str(checkpoints / name) for name in ("base_v2.pth", "never_trained_v2.pth")]
    assert main(["inspect", "--no-digests", *files, "--format", kind]) == 0
    shown = capsys.readouterr().out
    assert "not read" in shown
    assert "fit for use: " not in shown
    if kind == "json":
        document = valid(shown)
        assert document["verdict"] == "not read"
        encoder = document["files"][0]["vq_encoder"]
        assert encoder["codebooks"] == []
        assert encoder["digests"]["sha256-f32v1"]["vq_encoder"] is None


def test_without_digests_there_is_nothing_to_be_strict_about(checkpoints, capsys):
    from vqcheck.cli.main import main

    assert main(["inspect", "--no-digests", "--strict", str(checkpoints / "base_v2.pth")]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert main(["inspect", "--no-digests", str(checkpoints / "gpt-e15.ckpt")]) == 2
