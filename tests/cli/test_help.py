"""What `vqcheck --help` and the shell's completion list, and that listing costs nothing."""

import subprocess
import sys

import pytest

from vqcheck.cli.main import program

LOADED = "print(sorted(name for name in sys.modules if name.startswith('vqcheck.')), file=sys.stderr)"


def started(arguments, **env):
    source = f"import sys; from vqcheck.cli.main import main; main({arguments!r}); {LOADED}"
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env={"COLUMNS": "80", **env}, check=True
    )


def test_help_imports_no_command():
    assert started(["--help"]).stderr.strip() == "['vqcheck.cli', 'vqcheck.cli.main', 'vqcheck.errors']"


def test_help_says_of_every_command_what_it_does_in_one_whole_line():
    lines = started(["--help"]).stdout.splitlines()
    listed = lines[lines.index("Commands:") + 1 :]
    for line, name in zip(listed, program.list_commands(None), strict=False):
        assert line.split()[0] == name
        assert line.endswith(".")
        assert "..." not in line
        assert len(line) <= 79


@pytest.mark.parametrize("name", program.list_commands(None))
def test_every_listed_command_is_there_under_its_name(name):
    assert program.get_command(None, name).name == name


def test_completion_offers_commands_and_options_and_imports_nothing():
    offered = program.shell_complete(program.make_context("vqcheck", [], resilient_parsing=True), "")
    assert [item.value for item in offered] == program.list_commands(None)
    assert all(item.help for item in offered)
    options = program.shell_complete(program.make_context("vqcheck", [], resilient_parsing=True), "--v")
    assert [item.value for item in options] == ["--version"]
    (found,) = program.shell_complete(program.make_context("vqcheck", [], resilient_parsing=True), "his")
    assert found.value == "history"
