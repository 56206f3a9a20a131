"""Standard streams that are closed, full, left by their reader, or of another encoding than a name needs."""

import json
import os
import subprocess
import sys
import xml.dom.minidom

import pytest
from warm import HANGS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shells and devices as Windows has none")

VQCHECK = [sys.executable, "-m", "vqcheck"]
COMMANDS = {
    "inspect": ["inspect", "{base}"],
    "diff": ["diff", "{base}", "{drifted}", "--format", "json"],
    "help": ["--help"],
    "nothing there": ["diff", "absent.pth", "{base}", "--format", "json"],
}


def shell(script, arguments):
    """Run a command in a shell, as `vqcheck`; return the completed process."""
    quoted = " ".join(f"'{argument}'" for argument in [*VQCHECK, *map(str, arguments)])
    return subprocess.run(
        ["bash", "-c", f"vqcheck() {{ {quoted}; }}; {script}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_went_away_is_no_change(command, desk):
    """`| true`: nothing was shown, so 2, without a word about pipes. Never 1, which means that something changed."""
    arguments = [word.format(base=desk.base, drifted=desk.drifted) for word in COMMANDS[command]]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*VQCHECK, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=HANGS
        )
    finally:
        os.close(writer)
    assert done.returncode == 2
    assert done.stderr == ("vqcheck: absent.pth: no such file\n" if command == "nothing there" else "")


def test_a_full_stdout_is_told_and_a_closed_one_is_not_missed(desk):
    full = shell("vqcheck > /dev/full", ["inspect", desk.base])
    assert (full.returncode, full.stderr) == (2, "vqcheck: the output cannot be written: No space left on device\n")
    for closed in ("vqcheck >&-", "vqcheck >&- 2>&- <&-"):
        assert (shell(closed, ["inspect", desk.base]).returncode, shell(closed, ["inspect", "absent"]).returncode) == (
            0,
            2,
        )


LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "GBK console": {"PYTHONIOENCODING": "gbk"},
}
NAMES = ["中文 名 🎤.pth", os.fsdecode(b"\xff\xfe \xe9.pth"), "two\nlines\t\x1b[31m.pth", "$(true) '\".pth"]
MANY = """
import json, os, sys
from vqcheck.cli.main import main
for arguments in json.loads(sys.stdin.buffer.read()):
    # as Python itself takes the bytes of a command line
    status = main([os.fsdecode(argument.encode("utf-8", "surrogateescape")) for argument in arguments])
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\\0%d\\0" % status)
"""


@pytest.mark.parametrize("locale", LOCALES)
def test_every_name_can_be_given_and_shown_in_every_encoding(locale, desk, valid):
    """People see what their console cannot show escaped; documents for machines are UTF-8 everywhere."""
    folder = desk.root / "空 格"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(desk.drifted.read_bytes())
    paths = [str(folder / name) for name in NAMES]
    formats = ("text", "json", "junit", "sarif", "github", "html")
    commands = [["inspect", *paths], ["inspect", *paths, "--format", "json"]]
    commands += [["diff", str(desk.base), path, "--format", form] for path in paths[1:2] for form in formats]
    commands += [["history", str(folder), "--format", form] for form in formats]
    commands += [["lock", paths[0], "-o", str(folder / "锁 🔒.lock")]]
    environment = {**os.environ, **LOCALES[locale], "COLUMNS": "400"}
    environment.pop("GITHUB_STEP_SUMMARY", None)
    child = subprocess.run(
        [sys.executable, "-c", MANY],
        input=json.dumps(commands).encode(),
        capture_output=True,
        env=environment,
        check=True,
        timeout=HANGS,
    )
    said = child.stdout.split(b"\0")
    assert child.stderr == b""
    for command, out, status in zip(commands, said[::2], said[1::2], strict=False):
        assert int(status) == (1 if command[0] == "diff" else 0), command
        form = command[command.index("--format") + 1] if "--format" in command else "text"
        if form == "json":
            assert valid(out.decode("utf-8"))["exit_code"] == int(status)
        elif form == "sarif":
            json.loads(out.decode("utf-8"))
        elif form == "junit":
            xml.dom.minidom.parseString(out)
        elif form == "html":
            out.decode("utf-8")
        else:
            assert out.strip()
    assert (folder / "锁 🔒.lock").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the names of open files are devices")
@pytest.mark.parametrize(
    ("name", "how"),
    [("/dev/stdout", ">"), ("/dev/stdout", ">>"), ("/dev/stderr", "1<>"), ("/dev/fd/7", ">"), ("link", ">")],
)
def test_a_report_to_an_open_file_stands_between_what_others_write_there(name, how, desk, tmp_path):
    """A log is not replaced by a report: what came before is kept, and what comes later is not lost."""
    log, out = tmp_path / "log", tmp_path / "link" if name == "link" else name
    (tmp_path / "link").symlink_to("/dev/stdout")
    done = shell(
        f"(echo before; vqcheck; echo $?) {how} '{log}' 2>&1 7>&1", ["diff", desk.base, desk.base, "-o", str(out)]
    )
    assert done.returncode == 0
    before, report, *_, after = log.read_text().splitlines()
    assert (before, after) == ("before", "0")
    assert report.startswith("identical")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the names of open files are devices")
def test_an_open_file_of_another_program_is_not_replaced(desk, told, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stream, subprocess.Popen(["sleep", "60"], stdout=stream) as other:
        stream.write("before")
        stream.flush()
        code, _, err = told("diff", desk.base, desk.base, "-o", f"/proc/{other.pid}/fd/1")
        other.kill()
    assert code == 2
    assert "cannot be written" in err
    assert log.read_text() == "before"
