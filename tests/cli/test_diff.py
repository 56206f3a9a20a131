"""`vqcheck diff` as a user runs it: what it prints, where, and how it exits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vqcheck.cli.main import main


def test_equal_files_give_one_line_with_the_digest(vqcheck, checkpoints):
    """Nothing changed: status 0, one line on stdout, nothing on stderr."""
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_400.pth")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "identical  sha256-f32v1 a999277e57d9  same VQ encoder (A stores float16, B float32)\n"


def test_changed_files_give_the_table(vqcheck, checkpoints):
    """A drifted codebook: status 1, every tensor with its verdict and rows; with -v where, and both digests."""
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "drifted_v2_e8_s400.pth")
    detailed = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "drifted_v2_e8_s400.pth", "-v").stdout
    assert (run.returncode, run.stderr) == (1, "")
    lines = run.stdout.splitlines()
    assert lines[0].startswith("changed")
    codes = next(line for line in lines if line.startswith("  codes "))
    assert codes.split() == ["codes", "changed", "127", "of", "128", "0.0146"]
    codes = next(line for line in detailed.splitlines() if line.startswith("  codes "))
    assert "at [0, 79, 9]" in codes
    assert codes.split()[-2:] == ["5697b8b1765e", "24d407c6e822"]
    assert any(line.split()[:2] == ["input_proj.weight", "identical"] for line in lines)


ONE_FILE = "both names are of one file, which was compared with itself"


@pytest.mark.parametrize("name", ["itself", "another spelling", "symlink", "hard link", "folder"])
def test_one_file_under_two_names_is_told_as_one(name, checkpoints, tmp_path, valid, capsys):
    """Status 0, and a sentence that says why in every format that people read; a copy is another file."""
    path = tmp_path / "base.pth"
    shutil.copy(checkpoints / "base_v2.pth", path)
    other = tmp_path / "other.pth"
    if name == "symlink":
        other.symlink_to(path)
    elif name == "hard link":
        os.link(path, other)
    elif name == "another spelling":
        other = Path(f"{tmp_path}/./../{tmp_path.name}/base.pth")
    else:
        other = path if name == "itself" else tmp_path
    copied = tmp_path.parent / "copied.pth"
    shutil.copy(path, copied)
    for b, said in ((other, True), (copied, False)):
        for options in ([], ["-v"], *(["--format", form] for form in ("junit", "html", "github"))):
            assert main(["diff", str(path), str(b), *options]) == 0
            out = " ".join(capsys.readouterr().out.split())
            summary = "" if "github" not in options else _summary(tmp_path, path, b)
            assert (ONE_FILE in (out + summary).replace("Both names", "both names")) is said, (options, out)
        assert main(["diff", str(path), str(b), "--format", "json"]) == 0
        assert valid(capsys.readouterr().out)["one_file"] is said


def _summary(folder, a, b):
    assert main(["diff", str(a), str(b), "--format", "github", "-q", "-o", str(folder / "summary.md")]) == 0
    return " ".join((folder / "summary.md").read_text("utf-8").split())


def test_verbose_gives_the_table_of_an_equal_pair(vqcheck, checkpoints):
    """`-v` shows every tensor although nothing changed."""
    run = vqcheck("diff", "-v", checkpoints / "base_v2.pth", checkpoints / "G_400.pth")
    assert run.returncode == 0
    assert sum(line.split()[1:2] == ["identical"] for line in run.stdout.splitlines()) == 6


def test_quiet_says_it_by_status_alone(vqcheck, checkpoints):
    """`-q` prints nothing; the status still tells equal from changed."""
    base = checkpoints / "base_v2.pth"
    same, changed = (vqcheck("diff", "-q", base, checkpoints / b) for b in ("G_400.pth", "G_437.pth"))
    assert [(run.returncode, run.stdout, run.stderr) for run in (same, changed)] == [(0, "", ""), (1, "", "")]


@pytest.mark.parametrize(
    ("b", "verdict", "code"),
    [
        ("G_400.pth", "identical", 0),
        ("drifted_v2_e8_s400.pth", "changed", 1),
        ("lora_v3_e2_s50_l32.pth", "identical", 0),
        ("gpt-e15.ckpt", "could not check", 2),
        ("absent.pth", "could not check", 2),
    ],
)
def test_json_is_one_valid_document_with_the_same_status(vqcheck, valid, checkpoints, b, verdict, code):
    """Whatever the outcome, stdout holds one document that fits its schema and agrees with the exit status."""
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / b, "--format", "json")
    document = valid(run.stdout)
    assert (document["verdict"], document["exit_code"], run.returncode) == (verdict, code, code)


def test_json_is_complete_for_an_equal_pair(vqcheck, valid, checkpoints):
    """Every tensor and digest is there although the text would be one line."""
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_400.pth", "--format", "json")
    document = valid(run.stdout)
    assert len(document["tensors"]) == 6
    assert document["a"]["digests"] == document["b"]["digests"]
    assert all(digest.startswith("sha256-f32v1:") for digest in document["a"]["digests"]["tensors"].values())


def test_an_s1_checkpoint_explains_itself(vqcheck, checkpoints):
    """One line says that it holds no codebook, what it was trained on, and what would settle it; status 2."""
    run = vqcheck("diff", checkpoints / "gpt-e15.ckpt", checkpoints / "base_v2.pth")
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.splitlines()) == 1
    assert "gpt-e15.ckpt: is an s1 (GPT) checkpoint" in run.stderr
    assert "logs/demo/6-name2semantic.tsv" in run.stderr
    assert "--experiment" in run.stderr


def test_never_trained_is_said_first(vqcheck, checkpoints):
    """Two equal codebooks that were never trained: still status 0, but the warning comes before the verdict."""
    path = checkpoints / "never_trained_v2.pth"
    run = vqcheck("diff", path, path)
    lines = run.stdout.splitlines()
    assert run.returncode == 0
    assert lines[0].startswith("WARNING: the codebook of")
    assert "was never trained" in " ".join(run.stdout.split()).partition(" identical ")[0]
    assert any(line.startswith("identical") for line in lines)
    assert "pretrained_s2G" in run.stdout


def test_scope_tokens_is_said(vqcheck, save, vq_state):
    """With `--scope tokens` changed bookkeeping passes, and the line says that it was not judged."""
    state = vq_state()
    a = save(state, "a.pth")
    state["quantizer.vq.layers.0._codebook.cluster_size"] *= 0.5
    run = vqcheck("diff", a, save(state, "b.pth"), "--scope", "tokens")
    assert run.returncode == 0
    assert "bookkeeping not judged" in run.stdout


def test_a_report_file_is_replaced_only_by_a_whole_one(vqcheck, valid, checkpoints, tmp_path):
    """`-o` writes the report and nothing to stdout; a run that fails leaves the old report and no litter."""
    report = tmp_path / "diff.json"
    base = checkpoints / "base_v2.pth"
    run = vqcheck("diff", base, checkpoints / "G_437.pth", "--format", "json", "-o", report)
    assert (run.returncode, run.stdout) == (1, "")
    before = report.read_text()
    assert valid(before)["verdict"] == "changed"
    failed = vqcheck("diff", base, tmp_path / "absent.pth", "--format", "json", "-o", report)
    assert failed.returncode == 2
    assert report.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["diff.json"]


def test_an_unwritable_report_is_status_2(vqcheck, checkpoints, tmp_path):
    """A report that cannot be written is an error that names the file, also when the files agree."""
    target = tmp_path / "no" / "such" / "folder.txt"
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_400.pth", "-o", target)
    assert run.returncode == 2
    assert "folder.txt: cannot be written" in run.stderr


@pytest.mark.parametrize("arguments", [["diff"], ["diff", "a"], ["diff", "a", "b", "--scope", "x"], ["nonsense"]])
@pytest.mark.parametrize("machine", [False, True])
def test_a_usage_error_is_status_2_with_one_line(vqcheck, arguments, machine):
    """Wrong use never ends in 1; with `--format json` it is a document, too."""
    run = vqcheck(*arguments, *(["--format", "json"] if machine else []))
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert (json.loads(run.stdout)["exit_code"] == 2) if machine else (run.stdout == "")


def test_an_internal_error_is_status_2_and_debug_shows_where():
    """An unexpected exception is one line and status 2; `--debug` gives the traceback."""
    program = (
        "import sys, vqcheck.checkpoint.open as o, vqcheck.cli.diff as d\n"
        "def broken(path): raise ZeroDivisionError('planted')\n"
        "d.open_as_stored = broken\n"
        "from vqcheck.cli.main import main\n"
        "sys.exit(main(['diff', 'a', 'b', *sys.argv[1:]]))\n"
    )
    plain, debug = (
        subprocess.run([sys.executable, "-c", program, *extra], capture_output=True, text=True, check=False)
        for extra in ([], ["--debug"])
    )
    assert plain.returncode == 2
    assert plain.stderr == "vqcheck: internal error: ZeroDivisionError: planted (--debug shows where)\n"
    assert debug.returncode == 2
    assert "Traceback" in debug.stderr


def test_the_equal_path_imports_neither_torch_nor_numpy_nor_rich(checkpoints):
    """Two equal files of one width, float16 or float32, are compared and digested with the standard library."""
    program = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'rich', 'safetensors'): sys.modules[name] = None\n"
        "from vqcheck.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for a, b in (("base_v2.pth", "frozen_v2_e8_s400.pth"), ("G_400.pth", "G_400.pth"), ("base_v2.pth", "G_400.pth")):
        run = subprocess.run(
            [sys.executable, "-c", program, "diff", checkpoints / a, checkpoints / b],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.startswith("identical")


@pytest.mark.parametrize(
    "arguments",
    [
        ["diff", "base_v2.pth", "drifted_v2_e8_s400.pth"],
        ["diff", "base_v2.pth", "G_437.pth", "--format", "json"],
        ["inspect", "base_v2.pth", "base_v2.safetensors", "lora_v3_e2_s50_l32.pth"],
    ],
)
def test_torch_is_never_needed(checkpoints, arguments):
    """inspect, diff and their reports work with torch blocked."""
    program = "import sys; sys.modules['torch'] = None\nfrom vqcheck.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    paths = [str(checkpoints / word) if (checkpoints / word).exists() else word for word in arguments]
    run = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=False)
    assert run.returncode == (1 if arguments[0] == "diff" else 0), run.stderr
    assert "internal error" not in run.stderr


def test_a_closed_stdout_is_no_traceback(checkpoints):
    """`vqcheck diff ... | head -0` ends without a complaint of Python's."""
    command = [sys.executable, "-m", "vqcheck", "diff", "-v", checkpoints / "base_v2.pth", checkpoints / "G_437.pth"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        complaint = process.stderr.read()
        process.wait()
    assert complaint == ""
    assert process.returncode in (1, 2)


def test_a_gbk_console_shows_what_it_can(save, vq_state, tmp_path):
    """A name that the console's encoding lacks is shown escaped instead of ending the run."""
    folder = tmp_path / "嗓音😀"
    folder.mkdir()
    a, b = save(vq_state(), "a.pth"), save(vq_state(seed=1), "b.pth")
    a, b = a.rename(folder / "a.pth"), b.rename(folder / "b.pth")
    run = subprocess.run(
        [sys.executable, "-m", "vqcheck", "diff", a, b],
        capture_output=True,
        env={"PYTHONIOENCODING": "gbk", "PATH": ""},
        check=False,
    )
    assert run.returncode == 1, run.stderr
    shown = run.stdout.decode("gbk")
    assert "嗓音" in shown
    assert "\\U0001f600" in shown


def test_colour_is_only_for_terminals(vqcheck, checkpoints):
    """A pipe gets no escape sequences."""
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_437.pth", env={"FORCE_COLOR": "1"})
    assert "\x1b" not in run.stdout


def test_no_arguments_is_help_and_status_2(vqcheck):
    """The bare command shows its help, examples in lines of their own, and has checked nothing."""
    run = vqcheck()
    assert run.returncode == 2
    assert "\n  vqcheck inspect s2G2333k.pth " in run.stderr
    assert "Traceback" not in run.stderr
    assert "\n  vqcheck gate s2.json " in vqcheck("--help").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize(("closed", "code"), [(">&-", 1), ("2>&-", 1), (">&- 2>&-", 1)])
def test_a_process_without_streams_still_has_its_status(checkpoints, closed, code):
    """Started without stdout or stderr, the command compares, says nothing there, and exits with the verdict."""
    command = f"{sys.executable} -m vqcheck diff base_v2.pth G_437.pth {closed}"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=checkpoints, check=False)
    assert run.returncode == code
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_named(checkpoints):
    """An output that cannot be written is one line and status 2."""
    command = f"{sys.executable} -m vqcheck diff base_v2.pth G_437.pth > /dev/full"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=checkpoints, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("vqcheck: the output cannot be written:")


def test_an_output_never_replaces_a_checkpoint(vqcheck, checkpoints, tmp_path):
    """`-o` on a checkpoint is refused, and the checkpoint is left as it was."""
    for name in ("base_v2.pth", "base_v2.safetensors", "sovits_v2pro_e2_s100.pth"):
        victim = tmp_path / name
        victim.write_bytes((checkpoints / name).read_bytes())
        before = victim.read_bytes()
        assert vqcheck("inspect", victim, "-o", victim).returncode == 2
        assert vqcheck("lock", checkpoints / "base_v2.pth", "-o", victim, "--update").returncode == 2
        assert victim.read_bytes() == before


def test_an_output_that_is_a_link_is_followed(vqcheck, checkpoints, tmp_path):
    """The file that a link points to is replaced, not the link."""
    link, target = tmp_path / "link.txt", tmp_path / "target.txt"
    target.write_text("old")
    link.symlink_to(target)
    vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_400.pth", "-o", link)
    assert link.is_symlink()
    assert target.read_text().startswith("identical")


def test_a_folder_with_several_models_is_not_guessed_at(vqcheck, checkpoints, tmp_path):
    """One model in a folder is opened; a training file beside it makes the folder ambiguous, and both are named."""
    (tmp_path / "model.safetensors").write_bytes((checkpoints / "base_v2.safetensors").read_bytes())
    assert vqcheck("diff", checkpoints / "base_v2.pth", tmp_path).returncode == 0
    (tmp_path / "G_437.pth").write_bytes((checkpoints / "G_437.pth").read_bytes())
    run = vqcheck("diff", checkpoints / "base_v2.pth", tmp_path)
    assert run.returncode == 2
    assert "G_437.pth" in run.stderr
    assert "model.safetensors" in run.stderr


def test_nan_is_said_first(vqcheck, save, vq_state):
    """A NaN that appeared is a damaged file, and is told before what else changed; sound changes say nothing of it."""
    state = vq_state()
    a = save(state, "a.pth")
    embed = state["quantizer.vq.layers.0._codebook.embed"]
    embed[3] += 1
    sound = vqcheck("diff", a, save(state, "b.pth"))
    assert (sound.returncode, "NaN" in sound.stdout) == (1, False)
    embed[3, 2] = float("nan")
    damaged = vqcheck("diff", a, save(state, "b.pth"))
    assert damaged.returncode == 1
    assert damaged.stdout.startswith("WARNING: values that changed are NaN or infinite (1 in codes)")


@pytest.mark.parametrize("left_out", ["embed_avg", "ssl_proj"])
def test_a_file_that_lacks_something_is_no_ground_to_make_tokens_again(vqcheck, vq_state, save, left_out):
    """All that both store is equal, and of the rest nothing is known."""
    state = vq_state()
    whole = save(state, "a.pth")
    part = save({name: value for name, value in state.items() if left_out not in name}, "b.pth")
    run = vqcheck("diff", whole, part)
    assert run.returncode == 1
    assert "Compare files that store everything" in " ".join(run.stdout.split())
    assert "again" not in run.stdout


def test_a_lock_in_place_of_a_checkpoint_is_called_a_lock(vqcheck, vq_state, save, tmp_path):
    path, lock = save(vq_state()), tmp_path / "x.lock"
    assert vqcheck("lock", path, "-o", lock).returncode == 0
    run = vqcheck("diff", lock, path)
    assert (run.returncode, run.stderr.split("; ")[0]) == (2, f"vqcheck: {lock}: is a vqcheck lock")


def test_a_count_that_was_edited_is_not_called_a_code_that_changed(vqcheck, checkpoints, tmp_path):
    """The table says that the codes are identical."""
    content = torch.load(checkpoints / "base_v2.pth", weights_only=False)
    content["weight"]["quantizer.vq.layers.0._codebook.cluster_size"][3] += 1
    torch.save(content, tmp_path / "count.pth")
    run = vqcheck("diff", checkpoints / "base_v2.pth", tmp_path / "count.pth")
    assert run.returncode == 1
    assert run.stdout.startswith("changed  Sum or count of 1 code changed")
    assert "1 code changed, all others" not in " ".join(run.stdout.split())
    content["weight"]["quantizer.vq.layers.0._codebook.embed"][3] += 1
    torch.save(content, tmp_path / "code.pth")
    assert "Sum or count" not in vqcheck("diff", checkpoints / "base_v2.pth", tmp_path / "code.pth").stdout
