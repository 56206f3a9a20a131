"""Runs the vqcheck command with at most 512 MB of memory and a minute of work, where the system can limit them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import rich.console
from fuzz.watch import limit_memory, limit_work

from vqcheck.cli.main import main

# Loaded before, so that only what a file asks for counts against the limit.
assert np
assert rich.console
limit_memory()
limit_work(60)
sys.exit(main(sys.argv[1:]))
