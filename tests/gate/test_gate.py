"""The gate, as the installed command: open on a sound experiment, and each check fires on its own fault alone."""

import json
from types import SimpleNamespace

import pytest
import torch

from vqcheck.audit import before_training
from vqcheck.audit.planned_run import PlannedRun
from vqcheck.cli.main import main
from vqcheck.experiment.config_file import read_s2_run
from vqcheck.gate.run import run_gate
from vqcheck.report.render.text import Style, render
from vqcheck.report.views.gate import view

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def gate(vqcheck, valid, sound):
    """Runs the gate on the experiment; returns (exit status, check -> outcome, check -> message)."""

    def run(*options):
        done = vqcheck("gate", sound.config, "--format", "json", *options)
        document = valid(done.stdout)
        assert document["exit_code"] == done.returncode
        checks = document["checks"]
        return (
            done.returncode,
            {check["code"]: check["outcome"] for check in checks},
            {check["code"]: check["message"] for check in checks},
        )

    return run


@pytest.fixture
def locked(vqcheck, sound):
    """Makes the experiment's lock, bound to its tokens and its s1 checkpoint."""
    done = vqcheck("lock", sound.base, "--experiment", sound.folder, "--s1", sound.s1)
    assert done.returncode == 0, done.stderr
    return sound.folder / "vqcheck.lock"


def resave(path, **changes):
    """Save a checkpoint again with some tensors of its state dict replaced."""
    content = torch.load(path, weights_only=True)
    content["weight"] |= {name: change(content["weight"][name]) for name, change in changes.items()}
    torch.save(content, path)


def drift(sound):
    """Move the codebook of the pretrained generator by a tenth of its spread, as leaked training does."""
    generator = torch.Generator().manual_seed(1)
    resave(
        sound.base,
        **{f"{CODEBOOK}.embed": lambda old: (old.float() + 0.2 * torch.randn(old.shape, generator=generator)).half()},
    )


@pytest.mark.usefixtures("locked")
def test_a_sound_experiment_may_start(gate, sound):
    """With base, tokens, lock, freeze and s1 in order every required check passes and the gate is open."""
    code, outcomes, _ = gate("--s1", sound.s1)
    assert code == 0
    required = {name: found for name, found in outcomes.items() if name not in ("extraction-version", "replay")}
    assert set(required.values()) == {"passed"}
    assert outcomes["replay"] == "not applicable"


def test_without_a_lock_the_rest_is_still_checked(gate):
    """No lock is shown as not applicable, and tokens still prove the generator."""
    code, outcomes, messages = gate()
    assert code == 0
    assert (outcomes["lock"], outcomes["s1"], outcomes["tokens"]) == ("not applicable", "not applicable", "passed")
    assert "vqcheck lock" in messages["lock"]


def never_trained(sound):
    zero = {f"{CODEBOOK}.{name}": torch.zeros_like for name in ("inited", "cluster_size", "embed", "embed_avg")}
    resave(sound.base, **zero)


def overwritten_header(sound):
    sound.base.write_bytes(b"05" + sound.base.read_bytes()[2:])


def training_file(sound):
    content = torch.load(sound.base, weights_only=True)
    torch.save({"model": content["weight"], "iteration": 3}, sound.base)


def renamed(old, new):
    """Return a fault: the base's names, rewritten."""

    def plant(sound):
        content = torch.load(sound.base, weights_only=True)
        content["weight"] = {name.replace(old, new, 1): value for name, value in content["weight"].items()}
        torch.save(content, sound.base)

    return plant


def renamed_resume(sound):
    folder = sound.folder / "logs_s2_v2"
    folder.mkdir()
    (folder / "D_900.pth").touch()
    torch.save(
        {"model": {f"module.{name}": value.float() for name, value in sound.state.items()}, "iteration": 1},
        folder / "G_900.pth",
    )


def other_version(sound):
    sound.write(model__version="v1")


def other_tokens(sound):
    lines = sound.tsv.read_text().splitlines()
    name, tokens = lines[2].split("\t")
    lines[2] = f"{name}\t{' '.join(str((int(token) + 1) % 128) for token in tokens.split())}"
    sound.tsv.write_text("\n".join(lines) + "\n")


def not_frozen(sound):
    sound.write(model__freeze_quantizer=False)


def freeze_not_said(sound):
    sound.write(model__freeze_quantizer=None)


def drifted_resume(sound):
    folder = sound.folder / "logs_s2_v2"
    folder.mkdir()
    (folder / "D_900.pth").touch()
    state = {name: value.float() for name, value in sound.state.items()}
    torch.save({"model": state, "iteration": 1}, folder / "G_900.pth")
    state[f"{CODEBOOK}.cluster_size"] = state[f"{CODEBOOK}.cluster_size"] * 0.99
    torch.save({"model": state, "iteration": 2}, folder / "G_1000.pth")


def resume_moved_within_a_step(sound):
    folder = sound.folder / "logs_s2_v2"
    folder.mkdir()
    (folder / "D_900.pth").touch()
    state = {name: value.float() for name, value in sound.state.items()}
    half = sound.state[f"{CODEBOOK}.embed"]
    state[f"{CODEBOOK}.embed"] = half.float() * (1 + 1e-4)
    assert torch.equal(state[f"{CODEBOOK}.embed"].half(), half)
    torch.save({"model": state, "iteration": 1}, folder / "G_900.pth")


def negative_counts(sound):
    resave(sound.base, **{f"{CODEBOOK}.cluster_size": lambda old: -old})


@pytest.mark.parametrize(
    ("plant", "fires"),
    [
        (resume_moved_within_a_step, {"resume"}),
        (negative_counts, {"codebook-trained"}),
        (overwritten_header, {"loader"}),
        (training_file, {"loader"}),
        (renamed("", "module."), {"loader"}),
        (renamed("", "anything."), {"loader"}),
        (renamed("quantizer.vq.", "quantizer.vq._orig_mod."), {"loader"}),
        (renamed("ssl_proj.", "_orig_mod.ssl_proj."), {"loader"}),
        (renamed_resume, {"resume"}),
        (other_version, {"loader", "symbols"}),
        (other_tokens, {"tokens"}),
        (not_frozen, {"freeze"}),
        (freeze_not_said, {"freeze"}),
        (drifted_resume, {"resume"}),
        (drift, {"tokens"}),
        (never_trained, {"codebook-trained", "tokens"}),
    ],
)
def test_each_fault_is_found_by_its_own_check(gate, sound, plant, fires):
    """A planted fault closes the gate, and no check that does not look at it fails."""
    plant(sound)
    code, outcomes, _ = gate()
    failed = {name for name, found in outcomes.items() if found == "failed"} - {"extraction-version"}
    unchecked = {name for name, found in outcomes.items() if found == "could not check"}
    assert failed | unchecked == fires
    assert code == (2 if unchecked else 1)


@pytest.mark.parametrize(
    ("used", "words"), [(1, "has collapsed"), (40, "88 of 128 codes"), (90, "trained VQ encoder (128 codes)")]
)
def test_few_codes_in_use_are_advice(gate, sound, used, words):
    """A collapsed codebook, and one with most of its codes dead, are told and close no gate; 30 % dead are ordinary."""

    def few(old):
        return torch.where(torch.arange(len(old)) < used, old, torch.zeros_like(old))

    resave(sound.base, **{f"{CODEBOOK}.cluster_size": few})
    code, outcomes, messages = gate()
    assert (code, outcomes["codebook-trained"]) == (0, "passed" if used == 90 else "failed")
    assert words in messages["codebook-trained"]


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(("plant", "fires"), [(drift, {"lock", "tokens"}), (other_tokens, {"lock", "tokens", "s1"})])
def test_the_lock_catches_generator_and_tokens(gate, sound, plant, fires):
    """With a lock a moved generator or other tokens fail the lock's check, too."""
    plant(sound)
    code, outcomes, _ = gate("--s1", sound.s1)
    assert {name for name, found in outcomes.items() if found == "failed"} - {"extraction-version"} == fires
    assert code == 1


class TestS1:
    """Whether the s1 checkpoint belongs to the tokens, and on what evidence."""

    def test_a_matching_path_alone_proves_nothing(self, gate, sound):
        """Without a lock the s1 checkpoint's own word is advisory, and does not close the gate."""
        code, outcomes, messages = gate("--s1", sound.s1)
        assert (code, outcomes["s1"]) == (0, "could not check")
        assert "proves nothing" in messages["s1"]

    def test_another_experiments_s1_fails(self, gate, sound):
        """An s1 checkpoint that names another experiment's tokens closes the gate."""
        content = torch.load(sound.s1, weights_only=True)
        content["config"]["train_semantic_path"] = "logs/other/6-name2semantic.tsv"
        torch.save(content, sound.s1)
        code, outcomes, messages = gate("--s1", sound.s1)
        assert (code, outcomes["s1"]) == (1, "failed")
        assert "other" in messages["s1"]

    @pytest.mark.usefixtures("locked")
    def test_an_s1_the_lock_is_not_bound_to_fails(self, gate, sound):
        """With a lock the content decides: a changed s1 checkpoint closes the gate."""
        content = torch.load(sound.s1, weights_only=True)
        content["info"] = "GPT-e16"
        torch.save(content, sound.s1)
        assert gate("--s1", sound.s1)[1]["s1"] == "failed"

    def test_a_lock_of_several_s1_accepts_each(self, vqcheck, gate, sound, checkpoints):
        """The Lightning checkpoint and the export of one run; an s1 that is not bound is told which are."""
        both = ("--s1", sound.s1, "--s1", checkpoints / "lightning_s1.ckpt")
        assert vqcheck("lock", sound.base, "--experiment", sound.folder, *both).returncode == 0
        for s1 in both[1::2]:
            assert gate("--s1", s1)[1]["s1"] == "passed"
        content = torch.load(sound.s1, weights_only=True)
        torch.save({**content, "info": "GPT-e16"}, sound.s1)
        code, outcomes, messages = gate("--s1", sound.s1)
        assert (code, outcomes["s1"]) == (1, "failed")
        assert "me-e15.ckpt" in messages["s1"]
        assert "lightning_s1.ckpt" in messages["s1"]

    def test_a_file_that_is_no_s1_could_not_be_checked(self, gate, sound):
        """Naming the generator as s1 is a required could-not-check, which is never green."""
        code, outcomes, _ = gate("--s1", sound.base)
        assert (code, outcomes["s1"]) == (2, "could not check")


def test_could_not_check_is_never_green(gate, sound):
    """Missing tokens or a missing generator end in 2, and beat a failed check."""
    sound.tsv.unlink()
    not_frozen(sound)
    code, outcomes, messages = gate()
    assert (code, outcomes["tokens"], outcomes["freeze"]) == (2, "could not check", "failed")
    assert "6-name2semantic.tsv" in messages["tokens"]
    sound.base.unlink()
    assert gate()[1]["codebook-trained"] == "could not check"


def test_a_config_without_a_version_is_of_the_bases(gate, sound):
    """Configurations of trees before v2 name no version, and that is no fault of the base, whatever it is."""
    sound.write(model__version=None)
    code, outcomes, messages = gate()
    assert (code, outcomes["loader"]) == (0, "passed")
    assert "is v2; the config names no version" in messages["loader"]


def test_a_missing_experiment_is_never_green(gate, sound):
    """Without the directory neither lock nor resume were checked, and the gate does not open."""
    sound.write(data__exp_dir=str(sound.root / "typo"))
    code, outcomes, _ = gate("--only", "resume")
    assert (code, outcomes["resume"]) == (2, "could not check")
    code, outcomes, _ = gate("--only", "lock")
    assert (code, outcomes["lock"]) == (2, "could not check")


def test_unchecked_tokens_are_told_and_not_green_when_they_are_most(gate, sound):
    """Missing features are in the message; with most of them gone the tokens could not be checked."""
    features = sorted((sound.folder / "4-cnhubert").iterdir())
    features[0].unlink()
    code, outcomes, messages = gate()
    assert (code, outcomes["tokens"]) == (0, "passed")
    assert "1 of 6 items have no features" in messages["tokens"]
    for path in features[1:5]:
        path.unlink()
    code, outcomes, _ = gate()
    assert (code, outcomes["tokens"]) == (2, "could not check")


def test_only_and_skip_are_shown(gate, sound):
    """Checks that were left out are listed as skipped, and skipping the failing one opens the gate."""
    not_frozen(sound)
    code, outcomes, _ = gate("--skip", "freeze")
    assert (code, outcomes["freeze"]) == (0, "skipped")
    code, outcomes, _ = gate("--only", "freeze")
    assert code == 1
    assert [name for name, found in outcomes.items() if found != "skipped"] == ["freeze"]


def test_skipping_everything_is_not_green(gate):
    """A gate that carried out no required check could not check."""
    code, _, _ = gate("--only", "replay")
    assert code == 2


def test_the_text_names_verdict_checks_and_what_to_do(vqcheck, sound):
    """Open and closed are said in the first line; a closed gate says what to do about each check that failed."""
    run = vqcheck("gate", sound.config)
    assert run.returncode == 0
    assert run.stdout.startswith("open  s2 training may start")
    not_frozen(sound)
    run = vqcheck("gate", sound.config)
    assert run.returncode == 1
    assert run.stdout.startswith("closed  do not start s2 training")
    assert "freeze: Set model.freeze_quantizer to true" in run.stdout


def test_explain(vqcheck):
    """Every check explains itself without a config; an unknown code is an error with a suggestion."""
    run = vqcheck("gate", "--explain", "resume")
    assert run.returncode == 0
    assert "silently resumes" in run.stdout
    wrong = vqcheck("gate", "--explain", "resum")
    assert wrong.returncode == 2
    assert "did you mean resume?" in wrong.stderr


def test_a_toml_config_is_read(vqcheck, sound):
    """The program's own configuration names the same run; paths count from its folder."""
    config = sound.root / "gate.toml"
    config.write_text(
        '[subject]\nversion = "v2"\npretrained_s2G = "s2G2333k.pth"\nfreeze_quantizer = true\n'
        '[data]\nexp_dir = "logs/demo"\n'
    )
    run = vqcheck("gate", config)
    assert run.returncode == 0, run.stdout + run.stderr


def test_relative_paths_count_from_root(vqcheck, sound):
    """As upstream resolves them from the working directory, `--root` stands for it."""
    sound.write(train__pretrained_s2G="s2G2333k.pth", data__exp_dir="logs/demo")
    assert vqcheck("gate", sound.config, "--root", sound.root).returncode == 0
    elsewhere = vqcheck("gate", sound.config, "--root", sound.root / "logs")
    assert elsewhere.returncode == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ('{"train": {}}', "no section 'data'"),
        ('{"train": {"pretrained_s2G": 3}, "data": {}, "model": {}}', "train.pretrained_s2G: expected a path"),
        ('{"train": {}, "data": {}, "model": {"freeze_quantizer": "yes"}}', "expected true or false"),
        ("x = [", "not valid TOML"),
    ],
)
def test_a_bad_config_is_one_line(vqcheck, sound, content, words):
    """A config that is malformed or lacks a section is named with what is wrong, status 2."""
    sound.config.write_text(content)
    run = vqcheck("gate", sound.config)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert words in run.stderr
    assert "s2.json" in run.stderr


def test_a_named_lock_that_is_missing_could_not_be_checked(gate, sound):
    """A lock that was asked for by name is required."""
    code, outcomes, _ = gate("--lock", sound.root / "absent.lock")
    assert (code, outcomes["lock"]) == (2, "could not check")


@pytest.mark.usefixtures("locked")
def test_the_gate_writes_nothing(gate, sound):
    """Checking leaves every file of the experiment as it was."""
    before = {path: path.read_bytes() for path in sound.root.rglob("*") if path.is_file()}
    gate("--s1", sound.s1)
    assert {path: path.read_bytes() for path in sound.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("version", "size", "outcome", "words"),
    [
        ("v2", 90 << 20, "passed", "for v2, which it is"),
        ("v2", 80 << 20, "failed", "for v1, but it is v2"),
        ("v2Pro", 200 << 20, "passed", "for v2; it is v2Pro"),
        ("v2ProPlus", 60 << 20, "failed", "for v1, but it is v2ProPlus"),
        ("v3", 730 << 20, "passed", "for v3, which it is"),
        ("v3 or v4", 730 << 20, "passed", "for v3; it is v3 or v4"),
        ("v4", 200 << 20, "failed", "for v2, but it is v4"),
        ("", 90 << 20, "could not check", "do not show its version"),
    ],
)
def test_extraction_goes_by_size_for_every_version(monkeypatch, version, size, outcome, words):
    """Pro versions are read as v2 and v4 as v3, which is right; a size that stands for another version is not."""
    monkeypatch.setattr("os.path.getsize", lambda _: size)
    found = SimpleNamespace(path="base.pth", model=SimpleNamespace(version=version))
    finding = before_training.extraction_version(SimpleNamespace(inspection=found))
    assert finding.outcome == outcome
    assert words in finding.message


def test_size_based_extraction_is_advice(gate):
    """A file whose size upstream's extraction would misread is called out without closing the gate."""
    code, outcomes, messages = gate()
    assert (code, outcomes["extraction-version"]) == (0, "failed")
    assert "takes s2G2333k.pth for v1" in messages["extraction-version"]


@pytest.mark.parametrize("prefix", ["net_g.", "module."])
def test_a_base_under_other_names_is_not_what_training_loads(prefix, gate, sound):
    """Upstream looks for bare names and leaves the model random where it finds none: the loader check fails."""
    content = torch.load(sound.base, weights_only=True)
    content["weight"] = {prefix + name: value for name, value in content["weight"].items()}
    torch.save(content, sound.base)
    code, outcomes, messages = gate("--only", "loader")
    assert (code, outcomes["loader"]) == (1, "failed")
    assert (
        "holds no quantizer.vq.layers.0._codebook.embed, the name by which training looks for it" in messages["loader"]
    )


class TestText:
    """What people read: each failed check with its own fix, advice that looks like none, and what was left out."""

    def text(self, sound, capsys, *options):
        code = main(["gate", str(sound.config), *options])
        return code, " ".join(capsys.readouterr().out.split())

    def test_every_failed_check_shows_its_own_fix(self, sound, capsys):
        """Two faults, two things to do; those of checks that passed are not shown."""
        not_frozen(sound)
        drifted_resume(sound)
        code, told = self.text(sound, capsys)
        assert code == 1
        assert f"freeze: Set model.freeze_quantizer to true in {sound.config}." in told
        assert "resume: If an earlier run moved the codebook, move that folder away." in told
        assert "tokens: Delete the tsv" not in told

    def test_a_fix_names_the_key_of_the_users_file(self, sound, capsys):
        """A TOML has other keys than the JSON."""
        config = sound.root / "gate.toml"
        config.write_text(
            '[subject]\nversion = "v2"\npretrained_s2G = "s2G2333k.pth"\nfreeze_quantizer = false\n'
            '[data]\nexp_dir = "logs/demo"\n',
            "utf-8",
        )
        assert main(["gate", str(config)]) == 1
        told = " ".join(capsys.readouterr().out.split())
        assert f"freeze: Set subject.freeze_quantizer to true in {config}." in told

    @pytest.mark.parametrize("advice", [True, False])
    def test_advice_is_called_advice(self, sound, advice):
        """Another word and another colour than what keeps training from starting; machines get the outcome."""
        if not advice:
            not_frozen(sound)
        report = run_gate(PlannedRun(read_s2_run(str(sound.config), None), None, None, None))
        document = view(report)
        told = render(document, Style(color=True))
        assert ("\x1b[1;31mfailed" in told) == (not advice)
        assert "advice" in told
        row = next(line for line in told.splitlines() if "extraction-version" in line and "takes" in line)
        assert "failed" not in row
        assert "\x1b[1;31m" not in row
        (case,) = [case for case in document.cases if case.name == "extraction-version"]
        assert (case.outcome, case.is_advice) == ("failed", True)

    def test_left_out_checks_do_not_open_the_gate(self, sound, capsys):
        """What was checked is said instead of that training may start."""
        code, told = self.text(sound, capsys, "--only", "freeze", "--only", "loader")
        assert code == 0
        assert told.startswith("partly checked passed: loader, freeze; left out: codebook-trained, symbols, lock,")
        assert "may start" not in told

    def test_left_out_advice_opens_it(self, sound, capsys):
        """Advice decides nothing, so nothing that decides was left out."""
        code, told = self.text(sound, capsys, "--skip", "extraction-version")
        assert code == 0
        assert told.startswith("open s2 training may start (10 of 11 checks ran)")

    def test_a_failed_check_closes_it_whatever_was_left_out(self, sound, capsys):
        """And a gate in which nothing ran stays undecided."""
        not_frozen(sound)
        code, told = self.text(sound, capsys, "--only", "freeze")
        assert code == 1
        assert told.startswith("closed do not start s2 training (1 of 11 checks ran)")


class TestSymbols:
    """Whether the base fits the text symbols of the version, or of the tree that will train."""

    def rows(self, sound, count):
        resave(sound.base, **{"enc_p.text_embedding.weight": lambda _: torch.ones(count, 2)})

    @pytest.mark.parametrize(
        ("count", "version", "outcome"),
        [(732, "v2", "passed"), (322, "v2", "failed"), (733, "v2", "failed"), (732, "v3", "passed")],
    )
    def test_the_number_of_the_version(self, gate, sound, count, version, outcome):
        """322 for v1, 732 for every other one; both numbers are told."""
        self.rows(sound, count)
        sound.write(model__version=version)
        _, outcomes, messages = gate("--only", "symbols")
        assert outcomes["symbols"] == outcome
        assert f"has {count} text symbols" in messages["symbols"]

    def test_v1_has_322(self, gate, sound):
        """Of trees before v2, too, whose JSON names no version."""
        self.rows(sound, 322)
        resave(sound.base, **{"ref_enc.spectral.0.fc.weight": lambda _: torch.ones(2, 1025)})
        for version in ("v1", None):
            sound.write(model__version=version)
            assert gate("--only", "symbols")[1]["symbols"] == "passed"

    @pytest.mark.parametrize(
        ("count", "defined", "outcome", "words"),
        [
            (732, 732, "passed", "as "),
            (732, 740, "failed", "defines 740 text symbols (GPT-SoVITS has 732 for v2, so it was changed)"),
            (740, 740, "passed", "740 text symbols"),
            (740, 732, "failed", "defines 732 text symbols, "),
            (732, None, "passed", "could not be read off it"),
            (740, None, "failed", "has 740 text symbols"),
        ],
    )
    def test_a_tree_that_is_named_decides(self, gate, sound, count, defined, outcome, words):
        """A changed symbols2.py is pointed out; one that cannot be counted leaves the version's number."""
        self.rows(sound, count)
        path = sound.root / "tree" / "GPT_SoVITS" / "text" / "symbols2.py"
        path.parent.mkdir(parents=True)
        names = [f"s{number}" for number in range(defined or 0)]
        path.write_text(f"symbols = {names}\n" if defined else "symbols = load()\n", "utf-8")
        _, outcomes, messages = gate("--only", "symbols", "--checkout", sound.root / "tree")
        assert outcomes["symbols"] == outcome
        assert words in messages["symbols"]
        assert (str(path) in messages["symbols"]) == (count != 740 or defined is not None)

    def test_a_base_without_the_embedding(self, gate, sound):
        """Training would start it from random values."""
        content = torch.load(sound.base, weights_only=True)
        del content["weight"]["enc_p.text_embedding.weight"]
        torch.save(content, sound.base)
        _, outcomes, messages = gate("--only", "symbols")
        assert outcomes["symbols"] == "failed"
        assert "random" in messages["symbols"]


def resume_without_discriminator(sound):
    drifted_resume(sound)
    (sound.folder / "logs_s2_v2" / "D_900.pth").unlink()


def resume_in_the_folder_of_older_trees(sound):
    drifted_resume(sound)
    (sound.folder / "logs_s2_v2").rename(sound.folder / "logs_s2")


def unreadable_resume(sound):
    drifted_resume(sound)
    (sound.folder / "logs_s2_v2" / "G_1000.pth").write_bytes(b"PK")


def an_older_lock_beside(sound):
    (sound.folder / "a.lock").write_text("not a lock\n", "utf-8")


@pytest.mark.parametrize(
    ("plant", "finds"),
    [
        (lambda _: None, {}),
        (never_trained, {"codebook-trained": "failed", "tokens": "could not check"}),
        (negative_counts, {"codebook-trained": "failed"}),
        (other_tokens, {"tokens": "failed"}),
        (drift, {"tokens": "failed"}),
        (not_frozen, {"freeze": "failed"}),
        (freeze_not_said, {"freeze": "failed"}),
        (drifted_resume, {"resume": "failed"}),
        (renamed_resume, {"resume": "failed"}),
        (resume_moved_within_a_step, {"resume": "failed"}),
        (resume_without_discriminator, {}),
        (resume_in_the_folder_of_older_trees, {}),
        (unreadable_resume, {"resume": "could not check"}),
        (an_older_lock_beside, {}),
    ],
)
def test_check_and_gate_agree(gate, sound, capsys, plant, finds):
    """What both ask of one experiment, both answer alike."""
    plant(sound)
    # `check` finds the configuration that lies in the experiment.
    (sound.folder / "s2.json").write_bytes(sound.config.read_bytes())
    _, outcomes, _ = gate()
    main(["check", str(sound.folder), "--base", str(sound.base), "--format", "json"])
    (voice,) = json.loads(capsys.readouterr().out)["voices"]
    answers = {answer["question"]: answer["outcome"] for answer in voice["answers"]}
    shared = {"codebook-trained": "health", "tokens": "tokens", "freeze": "freeze", "resume": "resume", "lock": "lock"}
    expected = {code: finds.get(code, "passed") for code in shared} | {"lock": "not applicable"}
    assert {code: outcomes[code] for code in shared} == expected
    # Without training files there is nothing that `check` could ask to be resumed from.
    asked = {code: answers[question] for code, question in shared.items()}
    assert asked | ({"resume": "passed"} if asked["resume"] == "not applicable" else {}) == expected
