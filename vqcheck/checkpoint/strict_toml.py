"""TOML from files that cannot be trusted: bounded in size, depth and length of keys."""

import sys
from typing import Any, Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONGEST: Final = 1 << 18
"""Characters of the longest text that is read."""
_MAX_DOTS: Final = 100
"""Most dots in a line. The parser's time and memory grow with the square of a dotted key's length."""


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table in a TOML text.

    Raises:
        ValueError: it is no TOML, or larger or deeper than any configuration; the text says which, in one line.

    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters, more than the {LONGEST} that are read")
    if any(line.count(".") > _MAX_DOTS for line in text.split("\n")):
        raise ValueError(f"a line with more than {_MAX_DOTS} dots")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Who copies a Windows path into double quotes begins an escape with every backslash.
        escape = str(error).startswith(("Unescaped '\\'", "Invalid hex value"))
        raise ValueError(f"{error}; write a Windows path in 'single quotes'" if escape else str(error)) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
