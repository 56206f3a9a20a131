"""Whatever stands in a file name, a key or an item: no format lets it become markup, a command or a broken line."""

import html
import json
import re
import shutil
import sys
from xml.etree import ElementTree as ET

import pytest
import torch
from markdown_it import MarkdownIt

from vqcheck.cli.main import main
from vqcheck.report.blocks import (
    Bars,
    Bullets,
    Column,
    Event,
    Fact,
    Facts,
    Line,
    LineChart,
    Paragraph,
    Part,
    Proportions,
    Section,
    Shown,
    Table,
    Tone,
    code,
    muted,
    path,
    strong,
    tag,
    verdict,
)
from vqcheck.report.document import Case, CaseOutcome, Document, Figure, Remedy, Rule, Status, Weight
from vqcheck.report.render import csv as csv_format
from vqcheck.report.render import github, junit, plain, sarif
from vqcheck.report.render import html as html_format
from vqcheck.report.render import text as text_format
from vqcheck.sanitize import sanitize

HOSTILE = (
    "</failure><script>alert('x')</script>",
    "]]><!-- &lt; &#0; -->",
    'a" b="c',
    "\x00\x01\x1b[31mred\x7f\x85\u2028\ufffe\udc80",
    "one\r\n::error file=x::two\n##[error]three",
    "%0A::stop-commands::token",
    "a,file=other.py,line=7::b",
    "| cell | **bold** `code` <img src=x onerror=y> [link](javascript:z) |",
    "[link](https://example.org) ![image](https://example.org/i.png) @somebody",
    "\u202egnp.exe",
    "编码本 👩\u200d🎤 é",
)
WHERE = ("command line", "name", "message", "path", "subject", "fix")
"""What formats for machines show."""
PAGES = ("command line", "warning", "block", "remedy")
"""What people see."""


def run_with(text, where):
    rule = Rule("diff/codes-changed", "the codes are the same", "What to do.")
    given = {each: text if each == where else "harmless" for each in (*WHERE, *PAGES)}
    outcomes = [
        (CaseOutcome.FAILED, Weight.REQUIRED),
        (CaseOutcome.FAILED, Weight.ADVICE),
        (CaseOutcome.COULD_NOT_CHECK, Weight.REQUIRED),
        (CaseOutcome.NOT_APPLICABLE, Weight.REQUIRED),
        (CaseOutcome.PASSED, Weight.REQUIRED),
    ]
    cases = tuple(
        Case(rule, f"{given['name']} {number}", outcome, given["message"], given["path"], number, weight, given["fix"])
        for number, (outcome, weight) in enumerate(outcomes)
    )
    words = (given["block"], verdict(given["block"], Tone.BAD), tag(given["block"]), strong(given["block"]))
    inline = (*words, code(given["block"]), path(given["block"]), muted(given["block"]))
    line = Line(*[given["block"]] * 2, [(1, 0.5)], Event(1, given["block"]), [tag(given["block"])])
    blocks = (
        Section(
            given["block"],
            (
                Paragraph(inline),
                Bullets([inline], rest=given["block"]),
                Facts((Fact(given["block"], inline),)),
                Table(given["block"], (Column(given["block"]), Column("x")), [(inline, given["block"])]),
                LineChart(*[given["block"]] * 3, [line], Shown.ALWAYS),
                Bars(*[given["block"]] * 4, [(given["block"], 1, 2)], (given["block"], given["block"])),
                Proportions(given["block"], given["block"], [Part(given["block"], 1, Tone.GOOD)]),
            ),
            notes=(verdict(given["block"]), given["block"]),
        ),
    )
    return Document(
        "diff",
        Status.NOT_CHECKED,
        "changed",
        given["command line"],
        given["subject"],
        cases,
        {},
        warnings=(given["warning"],),
        figures=(Figure(given["block"], given["block"]),),
        blocks=blocks,
        remedies=(Remedy(given["remedy"], given["remedy"]),),
    )


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("text", HOSTILE)
class TestEveryFormat:
    def test_junit(self, read_junit, text, where):
        """The XML is well-formed, has the elements it would have otherwise, and every word of the text."""
        document = junit.render(run_with(text, where))
        found = read_junit(document)
        assert [len(case) for case in found.cases] == [1] * 5
        assert found.failures == found.errors == 1
        said = " ".join(" ".join([*each.attrib.values(), each.text or ""]) for each in ET.fromstring(document).iter())
        assert plain(text) in said

    def test_sarif(self, read_sarif, text, where):
        """The document is valid, has the results it would have otherwise, and no message holds a link."""
        found = read_sarif(sarif.render(run_with(text, where)))
        assert len(found["results"]) == 3
        words = [result["message"]["text"] for result in found["results"]]
        words += [note["message"]["text"] for note in found["invocations"][0]["toolExecutionNotifications"]]
        assert not any("](" in each for each in words)
        assert all(each == plain(each) for each in words)

    def test_github(self, read_github, text, where):
        """There is one line for each annotation; no other command stands in it, and nothing is lost."""
        document = github.render(run_with(text, where))
        assert document == "".join(f"{plain(line)}\n" for line in document.splitlines())
        found = read_github(document)
        assert [kind for kind, _, _ in found] == ["error", "error", "warning"]
        if where == "message":
            assert re.fullmatch(rf"{re.escape(plain(text))}\.? harmless", found[0][2])
        if where == "name":
            assert found[0][1]["title"] == f"vqcheck diff: {plain(text)} 0"
        if where == "path":
            assert set(found[0][1]) <= {"file", "title"}

    def test_the_step_summary(self, text, where):
        """A table row stays one row of three cells without any markup; undone, each cell is the text."""
        summary = github.summary(run_with(text, where))
        page = MarkdownIt("commonmark").enable("table").render(summary)
        assert re.findall("<([a-z0-9]+)", page) == [
            *("h3", "p", "strong", "table", "thead", "tr", "th", "th", "th", "tbody"),
            *(["tr", "td", "td", "td"] * 5),
        ]
        cells = [html.unescape(cell) for cell in re.findall("<td>(.*)</td>", page)]
        assert cells[2] == (plain(text) if where == "message" else "harmless")
        assert cells[1] == f"diff/codes-changed: {plain(text) if where == 'name' else 'harmless'} 0"
        assert not re.search(r"[<>`*\[\]@]", summary.replace("**", ""))


@pytest.mark.parametrize("where", PAGES)
@pytest.mark.parametrize("text", HOSTILE)
class TestWhatPeopleSee:
    def test_text(self, text, where):
        """Every line is printable but for our own colours, and the text is in it."""
        out = text_format.render(run_with(text, where), text_format.Style(color=True, width=80))
        out = re.sub(r"\x1b\[[0-9;]*m", "", out)
        assert out == "".join(f"{sanitize(line)}\n" for line in out.splitlines())
        assert sanitize(text).split()[0] in out

    def test_html(self, body_of, text, where):
        """The page has the elements that it has with a harmless word instead, and the text can be read."""
        page, other = (body_of(html_format.render(run_with(each, where))) for each in (text, "harmless"))
        assert [each.tag for each in page.iter()] == [each.tag for each in other.iter()]
        assert [sorted(each.attrib) for each in page.iter()] == [sorted(each.attrib) for each in other.iter()]
        said = "".join(page.itertext()).replace("\N{NO-BREAK SPACE}", " ")
        assert plain(text).casefold() in said.casefold()


def test_a_table_keeps_its_columns_whatever_is_in_a_cell(read_csv):
    """A cell is the text in one line, and nothing that a spreadsheet would calculate."""
    for text in (*HOSTILE, "=1+1", "@SUM(A1)", "+1", "-1"):
        rows = read_csv(csv_format.render(run_with(text, "path")))
        shown = f"'{text}" if text[0] in "=@+-" else plain(text)
        assert [row[5] for row in rows] == [shown] * 5


def test_plain_text_is_left_alone():
    """Letters of every script, emoji and their joiners stay; what steers a terminal or a reader is escaped."""
    assert plain("编码本 👩\u200d🎤 é") == "编码本 👩\u200d🎤 é"
    assert plain("a\nb\x1b\u202e\udc80\u2028") == r"a\nb\x1b\u202e\udc80\u2028"


@pytest.fixture
def planted(checkpoints, tmp_path, monkeypatch):
    """A folder of checkpoints whose names are as hostile as the file system allows."""
    monkeypatch.chdir(tmp_path)
    names = ["a 1.pth", "b 2 <img src=x> & \"'`|`' ;编码本 %0A.pth"]
    if sys.platform != "win32":
        names[1] = "b 2 <img src=x> & \"'`|`'\n::error::x\x1b[31m;编码本 %0A.pth"
    folder = tmp_path / "run"
    folder.mkdir()
    for name, source in zip(names, ("base_v2.pth", "G_437.pth"), strict=True):
        shutil.copy(checkpoints / source, folder / name)
    return folder, names


@pytest.mark.parametrize("form", ["junit", "sarif", "github", "html", "json"])
@pytest.mark.parametrize("command", ["history", "diff", "failed"])
def test_hostile_file_names_end_to_end(planted, capsys, valid, readers_of, command, form):
    """As a user runs it: the documents stay valid, whatever the files are called."""
    folder, names = planted
    paths = [str(folder / name) for name in names]
    arguments = {"history": ["history", str(folder)], "diff": ["diff", *paths]}.get(
        command, ["diff", paths[0], f"{paths[1]}.absent"]
    )
    code = main([*arguments, "--format", form])
    out = capsys.readouterr().out
    assert code == (2 if command == "failed" else 1)
    assert "\x1b" not in out
    assert "\n::error::x" not in out
    assert form not in ("html", "junit") or "<img" not in out
    (valid if form == "json" else readers_of[form])(out)


def test_hostile_items_end_to_end(sound, capsys, read_junit, read_sarif, read_github):
    """Item names of a tsv become the names of test cases, and nothing else."""
    name = "</testcase>|`<b>::error::.wav"
    text = sound.tsv.read_text("utf-8")
    item = text.splitlines()[1].split("\t")[0]
    sound.tsv.write_text(text.replace(item, name), "utf-8")
    (sound.folder / "4-cnhubert" / f"{item}.pt").unlink()
    arguments = ["tokens", str(sound.base), str(sound.folder), "--format"]
    assert main([*arguments, "junit"]) == 0
    cases = {case.get("name"): case for case in read_junit(capsys.readouterr().out).cases}
    assert cases[name][0].tag == "skipped"
    for form, read in (("sarif", read_sarif), ("github", read_github)):
        assert main([*arguments, form]) == 0
        read(capsys.readouterr().out)


@pytest.fixture
def readers_of(read_junit, read_sarif, read_github, read_html):
    """The readers of the formats by name."""
    return {"junit": read_junit, "sarif": read_sarif, "github": read_github, "html": read_html, "json": json.loads}


@pytest.mark.parametrize("form", ["text", "junit", "sarif", "github", "html", "json"])
def test_hostile_words_inside_exports(vq_state, tmp_path, capsys, valid, readers_of, form):
    """What exports say of their voice and their base is shown, and is nothing else than words."""
    said = " ".join(text for text in HOSTILE if "\udc80" not in text)
    for number in range(2):
        config = {"name": f"{said}{number}", "train": {"pretrained_s2G": said}}
        content = {"weight": vq_state(), "config": config, "info": "1epoch_2iteration"}
        torch.save(content, tmp_path / f"{number}.pth")
    assert main(["history", str(tmp_path), "--format", form]) == 2
    out = capsys.readouterr().out
    if form == "text":
        assert out == "".join(f"{sanitize(line)}\n" for line in out.splitlines())
    elif form == "json":
        runs = valid(out)["runs"]
        assert [run["name"] for run in runs] == [f"{said}{number}" for number in range(2)]
    else:
        readers_of[form](out)
