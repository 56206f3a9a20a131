"""JSON from files that cannot be trusted: one object, no repeated keys, bounded depth and width."""

import json
from typing import Any, Final

from vqcheck.errors import CheckpointError

_MAX_ENTRIES: Final = 200_000


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

    try:
        value = json.loads(data, object_pairs_hook=unique)
    except RecursionError:
        raise CheckpointError(f"{what}: is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{what}: is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{what}: is no JSON object")
    return value
