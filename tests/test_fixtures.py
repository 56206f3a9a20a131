"""The committed fixtures are what their scripts make."""

import subprocess
import sys
from pathlib import Path

from vqcheck import open_checkpoint

SCRIPTS = Path(__file__).parent.parent / "fixtures"


def contents(path):
    with open_checkpoint(path) as checkpoint:
        tensors = {name: (t.dtype, t.shape, bytes(checkpoint.read(t))) for name, t in checkpoint.tensors.items()}
        return checkpoint.format, checkpoint.header_code, checkpoint.container, checkpoint.information, tensors


def test_the_checkpoints_are_what_their_script_makes(checkpoints, tmp_path):
    """Running the script again gives the same files: format, header, information and every value."""
    subprocess.run([sys.executable, SCRIPTS / "make_checkpoints.py", tmp_path], check=True)
    made = {path.name: contents(path) for path in tmp_path.iterdir()}
    committed = {path.name: contents(path) for path in checkpoints.iterdir()}
    assert made.keys() == committed.keys()
    assert [name for name in made if made[name] != committed[name]] == []


def test_the_demo_is_what_its_script_makes(tmp_path):
    """Running the script again gives the same tokens, configuration, lock and features."""
    subprocess.run([sys.executable, SCRIPTS / "make_demo.py", tmp_path / "demo"], check=True)
    made, committed = tmp_path / "demo", SCRIPTS / "demo"
    names = sorted(str(path.relative_to(committed)) for path in committed.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    for name in names:
        if name.endswith(".pt"):
            assert contents(made / name) == contents(committed / name)
        else:
            assert (made / name).read_bytes() == (committed / name).read_bytes()
