"""A run as SARIF 2.1.0, for code scanning: a result for each check that failed or could not be carried out.

Checks that passed are no results: code scanning shows every result as an alert, whatever its kind. `automationDetails`
is left out, so that the category given at the upload counts.
"""

import json
from typing import Any, Final

from vqcheck import __version__
from vqcheck.report.cases.case import COULD_NOT_CHECK, Case, Rule, Run
from vqcheck.report.plain import plain
from vqcheck.report.render.place import in_workspace, uri

_ROOT: Final = "%SRCROOT%"
_MOST: Final = 25_000
"""Results in a run; code scanning refuses documents with more."""


def document(run: Run) -> str:
    """Return one document, ASCII only."""
    problems = [case for case in run.cases if case.is_problem]
    rules = {rule.id: number for number, rule in enumerate(run.rules)}
    content = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "vqcheck",
                        "version": __version__,
                        "rules": [_rule(rule) for rule in run.rules],
                    }
                },
                "invocations": [_invocation(run, len(problems))],
                "originalUriBaseIds": {_ROOT: {"description": {"text": "The repository, or where vqcheck was run."}}},
                "results": [_result(case, rules[case.rule.id]) for case in problems[:_MOST]],
                "properties": {"command": run.title, "subject": plain(run.subject), "verdict": run.verdict},
            }
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": _sentence(rule.title)},
        "fullDescription": {"text": _sentence(rule.title)},
        "help": {"text": rule.help},
        "defaultConfiguration": {"level": "error"},
    }


def _invocation(run: Run, problems: int) -> dict[str, Any]:
    unchecked = [case for case in run.cases if case.outcome == COULD_NOT_CHECK and not case.advisory]
    notes = [_notification(case.message, "error") for case in unchecked[:_MOST]]
    if problems > _MOST:
        notes.append(_notification(f"{problems - _MOST} further results are left out", "warning"))
    return {
        "executionSuccessful": run.exit_code != 2,
        "exitCode": run.exit_code,
        "exitCodeDescription": _text(run.headline),
        "toolExecutionNotifications": notes,
    }


def _notification(message: str, level: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": _text(message)}}


def _result(case: Case, rule_index: int) -> dict[str, Any]:
    unchecked = "could not check: " if case.outcome == COULD_NOT_CHECK else ""
    return {
        "ruleId": case.rule.id,
        "ruleIndex": rule_index,
        "level": "warning" if case.advisory else "error",
        "message": {"text": _text(f"{case.name}: {unchecked}{case.message}")},
        "locations": [_location(case)],
        # The first is what code scanning goes by; it expects a count of equal ones behind the colon.
        "partialFingerprints": {"primaryLocationLineHash": f"{case.fingerprint}:1", "vqcheck/v1": case.fingerprint},
    }


def _location(case: Case) -> dict[str, Any]:
    """Return where a case is; code scanning refuses results without a file and a line."""
    path = in_workspace(case.path)
    artifact = {"uri": uri(path)} if path.is_absolute() else {"uri": uri(path), "uriBaseId": _ROOT}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": max(case.line, 1)}}}


def _text(text: str) -> str:
    """Return text that is no link, whatever it holds: viewers read `[words](address)` as one."""
    return plain(text).replace("](", "] (")


def _sentence(text: str) -> str:
    """Return a title as a sentence; a key at its head keeps its spelling."""
    return f"{text}." if "_" in text.partition(" ")[0] else f"{text[0].upper()}{text[1:]}."
