"""Makes the attacks and the watch over readers importable as the packages `malicious` and `fuzz`."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS), str(TESTS / "checkpoint")]
