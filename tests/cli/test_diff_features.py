"""`vqcheck diff` as a user runs it on a changed pair: words, JSON, and real features."""

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.experiment.features import FeatureFolder
from vqcheck.report.render.text import Style, render
from vqcheck.report.views.diff import view


@pytest.fixture
def features(tmp_path):
    """A folder `4-cnhubert` with the layouts that extraction leaves behind; values and shapes are the same in all."""
    folder = tmp_path / "logs" / "me" / "4-cnhubert"
    folder.mkdir(parents=True)
    values = torch.randn(1, 50, 32, generator=torch.Generator().manual_seed(1)).half().float()
    transposed = values.transpose(1, 2)
    layouts = {
        "half": transposed.half(),
        "half, contiguous": transposed.half().contiguous(),
        "full": transposed,
        "full, with gradient": transposed.clone().requires_grad_(),
        "a view with gradient": values.clone().requires_grad_().transpose(1, 2),
    }
    for name, tensor in layouts.items():
        torch.save(tensor, folder / f"{name}.wav.pt")
    return folder


def test_features_are_read_in_every_layout_that_extraction_leaves(features):
    """fp16, fp32, non-contiguous and requires_grad tensors hold the same values, and names end in .wav."""
    found = list(FeatureFolder(str(features)))
    assert [item.problem for item in found] == [""] * 5
    assert all(item.item.endswith(".wav") for item in found)
    assert {item.values.tobytes() for item in found} == {found[0].values.tobytes()}
    assert found[0].values.shape == (32, 50)


def test_token_flips_are_stated_with_features(vqcheck, valid, checkpoints, features):
    """The headline carries the share of frames, from the folder itself as from the experiment around it."""
    pair = checkpoints / "base_v2.pth", checkpoints / "G_437.pth"
    run = vqcheck("diff", *pair, "--features", features)
    assert run.returncode == 1
    first = " ".join(run.stdout.split("\n\n")[0].split())
    assert first.startswith("changed The codebook drifted: 37 EMA updates ran during s2 training; ")
    assert first.endswith("; no effect: none of your frames now means another token.")
    assert "not measured" not in run.stdout
    again = vqcheck("diff", *pair, "--features", features.parent, "--format", "json")
    flips = valid(again.stdout)["diagnosis"]["consequence"]["token_flips"]
    assert (flips["items"], flips["frames"]) == (5, 125)
    assert flips["share"] == flips["flipped"] / 125


def test_flips_are_stated_of_a_rounded_pair_too(vqcheck, checkpoints, features):
    """What was asked for is answered in every format, though nothing else is to be said."""
    pair = checkpoints / "G_437.pth", checkpoints / "drifted_v2_e8_s400.pth", "--features", features
    for options in ([], ["--format", "github", "-o", "summary.md"]):
        run = vqcheck("diff", *pair, *options, cwd=features)
        assert run.returncode == 0
    assert "0 of 125 frames get another token" in vqcheck("diff", *pair).stdout
    assert "none of your frames now means another token" in (features / "summary.md").read_text()


def test_without_features_the_effect_is_said_to_be_unmeasured(vqcheck, valid, checkpoints):
    """No number of frames is made up; the text says how to measure it."""
    pair = checkpoints / "base_v2.pth", checkpoints / "G_437.pth"
    run = vqcheck("diff", *pair)
    assert "The effect on tokens was not measured" in run.stdout
    assert "--features logs/<name>/4-cnhubert" in " ".join(run.stdout.split())
    assert "of your frames now" not in run.stdout
    assert valid(vqcheck("diff", *pair, "--format", "json").stdout)["diagnosis"]["consequence"]["token_flips"] is None


@pytest.mark.parametrize("other", ["G_437.pth", "drifted_v2_e8_s400.pth", "never_trained_v2.pth", "base_v2.pth"])
def test_json_holds_the_whole_diagnosis(vqcheck, valid, checkpoints, other):
    """The document is valid, and the diagnosis is null where nothing changed."""
    document = valid(vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / other, "--format", "json").stdout)
    assert (document["diagnosis"] is None) == (document["verdict"] == "identical")


def test_the_headline_comes_first_then_evidence_then_advice(vqcheck, checkpoints):
    """One sentence says what happened; a changed codebook is said to be harmless once tokens are made again."""
    text = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_437.pth").stdout
    assert text.startswith("changed  The codebook drifted: 37 EMA updates ran during s2 training.\n")
    assert text.index("What happened") < text.index("What it does") < text.index("Tensors") < text.index("What to do")
    assert "harmless once the tokens are made again" in " ".join(text.split())
    assert "B says it was written at step 437" in text


@pytest.mark.parametrize("width", [0, 80])
@pytest.mark.parametrize("other", ["G_437.pth", "drifted_v2_e8_s400.pth", "never_trained_v2.pth"])
def test_prose_fits_eighty_columns(checkpoints, other, width, monkeypatch):
    """In a terminal of 80 columns, and where the width is not known, no line of prose is longer."""
    monkeypatch.chdir(checkpoints)
    with open_checkpoint("base_v2.pth") as a, open_checkpoint(other) as b:
        text = render(view(compare(a, b)), Style(width=width))
    prose = text if width else text.replace(text[text.index("Tensors") : text.index("What to do")], "")
    assert max(len(line) for line in prose.splitlines()) <= 80


def test_a_codebook_that_was_never_trained_is_told_first(vqcheck, checkpoints):
    """Also where the files agree: the first words are the warning, and with -v comes the advice."""
    pair = [checkpoints / "never_trained_v2.pth"] * 2
    assert vqcheck("diff", *pair).stdout.startswith("WARNING: the codebook of")
    detailed = " ".join(vqcheck("diff", *pair, "-v").stdout.split())
    assert detailed.startswith("WARNING: the codebook of")
    assert "there is nothing in them to agree on" in detailed
    assert "Start s2 from a pretrained s2G file" in detailed


def test_a_folder_without_features_could_not_be_checked(vqcheck, checkpoints, tmp_path):
    """Asked to measure and unable to: status 2, whatever the verdict on the tensors."""
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_437.pth", "--features", tmp_path)
    assert run.returncode == 2
    assert "holds no features" in run.stderr
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_437.pth", "--features", tmp_path / "none")
    assert run.returncode == 2


def test_a_broken_recording_is_named(vqcheck, checkpoints, features):
    """One unreadable file does not end the measurement, and is not passed over in silence."""
    (features / "broken.wav.pt").write_bytes(b"\x80")
    run = vqcheck("diff", checkpoints / "base_v2.pth", checkpoints / "G_437.pth", "--features", features)
    assert run.returncode == 1
    assert "1 recording was left out:\n  - broken.wav" in run.stdout


def test_features_and_diagnosis_need_no_torch(checkpoints, features, vqcheck, tmp_path):
    """Everything of a changed pair works with torch blocked."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "torch.py").write_text("raise ImportError('blocked')\n")
    run = vqcheck(
        "diff",
        checkpoints / "base_v2.pth",
        checkpoints / "G_437.pth",
        "--features",
        features,
        env={"PYTHONPATH": str(tmp_path / "blocked")},
    )
    assert (run.returncode, run.stderr) == (1, "")
