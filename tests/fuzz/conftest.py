"""Makes the fuzzing code, which also runs without pytest, importable as the package `fuzz`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
