"""Does the codebook of a two-stage VQ speech model stay the same between the stages.

The names below are imported when they are first used, so that importing vqcheck costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqcheck.audit.lock import read_lock as read_lock
    from vqcheck.checkpoint.open import open_checkpoint as open_checkpoint
    from vqcheck.codebook.find import find_vq_encoder as find_vq_encoder
    from vqcheck.live.compare import compare as compare
    from vqcheck.live.freeze import freeze as freeze
    from vqcheck.live.freeze import unfreeze as unfreeze
    from vqcheck.live.guard import guard as guard
    from vqcheck.live.monitor import monitor as monitor

__version__ = "0.1.0"

_HOME = {
    "open_checkpoint": "vqcheck.checkpoint.open",
    "find_vq_encoder": "vqcheck.codebook.find",
    "compare": "vqcheck.live.compare",
    "read_lock": "vqcheck.audit.lock",
    "freeze": "vqcheck.live.freeze",
    "unfreeze": "vqcheck.live.freeze",
    "guard": "vqcheck.live.guard",
    "monitor": "vqcheck.live.monitor",
}

__all__ = [
    "__version__",
    "compare",
    "find_vq_encoder",
    "freeze",
    "guard",
    "monitor",
    "open_checkpoint",
    "read_lock",
    "unfreeze",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vqcheck' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
