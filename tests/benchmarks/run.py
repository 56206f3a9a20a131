"""How a benchmark is to be run, and the child process in which torch is kept away from what is measured."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """What the user asked for."""

    folder: Path
    """Where files may be made; a benchmark finds those of an earlier one there, and the caller removes it."""
    samples: int
    """Of whole processes."""
    step_samples: int
    """Of training steps of the full-size synthesizer, which take seconds each."""
    quick: bool
    """Small files and models: shows that everything works, and no more."""
    device: str
    stage: Callable[[str], None]
    """Told what is being measured."""


def isolated(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, run in a fresh process: what it imports and allocates is gone afterwards."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
