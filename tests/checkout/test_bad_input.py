"""Whatever is wrong with a checkout or its process ends in one line that says so, and nothing is left running."""

import json
import re
import sys
import threading
import time

import pytest
from warm import HANGS

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.language import unpacked
from vqcheck.replay.checkout import child_process as process_module
from vqcheck.replay.checkout.child_process import ChildProcess
from vqcheck.replay.run import replay

START = 'ERA = "fixed"'
FORWARD = "        quantized, _, commit_loss, _ ="
HANG = "import threading; threading.Event().wait()"


def refused(config):
    with pytest.raises(UsageError) as told:
        replay(config)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.fixture
def started(monkeypatch):
    """The numbers of the processes that were started."""
    numbers = []
    make = process_module.subprocess.Popen

    def noted(*arguments, **options):
        numbers.append(make(*arguments, **options))
        return numbers[-1]

    monkeypatch.setattr(process_module.subprocess, "Popen", noted)
    return numbers


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "import utils\n",
            "import utils\nimport absent_one\nfrom absent_two.deep import x\n",
            "absent_one, absent_two",
        ),
        (START, "ERA = = 1\n", r"models.py:\d+: this Python .* cannot read it"),
        (START, "1 / 0\n" + START, r"module.models cannot be imported: ZeroDivisionError: .*models.py:\d+"),
        ("class SynthesizerTrn(", "class Other(", "has no class SynthesizerTrn"),
        (
            "*, freeze_quantizer=None",
            "*, needed, freeze_quantizer=None",
            "SynthesizerTrn has another signature",
        ),
        ("use_spectral_norm=False,", "one, two,", "MultiPeriodDiscriminator has another signature"),
        (
            FORWARD,
            "        raise ValueError('no\\ndata')\n" + FORWARD,
            r"step 1 raised ValueError: no data \(.*models.py",
        ),
        (FORWARD, "        raise SystemExit(3)\n" + FORWARD, "step 1 raised SystemExit: 3"),
        (
            FORWARD,
            "        import os; os.abort()\n" + FORWARD,
            r"process ended in a training step: signal 6 \(SIGABRT\)",
        ),
        (START, "import os; os._exit(5)\n" + START, "process ended while it was loaded: status 5"),
        ("self.quantizer =", "self.other =", "has no quantizer"),
    ],
)
def test_a_tree_that_is_wrong_is_told_in_one_line(tree, started, old, new, message):
    """Each fault names the tree's own file, class, line or package."""
    assert re.search(message, refused(tree.change(old, new).config()))
    assert [each.poll() is not None for each in started] == [True]


@pytest.mark.parametrize(
    ("where", "hangs", "doing"), [(FORWARD, "step", "in a training step"), (START, "load", "while it was loaded")]
)
def test_a_tree_that_hangs_is_ended(tree, started, monkeypatch, where, hangs, doing):
    """After the time limit the process and all it started are gone, and the limit is named."""
    asked = ChildProcess.ask

    def impatient(self, **request):
        # only where it hangs: what comes before may take its time
        self._time_limit = 1 if request["do"] == hangs else HANGS
        return asked(self, **request)

    monkeypatch.setattr(ChildProcess, "ask", impatient)
    indent = " " * (len(where) - len(where.lstrip()))
    tree.change(where, f"{indent}{HANG}\n{where}")
    text = refused(tree.config())
    assert f"did not finish within 1 s ({doing})" in text
    assert "subject.time_limit" in text
    assert started[0].poll() is not None


def test_a_child_that_is_killed_is_noticed(tree, started, tmp_path):
    """Killed from outside, as when memory runs out, the process is missed at once."""
    hangs = tmp_path / "hangs"
    tree.change(FORWARD, f"        open({str(hangs)!r}, 'w'); {HANG}\n{FORWARD}")

    def kill():
        wait_until(hangs.exists)
        started[0].kill()

    threading.Thread(target=kill, daemon=True).start()
    assert "signal 9 (SIGKILL)" in refused(tree.config())


def test_the_last_words_of_a_process_are_the_trees(tree):
    """What a tree says before it dies is shown, and no advice of torch's on how this program calls it."""
    last = "import os, sys; print('so long', file=sys.stderr, flush=True); os._exit(7)"
    assert "status 7; so long" in refused(tree.change(FORWARD, f"        {last}\n{FORWARD}").config())
    assert "GradScaler" not in refused(tree.change(last, "import os; os._exit(7)").config())


def test_what_the_tree_started_ends_with_it(tree, tmp_path):
    """A process that the tree itself started does not outlive the replay."""
    note = tmp_path / "pid"
    start = f"import subprocess; open({str(note)!r}, 'w').write(str(subprocess.Popen(['sleep', '100000']).pid))"
    replay(tree.change(START, f"{start}\n" + START).config(steps=1))
    pid = int(note.read_text())
    wait_until(lambda: not is_running(pid))


def wait_until(true):
    """Wait for an event that nothing but looking tells of; it is an error only where it never comes."""
    hung = time.monotonic() + HANGS
    while not true():
        assert time.monotonic() < hung
        time.sleep(0.02)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_child_ends_when_nobody_asks_any_more(tmp_path):
    """At the end of its input the process exits by itself, so vqcheck may end in any way."""
    with ChildProcess(None, str(tmp_path), 60) as child:
        child._process.stdin.close()
        assert child._process.wait(timeout=HANGS) == 0


def test_the_child_loads_the_vqcheck_beside_it_and_answers_whatever_it_is_sent(tmp_path, monkeypatch):
    """Another vqcheck of that Python is not touched; a line that is not JSON, or has no meaning, is an error."""
    (tmp_path / "vqcheck").mkdir()
    (tmp_path / "vqcheck" / "__init__.py").write_text("raise OSError('another vqcheck')", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ChildProcess(None, str(tmp_path), HANGS) as child:
        for sent, message in [
            (b"{not json", "JSONDecodeError"),
            (b"3", "has no meaning"),
            (b'{"do": "step"}', "has no meaning"),
            (b"\xff", "UnicodeDecodeError"),
        ]:
            child._send(sent + b"\n")
            assert message in unpacked(json.loads(child._answers.get(timeout=HANGS))["error"])
        with pytest.raises(UsageError, match="KeyError: 'device'"):
            child.ask(do="load", version=None)


@pytest.mark.parametrize("said", ["3", "[]", '{"well": 1}', "null"])
def test_an_answer_that_is_no_answer_is_refused(tree, tmp_path, said):
    """JSON of another program is no answer of the child."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{said}'\n")
    python.chmod(0o755)
    assert "is not a Python, or prints at its start" in refused(tree.config(python=str(python)))


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("no-such-python", "there is no such program"),
        ("/", "there is no such program"),
        ("/bin/echo", "is not a Python"),
        ("/bin/true", "process ended while it was loaded: status 0"),
    ],
)
def test_a_program_that_is_no_python_is_refused(tree, python, message):
    """The named Python must be one."""
    assert message in refused(tree.config(python=python))


def test_a_python_without_torch_is_told_so(tree, tmp_path):
    """The missing package and the Python that lacks it are named."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    text = refused(tree.config(python=str(python)))
    assert "lacks packages: torch" in text


OLD_TORCH = "import sys, types; sys.modules['torch'] = types.SimpleNamespace(__version__='1.13.1')"
OLD_PYTHON = "import sys; sys.version_info = (3, 8, 18, 'final', 0)"


@pytest.mark.parametrize(
    ("pretend", "message"),
    [
        (OLD_PYTHON, r"is Python .*: the oldest that a checkout can be replayed with is 3\.9"),
        (OLD_TORCH, r"has torch 1\.13\.1: the oldest that a checkout can be replayed with is 2\.0"),
    ],
)
def test_a_python_that_is_too_old_is_told_so(tree, tmp_path, pretend, message):
    """The oldest version that will do is named."""
    python = tmp_path / "python"
    run = f"{pretend}; import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{run}" "$@"\n')
    python.chmod(0o755)
    assert re.search(message, refused(tree.config(python=str(python))))


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    """Before anything is started, the path is looked at."""
    config = Config.model_validate({"subject": {"checkout": str(tmp_path)}})
    assert "is not a GPT-SoVITS checkout" in refused(config)
    gone = Config.model_validate({"subject": {"checkout": str(tmp_path / "gone")}})
    assert "there is no such folder" in refused(gone)


def test_a_checkout_and_a_factory_exclude_each_other(tree):
    """There is one subject."""
    assert "exclude each other" in refused(tree.config(factory="a:b"))


def test_a_tree_may_print_what_it_likes(tree):
    """What the tree prints never gets between the answers."""
    noisy = "print('{}'); import os; os.write(1, b'{\"ok\": 1}\\n')"
    assert replay(tree.change(FORWARD, f"        {noisy}\n{FORWARD}").config(steps=1)).exit_code == 0


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("import module.mel_processing", "module.mel_processing"),
        ("from text.symbols2 import symbols", "text.symbols2"),
        ("from f5_tts.model import DiT", "f5_tts"),
        ("import einops_that_is_not_there\nimport f5_tts", "f5_tts"),
    ],
)
def test_what_a_tree_lacks_of_its_own_is_not_to_be_installed(tree, line, named):
    """Half-uploaded commits: the tree is not whole, and no package of that name would mend it."""
    tree.change("import utils\n", f"import utils\n{line}\n")
    text = refused(tree.config())
    assert f"{tree.path}: lacks modules of its own: " in text
    assert named in text
    assert "lacks packages" not in text


def test_a_package_that_is_not_installed_is(tree):
    """What no tree of GPT-SoVITS has is to be installed, by the name of the package."""
    tree.change("import utils\n", "import utils\nimport einops_that_is_not_there.layers\n")
    text = refused(tree.config())
    assert "lacks packages that this tree imports: einops_that_is_not_there" in text
