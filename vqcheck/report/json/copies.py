"""Copies of a VQ encoder in JSON documents: which were compared, and which have no partner."""

from typing import Any

from vqcheck.audit.lock_result import LockCheck
from vqcheck.codebook.comparison import Comparison


def copies_object(found: Comparison | LockCheck) -> dict[str, Any]:
    """Return the copies of two files, or of a lock (a) and a file (b)."""
    return {
        "pairs": [
            {"codec": pair.family, "a": pair.a, "b": pair.b, "verdict": pair.verdict, "guessed": pair.guessed}
            for pair in found.pairs
        ],
        "unpaired": [
            {
                "file": copy.side.lower(),
                "codec": copy.family,
                "name": copy.name,
                "judged": copy.judged,
                "verdict": copy.verdict,
                "why": copy.why,
                "equal": copy.equal,
            }
            for copy in found.lone
        ],
        "equal": [{"a": each.a, "b": each.b} for each in found.equal],
    }
