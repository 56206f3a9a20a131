"""A document as JUnit XML, which every CI system reads: one test case a check, whose name is the same in every run."""

from typing import Final
from xml.etree import ElementTree as ET

from vqcheck.report.document import Case, CaseOutcome, Document
from vqcheck.report.render import plain

_ELEMENT: Final = {
    CaseOutcome.PASSED: "",
    CaseOutcome.FAILED: "failure",
    CaseOutcome.COULD_NOT_CHECK: "error",
    CaseOutcome.NOT_APPLICABLE: "skipped",
    CaseOutcome.SKIPPED: "skipped",
}
_ADVICE: Final = "skipped"
"""JUnit knows no warnings; a skipped test is shown and fails nothing."""


def render(document: Document) -> str:
    """Return one document, ASCII only so that it means the same whatever the console's encoding."""
    elements = [_element(case) for case in document.cases]
    counts = {
        "tests": str(len(elements)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
    }
    root = ET.Element("testsuites", {"name": document.title, **counts})
    skipped = str(elements.count("skipped"))
    suite = ET.SubElement(root, "testsuite", {"name": document.title, **counts, "skipped": skipped})
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("subject", document.subject),
        ("verdict", document.verdict),
        ("exit_code", str(document.exit_code)),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": plain(value)})
    for case, element in zip(document.cases, elements, strict=True):
        _add(suite, case, element)
    ET.SubElement(suite, "system-out").text = plain(document.headline)
    ET.indent(root)
    text = ET.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n"


def _element(case: Case) -> str:
    """Return the element that says what came of a case; empty where it passed."""
    return _ADVICE if case.is_advice and case.is_problem else _ELEMENT[case.outcome]


def _add(suite: ET.Element, case: Case, element: str) -> None:
    names = {"classname": f"vqcheck.{case.rule.id.replace('/', '.')}", "name": plain(case.name)}
    test = ET.SubElement(suite, "testcase", names)
    message = plain(f"advice: {case.message}" if case.is_advice and case.is_problem else case.message)
    if not element:
        ET.SubElement(test, "system-out").text = message
        return
    found = ET.SubElement(test, element, {"type": case.rule.id, "message": message})
    if case.is_problem:
        place = f"{case.path}:{case.line}" if case.line else case.path
        found.text = "\n".join(plain(line) for line in (message, place, case.fix or case.rule.help) if line)
