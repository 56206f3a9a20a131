"""JSON from files that cannot be trusted: one object, no repeated keys, bounded depth and width.

What Python alone takes for JSON (NaN, half a surrogate pair, a whole -0) is refused: other readers of a file refuse it.
"""

import json
from math import isfinite
from typing import Any, Final, NoReturn

from vqcheck.errors import CheckpointError

_MAX_ENTRIES: Final = 200_000
_MAX_VALUES: Final = 2_000_000
_MAX_BRACKETS: Final = 1_000_000
"""Most values, and objects and arrays among them: a text of a few MiB can ask for a hundred times its own size."""

_SHOWN: Final = 20


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object without repeated keys.

    Raises:
        CheckpointError: anything else.

    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key is repeated")
        if len(result) > _MAX_ENTRIES:
            raise ValueError("too many entries")
        return result

    def no_number(text: str) -> NoReturn:
        raise ValueError(f"{text[:_SHOWN]} is no number")

    def whole(text: str) -> int:
        return no_number(text) if text == "-0" else int(text)

    def fraction(text: str) -> float:
        value = float(text)
        return value if isfinite(value) else no_number(text)

    if data.count(b",") > _MAX_VALUES or data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
        raise CheckpointError(f"{what}: has more values than the index of any checkpoint")
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
        raise CheckpointError(f"{what}: is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{what}: is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{what}: is no JSON object")
    return value
