"""JSON and TOML from untrusted files: bounded in size, depth and width, and read as any other reader reads them.

What Python alone takes for JSON (NaN, half a surrogate pair, a whole -0) is refused: other readers of a file refuse it.
"""

import json
import sys
from math import isfinite
from typing import Any, Final, NoReturn

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.errors import WrongValueError
from vqcheck.language import tr

_MAX_ENTRIES: Final = 200_000
_MAX_VALUES: Final = 2_000_000
_MAX_BRACKETS: Final = 1_000_000
"""Most values, and objects and arrays among them: a text of a few MiB can ask for a hundred times its own size."""

_SHOWN: Final = 20


def parse_json(data: bytes, file: PositionedFile, member: str = "") -> dict[str, Any]:
    """Return a JSON object without repeated keys; `file` and `member` are where it stands.

    Raises:
        CheckpointError: anything else.

    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise WrongValueError(tr("a key is repeated"))
        if len(result) > _MAX_ENTRIES:
            raise WrongValueError(tr("too many entries"))
        return result

    def no_number(text: str) -> NoReturn:
        raise WrongValueError(tr("{text} is not a number", text=text[:_SHOWN]))

    def whole(text: str) -> int:
        return no_number(text) if text == "-0" else int(text)

    def fraction(text: str) -> float:
        value = float(text)
        return value if isfinite(value) else no_number(text)

    if data.count(b",") > _MAX_VALUES or data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
        raise file.error(tr("has more values than the index of any checkpoint"), member)
    try:
        # Decoded here: given bytes, json would also take UTF-16 and UTF-32, which other readers do not.
        text = data.decode("utf-8-sig")
        value = json.loads(
            text,
            object_pairs_hook=unique,
            parse_int=whole if "-0" in text else None,
            parse_float=fraction,
            parse_constant=no_number,
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise file.error(tr("is nested too deeply"), member) from None
    except ValueError as error:
        raise file.error(tr("is not valid JSON ({error})", error=str(error)), member) from None
    if not isinstance(value, dict):
        raise file.error(tr("is not a JSON object"), member)
    return value


LONGEST_TOML: Final = 1 << 18
"""Characters of the longest text that is read."""
_MAX_DOTS: Final = 100
"""Most dots in a line. The parser's time and memory grow with the square of a dotted key's length."""


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table in a TOML text.

    Raises:
        ValueError: it is not TOML, or larger or deeper than any configuration; the text says which, in one line.

    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(text) > LONGEST_TOML:
        raise WrongValueError(
            tr(
                "{characters} characters, more than the {most} that are read",
                characters=len(text),
                most=LONGEST_TOML,
            )
        )
    if any(line.count(".") > _MAX_DOTS for line in text.split("\n")):
        raise WrongValueError(tr("a line with more than {most} dots", most=_MAX_DOTS))
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Who copies a Windows path into double quotes begins an escape with every backslash.
        escape = str(error).startswith(("Unescaped '\\'", "Invalid hex value"))
        raise WrongValueError(
            tr("{error}; write a Windows path in 'single quotes'", error=str(error)) if escape else str(error)
        ) from None
    except RecursionError:
        raise WrongValueError(tr("is nested too deeply")) from None
