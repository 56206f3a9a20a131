"""Lets the campaign's modules be imported by its tests as they import each other when it is run by hand."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
