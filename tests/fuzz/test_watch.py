"""The watch over the readers sees what it is there to see: each misbehaviour is planted and reported."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fuzz import targets
from fuzz.watch import SECONDS, Finding, Watch
from warm import HANGS

from vqcheck.errors import CheckpointError

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """The folder that readers may read in."""
    return tmp_path_factory.mktemp("inside")


@pytest.fixture(scope="module")
def watch(inside):
    return Watch(str(inside), traced=True)


def refuse(text):
    raise CheckpointError(text)


def test_a_result_and_a_refusal_are_the_two_outcomes(watch, inside):
    (inside / "input").write_bytes(b"1")
    assert watch.run((inside / "input").read_bytes) == "read"
    assert watch.run(lambda: refuse("x: is damaged")) == "x: is damaged"


PLANTED = {
    "another exception": (lambda _: 1 // 0, "raised: ZeroDivisionError"),
    "endless recursion": (lambda path: without_end(path), "raised: RecursionError"),  # noqa: PLW0108 - defined below
    "a file written": (lambda path: path.write_bytes(b""), "touched: open"),
    "a file opened for appending": (lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)), "touched: open"),
    "a file outside": (lambda _: Path(__file__).read_bytes(), "touched: open"),
    "a file removed": (lambda path: (path.parent / "victim").unlink(), "touched: os.remove"),
    "a process": (lambda _: subprocess.run([sys.executable, "-c", ""], check=True), "touched: .*subprocess.Popen"),
    "a shell": (lambda _: os.system("exit"), "touched: os.system"),
    "a socket": (lambda _: socket.socket().close(), "touched: socket.__new__"),
    "executed text": (lambda _: exec("pass"), "touched: .*exec"),
    "compiled text": (lambda _: compile("1", "<text>", "eval"), "touched: compile"),
    "an import": (lambda _: __import__("this_module_does_not_exist"), "raised: ModuleNotFoundError"),
    "a memory hog": (lambda _: bytearray(600 << 20), "memory: more than"),
    "a limit that was hit and caught": (lambda _: refuse("not enough memory to read its index"), "memory: "),
    "a message of two lines": (lambda _: refuse_raw("a\nb"), "message: "),
    "a message that steers the terminal": (lambda _: refuse_raw("\x1b[2J"), "message: "),
    "an endless message": (lambda _: refuse_raw("a" * 10_000), "message: 10000 characters"),
}


def without_end(path):
    without_end(path)


class RawError(CheckpointError):
    """A refusal that shows its reason as it is."""

    def __str__(self):
        return self.reason


def refuse_raw(text):
    """Refuse with a text that the exception itself would have made harmless."""
    raise RawError(text)


@pytest.mark.parametrize("what", PLANTED)
def test_whatever_a_reader_must_not_do_is_reported(what, watch, inside):
    reader, reported = PLANTED[what]
    (inside / "victim").write_bytes(b"1")
    with pytest.raises(Finding) as caught:
        watch.run(lambda: reader(inside / "planted"))
    assert re.match(reported, str(caught.value))


def test_importing_a_module_for_the_first_time_is_reported(watch, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(Finding, match=r"touched: import .'colorsys'"):
        watch.run(lambda: __import__("colorsys"))


def test_what_happens_between_two_readers_is_nobodys_fault(watch, inside):
    (inside / "between").write_bytes(b"1")
    assert watch.run(lambda: None) == "read"


def in_a_process_of_its_own(body):
    program = "import sys, tempfile\nsys.path.insert(0, sys.argv[1])\nfrom fuzz.watch import Watch, limit_memory\n"
    return subprocess.run(
        [sys.executable, "-c", program + textwrap.dedent(body), TESTS],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )


HANG = {
    "computes": ("SECONDS", 're.match("(a+)+$", "a" * 60 + "b")'),  # never leaves C by itself
    "waits": ("HANGS", "threading.Event().wait()"),
}


@pytest.mark.parametrize("how", HANG)
def test_a_reader_that_hangs_ends_the_process_with_a_traceback(how):
    limit, hang = HANG[how]
    done = in_a_process_of_its_own(f"""
        import re, threading
        import fuzz.watch
        fuzz.watch.{limit} = 0.2
        watch = Watch(tempfile.mkdtemp(), traced=False)
        watch.run(lambda: {hang})
        print("came back")
    """)
    assert done.returncode != 0
    assert "came back" not in done.stdout
    assert "most recent call first" in done.stderr
    assert SECONDS == 5


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="only Linux tells and limits what a process has mapped"
)
def test_memory_is_limited_by_the_system_where_it_can_be():
    done = in_a_process_of_its_own("""
        assert limit_memory()
        watch = Watch(tempfile.mkdtemp(), traced=False)
        print(watch.run(lambda: bytearray(100 << 20)))
        watch.run(lambda: bytearray(600 << 20))
    """)
    assert done.stdout == "read\n"
    assert "Finding: memory: more than" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="no limit on work as Windows knows none")
def test_work_is_limited_by_the_system_where_it_can_be():
    done = in_a_process_of_its_own("""
        from fuzz.watch import limit_work
        assert limit_work(1)
        print("working", flush=True)
        while True:
            pass
    """)
    assert (done.stdout, done.returncode) == ("working\n", -signal.SIGXCPU)


def test_a_mutant_reader_is_caught_by_the_same_run_that_readers_pass(tmp_path):
    """The whole of it, from seeds to mutations: one reader that misbehaves for some inputs only."""
    from random import Random

    target = targets.TARGETS["lock"]
    targets.prepare(str(tmp_path))
    watch = Watch(str(tmp_path), traced=False)
    random = Random(0)

    def planted(folder, path):
        target.read(folder, path)
        if b"tsv" not in Path(path).read_bytes():
            raise KeyError("tsv")

    found = []
    for data in 40 * list(target.seeds().values()):
        path = target.place(str(tmp_path), target.mutate(data, random))
        assert watch.run(lambda path=path: target.read(str(tmp_path), path))
        try:
            watch.run(lambda path=path: planted(str(tmp_path), path))
        except Finding as finding:
            found.append(str(finding))
    assert 0 < len(found) < 80
    assert set(found) == {"raised: KeyError: 'tsv'"}


@pytest.mark.slow
def test_the_coverage_guided_run_ends_with_the_input_that_a_reader_failed_on(tmp_path):
    pytest.importorskip("atheris", reason="atheris is not made for this platform")
    program = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        from argparse import Namespace
        from dataclasses import replace
        from fuzz import run, targets

        def planted(folder, path):
            with open(path, "rb") as file:
                data = file.read()
            assert data.count(b"tensor") in (0, TENSORS)

        with open(targets.CORPUS / "lock" / "sound", "rb") as file:
            TENSORS = file.read().count(b"tensor")
        targets.TARGETS["lock"] = replace(targets.TARGETS["lock"], read=planted)
        corpora = [str(targets.CORPUS / "lock")]
        run.fuzz("lock", Namespace(inputs=5_000, seconds=600, seed=1, counts="counts", corpora=corpora))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, TESTS], capture_output=True, text=True, check=False, timeout=HANGS, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "Finding: raised: AssertionError" in done.stdout + done.stderr
    sound = targets.TARGETS["lock"].seeds()["sound"]
    assert (tmp_path / "finding-lock").read_bytes().count(b"tensor") not in (0, sound.count(b"tensor"))
