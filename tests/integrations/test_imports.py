"""Whoever does not train with a framework never imports it."""

import subprocess
import sys

FRAMEWORKS = ("lightning", "pytorch_lightning", "transformers", "accelerate", "vqcheck.integrations")


def test_nothing_of_vqcheck_imports_a_training_framework():
    code = (
        "import sys, vqcheck; names = dir(vqcheck); [getattr(vqcheck, name) for name in names]; "
        f"print(len(names) > 5, [name for name in {FRAMEWORKS} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True []", done.stderr
