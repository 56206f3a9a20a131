"""For commands whose views are still to come."""
# ruff: noqa
# mypy: ignore-errors

import os
import sys
from importlib import import_module
from typing import Any

from vqcheck.cli.output import Output, _speak_utf_8
from vqcheck.cli.replace_file import add_to_file, replace_file

TEXT = "text"
JSON = "json"
CSV = "csv"
EVERY = PLAIN = ()


def _of(form, kind=""):
    return import_module(f"vqcheck.report.{form}.{kind}" if kind else f"vqcheck.report.{form}")


def show_old(output: Output, kind: str, *result: Any, text: Any) -> None:
    form = output.format
    if form == "text":
        write_old(output, text(*result, output))
        return
    if form in ("json", "csv", "html"):
        document = _of(form, kind).document(*result)
    else:
        run = _of("cases", kind).run(*result)
        document = _of(form).document(run)
        if form == "github":
            md = _of(form).summary(run)
            if output.file:
                replace_file(output.file, md)
                sys.stdout.write("" if output.quiet else document)
                return
            page = os.environ.get("GITHUB_STEP_SUMMARY")
            if page:
                add_to_file(page, md)
    write_old(output, document)


def write_old(output, report):
    if output.file:
        replace_file(output.file, report)
    elif not output.quiet:
        if output.format != "text":
            _speak_utf_8()
        sys.stdout.write(report)
        sys.stdout.flush()
