"""Views look at results alone: not at the disk, which may have changed, and not at what an earlier call left behind."""

import builtins
import importlib
import io
import os
import pkgutil
import shutil
from dataclasses import replace

import pytest

from vqcheck.audit.check import check_place
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.make_lock import make_lock
from vqcheck.audit.token_decision import TokenDecision
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.inspection import inspect
from vqcheck.codebook.inspection_result import InspectedFiles, UnreadFile
from vqcheck.experiment.place import find_place
from vqcheck.gate.checks import CHECKS
from vqcheck.replay.watched_run import RunMode, SeenChange, WatchedModule, WatchedProcess, WatchedRun
from vqcheck.report import views
from vqcheck.report.document import Document
from vqcheck.report.views.diff import view as diff_view
from vqcheck.report.views.failure import view as failed
from vqcheck.report.views.many_files import JudgedFile
from vqcheck.restore.measured import Clip, MeasuredItem, Measurement
from vqcheck.restore.result import Extraction, Restoration, RestoredPart, RestoredTensor

LOOKS = (
    (builtins, ("open",)),
    (io, ("open",)),
    (os, ("open", "stat", "lstat", "access", "readlink", "scandir", "listdir", "walk")),
    (os.path, ("exists", "lexists", "isfile", "isdir", "islink", "realpath", "getsize", "getmtime", "samefile")),
)
"""What looks at a disk; all of pathlib goes through these."""


@pytest.fixture
def results(make, checkpoints, tmp_path):
    """Returns view -> arguments: of training files, of which views say what extraction can read in their place."""
    base, file = str(checkpoints / "base_v2.pth"), str(tmp_path / "logs" / "me" / "logs_s2_v2" / "G_400.pth")
    os.makedirs(os.path.dirname(file))
    shutil.copy(checkpoints / "G_437.pth", file)
    place = tmp_path / "place"
    place.mkdir()
    for name, source in (("s2G2333k.pth", "base_v2.pth"), ("me_e8_s400.pth", "drifted_v2_e8_s400.pth")):
        shutil.copy(checkpoints / source, place / name)
    (place / "broken_e1_s1.pth").write_bytes(b"PK")
    with open_checkpoint(base) as opened:
        lock, inspected = make_lock(opened, None, None), inspect(opened)
    with open_checkpoint(file) as opened:
        checked = check_lock(lock, "vqcheck.lock", opened, None, None, "all")
    comparison = make.comparison()
    comparison = replace(comparison, b=replace(comparison.b, path=file))
    audit = replace(make.audit(), checkpoint=file)
    digests = comparison.a.digests
    tensor = RestoredTensor("codes", "quantizer.codes", "float16", "float32", changed=True)
    items = tuple(
        MeasuredItem(f"{name}.wav", 1.0, (0.5, 0.4, 0.3 + name / 10), 25, 3, (Clip("recording", b"RIFF", file),))
        for name in range(2)
    )
    measured = Measurement("logs/me", "v2", "cpu", items, 3, (("2.wav", "is too short"),))
    change = SeenChange("codes", 3, "7 of 64 rows changed", "aten.copy_ at train.py:3", file, 3)
    module = WatchedModule("net_g", 4, (change,), "64 codes in use", {}, ("codes",))
    process = WatchedProcess(1, "train.py", None, 4, ended=True, problem="", modules=(module,))
    restoration = Restoration(base, file, "out.pth", "gpt-sovits", RestoredPart.ALL, (tensor,), (), digests, digests)
    return {
        "check.view": (check_place(find_place(str(place))),),
        "diff.view": (comparison,),
        "failure.view": ("diff", f"{file}: is damaged", file),
        "gate.explanation": (CHECKS[0],),
        "gate.view": (make.gate(),),
        "history.view": (make.history(),),
        "inspect.view": (InspectedFiles((inspected, UnreadFile(file, f"{file}: is damaged")), strict=False),),
        "lock.written": (lock, "vqcheck.lock", "written", "no features", "another base", (("me.ckpt", file),)),
        "lock_check.checked": (checked,),
        "many_files.view": ("diff", base, "base", [JudgedFile(file, "said", failed("diff", "why", file))] * 2),
        "rank_files.with_ranks": (diff_view(comparison), [{0: "rank0.pth", 1: "rank1.pth"}], {"rank0.pth": "codes"}),
        "replay.view": (make.replay([make.arm(), make.arm("freeze", moved=False)]),),
        "restore.extracted": (Extraction(file, "out.pth", "gpt-sovits", (("codes", "codes", "float32"),), digests),),
        "restore.restored": (replace(restoration, measurement=measured),),
        "run.view": (WatchedRun(("python", "train.py"), RunMode.GUARD, False, "", (process,), ()),),
        "s1_s2.view": (replace(make.stages(), s2=file),),
        "tokens.view": (TokenDecision(audit, audit),),
    }


def all_views():
    """Return name -> view: every public function of the package that returns a document."""
    found = {}
    for module in pkgutil.iter_modules(views.__path__):
        loaded = importlib.import_module(f"{views.__name__}.{module.name}")
        for name, function in vars(loaded).items():
            is_its_own = getattr(function, "__module__", "") == loaded.__name__ and not name.startswith("_")
            if is_its_own and getattr(function, "__annotations__", {}).get("return") is Document:
                found[f"{module.name}.{name}"] = function
    return found


def _reporting(look, looked):
    def reporting(*args, **kw):
        looked.append(f"{look.__name__}{args}")
        return look(*args, **kw)

    return reporting


def test_every_view_takes_all_from_its_result(results, monkeypatch):
    """Called twice, as for machines in English and for people in their language, it says the same and never looks."""
    found = all_views()
    assert set(found) == set(results)
    looked = []
    with monkeypatch.context() as blocked:
        for where, names in LOOKS:
            for name in names:
                blocked.setattr(where, name, _reporting(getattr(where, name), looked))
        said = {name: [repr(view(*results[name])) for _ in range(2)] for name, view in found.items()}
    assert looked == []
    assert all(first == second for first, second in said.values())
