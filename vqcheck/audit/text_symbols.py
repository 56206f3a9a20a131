"""The judgement on text symbols: whether the generator has as many as the code that will train defines."""

import os
from typing import Final

from vqcheck.audit.judgement import Judgement, could_not_check, failed, not_applicable, passed
from vqcheck.audit.planned_run import TEXT_EMBEDDING, PlannedRun
from vqcheck.experiment.symbols_code import count_symbols, symbols_file
from vqcheck.language import tr

_SYMBOLS_OF_V1: Final = 322
_SYMBOLS: Final = 732
"""Text symbols of every other version."""


def symbols(run: PlannedRun) -> Judgement:
    """Whether the generator has an embedding for as many text symbols as the code that will train defines."""
    rows, name = run.symbols, os.path.basename(run.pretrained)
    version = run.s2.version or run.inspection.model.version.split(" or ")[0]
    expected = _SYMBOLS_OF_V1 if version == "v1" else _SYMBOLS
    if rows is None and run.not_found:
        return not_applicable(tr("{name} has not the names that training reads (see loader)", name=name))
    if rows is None:
        return failed(
            tr(
                "{name} holds no {tensor}, so training would start it from random values",
                name=name,
                tensor=TEXT_EMBEDDING,
            )
        )
    if not version:
        return could_not_check(
            tr("{name} has {rows} text symbols; its tensors do not show its version", name=name, rows=rows)
        )
    path = symbols_file(run.s2.checkout, version) if run.s2.checkout else ""
    defined = count_symbols(path) if path else None
    if defined is not None:
        if defined != rows:
            said = tr(
                "{path} defines {defined} text symbols, {name} has {rows}",
                path=path,
                defined=defined,
                name=name,
                rows=rows,
            )
            if defined != expected:
                said = tr(
                    "{path} defines {defined} text symbols (GPT-SoVITS has {expected} for {version}, so it was "
                    "changed), {name} has {rows}",
                    path=path,
                    defined=defined,
                    expected=expected,
                    version=version,
                    name=name,
                    rows=rows,
                )
            return failed(
                said,
                fix=tr(
                    "Start from a base that was trained with the symbols of {path}, or put that file back.", path=path
                ),
            )
        return passed(tr("{name} has {rows} text symbols, as {path} defines", name=name, rows=rows, path=path))
    if rows != expected:
        return failed(
            tr(
                "{name} has {rows} text symbols, {version} has {expected}",
                name=name,
                rows=rows,
                version=version,
                expected=expected,
            ),
            fix=tr(
                "Use a published base of {version}. Or, was symbols.py of your tree changed to "
                "{rows}? Then name the tree: --checkout.",
                version=version,
                rows=rows,
            ),
        )
    if path:
        return passed(
            tr(
                "{name} has {rows} text symbols, as {version} has; how many {path} defines could not be read off it",
                name=name,
                rows=rows,
                version=version,
                path=path,
            )
        )
    return passed(tr("{name} has {rows} text symbols, as {version} has", name=name, rows=rows, version=version))
