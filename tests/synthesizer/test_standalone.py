"""The package can be used without the rest."""

import os
import subprocess
import sys
from pathlib import Path

import vqcheck


def test_nothing_else_of_vqcheck_is_imported():
    """Importing vqcheck.synthesizer loads no other part of vqcheck, and neither numpy-based audio tools nor rich."""
    code = (
        "import sys, vqcheck.synthesizer as s; [getattr(s, name) for name in s.__all__]; "
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('librosa', 'rich', 'click') "
        "or name.startswith('vqcheck.') and not name.startswith('vqcheck.synthesizer')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(vqcheck.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
