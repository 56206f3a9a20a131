"""What every JSON document of vqcheck has: schema, verdict and exit code."""

import json
from typing import Any

from vqcheck import __version__


def dump(command: str, verdict: str, exit_code: int, **content: Any) -> str:
    """Return one JSON document, ASCII only so that every console can show it."""
    head = {"schema": f"vqcheck/{command}/1", "vqcheck": __version__, "verdict": verdict, "exit_code": exit_code}
    return json.dumps(head | content, indent=2, allow_nan=False) + "\n"
