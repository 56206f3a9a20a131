"""The published ways around scanners of pickles: nothing in such a file runs, and each is read safely or refused.

What each must come to is recorded with it in every.py and its neighbours.
"""

import contextlib
import io
import os
import subprocess
import sys
import zipfile

import pytest
from fuzz import targets
from fuzz.watch import Watch
from malicious import every
from malicious.base import READS, REFUSES, SOUND
from warm import HANGS

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.codebook.inspection import inspect

MARKER = "/nowhere/marker"
NAMES = sorted(every.attacks(MARKER))
READER = targets.TARGETS["torch-zip"].read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of sound files, once everything that is imported late is imported."""
    path = tmp_path_factory.mktemp("sound")
    targets.prepare(str(path))
    return path


@pytest.fixture(scope="module")
def watch(folder):
    return Watch(str(folder), traced=True)


@pytest.fixture(scope="module")
def sound_digest(folder):
    (folder / "sound_attack_base.pth").write_bytes(SOUND)
    return digest(folder / "sound_attack_base.pth")


def digest(path):
    with open_checkpoint(path) as checkpoint:
        return inspect(checkpoint).vq_encoder.f32.vq_encoder


@pytest.fixture(scope="module")
def attacks(folder):
    return every.attacks(folder / "marker")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_malicious_file_runs(name, folder, attacks, watch, sound_digest, capsys):
    attack = attacks[name]
    path = folder / attack.name
    path.write_bytes(attack.data)
    said = watch.run(lambda: READER(str(folder), str(path)))
    assert (said == "read") == (attack.outcome == READS), said
    assert main(["inspect", str(path), "--quiet"]) == {READS: 0, REFUSES: 2}[attack.outcome]
    assert "internal error" not in capsys.readouterr().err
    if attack.outcome == READS:
        assert digest(path) == sound_digest
    assert not (folder / "marker").exists()


LOAD_EACH = """
import os, pickle, sys
for path in sys.argv[2:]:
    try:
        pickle.load(open(path, "rb"))
    except Exception:
        pass
    if os.path.exists(sys.argv[1]):
        os.remove(sys.argv[1])
        print(os.path.basename(path))
"""


def test_the_payloads_do_run_when_python_loads_them(tmp_path):
    """Else the test above would prove nothing."""
    marker = tmp_path / "marker"
    pickles = {name: attack.pickle for name, attack in every.attacks(marker).items() if attack.pickle}
    files = {name: tmp_path / str(number) for number, name in enumerate(pickles)}
    for name, file in files.items():
        file.write_bytes(pickles[name])
    done = subprocess.run(
        [sys.executable, "-c", LOAD_EACH, marker, *files.values()],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
    )
    ran = {name for name, file in files.items() if file.name in done.stdout.split()}
    assert ran == pickles.keys()
    assert len(ran) > 35


def called_malicious(path):
    """Return which of the two scanners objects to a file."""
    from fickling.analysis import Severity, check_safety
    from fickling.fickle import Pickled
    from picklescan.scanner import scan_file_path

    found = set()
    with contextlib.suppress(Exception):  # a file it cannot take apart is not called anything
        result = scan_file_path(str(path))
        if result.issues_count or result.infected_files:
            found.add("picklescan")
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    except (zipfile.BadZipFile, RuntimeError, StopIteration):
        data = path.read_bytes()
    with contextlib.suppress(Exception):
        pickled = Pickled.load(io.BytesIO(data), fail_on_decode_error=False)
        # Below, it names every pickle that torch writes.
        if check_safety(pickled).severity > Severity.LIKELY_UNSAFE:
            found.add("fickling")
    return found


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Which scanners call each file malicious."""
    folder = tmp_path_factory.mktemp("scanned")
    found = {}
    for name, attack in every.attacks(folder / "marker").items():
        path = folder / attack.name
        path.write_bytes(attack.data)
        found[name] = called_malicious(path)
        os.remove(path)
    (folder / "sound.pth").write_bytes(SOUND)
    assert called_malicious(folder / "sound.pth") == set()
    return found


def test_the_scanners_call_most_of_these_files_malicious_and_each_misses_some(scanned):
    for scanner in ("picklescan", "fickling"):
        called = [name for name, by in scanned.items() if scanner in by]
        assert len(NAMES) / 2 < len(called) < len(NAMES)
