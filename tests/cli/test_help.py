"""Help fits eighty columns and its examples are commands that run; shells complete what is ours."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.shell_completion import ShellComplete
from warm import HANGS

from vqcheck.cli.program import program

ROOT = Path(__file__).parent.parent.parent
ZSH_START = "autoload -U compinit; compinit -u -D"
COMMANDS = ("check", "inspect", "diff", "tokens", "history", "replay", "run", "restore", "extract", "lock", "gate")


def context(name):
    group = click.Context(program, info_name="vqcheck", terminal_width=80)
    return program.get_command(group, name), group


def help_of(name):
    command, group = context(name)
    return command.get_help(
        click.Context(command, parent=group, info_name=name, terminal_width=80, max_content_width=80)
    )


def examples(name):
    """Return the command lines under `Examples:`."""
    text = help_of(name)
    section = text[text.index("Examples:") : text.index("Exit status:")]
    return [line.strip() for line in section.splitlines()[1:] if line.strip()]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_eighty_columns(name):
    """No line is wider, examples included; every option says what it does."""
    text = help_of(name)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    command, _ = context(name)
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []
    assert all(max(option.opts, key=len) in text for option in options)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_the_report_stand_by_themselves(name):
    """What every command has comes last, so that what a command is about comes first."""
    text = help_of(name)
    assert text.index("\nOptions:") < text.index("\nReport:") < text.index("Examples:")
    report = text[text.index("\nReport:") : text.index("Examples:")]
    assert {"--format", "--quiet", "--debug"} <= set(re.findall(r"--[a-z]+", report))
    assert "--format" not in text[: text.index("\nReport:")].partition("\nOptions:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_understood(name):
    """Each example parses as it stands: options exist, values are allowed, arguments are complete."""
    lines = examples(name)
    assert len(lines) >= 2
    for line in lines:
        words = re.split("&&|>", line)[0].replace("torchrun --nproc-per-node 2 --no-python ", "").split()
        assert words[:2] == ["vqcheck", name]
        command, group = context(name)
        parser = command.make_parser(click.Context(command, parent=group, resilient_parsing=True))
        values, rest, _ = parser.parse_args(words[2:])
        assert rest == []
        for param in command.params:
            value = values.get(param.name)
            if isinstance(param.type, click.Choice) and isinstance(value, str):
                assert value in param.type.choices


@pytest.fixture
def place(sound, checkpoints, monkeypatch):
    """A folder with the files that the examples name."""
    root = sound.root
    monkeypatch.chdir(root)
    me = root / "logs" / "me"
    shutil.copytree(sound.folder, me)
    sound.write(data__exp_dir=str(me))
    (root / "GPT_weights_v2").mkdir()
    (root / "SoVITS_weights_v2").mkdir()
    (root / "TEMP").mkdir()
    (root / "step_400").mkdir()
    (me / "logs_s2_v2").mkdir()
    shutil.copy(sound.config, root / "TEMP" / "tmp_s2.json")
    for source, target in (
        ("base_v2.pth", "base.pth"),
        ("frozen_v2_e8_s400.pth", "exported.pth"),
        ("base_v2.pth", "a.pth"),
        ("base_v2.safetensors", "b.safetensors"),
        ("G_400.pth", "G_400.pth"),
        ("G_400.pth", "step_400/rank0.pth"),
        ("G_400.pth", "step_400/rank1.pth"),
        ("G_400.pth", "logs/me/logs_s2_v2/G_400.pth"),
        ("G_437.pth", "logs/me/logs_s2_v2/G_437.pth"),
        ("frozen_v2_e8_s400.pth", "SoVITS_weights_v2/me_e8_s400.pth"),
        ("frozen_v2_e8_s400.pth", "SoVITS_weights_v2/me_e4_s200.pth"),
    ):
        shutil.copy(checkpoints / source, root / target)
    s1 = torch.load(checkpoints / "gpt-e15.ckpt", weights_only=True)
    s1["config"]["train_semantic_path"] = "logs/me/6-name2semantic.tsv"
    for folder in ("before", "after", "models/mimi"):
        (root / folder).mkdir(parents=True)
        shutil.copy(checkpoints / "base_v2.safetensors", root / folder / "model.safetensors")
    codes = "quantizer.vq.layers.{layer}._codebook.embed"
    (root / "my_codec.toml").write_text(f'name = "my-codec"\n[tensors]\ncodes = "{codes}"\n', encoding="utf-8")
    for target in ("me-e15.ckpt", "GPT_weights_v2/me-e15.ckpt"):
        torch.save(s1, root / target)
    return root


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("replay", "run", "restore")])
def test_examples_run_as_written(name, place, capsys):
    """Given files of these names, each example comes to a verdict: nothing is missing, misspelt or refused."""
    from vqcheck.cli.main import main

    for more in ([], ["-o", "voices.lock"]):
        main(["lock", "s2G2333k.pth", "--experiment", "logs/me", *more])
    capsys.readouterr()
    tried = 0
    for line in examples(name):
        words = re.split("&&|>", line)[0].split()[1:]
        words = [each for word in words for each in (map(str, place.glob(word)) if "*" in word else [word])]
        status = main(words)
        captured = capsys.readouterr()
        assert status in (0, 1), (line, captured.err)
        tried += 1
    assert tried >= 2


def completed(words, incomplete):
    return {
        item.value: item
        for item in ShellComplete(program, {}, "vqcheck", "_VQCHECK_COMPLETE").get_completions(words, incomplete)
    }


def test_commands_and_options_are_completed():
    """Commands, and the options of the command that is being typed."""
    assert set(completed([], "")) >= set(COMMANDS)
    assert set(completed(["diff", "a.pth", "b.pth"], "--f")) == {"--features", "--family", "--format"}


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["diff", "--scope"], "", {"all", "tokens"}),
        (["diff", "--format"], "h", {"html"}),
        (["replay", "--strategy"], "e", {"eval-at-init", "eval-in-forward"}),
        (["replay", "--factory", "m:f", "--strategy"], "", {"as-is", "freeze"}),
        (["replay", "--precision"], "fp", {"fp32", "fp16"}),
        (["replay", "--device"], "c", {"cpu", "cuda", "cuda:0"}),
        (["gate", "--explain"], "f", {"freeze"}),
        (["gate", "--skip"], "lo", {"loader", "lock"}),
    ],
)
def test_values_are_completed(words, incomplete, expected):
    """Choices, strategies, checks and devices, each where it may stand."""
    assert set(completed(words, incomplete)) == expected


@pytest.mark.parametrize(
    "words",
    [["inspect"], ["diff"], ["gate"], ["replay"], ["tokens"], ["lock"], ["lock", "--s1"], ["replay", "--checkout"]],
)
def test_paths_are_left_to_the_shell(words):
    """Where a file belongs the shell's own completion of files is asked for."""
    assert {item.type for item in completed(words, "x").values()} <= {"file", "dir"}
    assert completed(words, "x")


def test_the_version_is_the_packages():
    """`--version` ends with 0 and names the program and its version."""
    from vqcheck import __version__

    run = subprocess.run([sys.executable, "-m", "vqcheck", "--version"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, f"vqcheck, version {__version__}\n")


def test_the_version_is_answered_before_the_command_line_is_understood():
    """Scripts ask for it; to import click takes as long as everything else together."""
    code = "import sys; from vqcheck.cli.main import main; main(['--version']); print('click' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("shell", "call"),
    [
        ("bash", 'eval "$(_VQCHECK_COMPLETE=bash_source vqcheck)"; complete -p vqcheck'),
        ("zsh", f'{ZSH_START}; eval "$(_VQCHECK_COMPLETE=zsh_source vqcheck)"; whence -w _vqcheck_completion'),
        ("fish", "_VQCHECK_COMPLETE=fish_source vqcheck | source; complete -C 'vqcheck diff --scope '"),
    ],
)
def test_the_documented_line_works_in_a_real_shell(shell, call):
    """What the README says to put into a shell's start-up file is accepted by that shell, where it is installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    bin_folder = str(sys.executable).rpartition("/")[0]
    environment = {"PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": "/nonexistent", "TERM": "dumb"}
    run = subprocess.run(
        [shell, "-c", call], capture_output=True, text=True, env=environment, check=False, timeout=HANGS
    )
    assert run.returncode == 0, run.stderr
    assert "vqcheck" in run.stdout or run.stdout.split() == ["all", "tokens"]
    assert run.stderr == ""


def test_completion_says_nothing_but_what_completes(monkeypatch, capsys):
    """The shell shows stderr between the user's own keys, and click ends completion by leaving the program."""
    from vqcheck.cli.main import main

    monkeypatch.setenv("_VQCHECK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "vqcheck diff --scope ")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert main([]) == 0
    assert capsys.readouterr() == ("plain,all\nplain,tokens\n", "")


def test_the_program_and_the_documents_give_the_same_lines_for_completion():
    """The lines for three shells stand in `vqcheck --help` and in the documents, letter by letter."""
    text = program.get_help(click.Context(program, info_name="vqcheck", terminal_width=80, max_content_width=80))
    assert [line for line in text.splitlines() if len(line) > 80] == []
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8").replace("\\|", "|")
    for shell in ("bash", "zsh"):
        assert f'eval "$(_VQCHECK_COMPLETE={shell}_source vqcheck)"' in text
        assert f'eval "$(_VQCHECK_COMPLETE={shell}_source vqcheck)"' in page
    assert "_VQCHECK_COMPLETE=fish_source vqcheck | source" in text
    assert "_VQCHECK_COMPLETE=fish_source vqcheck | source" in page


def test_a_config_called_json_does_not_make_errors_english(monkeypatch, capsys):
    from vqcheck import language
    from vqcheck.cli.main import main

    monkeypatch.setattr(language, "_language", language._Language())
    monkeypatch.setenv("VQCHECK_LANG", "zh")
    assert main(["gate", "s2.json", "--explain"]) == 2
    assert "选项" in capsys.readouterr().err
