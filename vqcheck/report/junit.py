"""A run as JUnit XML, which every CI system reads: one test case a check, whose name is the same in every run."""

from typing import Final
from xml.etree import ElementTree as ET

from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, Case, Run
from vqcheck.report.plain import plain

_ELEMENT: Final = {FAILED: "failure", COULD_NOT_CHECK: "error", NOT_APPLICABLE: "skipped"}
_ADVISORY: Final = "skipped"
"""JUnit knows no warnings; a skipped test is shown and fails nothing."""


def document(run: Run) -> str:
    """Return one document, ASCII only so that it means the same whatever the console's encoding."""
    elements = [_element(case) for case in run.cases]
    counts = {
        "tests": str(len(elements)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
    }
    root = ET.Element("testsuites", {"name": run.title, **counts})
    suite = ET.SubElement(root, "testsuite", {"name": run.title, **counts, "skipped": str(elements.count("skipped"))})
    properties = ET.SubElement(suite, "properties")
    for name, value in (("subject", run.subject), ("verdict", run.verdict), ("exit_code", str(run.exit_code))):
        ET.SubElement(properties, "property", {"name": name, "value": plain(value)})
    for case, element in zip(run.cases, elements, strict=True):
        _add(suite, case, element)
    ET.SubElement(suite, "system-out").text = plain(run.headline)
    ET.indent(root)
    text = ET.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n"


def _element(case: Case) -> str:
    """Return the element that says what came of a case; empty where it passed."""
    if case.advisory and case.is_problem:
        return _ADVISORY
    return _ELEMENT.get(case.outcome, "")


def _add(suite: ET.Element, case: Case, element: str) -> None:
    names = {"classname": f"vqcheck.{case.rule.id.replace('/', '.')}", "name": plain(case.name)}
    test = ET.SubElement(suite, "testcase", names)
    message = plain(f"advisory: {case.message}" if case.advisory and case.is_problem else case.message)
    if not element:
        ET.SubElement(test, "system-out").text = message
        return
    found = ET.SubElement(test, element, {"type": case.rule.id, "message": message})
    if case.is_problem:
        place = f"{case.path}:{case.line}" if case.line else case.path
        found.text = "\n".join(plain(line) for line in (message, place, case.rule.help) if line)
