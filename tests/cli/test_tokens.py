"""`vqcheck tokens` as a user runs it: what it prints, where, and how it exits."""

import re
import shutil
import subprocess
import sys

import pytest
import torch

from vqcheck.experiment.name2semantic import HEADER, MERGED


@pytest.fixture
def experiment(tmp_path, save, vq_state):
    """An experiment of ten recordings, the checkpoint that made its tokens, and one that drifted since."""
    folder = tmp_path / "logs" / "me"
    (folder / "4-cnhubert").mkdir(parents=True)
    state = {name: tensor.half().float() for name, tensor in vq_state(codes=64, dim=16).items()}
    codes = state["quantizer.vq.layers.0._codebook.embed"]
    generator = torch.Generator().manual_seed(4)
    lines = [HEADER]
    for number in range(10):
        features = torch.randn(1, 80 + number, 16, generator=generator).half().requires_grad_().transpose(1, 2)
        torch.save(features, folder / "4-cnhubert" / f"{number}.wav.pt")
        x = torch.nn.functional.conv1d(
            features.detach().float(), state["ssl_proj.weight"], state["ssl_proj.bias"], stride=2
        )
        tokens = torch.cdist(x[0].T.double(), codes.double()).argmin(1).tolist()
        lines.append(f"{number}.wav\t{' '.join(map(str, tokens))}")
    (folder / MERGED).write_text("\n".join(lines) + "\n")
    base = save(state, "base.pth")
    codes += 0.1 * torch.randn(codes.shape, generator=generator)
    return folder, base, save(state, "drifted.pth")


def test_the_right_checkpoint_is_status_0(vqcheck, experiment):
    """The verdict first, then what was checked; nothing on stderr."""
    folder, base, _ = experiment
    run = vqcheck("tokens", base, folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("consistent  The tokens agree with base.pth.\n")
    assert "10 items, 420 frames" in run.stdout
    assert re.search(r"explained +420 +100 %", run.stdout)


def test_a_drifted_checkpoint_is_status_1_and_says_what_to_do(vqcheck, experiment):
    """Counts, the items that agree least, and advice."""
    folder, _, drifted = experiment
    run = vqcheck("tokens", drifted, folder)
    assert (run.returncode, run.stderr) == (1, "")
    assert run.stdout.startswith("inconsistent  The tokens do not come from drifted.pth.\n")
    assert "Items that agree least" in run.stdout
    assert "Extract the tokens again" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 80 + len(str(folder))


def test_against_says_which_explains_the_tokens_better(vqcheck, valid, experiment):
    """The status is that of CKPT; the other one is told beside it, whichever is the better."""
    folder, base, drifted = experiment
    right, wrong = (vqcheck("tokens", a, folder, "--against", b) for a, b in ((base, drifted), (drifted, base)))
    assert (right.returncode, wrong.returncode) == (0, 1)
    for run in (right, wrong):
        assert "base.pth explains the tokens better (100 %) than drifted.pth" in run.stdout
    documents = [
        valid(vqcheck("tokens", a, folder, "--against", b, "--format", "json").stdout)
        for a, b in ((base, drifted), (drifted, base), (base, base))
    ]
    assert [document["better"] for document in documents] == ["checkpoint", "against", "equal"]
    assert documents[1]["against"]["verdict"] == "consistent"


@pytest.mark.parametrize(("which", "verdict", "code"), [(1, "consistent", 0), (2, "inconsistent", 1)])
def test_json_is_one_valid_document(vqcheck, valid, experiment, which, verdict, code):
    """It agrees with the exit status and has a row for every item."""
    run = vqcheck("tokens", experiment[which], experiment[0], "--format", "json")
    document = valid(run.stdout)
    assert (document["verdict"], document["exit_code"], run.returncode) == (verdict, code, code)
    assert len(document["audit"]["items"]) == 10
    assert sum(item["frames"] for item in document["audit"]["items"]) == document["audit"]["total"]["frames"] == 420


def test_hundreds_of_missing_items_are_summarised(vqcheck, valid, experiment):
    """Text names a few and counts the rest, `-v` and JSON name all of them; most items unchecked are no success."""
    folder, base, _ = experiment
    with (folder / MERGED).open("a") as file:
        file.writelines(f"gone_{number}.wav\t1 2 3\n" for number in range(300))
    text, verbose = vqcheck("tokens", base, folder), vqcheck("tokens", base, folder, "-v")
    assert text.returncode == 2
    assert "tokens but no features, so the tokens could not be checked (300)" in " ".join(text.stdout.split())
    assert "and 295 more" in text.stdout.replace("\n    ", " ")
    assert text.stdout.count("gone_") == 5
    assert verbose.stdout.count("gone_") == 300
    document = valid(vqcheck("tokens", base, folder, "--format", "json").stdout)
    assert len(document["without_features"]) == 300


@pytest.mark.parametrize(("asked", "code"), [((), 2), (("--coverage", "9"), 0), (("--coverage", "9.2"), 2)])
def test_a_coverage_that_cannot_be_met_is_status_2(vqcheck, valid, experiment, asked, code):
    """10 of 110 items have features; the headline says how many were not checked, whatever the status."""
    folder, base, drifted = experiment
    with (folder / MERGED).open("a") as file:
        file.writelines(f"gone_{number}.wav\t1 2 3\n" for number in range(100))
    run = vqcheck("tokens", base, folder, *asked)
    assert run.returncode == code
    assert "100 of 110 items have no features" in " ".join(run.stdout.split("\n\n")[0].split())
    document = valid(vqcheck("tokens", base, folder, *asked, "--format", "json").stdout)
    assert (document["covered"], document["audit"]["gaps"]) == (10, ["coverage"] if code else [])
    run = vqcheck("tokens", drifted, folder, *asked)
    assert (run.returncode, "100 of 110 items have no features" in " ".join(run.stdout.split())) == (1, True)


def test_all_the_items_can_be_required(vqcheck, experiment):
    """`--coverage 100` passes where nothing lacks; two rows of one item without features are two that lack."""
    folder, base, _ = experiment
    assert vqcheck("tokens", base, folder, "--coverage", "100").returncode == 0
    with (folder / MERGED).open("a") as file:
        file.write("gone.wav\t1 2 3\ngone.wav\t1 2 3\n")
    run = vqcheck("tokens", base, folder, "--coverage", "90")
    assert (run.returncode, "2 of 12 items have no features" in " ".join(run.stdout.split())) == (2, True)


@pytest.fixture
def slightly_moved(checkpoints):
    """The training file that is 37 EMA updates from the base, with which the base's tokens agree, too."""
    return checkpoints / "G_437.pth"


def test_a_lock_decides_where_the_tokens_agree_with_two(vqcheck, valid, sound, slightly_moved):
    """The base passes and what moved fails, as in `diff` of s1 and s2; a lock of other tokens says nothing."""
    assert vqcheck("tokens", slightly_moved, sound.folder).returncode == 0
    assert vqcheck("lock", sound.base, "--experiment", sound.folder).returncode == 0
    run = vqcheck("tokens", slightly_moved, sound.folder)
    assert (run.returncode, "cannot tell" in run.stdout) == (1, True)
    document = valid(vqcheck("tokens", slightly_moved, sound.folder, "--format", "json").stdout)
    assert (document["decided_by"], document["audit"]["verdict"]) == ("lock", "consistent")
    assert vqcheck("tokens", sound.base, sound.folder).returncode == 0
    junit = vqcheck("tokens", slightly_moved, sound.folder, "--format", "junit")
    assert (junit.returncode, junit.stdout.count("<failure")) == (1, 1)
    sound.tsv.write_text("".join(sound.tsv.read_text().splitlines(keepends=True)[:-1]))
    other = vqcheck("tokens", slightly_moved, sound.folder)
    assert (other.returncode, "binds other tokens" in other.stdout) == (0, True)
    named = vqcheck("tokens", slightly_moved, sound.folder, "--lock", sound.folder / "vqcheck.lock")
    assert (named.returncode, "binds other tokens" in named.stderr) == (2, True)


def test_a_lock_hides_nothing_that_the_tokens_show(vqcheck, sound):
    """A line without tokens, or tokens of another codebook: what was told without the lock is told with it."""
    assert vqcheck("lock", sound.base, "--experiment", sound.folder).returncode == 0
    whole = sound.tsv.read_text()
    sound.tsv.write_text(whole + "broken.wav\n")
    run = vqcheck("tokens", sound.base, sound.folder)
    assert (run.returncode, "broken" in run.stdout or "lines of the tsv" in run.stdout) == (2, True)
    lines = whole.splitlines()
    item, tokens = lines[1].split("\t")
    lines[1] = f"{item}\t{' '.join('0' for _ in tokens.split())}"
    sound.tsv.write_text("\n".join([*lines, "broken.wav"]) + "\n")
    assert vqcheck("tokens", sound.base, sound.folder).returncode == 1
    (sound.folder / "vqcheck.lock").write_text("not a lock")
    sound.tsv.write_text(whole)
    damaged = vqcheck("tokens", sound.base, sound.folder)
    assert (damaged.returncode, "vqcheck.lock" in damaged.stderr) == (2, True)


def test_a_base_decides_where_the_tokens_agree_with_two(vqcheck, valid, sound, slightly_moved):
    """The earlier one made them, as far as anybody can know; and how many updates it takes to be seen is told."""
    command = ("tokens", slightly_moved, sound.folder, "--against", sound.base)
    run = vqcheck(*command)
    assert (run.returncode, "cannot tell them apart" in " ".join(run.stdout.split())) == (1, True)
    document = valid(vqcheck(*command, "--format", "json").stdout)
    assert document["decided_by"] == "against"
    assert (document["movement"]["ema_steps"], document["movement"]["order"]) == (37, "against")
    assert document["updates_unseen"] > 37
    turned = valid(vqcheck("tokens", sound.base, sound.folder, "--against", slightly_moved, "--format", "json").stdout)
    assert (turned["exit_code"], turned["movement"]["order"]) == (0, "checkpoint")


def test_a_base_that_the_configuration_names_decides(vqcheck, valid, sound, slightly_moved, checkpoints):
    """Nobody has to name it; one that is equal is left out."""
    shutil.copy(sound.config, sound.folder / "config.json")
    document = valid(vqcheck("tokens", slightly_moved, sound.folder, "--format", "json").stdout)
    assert (document["exit_code"], document["decided_by"]) == (1, "against")
    for same in (sound.base, checkpoints / "frozen_v2_e8_s400.pth"):
        document = valid(vqcheck("tokens", same, sound.folder, "--format", "json").stdout)
        assert (document["exit_code"], document["against"]) == (0, None)


def test_two_files_of_which_neither_is_known_to_be_earlier_decide_nothing(vqcheck, valid, sound):
    """Both explain the tokens and they differ: the report says that this data cannot tell them apart."""
    files = []
    for name, moved in (("a.pth", 0.0), ("b.pth", 1e-4)):
        state = {key: value.float() for key, value in sound.state.items()}
        state["quantizer.vq.layers.0._codebook.embed"] += moved
        torch.save(state, sound.root / name)
        files.append(sound.root / name)
    for pair in (files, files[::-1]):
        run = vqcheck("tokens", pair[0], sound.folder, "--against", pair[1], "--format", "json")
        document = valid(run.stdout)
        assert (run.returncode, document["verdict"], document["decided_by"]) == (2, "inconclusive", "nothing")
    assert vqcheck("tokens", files[0], sound.folder, "--against", files[0]).returncode == 0


def test_a_lora_export_names_its_base(vqcheck, valid, experiment, checkpoints):
    """Without a projection no token is derived: status 2, and which file to give instead."""
    run = vqcheck("tokens", checkpoints / "lora_v3_e2_s50_l32.pth", experiment[0], "--format", "json")
    assert run.returncode == 2
    assert valid(run.stdout)["verdict"] == "could not check"
    assert len(run.stderr.splitlines()) == 1
    assert "give its base model (s2Gv3.pth" in run.stderr


@pytest.mark.parametrize("checkpoint", ["never_trained_v2.pth", "gpt-e15.ckpt", "absent.pth"])
def test_a_checkpoint_that_derives_no_tokens_is_status_2(vqcheck, experiment, checkpoints, checkpoint):
    """Never trained, no codebook at all, no file: one line that names it."""
    run = vqcheck("tokens", checkpoints / checkpoint, experiment[0])
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, "", 1)
    assert checkpoint in run.stderr


def test_arguments_the_wrong_way_round_are_told(vqcheck, experiment):
    """The folder first and the file second is said to be that; a file alone is answered with its folder."""
    folder, base, _ = experiment
    run = vqcheck("tokens", folder, base)
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, "", 1)
    assert "the checkpoint comes first, then the experiment" in run.stderr
    run = vqcheck("tokens", base, folder / MERGED)
    assert run.returncode == 2
    assert "is a file; name the experiment directory" in run.stderr


def test_features_of_another_model_are_status_2(vqcheck, experiment, save, vq_state):
    """Every item's channels differ from what the VQ encoder takes."""
    run = vqcheck("tokens", save(vq_state(codes=64, dim=8), "small.pth"), experiment[0])
    assert run.returncode == 2
    assert "has 16 channels where the VQ encoder takes 8" in run.stderr


@pytest.mark.parametrize("missing", ["4-cnhubert", MERGED])
def test_an_experiment_without_its_parts_is_status_2(vqcheck, experiment, missing):
    """No features, or no tokens: the line says what is missing."""
    folder, base, _ = experiment
    (folder / missing).rename(folder / "elsewhere")
    run = vqcheck("tokens", base, folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert missing in run.stderr


def test_a_sample_is_said(vqcheck, experiment):
    """`--sample` checks so many items and says so; a sample of none is a usage error."""
    folder, base, _ = experiment
    assert "3 items (a sample)" in vqcheck("tokens", base, folder, "--sample", "3").stdout
    assert vqcheck("tokens", base, folder, "--sample", "0").returncode == 2


def test_no_verdict_hangs_on_an_assert(experiment):
    """`python -O` gives the same statuses: right, drifted, and nothing to check by."""
    folder, base, drifted = experiment
    arguments = [(base, folder), (drifted, folder, "--against", base), (base, folder / "elsewhere")]
    optimised = [sys.executable, "-O", "-m", "vqcheck", "tokens"]
    runs = [subprocess.run([*optimised, *map(str, each)], capture_output=True, check=False) for each in arguments]
    assert [run.returncode for run in runs] == [0, 1, 2]


def test_torch_is_never_needed(experiment):
    """The audit works with torch blocked."""
    program = "import sys; sys.modules['torch'] = None\nfrom vqcheck.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    folder, base, _ = experiment
    run = subprocess.run([sys.executable, "-c", program, "tokens", base, folder], capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")
