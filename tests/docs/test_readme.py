"""The README's commands are run and its examples print what it says; the Chinese README has the same ones."""

import doctest
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import pytest
import torch
from warm import HANGS, can_fork

import vqcheck as library
from vqcheck.codebook.own_family import read_own_family
from vqcheck.errors import CodebookChanged
from vqcheck.synthesizer import preset
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
LANGUAGES = {"sh", "console", "python", "toml", "yaml", "text"}

needs_a_shell = pytest.mark.skipif(shutil.which("bash") is None, reason="the README's commands are for a POSIX shell")


def blocks(readme):
    """Return the (language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", readme.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def without_remarks(text):
    """Return a block without what its `#` remarks say: those are translated."""
    return [re.sub(r"(^| {2,})#.*", "", line).rstrip() for line in text.splitlines()]


def lines(language):
    return [line for kind, text in blocks(ENGLISH) if kind == language for line in without_remarks(text) if line]


def in_yaml():
    """Return the commands that CI files of the README call."""
    found = [re.fullmatch(r"\s*- (vqcheck .*)", line) for line in lines("yaml")]
    return [match[1] for match in found if match]


SIZES = {
    "inter_channels": 16,
    "hidden_channels": 16,
    "filter_channels": 32,
    "n_layers": 2,
    "upsample_initial_channel": 64,
    "gin_channels": 32,
    "mrte_hidden": 32,
    "mrte_heads": 2,
    "posterior_layers": 2,
    "flow_layers": 2,
    "n_flows": 2,
    "codebook_size": 32,
}


def replayed(root):
    """Make what the replays want, small enough for seconds: an s2 JSON with its base, a checkout, a configuration."""
    torch.manual_seed(0)
    net_g = preset("v2").synthesizer(**SIZES)
    net_g.initialise_codebook(torch.randn(2, 768, 60))
    torch.save({"weight": net_g.state_dict(), "config": {}}, root / "pretrained_models" / "small_s2G.pth")
    values = {
        "train": {
            "batch_size": 2,
            "seed": 1234,
            "segment_size": 5120,
            "pretrained_s2G": "pretrained_models/small_s2G.pth",
            "pretrained_s2D": "",
        },
        "data": {"exp_dir": "fixtures/experiment"},
        "model": {**SIZES, "version": "v2", "narrowing": 16, "periods": [2]},
    }
    (root / "logs" / "me" / "tmp_s2.json").write_text(json.dumps(values), encoding="utf-8")
    shutil.copytree(ROOT / "tests" / "checkout" / "tree", root / "path" / "to" / "GPT-SoVITS")
    shutil.copy(ROOT / "tests" / "checkout" / "small.toml", root / "my_replay.toml")
    (root / "replay.toml").write_text('[subject]\nversion = "tiny"\n[replay]\nsteps = 1\n', encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder in which a user of GPT-SoVITS would type the commands, with the project's fixtures in it."""
    root = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "fixtures", root / "fixtures")
    checkpoints = root / "fixtures" / "checkpoints"
    (root / "pretrained_models").mkdir()
    shutil.copy(checkpoints / "base_v2.pth", root / "pretrained_models" / "s2G2333k.pth")
    shipped = root / "GPT_SoVITS" / "pretrained_models" / "gsv-v2final-pretrained"
    shipped.mkdir(parents=True)
    shutil.copy(checkpoints / "base_v2.pth", shipped / "s2G2333k.pth")
    (root / "GPT_weights_v2").mkdir()
    s1 = torch.load(checkpoints / "gpt-e15.ckpt", weights_only=True)
    s1["config"]["train_semantic_path"] = "logs/me/6-name2semantic.tsv"
    torch.save(s1, root / "GPT_weights_v2" / "me-e15.ckpt")
    experiment = root / "logs" / "me"
    shutil.copytree(root / "fixtures" / "demo", experiment, ignore=shutil.ignore_patterns("*.lock", "*.json"))
    (experiment / "logs_s2_v2").mkdir()
    for step in (400, 800):
        shutil.copy(checkpoints / "G_400.pth", experiment / "logs_s2_v2" / f"G_{step}.pth")
    (root / "configs").mkdir()
    values = {
        "train": {"batch_size": 4, "pretrained_s2G": "pretrained_models/s2G2333k.pth", "pretrained_s2D": ""},
        "data": {"exp_dir": "logs/me"},
        "model": {"version": "v2", "freeze_quantizer": True},
    }
    (root / "configs" / "s2.json").write_text(json.dumps(values), encoding="utf-8")
    replayed(root)
    return root


@pytest.fixture
def shell(warm):
    """Runs a line of the README as it stands, with the programs of this environment in reach."""
    return functools.partial(in_shell, warm)


def in_shell(warm, command, folder):
    words = shlex.split(command)
    if can_fork() and words[0] == "vqcheck" and set(command).isdisjoint("&|<>;*$`"):
        # a shell would do no more than start it
        needs = ["torch"] if words[1] == "replay" else []
        with tempfile.TemporaryFile() as said:
            code = warm(*needs).start(*words[1:], cwd=folder, stdout=said, stderr=said).wait()
            said.seek(0)
            return subprocess.CompletedProcess(command, code, said.read().decode())
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=HANGS,
    )


def test_every_block_is_of_a_kind_that_is_tested():
    """A block in another language would rot unseen."""
    assert {language for language, _ in blocks(ENGLISH)} == LANGUAGES


def installs(line):
    return line.startswith("python3 -m venv")


def test_the_install_commands_are_what_the_projects_own_check_runs():
    """`.ci/run` runs both of them in a clean clone."""
    assert [("replay" in line, "pytest" in line) for line in lines("sh") if installs(line)] == [
        (True, False),
        (False, True),
    ]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "'vqcheck replay$' 'pytest -n 2$'" in script


def run_by_a_user(line, *more):
    """Return the parameters of a test that runs a command of the README; it is slow where the command trains."""
    return pytest.param(line, *more, marks=pytest.mark.slow if "vqcheck replay" in line else ())


@needs_a_shell
@pytest.mark.parametrize("line", [run_by_a_user(line) for line in [*lines("sh"), *in_yaml()] if not installs(line)])
def test_a_command_runs(line, workspace, shell):
    """Every command of the README and of its CI files ends with status 0 where its files are in order."""
    done = shell(line, workspace)
    assert done.returncode == 0, done.stdout


def examples():
    """Return the (command, output) of every example; the output ends at the next prompt."""
    parts = [
        re.split(r"^\$ ", text, flags=re.MULTILINE)[1:] for language, text in blocks(ENGLISH) if language == "console"
    ]
    return [tuple(example.split("\n", 1)) for part in parts for example in part]


@needs_a_shell
@pytest.mark.parametrize(("command", "shown"), [run_by_a_user(*example) for example in examples()])
def test_an_example_prints_what_the_readme_shows(command, shown, workspace, shell):
    """Its output is the program's, but for the last places of losses; `...` stands for what is left out."""
    printed = shell(command, workspace).stdout
    told = "\n".join(line.rstrip() for line in printed.splitlines()) + "\n"
    wanted, got = (re.sub(r"(\d\.\d)\d+", r"\1", text) for text in (shown, told))
    assert doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS), told


def test_the_python_examples_guard_and_measure_a_model(monkeypatch, tmp_path):
    """It runs as it stands, silent on a frozen model and firing on another."""
    net_g = torch.nn.Module()
    net_g.ssl_proj = torch.nn.Conv1d(8, 8, 2, stride=2)
    net_g.quantizer = ResidualVectorQuantizer(8, bins=16)
    net_g.quantizer(torch.randn(2, 8, 40))
    text, measuring = [text for language, text in blocks(ENGLISH) if language == "python"]

    def train_on(batch):
        net_g.train()
        net_g.quantizer(net_g.ssl_proj(batch))

    names = {
        "vqcheck": library,
        "net_g": net_g,
        "train_on": train_on,
        "loader": [torch.randn(2, 8, 40) for _ in range(3)],
    }
    exec(text, dict(names))
    library.unfreeze(net_g)
    monkeypatch.setattr(library, "freeze", id)  # which holds nothing
    with pytest.raises(CodebookChanged):
        exec(text, dict(names))
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = lambda _: id  # a sink that does nothing
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.chdir(tmp_path)
    exec(measuring, names)
    assert names["use"].steps == 3


def test_the_family_example_is_read(tmp_path):
    """The TOML describes a family as `--family` takes it."""
    [text] = [text for language, text in blocks(ENGLISH) if language == "toml"]
    (tmp_path / "my_codec.toml").write_text(text, encoding="utf-8")
    assert read_own_family(str(tmp_path / "my_codec.toml")).name == "my-codec"


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
    rows = STRATEGY.findall(ENGLISH.read_text(encoding="utf-8"))
    assert rows == STRATEGY.findall(CHINESE.read_text(encoding="utf-8"))
    assert [row[: len(measured[0])] for row in rows] == measured


@pytest.mark.parametrize("pair", [(ENGLISH, CHINESE), (CHINESE, ENGLISH)])
def test_each_readme_links_the_other_first(pair):
    """A reader who lands on the wrong one sees the other within the first lines."""
    readme, other = pair
    assert f"({other.name})" in "\n".join(readme.read_text(encoding="utf-8").splitlines()[:5])


def test_the_chinese_readme_has_the_same_commands_and_examples():
    """Its blocks are those of the English one, but for the remarks in them."""
    english, chinese = (
        [(kind, without_remarks(text)) for kind, text in blocks(readme)] for readme in (ENGLISH, CHINESE)
    )
    assert chinese == english


@pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_what_a_readme_links_exists(readme):
    """No link or picture within the project is dead."""
    links = re.findall(r"\]\(([^)#:]+)\)", readme.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_both_readmes_have_the_same_sections():
    """As many headings of each level, in the same order, and as many rows of tables."""

    def outline(readme):
        return [
            re.match(r"#+|\|", line)[0]
            for line in readme.read_text(encoding="utf-8").splitlines()
            if re.match(r"#+ |\|", line)
        ]

    assert outline(CHINESE) == outline(ENGLISH)


def test_no_recipe_imports_what_a_workspace_calls_as_a_module():
    """`python -m pip` runs ./pip.py where there is one; -I keeps the working directory out, and so does a program."""
    recipes = [line for line in [*lines("sh"), *lines("yaml"), *lines("console")] if not installs(line)]
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    modules = [line for line in [*recipes, *hook.splitlines()] if re.search(r"(^|\s)-m\s", line)]
    assert modules
    assert [line for line in modules if "python -I -m " not in line] == []


def test_the_hook_takes_the_arguments_that_the_readme_gives_it(workspace, shell):
    """As pre-commit calls it: the entry, then the arguments."""
    [entry] = re.findall(r"^  entry: vqcheck (.*)$", (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"), re.MULTILINE)
    [arguments] = re.findall(r"^\s*args: \[(.*)\]$", "\n".join(lines("yaml")), re.MULTILINE)
    words = [*entry.split(), *arguments.split(", ")]
    assert words[-2] == "--"
    shell("vqcheck lock pretrained_models/s2G2333k.pth --experiment logs/me --update", workspace)
    assert shell(f"vqcheck {' '.join(words)}", workspace).returncode == 0
    assert shell(f"vqcheck {' '.join(words[:-1])} --help", workspace).returncode == 2
