"""What a command line asks for, also where it could not be parsed: the report of that is owed in the same format."""

from collections.abc import Sequence
from dataclasses import dataclass

from vqcheck.cli import formats


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run that failed has to say so."""

    command: str
    format: str
    quiet: bool
    to_file: bool


def asked(arguments: Sequence[str], commands: Sequence[str]) -> Asked:
    """Return what the arguments ask for; the last `--format` counts, as it does where they can be parsed."""
    form, quiet, to_file = formats.TEXT, False, False
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            break
        name, _, value = argument.partition("=")
        if name == "--format":
            value = value or next(rest, "")
            form = value if value in formats.MACHINE else formats.TEXT
        elif name == "--output":
            to_file = bool(value or next(rest, ""))
        elif argument == "--quiet":
            quiet = True
        elif argument[:1] == "-" and argument[1:2] != "-":
            # One-letter options may stand together, and what follows an o is its value.
            letters, is_output, value = argument[1:].partition("o")
            quiet |= "q" in letters
            to_file |= bool(is_output and (value or next(rest, "")))
    command = next((argument for argument in arguments if argument in commands), "vqcheck")
    return Asked(command, form, quiet, to_file)
