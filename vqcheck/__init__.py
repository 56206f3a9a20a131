"""Does the codebook of a two-stage VQ speech model stay the same between the stages.

The names below are imported when they are first used, so that importing vqcheck costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqcheck.checkpoint.open import open_checkpoint as open_checkpoint
    from vqcheck.codebook.compare import compare as compare
    from vqcheck.codebook.find import find_vq_encoder as find_vq_encoder
    from vqcheck.live.freeze import freeze as freeze
    from vqcheck.live.freeze import unfreeze as unfreeze
    from vqcheck.live.guard import guard as guard

__version__ = "0.1.0"

_HOME = {
    "open_checkpoint": "vqcheck.checkpoint.open",
    "find_vq_encoder": "vqcheck.codebook.find",
    "compare": "vqcheck.codebook.compare",
    "freeze": "vqcheck.live.freeze",
    "unfreeze": "vqcheck.live.freeze",
    "guard": "vqcheck.live.guard",
}

__all__ = ["__version__", "compare", "find_vq_encoder", "freeze", "guard", "open_checkpoint", "unfreeze"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vqcheck' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
