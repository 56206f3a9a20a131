"""Any training code, as a replay can run it: the protocol that a user's factory fills in.

`[subject] factory = "package.module:function"` names a function without arguments, importable from the working
directory. It is called once for each arm, with torch seeded the same each time, and returns an object with

- `module`: the `torch.nn.Module` whose codebook is watched; the codebook is found under its names, as in a checkpoint;
- `step(number)`: trains once, counted from 1, and returns its losses by name, each a number or a scalar tensor. One
  called `commit_loss` is shown as such;
- `probe`, if it likes: frames `[N, dim]` as they reach the codebook. Their tokens, the nearest codes, are followed
  through the training. No code of yours runs for that, so it writes nothing.

`fixtures/factories` has examples. Everything else (data, optimizer, device, train mode) is the code's own business.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from vqcheck.errors import UsageError
from vqcheck.replay.own_error import in_one_line


class OwnCode(Protocol):
    """What a factory returns; `probe` may be left out."""

    @property
    def module(self) -> nn.Module:
        """The module that holds the codebook."""

    def step(self, number: int) -> Mapping[str, "Tensor | float"]:
        """Train once, and return the losses by name."""


def load_factory(name: str) -> Callable[[], OwnCode]:
    """Return the function that `package.module:function` names.

    Raises:
        UsageError: it cannot be imported, or there is no such function.

    """
    module_name, _, function_name = name.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise UsageError(f"factory {name}: {module_name} cannot be imported: {in_one_line(error)}") from error
    for part in function_name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(f"factory {name}: {module_name} has no function {function_name}")
    function: Callable[[], OwnCode] = found
    return function


def make(factory: Callable[[], OwnCode], name: str) -> OwnCode:
    """Call a factory, and check what it returned.

    Raises:
        UsageError: it raised, or its result does not fill in the protocol.

    """
    try:
        code = factory()
    except Exception as error:
        raise UsageError(f"factory {name}: {in_one_line(error)}") from error
    if not isinstance(getattr(code, "module", None), nn.Module):
        raise UsageError(f"factory {name}: what it returned has no torch.nn.Module under .module")
    if not callable(getattr(code, "step", None)):
        raise UsageError(f"factory {name}: what it returned has no method step(number)")
    return code
