"""Whatever a path leads to, a command ends in one line that names it and status 2. Nothing is waited for."""

import os
import shutil
import socket
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, devices and links as Windows has none")

FIXTURES = Path(__file__).parents[2] / "fixtures"
LONG = "n" * 300


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def nothing(path):
    path.symlink_to("/dev/null")


def loop(path):
    path.symlink_to(path.name)


def dangling(path):
    path.symlink_to("nowhere")


def directory(path):
    path.mkdir()


def socket_file(path):
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's own path must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def absent(path):
    pass


KINDS = (pipe, endless, nothing, loop, dangling, directory, socket_file, absent)

CHECKPOINT = {
    "inspect": ("inspect", "BAD"),
    "diff, first": ("diff", "BAD", "BASE"),
    "diff, second": ("diff", "BASE", "BAD"),
    "tokens": ("tokens", "BAD", "EXPERIMENT"),
    "tokens --against": ("tokens", "BASE", "EXPERIMENT", "--against", "BAD"),
    "lock": ("lock", "BAD", "-o", "NEW"),
    "lock --check": ("lock", "--check", "BAD", "-o", "LOCK"),
    "lock --s1": ("lock", "BASE", "--experiment", "EXPERIMENT", "--s1", "BAD", "-o", "NEW"),
}
OTHER = {
    "the lock to check": ("lock", "--check", "BASE", "-o", "BAD"),
    "the config of a gate": ("gate", "BAD"),
    "the config of a replay": ("replay", "BAD"),
    "a family": ("inspect", "BASE", "--family", "BAD"),
}
FOLDER = {
    "tokens": ("tokens", "BASE", "BAD"),
    "history": ("history", "BAD"),
    "lock --experiment": ("lock", "BASE", "--experiment", "BAD", "-o", "NEW"),
    "diff --features": ("diff", "BASE", "DRIFTED", "--features", "BAD"),
    "diff --experiment": ("diff", "S1", "BASE", "--experiment", "BAD"),
}


def filled_in(arguments, desk, bad):
    names = {
        "BAD": bad,
        "BASE": desk.base,
        "DRIFTED": desk.drifted,
        "EXPERIMENT": desk.folder,
        "LOCK": desk.lock,
        "NEW": desk.root / "new.lock",
        "S1": desk.s1,
    }
    return [names.get(argument, argument) for argument in arguments]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_path_that_leads_to_no_file_is_named_in_one_line(kind, desk, could_not):
    """Checkpoints, locks, configs, families and folders alike, in every command that takes one."""
    bad = desk.root / "bad"
    kind(bad)
    before = desk.files()
    for what, arguments in {**CHECKPOINT, **OTHER}.items():
        if kind is nothing and what == "the config of a replay":
            continue  # an empty config leaves everything as it is by default
        assert "bad" in could_not(*filled_in(arguments, desk, bad)), what
    if kind is not directory:
        for what, arguments in FOLDER.items():
            assert "bad" in could_not(*filled_in(arguments, desk, bad)), what
    assert desk.files() == before


@pytest.mark.parametrize("kind", KINDS[:6], ids=lambda kind: kind.__name__)
def test_a_part_of_an_experiment_that_is_no_file_is_named(kind, desk, could_not):
    """The recorded tokens are a pipe, a device, a link to nowhere or a folder."""
    desk.tsv.unlink()
    kind(desk.tsv)
    assert "6-name2semantic.tsv" in could_not("tokens", desk.base, desk.folder)
    assert "6-name2semantic.tsv" in could_not("lock", desk.base, "--experiment", desk.folder, "-o", desk.root / "new")
    assert not (desk.root / "new").exists()


@pytest.mark.parametrize("kind", KINDS[:6], ids=lambda kind: kind.__name__)
def test_features_that_are_no_file_keep_an_audit_from_being_consistent(kind, desk, told):
    """The item is named, and its tokens count as unchecked."""
    bad = desk.folder / "4-cnhubert" / "3.wav.pt"
    bad.unlink()
    kind(bad)
    status, out, _ = told("tokens", desk.base, desk.folder)
    assert status == 2
    assert "3.wav" in out


@pytest.mark.parametrize("kind", [pipe, endless, nothing, loop, dangling, socket_file], ids=lambda kind: kind.__name__)
def test_a_checkpoint_of_a_run_that_is_no_file_is_not_passed_over(kind, desk, told):
    """A history with a checkpoint that cannot be read says so and ends in 2; a sub-folder is none."""
    assert told("history", desk.run)[0] == 0
    kind(desk.run / "G_500.pth")
    status, out, _ = told("history", desk.run)
    assert status == 2
    assert "G_500.pth" in out


def test_a_folder_named_as_a_checkpoint_is_no_part_of_a_run(desk, told):
    directory(desk.run / "G_500.pth")
    assert told("history", desk.run)[0] == 0


@pytest.mark.parametrize("kind", KINDS[:6], ids=lambda kind: kind.__name__)
def test_a_gate_whose_parts_are_no_files_stays_shut(kind, desk, told):
    """The base, the lock, the s1 checkpoint, the tokens: each could not be checked, and the gate says which."""
    bad = desk.root / "bad"
    kind(bad)
    assert told("gate", desk.config)[0] == 0
    for arguments in (("--lock", bad), ("--s1", bad)):
        status, out, _ = told("gate", desk.config, *arguments)
        assert status == 2
        assert "bad" in out
    desk.write(train__pretrained_s2G=str(bad))
    status, out, _ = told("gate", desk.config)
    assert status == 2
    assert "bad" in out
    desk.write(train__pretrained_s2G=str(desk.base))
    desk.tsv.unlink()
    kind(desk.tsv)
    status, out, _ = told("gate", desk.config)
    assert status == 2
    assert "6-name2semantic.tsv" in out


def test_a_file_where_a_folder_is_expected_is_named(desk, could_not):
    for what, arguments in FOLDER.items():
        assert str(desk.tsv) in could_not(*filled_in(arguments, desk, desk.tsv)), what


def test_a_path_through_a_file_and_a_name_too_long_are_named(desk, could_not):
    for bad in (desk.base / "x", desk.root / LONG, desk.root / "/".join(["deep"] * 1000)):
        for what, arguments in {**CHECKPOINT, **OTHER, **FOLDER}.items():
            assert bad.name in could_not(*filled_in(arguments, desk, bad)), what
        assert bad.name in could_not("inspect", desk.base, "-o", bad)
        assert bad.name in could_not("lock", desk.base, "-o", bad)


def test_parts_of_a_training_set_that_are_no_files_are_named(desk, could_not):
    """A replay's own inputs: the phones and the features of an item."""
    shutil.rmtree(desk.folder)
    shutil.copytree(FIXTURES / "experiment", desk.folder)
    config = desk.root / "replay.toml"
    config.write_text(f'[subject]\nversion = "v2"\n[data]\nexp_dir = "{desk.folder}"\n[replay]\nsteps = 1\n')
    for part in ("2-name2text.txt", "4-cnhubert/syn_0001.wav.pt"):
        path = desk.folder / part
        path.rename(desk.root / "kept")
        pipe(path)
        assert path.name in could_not("replay", config)
        path.unlink()
        (desk.root / "kept").rename(path)
