"""JSON from files that cannot be trusted: one object, no repeated keys, bounded depth and width."""

import json
from typing import Any, Final

from vqcheck.errors import CheckpointError

_MAX_ENTRIES: Final = 200_000
_MAX_VALUES: Final = 2_000_000
_MAX_BRACKETS: Final = 1_000_000
"""Most values, and objects and arrays among them: a text of a few MiB can ask for a hundred times its own size."""


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

    if data.count(b",") > _MAX_VALUES or data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
        raise CheckpointError(f"{what}: has more values than the index of any checkpoint")
    try:
        # Decoded here: given bytes, json would also take UTF-16 and UTF-32, which other readers do not.
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique)
    except RecursionError:
        raise CheckpointError(f"{what}: is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{what}: is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{what}: is no JSON object")
    return value
