"""`vqcheck diff s1.ckpt s2.pth` answers from a lock or from features, and says on what evidence."""

import shutil

import pytest
import torch

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def diff(vqcheck, valid, sound):
    """Compares the s1 checkpoint with a generator; returns (exit status, document)."""

    def run(s2, *options):
        done = vqcheck("diff", sound.s1, s2, "--experiment", sound.folder, "--format", "json", *options)
        return done.returncode, valid(done.stdout)

    return run


@pytest.fixture
def moved(sound):
    """A generator like the pretrained one whose codes are others."""
    generator = torch.Generator().manual_seed(1)
    state = dict(sound.state)
    name = f"{CODEBOOK}.embed"
    state[name] = (state[name].float() + 0.2 * torch.randn(state[name].shape, generator=generator)).half()
    path = sound.root / "moved.pth"
    torch.save({"weight": state}, path)
    return path


@pytest.fixture
def locked(vqcheck, sound):
    """Locks the pretrained generator, the tokens and the s1 checkpoint."""
    assert vqcheck("lock", sound.base, "--experiment", sound.folder, "--s1", sound.s1).returncode == 0


def test_features_decide_where_there_is_no_lock(diff, sound, moved):
    """Tokens derived again prove the right generator and refute the moved one."""
    code, document = diff(sound.base)
    assert (code, document["verdict"], document["evidence"]) == (0, "consistent", "tokens")
    code, document = diff(moved)
    assert (code, document["verdict"], document["evidence"]) == (1, "inconsistent", "tokens")


@pytest.mark.usefixtures("locked")
def test_a_lock_decides_without_features(diff, sound, moved):
    """The locked digest is compared with the generator's; nothing else of the experiment is needed."""
    for path in (sound.folder / "4-cnhubert").iterdir():
        path.unlink()
    code, document = diff(sound.base)
    assert (code, document["verdict"], document["evidence"]) == (0, "consistent", "lock")
    code, document = diff(moved)
    assert (code, document["verdict"], document["evidence"]) == (1, "inconsistent", "lock")


def test_a_lock_that_binds_no_tokens_says_nothing_of_s1(vqcheck, sound):
    """Without tokens in it, or with other tokens beside it, a lock is no evidence, and the line says what to do."""
    command = ("diff", sound.s1, sound.base, "--experiment", sound.folder)
    lock = sound.folder / "vqcheck.lock"
    assert vqcheck("lock", sound.base, "-o", lock).returncode == 0
    bare = vqcheck(*command)
    assert (bare.returncode, "binds no tokens" in bare.stderr) == (2, True)
    assert vqcheck("lock", sound.base, "--experiment", sound.folder, "--update").returncode == 0
    assert vqcheck(*command).returncode == 0
    sound.tsv.write_text(sound.tsv.read_text() + "extra.wav\t1 2 3\n")
    other = vqcheck(*command)
    assert (other.returncode, "not the locked ones any more" in other.stderr) == (2, True)


@pytest.mark.usefixtures("locked")
def test_another_s1_than_the_locked_one_is_inconsistent(diff, sound):
    """The lock is bound to one s1 checkpoint by content."""
    content = torch.load(sound.s1, weights_only=True)
    content["info"] = "GPT-e16"
    torch.save(content, sound.s1)
    code, document = diff(sound.base)
    assert (code, document["verdict"]) == (1, "inconsistent")


@pytest.mark.usefixtures("locked")
def test_another_s1_is_no_proof_of_another_vq_encoder(vqcheck, sound):
    """A later epoch of the same s1 training is not the locked file, and that is all that is known."""
    content = torch.load(sound.s1, weights_only=True)
    content["info"] = "GPT-e16"
    torch.save(content, sound.s1)
    run = vqcheck("diff", sound.s1, sound.base, "--experiment", sound.folder)
    assert run.stdout.startswith("inconsistent  this s1 checkpoint is not the one that the lock is bound to\n")
    assert "mean something else" not in run.stdout


def test_the_order_of_the_two_files_does_not_matter(vqcheck, sound):
    """s2 first and s1 second is the same question."""
    run = vqcheck("diff", sound.base, sound.s1, "--experiment", sound.folder)
    assert run.returncode == 0
    assert run.stdout.startswith("consistent  the tokens that s1 was trained on agree with the VQ encoder of s2")


def test_a_renamed_experiment_is_believed_and_its_content_decides(vqcheck, diff, sound, moved):
    """The name that s1 recorded is told; a lock or the tokens in the directory that was named decide."""
    other = sound.folder.parent / "renamed"
    sound.folder.rename(other)
    sound.folder = other
    code, document = diff(sound.base)
    assert (code, document["named_tokens"]) == (0, "logs/demo/6-name2semantic.tsv")
    assert "logs/demo/6-name2semantic.tsv" in document["message"]
    code, document = diff(moved)
    assert (code, document["verdict"]) == (1, "inconsistent")
    assert vqcheck("lock", sound.base, "--experiment", other).returncode == 0
    assert [diff(s2)[0] for s2 in (sound.base, moved)] == [0, 1]


def test_tokens_that_agree_say_what_they_could_not_show(diff, vqcheck, sound):
    """The text and the JSON carry the power; where a lock decides there is none."""
    code, document = diff(sound.base)
    power = document["power"]
    assert (code, power["frames"], power["confidence"]) == (0, 240, 0.95)
    # With a drift of this share 240 frames without a flip are one draw in twenty, or rarer.
    assert (1 - power["share"]) ** 240 <= 0.0501
    assert "would have gone unnoticed" in document["message"]
    assert vqcheck("lock", sound.base, "--experiment", sound.folder, "--s1", sound.s1).returncode == 0
    assert diff(sound.base)[1]["power"] is None


@pytest.mark.parametrize("which", ["G_437.pth", "frozen_v2_e8_s400.pth"])
def test_the_base_that_the_experiment_names_decides_as_a_lock_does(diff, vqcheck, sound, checkpoints, which):
    """G_437 moved so little that these tokens agree with it, too; what is equal to the base agrees."""
    shutil.copy(sound.config, sound.folder / "config.json")
    by_base, document = diff(checkpoints / which)
    assert by_base == (which == "G_437.pth")
    assert (document["base"] is not None) == bool(by_base)
    assert vqcheck("lock", sound.base, "--experiment", sound.folder, "--s1", sound.s1).returncode == 0
    assert diff(checkpoints / which)[0] == by_base


def test_features_of_other_recordings_show_nothing_of_the_vq_encoder(diff, sound):
    """Three tokens too many in one item: neither consistent nor inconsistent."""
    lines = sound.tsv.read_text().splitlines()
    sound.tsv.write_text("\n".join([*lines[:-1], lines[-1] + " 1 2 3"]) + "\n")
    code, document = diff(sound.base)
    assert (code, document["verdict"]) == (2, "could not check")
    assert "1 items have another length than their features" in document["message"]


def test_without_lock_and_features_it_says_what_would_settle_it(vqcheck, sound):
    """An experiment with tokens alone is not enough, and the line says so."""
    for path in (sound.folder / "4-cnhubert").iterdir():
        path.unlink()
    (sound.folder / "4-cnhubert").rmdir()
    run = vqcheck("diff", sound.s1, sound.base, "--experiment", sound.folder)
    assert run.returncode == 2
    assert "vqcheck.lock" in run.stderr
    assert "4-cnhubert" in run.stderr


def test_two_s1_checkpoints_have_nothing_to_compare(vqcheck, sound):
    """Neither holds a codebook."""
    assert vqcheck("diff", sound.s1, sound.s1).returncode == 2


def test_a_lock_that_lies_elsewhere_is_named(vqcheck, sound, moved):
    """A lock bound to the s1 checkpoint decides alone: neither tokens nor features have to be there."""
    lock = sound.root / "voices.lock"
    assert vqcheck("lock", sound.base, "--experiment", sound.folder, "--s1", sound.s1, "-o", lock).returncode == 0
    sound.folder.rename(sound.root / "elsewhere")
    assert vqcheck("diff", sound.s1, sound.base).returncode == 2
    right = vqcheck("diff", sound.s1, sound.base, "--lock", lock)
    assert (right.returncode, right.stdout[:10]) == (0, "consistent")
    wrong = vqcheck("diff", sound.s1, moved, "--lock", lock)
    assert (wrong.returncode, wrong.stdout[:12]) == (1, "inconsistent")
    absent = vqcheck("diff", sound.s1, sound.base, "--lock", sound.root / "absent.lock")
    assert (absent.returncode, "absent.lock" in absent.stderr) == (2, True)


def test_a_lock_without_the_s1_needs_the_tokens(vqcheck, sound):
    """Bound to tokens alone it says something of s1 only where the tokens are there and are the locked ones."""
    lock = sound.root / "voices.lock"
    assert vqcheck("lock", sound.base, "--experiment", sound.folder, "-o", lock).returncode == 0
    named = ("diff", sound.s1, sound.base, "--experiment", sound.folder, "--lock", lock)
    assert vqcheck(*named).returncode == 0
    sound.tsv.write_text(sound.tsv.read_text() + "extra.wav\t1 2 3\n")
    other = vqcheck(*named)
    assert (other.returncode, "not the locked ones any more" in other.stderr) == (2, True)
    sound.folder.rename(sound.root / "elsewhere")
    gone = vqcheck("diff", sound.s1, sound.base, "--lock", lock)
    assert (gone.returncode, "voices.lock binds no s1 checkpoint" in gone.stderr) == (2, True)


@pytest.mark.parametrize("option", ["--experiment", "--lock"])
def test_options_for_s1_are_refused_between_codebooks(vqcheck, sound, option):
    """Where both files hold a codebook they decide nothing, and ignoring them would look like a check."""
    run = vqcheck("diff", sound.base, sound.base, option, sound.folder)
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)
    assert "vqcheck lock --check" in run.stderr
