"""vqcheck run: scripts unchanged, in processes of their own; what moved is named, what was not seen is said."""

import os
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch

import vqcheck.cli.main
from vqcheck.errors import UsageError
from vqcheck.live.rank_records import RankComparison, RankDifference
from vqcheck.replay.run_command import _interpreter, _interpreter_options, run_command, with_python
from vqcheck.replay.watched_run import RunMode, WatchedModule, WatchedProcess, WatchedRun
from vqcheck.report.render.json import render as render_json
from vqcheck.report.views.run import view

ROOT = Path(__file__).parents[2]
TRAIN = f"""
import sys
sys.path[:0] = [{str(ROOT / "fixtures" / "factories")!r}, {str(ROOT / "tests" / "checkout" / "tree" / "GPT_SoVITS")!r}]
"""
FACTORY = f"""{TRAIN}
import vector_quantize as factory
training = factory.{{}}()
for number in range(5):
    training.step(number)
print("trained")
"""
TORCH_ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("click", "rich", "pydantic", "safetensors"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
"""
LINEAR = """
import torch
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(2):
    model(torch.randn(3, 2)).sum().backward()
    optimizer.step()
print("trained")
"""
IN_CHILDREN = f"""{TRAIN}
import multiprocessing, sys
def train():
    import gradient_codebook as factory
    training = factory.leaking()
    for number in range(1, 6):
        training.step(number)
if __name__ == "__main__":
    child = multiprocessing.get_context(sys.argv[1]).Process(target=train)
    child.start()
    child.join()
"""

IN_A_FORK = f"""{TRAIN}
import os, sys
import gradient_codebook as factory
def train(which):
    training = getattr(factory, which)()
    for number in range(1, 6):
        training.step(number)
if sys.argv[1] == "before":
    train("still")
child = os.fork()
if not child:
    try:
        train("leaking")
    except BaseException:
        pass
    os._exit(0)
os.waitpid(child, 0)
if sys.argv[1] == "after":
    train("still")
"""
IN_PARTS = """
import torch
from torch import nn
from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer
import sys
net_g = nn.Module()
net_g.ssl_proj, net_g.quantizer = nn.Conv1d(8, 8, 1), ResidualVectorQuantizer(8, bins=16)
book = net_g.quantizer.codebooks()[0]
for name, buffer in book.named_buffers():
    buffer.copy_(torch.rand_like(buffer) + 1)
book.decay = 1.0
book.forward = lambda x: (x, torch.zeros(x.shape[:-1]).long())
net_g.ssl_proj.requires_grad_(sys.argv[1] == "learns")
head = nn.Conv1d(8, 8, 1)
optimizer = torch.optim.AdamW([*net_g.parameters(), *head.parameters()], 0.1)
for _ in range(5):
    quantized, *_ = net_g.quantizer(net_g.ssl_proj(torch.randn(2, 8, 6)))
    head(quantized).pow(2).mean().backward()
    optimizer.step()
"""
CRITIC_FIRST = f"""{TRAIN}
import sys, torch
import vector_quantize as factory
net_g, net_d = getattr(factory, sys.argv[1])().module, torch.nn.Linear(8, 1)
optim_d = torch.optim.AdamW(net_d.parameters())
net_g.requires_grad_(False)
for _ in range(3):
    with torch.no_grad():
        fake = net_g(torch.randn(2, 10, 8))[0]
    net_d(fake).mean().backward()
    optim_d.step()
"""
RANKS = f"""{TRAIN}
import sys, torch
from torch import distributed
def train(rank, store):
    import gradient_codebook as factory
    distributed.init_process_group("gloo", init_method=f"file://{{store}}", rank=rank, world_size=2)
    torch.manual_seed(rank * int(sys.argv[1]))
    training = factory.still()
    for number in range(1, 4):
        training.step(number)
        distributed.barrier()
    distributed.destroy_process_group()
if __name__ == "__main__":
    torch.multiprocessing.spawn(train, (sys.argv[2],), nprocs=2)
"""

TREE = f"""{TRAIN}
import sys, torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from module import models
models.ERA, store = sys.argv[1:]
distributed.init_process_group("gloo", init_method=f"file://{{store}}", rank=0, world_size=1)
net_g = models.SynthesizerTrn(9, 4, freeze_quantizer=True)
for name, buffer in net_g.named_buffers():
    buffer.copy_(torch.rand_like(buffer) + 1)
net_d = models.MultiPeriodDiscriminator()
net_g, net_d = (DistributedDataParallel(net, find_unused_parameters=True) for net in (net_g, net_d))
optimizers = [torch.optim.AdamW(net.parameters()) for net in (net_g, net_d)]
for _ in range(4):
    net_g.train()
    lengths = torch.tensor([12, 12])
    y, loss, *_ = net_g(torch.randn(2, 24, 12), torch.rand(2, 9, 12), lengths, torch.zeros(2, 3).long(), lengths)
    real, fake, *_ = net_d(y.detach(), y)
    (y.pow(2).mean() + loss + sum(each.mean() for each in real + fake)).backward()
    for optimizer in optimizers:
        optimizer.step()
distributed.destroy_process_group()
"""


@pytest.fixture
def script(tmp_path):
    """Writes a script and returns the command that runs it."""

    def write(text, *arguments):
        path = tmp_path / "train.py"
        path.write_text(text, "utf-8")
        return [sys.executable, "-s", str(path), *arguments]

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "mode", "warn", "verdict", "trains_on"),
    [
        ("leaking", RunMode.GUARD, False, "changed", False),
        ("leaking", RunMode.GUARD, True, "changed", True),
        ("leaking", RunMode.FREEZE, False, "still", True),
        ("leaking", RunMode.MONITOR, False, "measured", True),
        ("still", RunMode.GUARD, False, "still", True),
    ],
)
def test_an_unchanged_script_is_watched(script, capfd, which, mode, warn, verdict, trains_on):
    """A moving average is noticed and ends the script, or is reported at its end; a frozen one trains to its end."""
    pytest.importorskip("vector_quantize_pytorch")
    run = run_command(script(FACTORY.format(which)), mode, 2, warn=warn)
    assert (run.verdict, run.why_not_checked) == (verdict, "")
    said = capfd.readouterr()
    assert said.out == ("trained\n" if trains_on else "")
    (process,) = run.processes
    (module,) = process.modules
    assert module.name == "Autoencoder"
    if verdict == "changed":
        assert {change.step for change in module.changes} == {1}
        assert any(change.file.endswith("vector_quantize.py") and change.line for change in module.changes)
        assert "the VQ encoder changed in step 1" in said.err
    else:
        assert not module.changes
        assert (process.steps, module.looked_at, process.ended) == (5, 5, True)
    assert bool(module.scalars.get("codebook/share_used")) is (mode is RunMode.MONITOR)


@pytest.mark.slow
@pytest.mark.parametrize(("era", "verdict"), [("requires-grad", "changed"), ("fixed", "still")])
def test_the_miniature_tree_is_watched_under_ddp(script, tmp_path, era, verdict):
    """GPT-SoVITS's layout with two optimizers: drift before its fix names the writing line, and none is after it."""
    run = run_command(script(TREE, era, str(tmp_path / "store")), RunMode.GUARD, 1)
    assert (run.verdict, run.why_not_checked) == (verdict, "")
    (module,) = run.processes[0].modules
    assert module.name == "DistributedDataParallel"
    if verdict == "changed":
        embed = next(change for change in module.changes if change.name.endswith("_codebook.embed"))
        assert embed.step == 1
        assert embed.file.endswith(os.path.join("module", "quantize.py"))
    else:
        assert module.looked_at == 4


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_children_are_watched_too(script, method):
    """A script whose children train: the child names step, tensor and line, and its end is that of the run."""
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    run = run_command(script(IN_CHILDREN, method), RunMode.GUARD, 20)
    assert run.verdict == "changed"
    (change,) = run.processes[0].modules[0].changes
    assert (change.name, change.step) == ("quantize.embedding.weight", 2)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("parent_trains", ["never", "before", "after"])
def test_a_bare_fork_is_watched_too(script, parent_trains):
    """A child of os.fork writes what it saw to a file of its own, also where it swallows the error and ends in 0."""
    run = run_command(script(IN_A_FORK, parent_trains), RunMode.GUARD, 20)
    assert (run.verdict, run.why_not_checked) == ("changed", "")
    assert len([module for process in run.processes for module in process.modules]) == 1 + (parent_trains != "never")


@pytest.mark.slow
@pytest.mark.parametrize(("in_front", "verdict"), [("learns", "changed"), ("held", "still")])
def test_a_model_that_is_called_in_parts_is_watched_whole(script, in_front, verdict):
    """The projection in front decides tokens as much as the quantizer that a script calls by itself."""
    run = run_command(script(IN_PARTS, in_front), RunMode.GUARD, 20)
    assert (run.verdict, run.why_not_checked) == (verdict, "")
    (module,) = run.processes[0].modules
    assert {change.name for change in module.changes} <= {"ssl_proj.weight", "ssl_proj.bias"}


@pytest.mark.slow
@pytest.mark.parametrize(("added", "status", "verdict"), [(1, 0, "changed"), (1, 149, "changed"), (0, 0, "still")])
def test_a_script_that_leaves_by_exit_at_once_is_seen_to_its_end(script, added, status, verdict):
    """Trainers of this field end in os._exit; the interpreter's own end is not reached, nor is the next look."""
    end = f"training.module.quantize.embedding.weight.data += {added}\nimport os\nos._exit({status})"
    text = FACTORY.replace("vector_quantize", "gradient_codebook").format("still")
    run = run_command(script(f"{text}\n{end}"), RunMode.GUARD, 20)
    assert (run.verdict, run.why_not_checked) == (verdict, "")
    assert run.processes[0].steps == 5


@pytest.mark.slow
@pytest.mark.parametrize(("which", "verdict"), [("leaking", "changed"), ("still", "still")])
def test_a_discriminator_may_step_first(script, capfd, which, verdict):
    """A generator that is only called without gradients is watched; the one optimizer's steps count for it."""
    pytest.importorskip("vector_quantize_pytorch")
    run = run_command(script(CRITIC_FIRST, which), RunMode.GUARD, 20, warn=True)
    assert (run.verdict, run.why_not_checked) == (verdict, "")
    assert "no codebook" not in capfd.readouterr().err
    assert {change.step for change in run.processes[0].modules[0].changes} == ({1} if which == "leaking" else set())


@pytest.mark.slow
def test_a_compiled_script_runs_as_ever(script):
    """The hook on every forward is traced by torch.compile, and must break no graph of it."""
    pytest.importorskip("vector_quantize_pytorch")
    text = FACTORY.format("still").replace(
        "for number",
        "import torch\n"
        "training.module = torch.compile(training.module, backend='eager')\n"
        "whole = torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 2)), backend='eager', fullgraph=True)\n"
        "whole(torch.zeros(1, 2))\n"
        "for number",
        1,
    )
    run = run_command(script(text), RunMode.GUARD, 20)
    assert (run.verdict, run.why_not_checked) == ("still", "")
    assert run.processes[0].modules[0].looked_at == 5


@pytest.mark.slow
@pytest.mark.parametrize("seeds_differ", [0, 1])
def test_ranks_are_compared(script, tmp_path, seeds_differ):
    """Ranks that start with other codebooks end the script; equal ones train on, and the report says that they are."""
    run = run_command(script(RANKS, str(seeds_differ), str(tmp_path / "store")), RunMode.GUARD, 20)
    assert [each.rank for each in sorted(run.processes, key=lambda each: each.rank)] == [0, 1]
    (ranks,) = run.ranks
    assert (ranks.world_size, ranks.ranks, run.exit_code) == (2, (0, 1), seeds_differ)
    if seeds_differ:
        (difference,) = ranks.differences
        assert (difference.step, difference.ranks) == (0, ((0,), (1,)))
        assert difference.names == ("quantize.embedding.weight",)
        assert max(each.steps for each in run.processes) < 3
    else:
        assert not ranks.differences


@pytest.mark.slow
def test_vqcheck_need_not_be_where_the_script_runs(script, tmp_path, capfd):
    """In a virtual environment that has torch alone, a leak is found with its line, by the Python that is named."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, symlinks=os.name == "posix")
    folder = environment / ("Scripts" if os.name == "nt" else "bin")
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))
    # no package of vqcheck's own, nor vqcheck
    (site / "torch_alone.py").write_text(TORCH_ALONE, "utf-8")
    (site / "torch_alone.pth").write_text(f"{Path(torch.__file__).parents[1]}\nimport torch_alone\n", "utf-8")
    leaking = (
        FACTORY.replace("vector_quantize", "gradient_codebook").replace("range(5)", "range(1, 6)").format("leaking")
    )
    _, *command = script(leaking)
    run = run_command(with_python(command, str(folder / "python")), RunMode.GUARD, 20)
    assert (run.verdict, run.why_not_checked) == ("changed", ""), capfd.readouterr().err
    (change,) = run.processes[0].modules[0].changes
    assert (change.name, change.step) == ("quantize.embedding.weight", 2)
    assert change.file.endswith("gradient_codebook.py")


@pytest.mark.slow
def test_a_python_that_cannot_be_watched_is_not_called_sound(script, capfd, monkeypatch):
    """Where the hooks cannot be set, as with a torch that is too old, the script trains on and ends in 2."""
    monkeypatch.setattr("vqcheck.replay.run_command._OPTIONS", "VQCHECK_NOT_THERE")
    run = run_command(script(LINEAR), RunMode.GUARD, 1)
    said = capfd.readouterr()
    assert said.out == "trained\n"
    assert said.err.startswith("vqcheck: this Python cannot be watched: KeyError")
    assert run.exit_code == 2
    assert "cannot be watched" in run.why_not_checked


@pytest.mark.slow
def test_a_script_without_a_codebook_trains_on_and_is_not_called_sound(script, capfd):
    """One line on stderr at the first optimizer step, then the script as ever, and in the end status 2."""
    run = run_command(script(LINEAR), RunMode.GUARD, 1)
    said = capfd.readouterr()
    assert said.out == "trained\n"
    line = "no codebook was seen in train mode before the first optimizer step; one that is called later is watched"
    assert said.err == f"vqcheck: {line} from then on\n"
    assert run.exit_code == 2
    assert run.why_not_checked == "it trained, and no codebook was seen in it"


@pytest.mark.slow
def test_the_command_reports_in_any_format(script, capfd, valid, monkeypatch):
    """JSON alone on stdout, which the schema describes; the script's own stdout goes to stderr."""
    monkeypatch.chdir(ROOT)
    pytest.importorskip("vector_quantize_pytorch")
    status = vqcheck.cli.main.main(
        ["run", "--every", "1", "--format", "json", "--", *script(FACTORY.format("leaking"))]
    )
    said = capfd.readouterr()
    document = valid(said.out)
    assert (status, document["verdict"], document["exit_code"]) == (1, "changed", 1)
    assert document["processes"][0]["modules"][0]["changes"][0]["step"] == 1


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("raise SystemExit(3)", "the script itself ended with status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the script was ended by the signal SIGKILL"),
        ("pass", ""),
    ],
)
def test_a_script_that_fails_or_never_trains_is_2(script, text, failure):
    """Its own failure is named; one that used no torch was not checked."""
    if "SIGKILL" in text and os.name != "posix":
        pytest.skip("no such signal here")
    run = run_command(script(text), RunMode.GUARD, 1)
    assert (run.exit_code, run.failure) == (2, failure)
    assert failure in run.why_not_checked
    assert run.why_not_checked


@pytest.mark.parametrize("option", ["-E", "-I", "-S", "-IBu"])
def test_an_interpreter_that_takes_no_hook_is_refused_before_training(script, tmp_path, option):
    """The script does not even begin."""
    command = script(f"open({str(tmp_path / 'began')!r}, 'w')")
    command[1:2] = [option]
    with pytest.raises(UsageError, match=r"ignores PYTHONPATH or site .* nothing would be watched"):
        run_command(command, RunMode.GUARD, 1)
    assert not (tmp_path / "began").exists()


@pytest.mark.skipif(os.name != "posix", reason="scripts have no first line here")
@pytest.mark.parametrize(
    ("first", "python"),
    [
        ("#!/usr/bin/python3 -sE", ["/usr/bin/python3", "-sE"]),
        ("#!/usr/bin/env -S python3.12 -I", ["python3.12", "-I"]),
        ("#!/usr/bin/env python", ["python"]),
        ("#!/bin/bash", []),
        ("\x7fELF", []),
    ],
)
def test_the_python_of_a_program_stands_in_its_first_line(tmp_path, first, python):
    """So torchrun's own interpreter is asked before training, too."""
    program = tmp_path / "torchrun"
    program.write_text(f"{first}\n", "utf-8")
    program.chmod(0o755)
    assert _interpreter([str(program), "train.py"]) == python


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train.py --lr 1", "PY train.py --lr 1"),
        ("python3.9 -s train.py", "PY -s train.py"),
        ("/usr/bin/python train.py", "PY train.py"),
        ("-m train", "PY -m train"),
        ("torchrun --nproc-per-node 2 train.py", "PY -m torch.distributed.run --nproc-per-node 2 train.py"),
    ],
)
def test_a_python_that_is_named_takes_the_place_of_the_commands_own(command, expected):
    """Also where the command names none."""
    assert with_python(command.split(), "PY") == tuple(expected.split())


def test_a_python_cannot_run_any_program():
    """What begins with another program is refused."""
    with pytest.raises(UsageError, match="bash is no Python, torchrun or script"):
        with_python(["bash", "train.sh"], "PY")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["train.py", "-E"], []),
        (["-s", "train.py"], ["-s"]),
        (["-W", "ignore", "-X", "dev", "-u", "train.py"], ["-W", "ignore", "-X", "dev", "-u"]),
        (["-Im", "train"], ["-I"]),
        (["-c", "pass"], []),
        (["-", "-E"], []),
        (["-Wignore", "-m", "torch.distributed.run", "-E"], ["-Wignore"]),
    ],
)
def test_the_interpreters_own_options_are_told_from_the_scripts(arguments, options):
    """What stands behind the script, -c or -m is not the interpreter's."""
    assert _interpreter_options(arguments) == options


def test_a_command_that_is_not_there_is_one_error():
    """It names the program."""
    with pytest.raises(UsageError, match="no-such-program: cannot be run"):
        run_command(["no-such-program"], RunMode.GUARD, 1)


def test_the_environment_of_a_script_is_as_ever(script, capfd, tmp_path, monkeypatch):
    """A sitecustomize of the user's own runs as well, torch is not imported by the hook, and vqcheck can be found."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('own sitecustomize')", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(own))
    run_command(script("import sys, vqcheck; print('torch' in sys.modules, vqcheck.__version__)"), RunMode.GUARD, 1)
    assert capfd.readouterr().out.splitlines() == ["own sitecustomize", f"False {vqcheck.__version__}"]


def seen(**facts):
    """Returns a run of one process, sound but for the facts given."""
    module = WatchedModule("Model", 3, (), "", {}, ())
    process = {"pid": 1, "script": "a.py", "rank": None, "steps": 3, "ended": True, "problem": "", "modules": (module,)}
    own = {name: facts.pop(name) for name in list(facts) if name in process}
    run = {"command": ("a",), "mode": RunMode.GUARD, "warn": False, "failure": "", "ranks": ()}
    return WatchedRun(**{**run, **facts}, processes=(WatchedProcess(**{**process, **own}),))


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, ""),
        ({"ended": False}, "before a last look"),
        ({"ended": False, "steps": 0}, "before a last look"),
        ({"steps": 0}, "no optimizer step"),
        ({"modules": ()}, "no codebook was seen"),
        ({"problem": "the last look failed"}, "the last look failed"),
        ({"failure": "the script itself ended with status 1"}, "status 1"),
    ],
)
def test_nothing_is_called_still_that_was_not_seen_to_its_end(facts, why):
    """Only a process that trained, had a codebook and looked at it at its end proves anything."""
    run = seen(**facts)
    assert (run.verdict == "still") is (why == "")
    assert run.exit_code == (2 if why else 0)
    assert why in run.why_not_checked


@pytest.mark.parametrize(
    ("mode", "failure", "exit_code"),
    [("guard", "ended", 1), ("freeze", "", 1), ("monitor", "", 0), ("monitor", "x", 2)],
)
def test_ranks_that_differ_are_a_finding(mode, failure, exit_code, valid):
    """With a guard the script fails for that reason; a monitor only warns."""
    difference = RankDifference("Model", 0, ((0, 1), (2,)), ("embed", "counts"))
    run = seen(mode=RunMode(mode), failure=failure, ranks=(RankComparison(4, (0, 1, 2), (difference,)),))
    assert run.exit_code == exit_code
    document = view(run)
    assert valid(render_json(document))["ranks"][0]["differences"][0]["ranks"] == [[0, 1], [2]]
    text = "not the same on ranks 0, 1 and rank 2 at the start: embed and 1 more"
    assert text in (document.warnings[0] if mode == "monitor" else document.headline)


def test_the_same_ranks_are_said_to_be_so():
    """Also how many of them were not there to be compared."""
    assert view(seen(ranks=(RankComparison(2, (0, 1), ()),))).headline.endswith("the same on all ranks")
    assert view(seen(ranks=(RankComparison(8, (0, 1), ()),))).headline.endswith("the same on 2 of 8 ranks")


def test_json_of_a_run_is_what_its_schema_says(valid):
    """Also of a run that proves nothing."""
    for run in (seen(), seen(ended=False), seen(mode=RunMode.MONITOR)):
        document = valid(render_json(view(run)))
        assert (document["exit_code"], document["command"]) == (run.exit_code, ["a"])
