"""Every command of the README and of docs/ runs, each once, and its examples print what they show."""

import doctest
import json
import re
import shlex

import pytest
from documents import CHINESE, ENGLISH, PAGES, ROOT, blocks, by_a_user, examples, in_yaml, lines, needs_a_shell, sets_up

from vqcheck.cli.program import program

DOCUMENTS = [ENGLISH, *PAGES]
LOCK = "vqcheck lock pretrained_models/s2G2333k.pth --experiment logs/me"
TYPED = dict.fromkeys(line for page in DOCUMENTS for line in [*lines(page, "sh"), *in_yaml(page)])
RUN = [
    line for line in TYPED if not sets_up(line) and not line.startswith("vqcheck run ")
]  # tests/cli has those of run


@needs_a_shell
@pytest.mark.parametrize("line", [by_a_user(line) for line in RUN])
def test_a_command_runs(line, workspace, shell):
    """It ends with status 0 where its files are in order, whichever command ran before it."""
    if line.startswith("vqcheck lock"):
        (workspace / "logs" / "me" / "vqcheck.lock").unlink(missing_ok=True)
        if "--check" in line or "--update" in line:
            shell(LOCK, workspace)
    done = shell(line, workspace)
    assert done.returncode == 0, done.stdout


EXAMPLES = dict.fromkeys(example for page in DOCUMENTS for example in examples(page))


@needs_a_shell
@pytest.mark.parametrize(("command", "shown"), [by_a_user(*example) for example in EXAMPLES])
def test_an_example_prints_what_is_shown(command, shown, workspace, shell):
    """Its output is the program's, but for the last places of losses; `...` stands for what is left out."""
    printed = shell(command, workspace).stdout
    told = "\n".join(line.rstrip() for line in printed.splitlines()) + "\n"
    wanted, got = (re.sub(r"(\d\.\d)\d+", r"\1", text) for text in (shown, told))
    assert doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS), told


def named():
    """Return every line of a block that calls vqcheck, also where it is not run: it needs a network, or Windows."""
    found = [line for page in [*DOCUMENTS, CHINESE] for _, text in blocks(page) for line in without_prompt(text)]
    return sorted({line for line in found if re.match(r"(\S*python\S* -m )?(\S*\\)?vqcheck(\.exe)? [a-z]", line)})


def without_prompt(text):
    return [re.sub(r" {2,}#.*", "", line.removeprefix("$ ")) for line in text.splitlines()]


@pytest.mark.parametrize("line", named())
def test_a_command_and_its_options_exist(line):
    """A page that nobody runs names no option that was renamed."""
    words = shlex.split(re.split(r"vqcheck(?:\.exe)? ", line, maxsplit=1)[1].split(" &&")[0], posix=False)
    command = program.get_command(None, words[0])
    assert command is not None
    own = words[: words.index("--")] if "--" in words else words
    options = {name for each in command.params for name in each.opts} | {"--help", "--lang"}
    assert [word for word in own[1:] if word.startswith("-") and word.split("=")[0] not in options] == []


def test_lines_that_are_not_run_are_looked_at():
    assert len(named()) > len(RUN) > 20


def test_no_recipe_imports_what_a_workspace_calls_as_a_module():
    """`python -m pip` runs ./pip.py where there is one; -I keeps the working directory out, and so does a program."""
    recipes = [line for page in DOCUMENTS for kind in ("sh", "yaml", "console") for line in lines(page, kind)]
    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8").splitlines()
    modules = [line for line in [*recipes, *hooks] if re.search(r"(^|\s)-m\s", line) and not sets_up(line)]
    assert modules
    assert [line for line in modules if "python -I -m " not in line] == []


@pytest.mark.parametrize("hook", ["lock", "gate", "check"])
def test_a_hook_takes_the_arguments_that_the_page_gives_it(hook, workspace, shell):
    """As pre-commit calls it: the entry, then the arguments."""
    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
    [entry] = re.findall(rf"^- id: vqcheck-{hook}\n(?:  .*\n)*?  entry: vqcheck (.*)$", hooks, re.MULTILINE)
    page = "\n".join(lines(ROOT / "docs" / "ci.md", "yaml"))
    [arguments] = re.findall(rf"- id: vqcheck-{hook}\n\s*args: \[(.*)\]$", page, re.MULTILINE)
    words = [*entry.split(), *arguments.split(", ")]
    assert words[-2] == "--"
    shell(f"{LOCK} --update", workspace)
    assert shell(f"vqcheck {' '.join(words)}", workspace).returncode == 0
    assert shell(f"vqcheck {' '.join(words[:-1])} --help", workspace).returncode == 2


STRATEGY = re.compile(r"^\| `([\w-]+)` \| .* \| (moves|still) \| (moves|still) \| (moves|still) \|$", re.MULTILINE)
ADAPTED = '[subject]\nversion = "tiny-v3"\n[data]\ngenerated_items = 4\n[training]\nbatch_size = 2\nlora_rank = 2\n'


@pytest.mark.slow
@pytest.mark.parametrize("config", ["", ADAPTED], ids=["v2", "LoRA of v3"])
def test_the_strategies_table_is_what_the_replay_measures(vqcheck, tmp_path, config):
    """What the table calls moving moved, and what it calls still stayed bit-identical."""
    (tmp_path / "replay.toml").write_text(config, encoding="utf-8")
    done = vqcheck("replay", str(tmp_path / "replay.toml"), "--all", "--steps", "1", "--format", "json")
    measured = []
    for arm in json.loads(done.stdout)["arms"]:
        moved = {tensor["label"] for step in arm["steps"] for tensor in step["tensors"] if tensor["changed"]}
        projection = {label for label in moved if label.startswith("input_proj")}
        text = {each["part"] for each in arm["parameters"] if each["learning_moved"]} & {"enc_p"}
        parts = (moved - projection, projection, *((text,) if config else ()))
        measured.append((arm["strategy"], *("moves" if part else "still" for part in parts)))
    rows = STRATEGY.findall((ROOT / "docs" / "the-bug.md").read_text(encoding="utf-8"))
    assert [row[: len(measured[0])] for row in rows] == measured
