"""`vqcheck restore` as a user runs it: what it prints and writes, and how it exits."""

import os
import subprocess
import sys

import pytest
import torch

from vqcheck.cli.main import main

CODES = "quantizer.vq.layers.0._codebook.embed"


@pytest.fixture
def files(tmp_path, save, vq_state):
    """A base, a file that drifted, and where the restored one goes."""
    base = save(vq_state(seed=1), "base.pth")
    drifted = save({**vq_state(seed=2), "enc_p.x": torch.rand(3)}, "drifted.pth")
    return str(base), str(drifted), str(tmp_path / "out.pth")


def test_diff_says_that_the_restored_file_has_the_bases_encoder(files, capsys):
    base, drifted, out = files
    assert main(["diff", base, drifted]) == 1
    assert main(["restore", base, drifted, "-o", out]) == 0
    assert main(["diff", base, out]) == 0
    assert "was not measured" in capsys.readouterr().out


def test_a_rounding_is_said(files, save, vq_state, capsys):
    """What an export in half precision gets is the base's rounding, not its bits; widening loses none."""
    base, _, out = files
    half = str(save({name: tensor.half() for name, tensor in vq_state(seed=3).items()}, "half.pth"))
    assert main(["restore", base, half, "-o", out]) == 0
    assert "base.pth, rounded to float16" in capsys.readouterr().out
    assert main(["restore", half, base, "-o", out]) == 0
    assert "rounded" not in capsys.readouterr().out


def test_a_file_that_has_not_drifted_is_copied(files, capsys):
    """The verdict says so; the copy is the file, byte for byte."""
    base, _, out = files
    assert main(["restore", base, base, "-o", out]) == 0
    assert capsys.readouterr().out.startswith("unchanged")
    with open(base, "rb") as file, open(out, "rb") as copy:
        assert file.read() == copy.read()


def test_the_document_follows_its_schema(files, valid, capsys):
    base, drifted, out = files
    assert main(["restore", base, drifted, "-o", out, "--format", "json"]) == 0
    document = valid(capsys.readouterr().out)
    assert (document["verdict"], document["measurement"]) == ("restored", None)
    assert document["before"] != document["after"]
    assert main(["restore", base, drifted + "x", "-o", out, "--format", "json"]) == 2
    assert valid(capsys.readouterr().out)["exit_code"] == 2


@pytest.mark.parametrize("format_", ["text", "junit", "sarif", "github", "html", "csv"])
def test_every_format_reports_it(files, tmp_path, format_, capsys):
    base, drifted, out = files
    report = str(tmp_path / "report")
    assert main(["restore", base, drifted, "-o", out, "--format", format_, "--report", report]) == 0
    capsys.readouterr()
    assert os.path.getsize(report)
    assert torch.equal(*(torch.load(each, weights_only=True)["weight"][CODES] for each in (base, out)))


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize("number", [0, 1])
def test_an_input_is_never_written_over(files, tmp_path, number, link, capsys):
    """Under any of its names."""
    target = files[number]
    if link:
        target = str(tmp_path / "other.pth")
        link(files[number], target)
    with open(files[number], "rb") as file:
        before = file.read()
    assert main(["restore", *files[:2], "-o", target]) == 2
    assert "output must go to another file" in capsys.readouterr().err
    with open(files[number], "rb") as file:
        assert file.read() == before


def test_the_report_is_not_written_over_the_restored_file(files, capsys):
    base, drifted, out = files
    assert main(["restore", base, drifted, "-o", out, "--report", out]) == 2
    assert not os.path.exists(out)
    assert "another file" in capsys.readouterr().err


def test_what_fails_leaves_nothing_behind_and_an_old_file_as_it_was(files, tmp_path, save, vq_state, capsys):
    _, drifted, out = files
    small = save(vq_state(codes=4), "small.pth")
    with open(out, "w") as file:
        file.write("old")
    names = sorted(os.listdir(tmp_path))
    assert main(["restore", str(small), drifted, "-o", out]) == 2
    assert main(["restore", str(small), drifted, "-o", str(tmp_path / "no" / "out.pth")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert sorted(os.listdir(tmp_path)) == names
    with open(out) as file:
        assert file.read() == "old"


def test_a_disk_that_is_full_leaves_nothing_behind(files, tmp_path, monkeypatch, capsys):
    base, drifted, out = files
    names = sorted(os.listdir(tmp_path))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["restore", base, drifted, "-o", out]) == 2
    assert "No space left" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == names


def test_advice_of_diff_names_restore_after_training_alone(checkpoints, tmp_path, capsys):
    """A codebook that was trained on can be put back; one that is another altogether can not."""
    base, drifted = (str(checkpoints / name) for name in ("base_v2.pth", "drifted_v2_e8_s400.pth"))
    main(["diff", base, drifted])
    said = " ".join(capsys.readouterr().out.split())
    assert "vqcheck restore A B" in said
    assert "Against it speaks" in said
    state = torch.load(base, weights_only=True)["weight"]
    name = next(name for name in state if name.endswith("_codebook.embed"))
    torch.manual_seed(0)
    for part in ("embed", "embed_avg"):
        state[name.replace("embed", part)] = torch.randn(state[name].shape).half()
    torch.save({"weight": state}, tmp_path / "another.pth")
    main(["diff", base, str(tmp_path / "another.pth")])
    assert "vqcheck restore" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["restore", "extract"])
def test_torch_is_never_needed(files, command):
    """Both work with torch blocked; measuring says in one line that it needs it."""
    base, drifted, out = files
    program = "import sys; sys.modules['torch'] = None\nfrom vqcheck.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    given = [base, drifted] if command == "restore" else [base]
    run = subprocess.run(
        [sys.executable, "-c", program, command, *given, "-o", out], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    if command == "restore":
        more = ["--experiment", ".", "--symbols", "."]
        run = subprocess.run(
            [sys.executable, "-c", program, command, *given, "-o", out, *more],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 2
        assert "needs torch" in run.stderr
        assert len(run.stderr.splitlines()) == 1
