"""Runs at the start of every Python that `vqcheck run` starts, directly or not: watches for torch, and costs no import.

It keeps to the standard library, finds vqcheck where the command has it, and then runs the sitecustomize that it hides.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN202, ANN204, ARG002, SLF001

import json
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(os.path.dirname(_HERE))
_FOLDER = "VQCHECK_RUN_FOLDER"


class _Finder:
    """Finds vqcheck where it is not installed, and tells when torch has been imported."""

    def find_spec(self, name, path=None, target=None):
        """Return how to import vqcheck, or torch with a look behind it."""
        if name == "vqcheck":
            return spec_from_file_location(
                name, os.path.join(_PACKAGE, "__init__.py"), submodule_search_locations=[_PACKAGE]
            )
        if name != "torch":
            return None
        spec = PathFinder.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Behind(spec.loader)
        return spec


class _Behind:
    """Imports torch as its own loader does, and then sets the hooks."""

    def __init__(self, loader) -> None:
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        """Create the module as ever."""
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        """Run the module as ever, then set the hooks."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        try:
            from vqcheck.live.in_script import watch_process

            watch_process()
        except Exception as error:  # noqa: BLE001 - a torch or Python that is too old is no fault of the script
            _note(f"this Python cannot be watched: {type(error).__name__}: {error}")


def _note(problem) -> None:
    """Say at once, and in the report, why nothing is watched here."""
    print(f"vqcheck: {problem}", file=sys.stderr, flush=True)
    script = sys.argv[0] if getattr(sys, "argv", None) else ""
    facts = {"pid": os.getpid(), "script": script, "rank": None, "steps": 0, "ended": False, "problem": problem}
    with open(os.path.join(os.environ[_FOLDER], f"{os.getpid()}.json"), "w", encoding="utf-8") as file:
        json.dump({**facts, "modules": []}, file)


def _run_hidden() -> None:
    """Run the sitecustomize that would have run without this one."""
    spec = PathFinder.find_spec("sitecustomize", [each for each in sys.path if os.path.abspath(each) != _HERE])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if os.path.isdir(os.environ.get(_FOLDER, "")):
    sys._vqcheck_run = True
    sys.meta_path.insert(0, _Finder())
_run_hidden()
