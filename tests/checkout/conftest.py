"""A miniature GPT-SoVITS tree that tests may spoil, and configurations that replay it in a second.

CHECKOUT_PYTHON in the environment names the Python that runs it, such as one with an older torch.
"""

import os
import shutil
from pathlib import Path

import pytest

from vqcheck.checkpoint.untrusted_text import parse_toml
from vqcheck.experiment.config import Config

TREE = Path(__file__).parent / "tree"
SMALL = parse_toml(TREE.with_name("small.toml").read_text("utf-8"))


class Tree:
    """A checkout in a temporary folder."""

    def __init__(self, path):
        self.path = path
        self.models = path / "GPT_SoVITS" / "module" / "models.py"

    def change(self, old, new):
        """Replace a piece of models.py."""
        text = self.models.read_text("utf-8")
        assert old in text
        self.models.write_text(text.replace(old, new), "utf-8")
        return self

    def era(self, name):
        """Make it the tree of another time."""
        return self.change('ERA = "fixed"', f'ERA = "{name}"')

    def config(self, steps=2, replay=None, expected=None, training=None, **subject):
        """Return a configuration that replays it; for v3 and v4 with a hop of which their mel's is a whole number."""
        flow = subject.get("version") in ("v3", "v4") or subject.get("generator") == "SynthesizerTrnV3b"
        return Config.model_validate(
            {
                **SMALL,
                **({"spectrogram": SMALL["spectrogram"] | {"hop_length": 80}} if flow else {}),
                "training": SMALL["training"] | ({"segment_size": 1280} if flow else {}) | (training or {}),
                "subject": {"checkout": str(self.path), "python": os.environ.get("CHECKOUT_PYTHON"), **subject},
                "replay": {"steps": steps, "device": "cpu", **(replay or {})},
                "expected": expected or {},
            }
        )


@pytest.fixture
def tree(tmp_path, forked_checkouts):  # noqa: ARG001 - what it changes is meant
    """The miniature tree."""
    shutil.copytree(TREE, tmp_path / "checkout")
    return Tree(tmp_path / "checkout")
