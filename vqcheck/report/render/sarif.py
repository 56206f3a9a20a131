"""A document as SARIF 2.1.0, for code scanning: a result for each check that failed or could not be carried out.

Checks that passed are no results: code scanning shows every result as an alert, whatever its kind. `automationDetails`
is left out, so that the category given at the upload counts.
"""

import hashlib
import json
import os
from typing import Any, Final
from urllib.parse import quote_from_bytes

from vqcheck import __version__
from vqcheck.checkpoint.remote.address import is_address
from vqcheck.report.document import Case, CaseOutcome, Document, Rule
from vqcheck.report.render import plain
from vqcheck.report.render.place import in_workspace, uri

_ROOT: Final = "%SRCROOT%"
_MOST: Final = 25_000
"""Results in a run; code scanning refuses documents with more."""


def render(document: Document) -> str:
    """Return one document, ASCII only."""
    problems = [case for case in document.cases if case.is_problem]
    rules = {case.rule.id: case.rule for case in document.cases}
    places = {id_: place for place, id_ in enumerate(rules)}
    content = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "vqcheck",
                        "version": __version__,
                        "rules": [_rule(rule) for rule in rules.values()],
                    }
                },
                "invocations": [_invocation(document, len(problems))],
                "originalUriBaseIds": {_ROOT: {"description": {"text": "The repository, or where vqcheck was run."}}},
                "results": [_result(case, places[case.rule.id]) for case in problems[:_MOST]],
                "properties": {
                    "command": document.title,
                    "subject": plain(document.subject),
                    "verdict": document.verdict,
                },
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


def _invocation(document: Document, problems: int) -> dict[str, Any]:
    unchecked = [case for case in document.cases if case.outcome is CaseOutcome.COULD_NOT_CHECK and not case.is_advice]
    notes = [_notification(case.message, "error") for case in unchecked[:_MOST]]
    if problems > _MOST:
        notes.append(_notification(f"{problems - _MOST} further results are left out", "warning"))
    return {
        "executionSuccessful": document.exit_code != 2,
        "exitCode": document.exit_code,
        "exitCodeDescription": _text(document.headline),
        "toolExecutionNotifications": notes,
    }


def _notification(message: str, level: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": _text(message)}}


def _result(case: Case, rule_index: int) -> dict[str, Any]:
    unchecked = "could not check: " if case.outcome is CaseOutcome.COULD_NOT_CHECK else ""
    identity = fingerprint(case)
    return {
        "ruleId": case.rule.id,
        "ruleIndex": rule_index,
        "level": "warning" if case.is_advice else "error",
        "message": {"text": _text(f"{case.name}: {unchecked}{case.whole}")},
        "locations": [_location(case)],
        # The first is what code scanning goes by; it expects a count of equal ones behind the colon.
        "partialFingerprints": {"primaryLocationLineHash": f"{identity}:1", "vqcheck/v1": identity},
    }


def fingerprint(case: Case) -> str:
    """Return 32 hexadecimal digits that stay the same across runs, machines and moved lines."""
    identity = "\0".join((case.rule.id, case.name, os.path.basename(case.path)))
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _location(case: Case) -> dict[str, Any]:
    """Return where a case is; code scanning refuses results without a file and a line."""
    path = in_workspace(case.path)
    if is_address(case.path):
        artifact = {"uri": quote_from_bytes(os.fsencode(case.path), safe="/:@%[]")}
    else:
        artifact = {"uri": uri(path)} if path.is_absolute() else {"uri": uri(path), "uriBaseId": _ROOT}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": max(case.line, 1)}}}


def _text(text: str) -> str:
    """Return text that is no link, whatever it holds: viewers read `[words](address)` as one."""
    return plain(text).replace("](", "] (")


def _sentence(text: str) -> str:
    """Return a title as a sentence; a key at its head keeps its spelling."""
    return f"{text}." if "_" in text.partition(" ")[0] else f"{text[0].upper()}{text[1:]}."
