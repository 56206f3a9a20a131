"""`vqcheck lock` as a user runs it: written once, replaced only on request, verified with the lock alone."""

import shutil

import pytest
import torch


@pytest.fixture
def lock(vqcheck, checkpoints, tmp_path):
    """Runs `vqcheck lock` in a folder of its own."""

    def run(name, *options):
        return vqcheck("lock", checkpoints / name, *options, cwd=tmp_path)

    return run


def test_write_then_check(lock, tmp_path):
    """A written lock accepts the frozen training file and its export, and refuses the drifted one."""
    written = lock("base_v2.pth")
    assert (written.returncode, written.stderr) == (0, "")
    assert written.stdout.startswith("written  ")
    assert all(word in written.stdout for word in ("base_v2.pth", "vqcheck.lock", "sha256-f32v1 a999277e57d9"))
    assert (tmp_path / "vqcheck.lock").exists()
    assert [lock(name, "--check").returncode for name in ("G_400.pth", "frozen_v2_e8_s400.pth", "G_437.pth")] == [
        0,
        0,
        1,
    ]


def test_a_failed_check_names_what_differs(lock):
    """The tensors that moved are listed with both digests of the whole."""
    lock("base_v2.pth")
    run = lock("G_437.pth", "--check")
    assert run.stdout.startswith("changed")
    lines = [line.split() for line in run.stdout.splitlines()]
    assert ["Locked", "digest", "sha256-f32v1", "a999277e57d9"] in lines
    assert ["Found", "digest", "sha256-f32v1", "ca4be60f19cd"] in lines
    assert ["codes", "changed"] in lines
    assert ["init_flag", "identical"] in lines


def test_what_to_do_follows_from_what_failed(lock, vqcheck, sound):
    """A changed VQ encoder, changed tokens and another s1 file each have a remedy; agreement has none."""
    assert "What to do" not in lock("base_v2.pth").stdout
    assert "What to do" not in lock("G_400.pth", "--check").stdout
    assert "Freeze the quantizer" in lock("G_437.pth", "--check").stdout
    bound = ("--experiment", sound.folder, "--s1", sound.s1)
    vqcheck("lock", sound.base, *bound)
    sound.tsv.write_text(sound.tsv.read_text() + "extra.wav\t1 2 3\n")
    run = vqcheck("lock", sound.base, "--check", *bound)
    told = run.stdout.partition("What to do")[2]
    assert run.returncode == 1
    assert "token file" in told
    assert "Freeze the quantizer" not in told
    assert "s1 file" not in told


def test_the_command_that_replaces_a_lock_keeps_what_it_binds(lock, vqcheck, sound):
    """Without `--experiment` and `--s1` the new lock would say nothing of tokens and s1."""
    lock("base_v2.pth")
    assert "--experiment" not in lock("G_437.pth", "--check").stdout
    vqcheck("lock", sound.base, "--experiment", sound.folder, "--s1", sound.s1)
    for more in ((), ("--experiment", sound.folder)):
        run = lock("G_437.pth", "--check", "-o", sound.folder / "vqcheck.lock", *more)
        assert run.returncode == 1
        assert "--update --experiment DIR --s1 S1" in " ".join(run.stdout.split())


def test_what_an_export_leaves_out_is_named(lock):
    """The one line on agreement says which tensors the file does not have."""
    lock("base_v2.pth")
    run = lock("lora_v3_e2_s50_l32.pth", "--check")
    (note,) = [line for line in run.stdout.splitlines()[1:] if line]
    assert run.returncode == 0
    assert "input_proj: " in note
    assert "LoRA export" in note


def test_a_lock_is_replaced_only_on_request(lock, tmp_path):
    """The same facts again are `unchanged`; others need `--update`, and a refusal leaves the file as it was."""
    lock("base_v2.pth")
    before = (tmp_path / "vqcheck.lock").read_bytes()
    again = lock("base_v2.pth")
    assert (again.returncode, again.stdout.split()[0]) == (0, "unchanged")
    refused = lock("G_437.pth")
    assert refused.returncode == 2
    assert "--update" in refused.stderr
    assert (tmp_path / "vqcheck.lock").read_bytes() == before
    assert lock("G_437.pth", "--update").returncode == 0
    assert lock("G_437.pth", "--check").returncode == 0


def test_the_lock_of_an_experiment_lies_beside_its_tokens(vqcheck, sound):
    """With `--experiment` the lock is in that folder and bound to the tokens, and a changed token fails the check."""
    assert vqcheck("lock", sound.base, "--experiment", sound.folder).returncode == 0
    assert (sound.folder / "vqcheck.lock").exists()
    check = ("lock", sound.base, "--check", "--experiment", sound.folder)
    assert vqcheck(*check).returncode == 0
    sound.tsv.write_text(sound.tsv.read_text().replace("\t1", "\t2").replace("item_name\t2", "item_name\t1"))
    sound.tsv.write_text(sound.tsv.read_text() + "extra.wav\t1 2 3\n")
    changed = vqcheck(*check)
    assert changed.returncode == 1
    assert any(line.split()[:2] == ["tsv", "changed"] for line in changed.stdout.splitlines())


def test_an_update_keeps_what_is_still_bound(vqcheck, sound):
    """Locking again without `--s1` keeps the binding while tokens and VQ encoder are the same, and drops it after."""
    lock = ("lock", sound.base, "--experiment", sound.folder, "--update")
    path = sound.folder / "vqcheck.lock"
    vqcheck(*lock, "--s1", sound.s1)
    assert "s1 sha256:" in path.read_text()
    assert vqcheck(*lock).returncode == 0
    assert "s1 sha256:" in path.read_text()
    sound.tsv.write_text(sound.tsv.read_text() + "extra.wav\t1 2 3\n")
    assert vqcheck(*lock).returncode == 0
    assert "s1 sha256:" not in path.read_text()


def test_an_update_replaces_nothing_but_locks(lock, tmp_path):
    """A file that is no lock is somebody else's, and is left alone."""
    (tmp_path / "vqcheck.lock").write_text("my notes\n")
    assert lock("base_v2.pth", "--update").returncode == 2
    assert (tmp_path / "vqcheck.lock").read_text() == "my notes\n"


@pytest.mark.parametrize(
    ("options", "verdict", "code"),
    [
        (["base_v2.pth"], "unchanged", 0),
        (["G_400.pth", "--check"], "identical", 0),
        (["G_437.pth", "--check"], "changed", 1),
        (["gpt-e15.ckpt", "--check"], "could not check", 2),
        (["base_v2.pth", "--check", "--update"], "could not check", 2),
    ],
)
def test_json_fits_its_schema(lock, valid, options, verdict, code):
    """Writing, checking and failing each give one valid document whose status is the process's."""
    lock("base_v2.pth")
    run = lock(*options, "--format", "json")
    document = valid(run.stdout)
    assert (document["verdict"], document["exit_code"], run.returncode) == (verdict, code, code)


def test_unwritable_output_loses_nothing(lock, tmp_path):
    """A lock that cannot be written is one line, status 2."""
    run = lock("base_v2.pth", "-o", tmp_path / "no" / "such.lock")
    assert run.returncode == 2
    assert "such.lock: cannot be written" in run.stderr


def test_a_report_goes_beside_the_lock_and_never_over_it(lock, valid, tmp_path):
    """`--report` takes it in any format, at whatever status; the lock itself, also one not yet there, is refused."""
    for path in ("vqcheck.lock", "./vqcheck.lock"):
        run = lock("base_v2.pth", "--report", path)
        assert (run.returncode, run.stdout, "vqcheck.lock" in run.stderr) == (2, "", True)
        assert not (tmp_path / "vqcheck.lock").exists()
    assert lock("base_v2.pth", "--report", "made.json", "--format", "json").returncode == 0
    before = (tmp_path / "vqcheck.lock").read_bytes()
    assert lock("G_437.pth", "--check", "--report", "vqcheck.lock").returncode == 2
    assert lock("G_437.pth", "--check", "--report", "check.json", "--format", "json").returncode == 1
    assert (tmp_path / "vqcheck.lock").read_bytes() == before
    verdicts = [valid((tmp_path / name).read_text("utf-8"))["verdict"] for name in ("made.json", "check.json")]
    assert verdicts == ["written", "changed"]


def test_a_missing_lock_says_how_to_make_one(lock):
    """Checking before locking ends in 2 and names the command."""
    run = lock("base_v2.pth", "--check")
    assert run.returncode == 2
    assert "'vqcheck lock CHECKPOINT' makes one" in run.stderr


@pytest.mark.parametrize("files", [["base_v2.pth"], ["base_v2.pth", "G_400.pth"]])
def test_a_lock_that_was_not_named_is_told_how_to_name(lock, checkpoints, files):
    """The lock of an experiment lies there; one that was named is only said to be missing."""
    more = [str(checkpoints / name) for name in files[1:]]
    run = lock(files[0], *more, "--check")
    assert run.returncode == 2
    assert "--experiment DIR" in run.stderr
    named = lock(files[0], *more, "--check", "-o", "other.lock")
    assert named.returncode == 2
    assert "--experiment DIR" not in named.stderr


def test_the_same_values_under_another_name_are_not_called_something_else(lock, checkpoints, tmp_path):
    """`--check` would show no difference."""
    shutil.copy(checkpoints / "base_v2.pth", tmp_path / "s2G2333k.pth")
    lock("base_v2.pth")
    refused = lock(str(tmp_path / "s2G2333k.pth"))
    assert refused.returncode == 2
    assert "records the same VQ encoder, as that of base_v2.pth; --update" in refused.stderr
    assert "something else" not in refused.stderr
    assert "something else" in lock("G_437.pth").stderr


def test_a_codec_of_the_users_own_is_locked_and_followed(vqcheck, valid, tmp_path):
    """With `--family` a layout that only the user knows is locked, checked, and followed through a run."""
    family = tmp_path / "mine.toml"
    family.write_text('name = "mine"\n[tensors]\ncodes = "tokenizer.{layer}.table"\n')
    run = tmp_path / "run"
    run.mkdir()
    for step in (1, 2):
        state = {"tokenizer.0.table": torch.full((4, 3), float(step)), "tokenizer.1.table": torch.ones(4, 3)}
        torch.save({"model": state, "iteration": step}, run / f"G_{step}.pth")
    own = ("--family", family)
    assert vqcheck("lock", run / "G_1.pth", *own, cwd=tmp_path).returncode == 0
    checks = [vqcheck("lock", run / f"G_{n}.pth", "--check", *own, cwd=tmp_path).returncode for n in (1, 2)]
    assert checks == [0, 1]
    history = valid(vqcheck("history", run, "--format", "json", *own).stdout)
    assert [each["first_moved"] for each in history["runs"]] == ["G_2.pth"]
