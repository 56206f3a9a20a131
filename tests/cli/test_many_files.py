"""`diff` and `lock --check` of many files at once: a line for each, one document, the same verdicts as one by one."""

import json
import shutil

import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main

EMBED = "quantizer.vq.layers.0._codebook.embed"
AGREE = ("G_400.pth", "frozen_v2_e8_s400.pth", "lora_v3_e2_s50_l32.pth")
CHANGED = ("G_437.pth", "drifted_v2_e8_s400.pth")


@pytest.fixture
def folder(checkpoints, tmp_path, monkeypatch):
    """A folder of weights, a base beside it, and a lock of the base."""
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in (*AGREE, *CHANGED):
        shutil.copy(checkpoints / name, weights)
    shutil.copy(checkpoints / "base_v2.pth", tmp_path / "base.pth")
    monkeypatch.chdir(tmp_path)
    assert main(["lock", "base.pth", "-o", "base.lock", "-q"]) == 0
    return weights


@pytest.fixture(params=["diff", "lock"])
def many(request, folder, capsys):  # noqa: ARG001 - made before it runs
    """Runs one of the two commands over some files; returns (exit status, stdout, stderr)."""

    def run(*names, options=()):
        front = ["diff", "base.pth"] if request.param == "diff" else ["lock", "--check", "-o", "base.lock"]
        capsys.readouterr()
        code = main([*front, *(f"weights/{name}" for name in names), *map(str, options)])
        return code, *capsys.readouterr()

    run.command = request.param
    return run


def lines(out):
    """Return the first words of each line of the table: name -> verdict."""
    table = out.partition("Files\n")[2].partition("\n\n")[0].splitlines()[1:]
    found = {}
    for line in table:
        words = line.split()
        at = next(place for place, word in enumerate(words) if word.endswith((".pth", ".ckpt")))
        found[words[at]] = " ".join(words[:at])
    return found


def test_each_file_has_one_line_and_only_what_changed_has_details(many):
    code, out, errors = many(*AGREE, *CHANGED)
    assert (code, errors) == (1, "")
    assert lines(out) == dict.fromkeys(AGREE, "identical") | dict.fromkeys(CHANGED, "changed")
    assert [name for name in (*AGREE, *CHANGED) if f"\n{name}  " in out] == list(CHANGED)
    assert out.count("What to do") >= 1


def test_details_shows_them_for_all(many):
    _, out, _ = many(*AGREE, *CHANGED, options=["--details"])
    assert [name for name in (*AGREE, *CHANGED) if f"\n{name}  " in out] == [*AGREE, *CHANGED]
    agreeing = out.partition(f"\n{AGREE[0]}  identical\n")[2].partition(f"\n{AGREE[1]}  ")[0]
    assert "input_proj.weight" in agreeing


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (AGREE, 0),
        ((*AGREE, CHANGED[0]), 1),
        ((*AGREE, "absent.pth"), 2),
        ((CHANGED[0], "absent.pth", AGREE[0]), 2),
        (("absent.pth", "missing.pth"), 2),
    ],
)
def test_two_beats_one_beats_nought(many, names, expected):
    code, out, errors = many(*names)
    absent = [name for name in names if name in ("absent.pth", "missing.pth")]
    assert code == expected
    assert [line.partition(": no such file")[0] for line in errors.splitlines()] == [
        f"vqcheck: weights/{name}" for name in absent
    ]
    assert lines(out).keys() == set(names)


def test_json_holds_for_each_file_what_it_has_alone(many, valid):
    """In the order of the command line; one that cannot be read names itself."""
    names = (CHANGED[0], "absent.pth", AGREE[0])
    code, out, _ = many(*names, options=["--format", "json"])
    document = valid(out)
    assert (code, document["exit_code"], document["verdict"]) == (2, 2, "could not check")
    assert document["base" if many.command == "diff" else "lock"].startswith("base.")
    alone = [valid(many(name, options=["--format", "json"])[1]) for name in (CHANGED[0], AGREE[0])]
    assert [document["files"][0], document["files"][2]] == alone
    assert document["files"][1]["path"] == "weights/absent.pth"
    assert [file["exit_code"] for file in document["files"]] == [1, 2, 0]


@pytest.mark.parametrize("form", ["junit", "sarif", "github", "html", "csv"])
def test_every_format_names_every_file(many, form):
    code, out, _ = many(AGREE[0], CHANGED[0], "absent.pth", options=["--format", form])
    assert code == 2
    told = [CHANGED[0], "absent.pth"] + [AGREE[0]] * (form in ("junit", "html", "csv"))
    assert [name for name in told if name not in out] == []


def test_patterns_are_expanded_where_no_shell_did_it(many):
    """By number, so that the step decides the order; a file that is called like a pattern is that file."""
    code, out, _ = many("*_v[23]_*.pth")
    assert code == 1
    assert list(lines(out)) == ["drifted_v2_e8_s400.pth", "frozen_v2_e8_s400.pth", "lora_v3_e2_s50_l32.pth"]
    code, out, errors = many("*.safetensors")
    assert (code, out) == (2, "")
    assert "weights/*.safetensors" in errors


def test_a_file_that_is_called_like_a_pattern_is_itself(folder, capsys):
    shutil.copy(folder / "G_437.pth", folder / "G_[4]00.pth")
    assert main(["diff", "base.pth", "weights/G_[4]00.pth"]) == 1
    capsys.readouterr()


@pytest.mark.usefixtures("folder")
def test_the_base_is_read_once_however_many_files_there_are(monkeypatch, capsys):
    """Its bytes, that is; its size and times are asked after each comparison."""
    opened = {}

    def remembering(path):
        checkpoint = open_checkpoint(path)
        opened[str(path)] = checkpoint
        return checkpoint

    monkeypatch.setattr("vqcheck.cli.diff.open_as_stored", remembering)
    names = [f"weights/{name}" for name in (*AGREE[:2], *CHANGED)]
    main(["diff", "base.pth", *names[:2], "-q"])
    few = opened["base.pth"].files[0].bytes_read
    main(["diff", "base.pth", *names, *names, *names, "-q"])
    many = opened["base.pth"].files[0].bytes_read
    stored = torch.load("base.pth", weights_only=False)["weight"]
    # Values that changed are read in one piece, those that did not in several.
    again = sum(value.nbytes for name, value in stored.items() if name.startswith(("quantizer", "ssl_proj")))
    assert many <= few + again
    capsys.readouterr()


@pytest.mark.usefixtures("folder")
def test_what_is_remembered_of_the_base_does_not_hide_a_change(capsys):
    """Each file differs in another tensor, behind one that is equal; each is found, as it is alone."""
    state = torch.load("base.pth", weights_only=False)
    names = [EMBED, f"{EMBED}_avg", EMBED.replace("embed", "cluster_size"), "ssl_proj.weight", "ssl_proj.bias"]
    files = []
    for name in names:
        moved = dict(state["weight"])
        moved[name] = moved[name].clone()
        moved[name].flatten()[-1] += 1
        files.append(f"{name}.pth")
        torch.save({"weight": moved}, files[-1])
    assert main(["diff", "base.pth", "weights/frozen_v2_e8_s400.pth", *files, "--format", "json"]) == 1
    together = json.loads(capsys.readouterr().out)["files"]
    for file, found in zip(files, together[1:], strict=True):
        assert main(["diff", "base.pth", file, "--format", "json"]) == 1
        assert json.loads(capsys.readouterr().out) == found
        assert [each["verdict"] for each in found["tensors"]].count("changed") == 1


@pytest.mark.usefixtures("folder")
def test_a_base_that_cannot_be_read_is_one_line(capsys):
    assert main(["diff", "nowhere.pth", "weights/G_400.pth", "weights/G_437.pth"]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)


@pytest.mark.usefixtures("folder")
def test_a_lock_is_made_of_one_file(capsys):
    assert main(["lock", "base.pth", "weights/G_400.pth", "-o", "new.lock"]) == 2
    assert "--check" in capsys.readouterr().err


def test_s1_among_the_files_is_judged_as_it_is_alone(folder, checkpoints, capsys, valid):
    """An s1 checkpoint needs a lock or its experiment; the s2 files beside it are compared all the same."""
    shutil.copy(checkpoints / "gpt-e15.ckpt", folder)
    assert main(["diff", "base.pth", "weights/G_400.pth", "weights/gpt-e15.ckpt", "--format", "json"]) == 2
    document = valid(capsys.readouterr().out)
    assert [file["exit_code"] for file in document["files"]] == [0, 2]
