"""What tests of every layer share: the fixture files, made-up checkpoints, and the command as a user runs it."""

import os

# Before torch and numpy are loaded, here and in processes that tests start: on arrays this small several threads wait
# for each other more than they work.
os.environ["OMP_NUM_THREADS"] = "1"

import json
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from warm import HANGS, ROOT, Warm, can_fork

CODEBOOK = "quantizer.vq.layers.0._codebook"
TRAINS = {"replay", "run", "restore"}
"""Commands that import torch."""


SLOW = (
    *(
        "faults",
        "checkout",
        "gate",
        "fuzz",
        "families",
        "codebook/diagnosis",
        "checkpoint/malicious",
        "report/render/html",
    ),
    *("checkpoint/test_hostile.py", "checkpoint/test_bombs.py", "checkpoint/test_pickle_machine.py"),
    *("audit/test_token_audit.py", "audit/test_token_power.py", "audit/test_token_decision.py"),
    *("live/test_ranks.py", "checkpoint/test_distributed.py", "replay/test_flow.py", "replay/test_step_operators.py"),
    *(
        "cli/test_replay.py",
        "cli/test_replay_checkout.py",
        "cli/test_replay_factory.py",
        "cli/test_remote.py",
        "cli/test_diff.py",
        "cli/test_diff_stages.py",
        "cli/test_tokens.py",
    ),
    *(
        "restore/test_measure.py",
        "report/test_action.py",
        "report/test_formats.py",
        "report/test_failures.py",
        "report/test_terminal.py",
    ),
    *("synthesizer", "test_gpu_collection.py", "test_optimized.py", "test_released.py", "test_warm.py"),
)
"""Folders and files that the quick loop leaves out: each takes seconds, or starts processes."""


def pytest_collection_modifyitems(items):
    """Mark what `-m "not slow"` leaves out by where it stands, besides single tests that say so themselves."""
    slow = tuple(ROOT / "tests" / name for name in SLOW)
    gone = [str(place) for place in slow if not place.exists()]
    if gone:
        raise pytest.UsageError(f"SLOW in tests/conftest.py names what is not there: {', '.join(gone)}")
    for item in items:
        if any(item.path == place or place in item.path.parents for place in slow):
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each worker tests that stand together: what a module sets up is then set up by one of them."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


BASE = frozenset({"click", "numpy", "rich", "safetensors", "torch", "vqcheck"})
"""What a machine with a GPU has, beside pytest; more than these it need not have."""


def pytest_ignore_collect(collection_path, config):
    """With `-m gpu`, read only files that have such tests: what the others import may not be there."""
    if config.option.markexpr != "gpu":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any("mark.gpu" in file.read_text("utf-8") for file in files) else True


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """With `-m gpu`, skip test modules that need another package and tell which, so that the rest is run."""
    report = yield
    if report.failed and collector.config.option.markexpr == "gpu":
        missing = re.search(r"ModuleNotFoundError: No module named '(\w+)", str(report.longrepr))
        if missing and missing[1] not in BASE:
            report.outcome, report.longrepr = "skipped", (str(collector.path), 0, f"Skipped: needs {missing[1]}")
    return report


@pytest.fixture(scope="session")
def checkpoints():
    """The folder of small checkpoints that users' files look like."""
    return ROOT / "fixtures" / "checkpoints"


@pytest.fixture
def vq_state():
    """Returns a fresh float32 state dict of a small GPT-SoVITS VQ encoder, its bookkeeping fitting its codes."""
    import torch

    def make(codes=16, dim=8, seed=0):
        generator = torch.Generator().manual_seed(seed)
        count = 20 + 10 * torch.rand(codes, generator=generator)
        total = torch.randn(codes, dim, generator=generator) * count[:, None]
        smoothed = (count + 1e-5) / (count.sum() + codes * 1e-5) * count.sum()
        return {
            f"{CODEBOOK}.inited": torch.ones(1),
            f"{CODEBOOK}.cluster_size": count,
            f"{CODEBOOK}.embed": total / smoothed[:, None],
            f"{CODEBOOK}.embed_avg": total,
            "ssl_proj.weight": torch.randn(dim, dim, 2, generator=generator),
            "ssl_proj.bias": torch.randn(dim, generator=generator),
        }

    return make


@pytest.fixture
def save(tmp_path):
    """Saves a state dict as a checkpoint and returns its path."""
    import torch

    def write(state, name="a.pth", **around):
        path = tmp_path / name
        torch.save({"weight": state, **around}, path)
        return path

    return write


@pytest.fixture(scope="session")
def warm():
    """Returns a warm process with or without torch, which is then there for the whole session."""
    started = {}

    def process(*options):
        if options not in started:
            started[options] = Warm(*options)
        return started[options]

    yield process
    for each in started.values():
        each.close()


def _a_fork_is_the_same(env, options):
    """Say whether nothing is asked for that only the start of an interpreter would show."""
    at_start = ("PYTHON", "LD_", "OMP_", "MKL_", "OPENBLAS_", "ATEN_")
    names = {name for name in env or () if name.startswith(at_start)} - {"PYTHONIOENCODING"}
    return can_fork() and not options and not names


@pytest.fixture
def real_vqcheck():
    """Runs the command in a new interpreter, as a user does; returns the completed process."""

    def run(*arguments, cwd=ROOT, env=None, **options):
        return subprocess.run(
            [sys.executable, "-m", "vqcheck", *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=cwd,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
            check=False,
            **{"timeout": HANGS, **options},
        )

    return run


@pytest.fixture
def vqcheck(warm, real_vqcheck):
    """Runs the command in a process of its own; returns the completed process.

    That is a fork of one that is warm, unless the test asks for something that only a new interpreter has.
    """

    def run(*arguments, cwd=ROOT, env=None, **options):
        if not _a_fork_is_the_same(env, options):
            return real_vqcheck(*arguments, cwd=cwd, env=env, **options)
        needs = ["torch"] if TRAINS.intersection(map(str, arguments[:1])) else []
        return warm(*needs).run(*arguments, cwd=cwd, env=env)

    return run


@pytest.fixture(scope="session")
def run_script(warm):
    """Runs a Python script that needs no torch in a process of its own; returns the completed process."""

    def run(script, *arguments):
        if can_fork():
            return warm().run(*arguments, script=script)
        return subprocess.run(
            [sys.executable, script, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=HANGS,
        )

    return run


@pytest.fixture
def forked_checkouts(warm, monkeypatch):
    """Lets what runs a checkout's code in the Python of the tests be a fork of one that has imported torch."""
    from vqcheck.replay.checkout import child_process as process

    if not can_fork():
        return
    start, server = subprocess.Popen, warm("torch")

    def forked(command, start_new_session=False, **options):
        if command != [sys.executable, process._CHILD]:
            return start(command, start_new_session=start_new_session, **options)
        return server.start(script=process._CHILD, session=start_new_session, **options)

    monkeypatch.setattr(subprocess, "Popen", forked)


@pytest.fixture(scope="session")
def two_ranks(warm):
    """Runs `script RANK *arguments` in two processes at the same time, as data-parallel training does."""

    def start(script, *arguments):
        if can_fork():
            return warm("torch").start(*arguments, script=script, stderr=subprocess.PIPE)
        return subprocess.Popen([sys.executable, script, *map(str, arguments)], stderr=subprocess.PIPE)

    def run(script, *arguments):
        processes = [start(script, rank, *arguments) for rank in range(2)]
        try:
            for process in processes:
                errors = process.stderr.read()
                assert process.wait() == 0, errors.decode()
        finally:
            for process in processes:
                process.kill()
                process.stderr.close()

    return run


@pytest.fixture(scope="session")
def valid():
    """Returns a JSON document parsed and validated against the schema that it names."""
    jsonschema = pytest.importorskip("jsonschema")

    def validate(text):
        document = json.loads(text)
        command = document["schema"].split("/")[1]
        schema = json.loads(resources.files("vqcheck").joinpath(f"report/schemas/{command}.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(document)
        return document

    return validate


@pytest.fixture
def sound(checkpoints, tmp_path):
    """A small experiment, sound in every way, into which tests plant faults.

    It has features and tokens, the base that made them, an s1 checkpoint, and the s2 JSON.
    """
    import torch

    folder = tmp_path / "logs" / "demo"
    folder.mkdir(parents=True)
    base = tmp_path / "s2G2333k.pth"
    shutil.copy(checkpoints / "base_v2.pth", base)
    s1 = tmp_path / "me-e15.ckpt"
    shutil.copy(checkpoints / "gpt-e15.ckpt", s1)
    state = torch.load(base, weights_only=True)["weight"]
    demo = ROOT / "fixtures" / "demo"
    shutil.copytree(demo / "4-cnhubert", folder / "4-cnhubert")
    tsv = folder / "6-name2semantic.tsv"
    shutil.copy(demo / tsv.name, tsv)
    config = tmp_path / "s2.json"
    values = {
        "train": {"batch_size": 4, "pretrained_s2G": str(base), "pretrained_s2D": ""},
        "data": {"exp_dir": str(folder)},
        "model": {"version": "v2", "freeze_quantizer": True},
    }

    def write(**changes):
        for key, value in changes.items():
            section, _, name = key.partition("__")
            values[section][name] = value
        config.write_text(json.dumps(values), encoding="utf-8")

    write()
    return SimpleNamespace(
        folder=folder, base=base, s1=s1, tsv=tsv, config=config, write=write, root=tmp_path, state=state
    )
