"""Every page, whatever the command and outcome: one sound, small, self-contained and accessible file."""

import itertools
import re

import pytest

from vqcheck.audit.token_decision import TokenDecision
from vqcheck.report.blocks import Bullets, Column, Fact, Facts, Kind, Paragraph, Section, Table, Tone, code, muted
from vqcheck.report.document import Document, Status
from vqcheck.report.render import text
from vqcheck.report.render.html import render
from vqcheck.report.render.html.page import style_sheet
from vqcheck.report.views import diff, failure, gate, history, replay, tokens

LONG = "编码本的名字很长 <&\"' \x1b\u202e" * 400


def test_pages_are_self_contained(page):
    """Nothing runs and nothing is loaded: no script, no reference out of the page, and a policy that says so."""
    tags = {match.lower() for match in re.findall(r"<([a-zA-Z][\w-]*)", page)}
    assert not tags & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "a",
        "use",
        "image",
        "video",
    }
    assert not re.search(r"url\(|@import|https?:|\bsrc=|\bhref=|\son\w+=", page)
    assert 'content="default-src &#x27;none&#x27;; style-src &#x27;unsafe-inline&#x27;"' in page


def test_pages_are_ascii(page):
    """A console or a file of any encoding keeps them as they are."""
    assert page.isascii()
    assert page.startswith("<!doctype html>\n")


def test_the_head_says_what_browsers_need(page):
    """Language, title, character set, a viewport for phones, and both colour schemes."""
    head = page[: page.index("<body>")]
    assert '<html lang="en">' in head
    assert re.search(r"<title>vqcheck \w+: [^<]+</title>", head)
    assert '<meta charset="utf-8">' in head
    assert 'content="width=device-width, initial-scale=1"' in head
    assert "prefers-color-scheme: dark" in head
    assert "@media print" in head
    assert "(max-width:" in head


def test_elements_nest(page, body_of, read_html):
    """Read as XML and as HTML, every element is closed where it should be, and both hold the same words."""
    words = " ".join(" ".join(body_of(page).itertext()).split())
    assert words.replace(" ", "") in read_html(page).replace(" ", "")


def test_headings_landmarks_and_names(page, body_of):
    """One h1, no level left out, landmarks, and every id used once and every reference to one resolved."""
    body = body_of(page)
    assert [child.tag for child in body] == ["header", "main", "footer"]
    levels = [int(each.tag[1]) for each in body.iter() if re.fullmatch("h[1-6]", each.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [each.get("id") for each in body.iter() if each.get("id")]
    assert len(set(ids)) == len(ids)
    named = " ".join(each.get("aria-labelledby", "") for each in body.iter()).split()
    assert set(named) <= set(ids)


def test_tables_can_be_heard(page, body_of, text_of):
    """Every table has a caption, heads for columns and rows, equally long rows, and a named box that scrolls by key."""
    body = body_of(page)
    boxes = [each for each in body.iter("div") if (each.get("class") or "").startswith("scroll")]
    assert [box.find("table") for box in boxes] == list(body.iter("table"))
    for box in boxes:
        assert (box.get("role"), box.get("tabindex")) == ("region", "0")
        assert box.get("aria-labelledby") == box.find("table/caption").get("id")
        assert text_of(box.find("table/caption"))
        heads = box.findall("table/thead/tr/th")
        assert all(head.get("scope") == "col" and text_of(head) for head in heads)
        for row in box.findall("table/tbody/tr"):
            assert [cell.tag for cell in row] == ["th", *["td"] * (len(heads) - 1)]
            assert row[0].get("scope") == "row"


def test_pictures_have_words(page, body_of, text_of):
    """Every SVG is either one picture with a title and a description, or decoration beside words."""
    for svg in body_of(page).iter("svg"):
        if svg.get("aria-hidden") == "true":
            continue
        assert svg.get("role") == "img"
        assert svg.get("aria-labelledby").split() == [svg[0].get("id"), svg[1].get("id")]
        assert [svg[0].tag, svg[1].tag] == ["title", "desc"]
        assert len(text_of(svg[0])) > 5
        assert len(text_of(svg[1])) > 10


def test_verdicts_are_words_with_a_sign(page, body_of, text_of):
    """The verdict, its meaning and the exit status stand on top; a shape and words say what colour says."""
    body = body_of(page)
    verdict = body.find("main/section")
    tone = verdict.get("class").split()[1]
    code = {"good": 0, "bad": 1, "open": 2}[tone]
    assert f"Exit status {code}:" in text_of(verdict)
    assert text_of(verdict.find("div/p"))
    assert len(verdict.findall("svg/path")) == 2
    for pill in body.iter("span"):
        if (pill.get("class") or "").startswith("pill "):
            sign = pill.find("span")
            assert sign.get("aria-hidden") == "true"
            assert sign.text.strip("\N{NO-BREAK SPACE}") in "\N{CHECK MARK}\N{BALLOT X}?\N{EN DASH}"
            assert sign.tail.strip()


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def schemes():
    """Return name -> colour of the light and of the dark scheme."""
    light, dark = re.findall(r":root *\{(.*?)\}", style_sheet())
    plain = [re.sub(r"\s|--", "", rules).strip(";") for rules in (light, dark)]
    return [dict(pair.split(":") for pair in rules.split(";")) for rules in plain]


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme):
    """Text has a contrast of at least 4.5 in both schemes, lines of charts of 3; heat rises steadily in brightness."""
    grounds = [scheme["paper"], scheme["ground"]]
    for ground in grounds:
        assert all(contrast(scheme[ink], ground) >= 4.5 for ink in ("ink", "quiet", "good", "bad", "open"))
    for tone in ("good", "bad", "open"):
        assert contrast(scheme[tone], scheme[f"{tone}-ground"]) >= 4.5
        assert contrast(scheme["ink"], scheme[f"{tone}-ground"]) >= 4.5
    assert contrast(scheme["first"], scheme["paper"]) >= 3
    heat = [luminance(scheme[f"heat{number}"]) for number in range(6)]
    steps = [contrast(scheme[f"heat{number}"], scheme[f"heat{number + 1}"]) for number in range(5)]
    assert heat in (sorted(heat), sorted(heat, reverse=True))
    assert min(steps) > 1.3


def test_both_schemes_name_the_same_colours():
    light, dark = schemes()
    assert light.keys() == dark.keys()
    assert set(re.findall(r"var\(--([\w-]+)\)", style_sheet())) <= light.keys()


def test_the_style_sheet_is_ascii_and_whole():
    """Nothing in it could end the element that it stands in, and every brace is closed."""
    sheet = style_sheet()
    assert sheet.isascii()
    assert "<" not in sheet
    assert sheet.count("{") == sheet.count("}")


@pytest.fixture(scope="module")
def large(make):
    """Name -> page of results much larger than most."""
    kept = [make.arm(f"strategy-{number}", steps=2_000, first=number + 2) for number in range(3)]
    endless = [make.arm(f"arm {number}{LONG}", steps=5, writes=4, said=LONG) for number in range(10)]
    return {
        "3 arms of 2000 kept steps": render(replay.view(make.replay(kept))),
        "10 arms with endless names": render(replay.view(make.replay(endless, LONG))),
        "65536 codes": render(diff.view(make.comparison(codes=65_536))),
        "64 codebooks": render(diff.view(make.comparison(books=64, codes=128, tensors=300))),
        "700 checkpoints": render(history.view(make.history(700))),
        "3000 items": render(tokens.view(TokenDecision(make.audit(3_000), None))),
        "every check, endless": render(gate.view(make.gate(said=LONG))),
        "failed": render(failure.view("diff", LONG * 10)),
    }


def test_everything_that_was_found_is_on_a_page(large, body_of, text_of):
    """Nothing is left out of tables; what is long scrolls in a box of its own, and endless names are shortened."""
    bodies = {name: body_of(page) for name, page in large.items()}
    said = {name: text_of(body) for name, body in bodies.items()}
    assert "2999.wav" in said["3000 items"]
    assert "299 codes" in said["64 codebooks"]
    assert "G_699.pth" in said["700 checkpoints"]
    boxes = [box for box in bodies["3000 items"].iter("div") if (box.get("class") or "").startswith("scroll")]
    assert {len(box.findall("table/tbody/tr")) > 40 for box in boxes if "long" in box.get("class")} == {True}
    longest = max(len(text) for page in large.values() for text in body_of(page).itertext())
    assert longest < 3_100


def test_what_a_picture_sums_up_is_said(make, large, body_of, text_of):
    """A picture that thins out or leaves out says so, with numbers; one that shows all says nothing of it."""
    said = {name: text_of(body_of(page)) for name, page in large.items()}
    assert "Of 2000 points, those with the smallest and the greatest value" in said["3 arms of 2000 kept steps"]
    assert "A field stands for 64 codes in a row" in said["65536 codes"]
    assert "32 more codebooks are not drawn" in said["64 codebooks"]
    small = text_of(body_of(render(replay.view(make.replay([make.arm()])))))
    assert not re.search(r"not drawn|are drawn|A field stands", small)


@pytest.mark.parametrize("folded", [False, True])
def test_a_folded_section_is_opened_by_its_heading(folded, body_of):
    """Without script; what is in it is on the page all the same."""
    section = Section("Numbers", (Paragraph("one two"),), folded=folded)
    body = body_of(render(Document("diff", Status.CONSISTENT, "identical", "same", "", (), {}, blocks=(section,))))
    assert (body.find(".//details/summary/h2") is not None) == folded
    assert "one two" in "".join(body.itertext())


def test_what_says_nothing_is_left_out(body_of):
    """Texts of empty words, facts without a value, and sections of nothing else; text and page alike."""
    nothing = (muted(""), "")
    blocks = (
        Section("Empty", (Paragraph(nothing), Facts((Fact("fact", nothing), Fact("none", None))), Bullets(()))),
        Section("Full", (Facts((Fact("fact", nothing), Fact("other", "said"))),)),
    )
    document = Document("diff", Status.CONSISTENT, "identical", "same", "", (), {}, blocks=blocks)
    shown = " ".join(body_of(render(document)).itertext()), text.render(document, text.Style())
    for each in shown:
        assert "Empty" not in each
        assert "fact" not in each
        assert "said" in each


def page_of(*blocks, headline="same", **more):
    return render(Document("diff", Status.CONSISTENT, "identical", headline, "", (), {}, blocks=blocks, **more))


def test_a_digest_is_short_and_whole_where_it_is_opened(body_of):
    """In facts and cells; a code word that is no digest stays as it is."""
    whole = f"sha256-f32v1:{'0123456789abcdef' * 4}"
    table = Table("t", (Column("a"), Column("b")), [("x", code("0" * 64)), ("y", code("0" * 63))])
    body = body_of(page_of(Facts((Fact("Digest", code(whole)),)), table))
    found = [[each.text for each in detail.iter("code")] for detail in body.iter("details")]
    assert found == [["sha256-f32v1:0123456789ab", whole], ["0" * 12, "0" * 64]]
    assert "0" * 63 in "".join(body.itertext())


def test_cells_carry_the_titles_of_their_columns(body_of):
    """A narrow page has no head: each cell says what it is."""
    table = Table("t", (Column("File", Kind.NAME), Column("Moved", Kind.NUMBER)), [("a.pth", "3")])
    (row,) = body_of(page_of(table)).findall(".//tbody/tr")
    assert [cell.get("data-title") for cell in row] == [None, "Moved"]
    narrow = style_sheet().partition("@media(max-width:40rem)")[2]
    assert "attr(data-title)" in narrow


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("the codebook moved", "The codebook moved"),
        ("freeze_quantizer is off", "freeze_quantizer is off"),
        ("logs/me/G_1.pth: no such file", "logs/me/G_1.pth: no such file"),
        ("base.pth is fit", "base.pth is fit"),
        ("me: fine", "me: fine"),
        ("s2 training may start", "s2 training may start"),
        ("requires-grad did not do it", "requires-grad did not do it"),
    ],
)
def test_no_name_gets_a_capital(body_of, said, shown):
    assert "".join(body_of(page_of(headline=said)).find(".//h1").itertext()) == shown


def test_the_command_line_ends_a_page(body_of):
    assert body_of(page_of(made_by="vqcheck diff 'a b' <c>")).find("footer/p/code").text == "vqcheck diff 'a b' <c>"
    assert body_of(page_of()).find("footer/p/code") is None


def test_a_verdict_has_the_colour_of_its_tone(body_of):
    """What is not consistent with good news gets no tick, though nothing is inconsistent."""
    section = body_of(page_of(tone=Tone.BAD)).find("main/section")
    assert section.get("class") == "verdict bad"
    assert body_of(page_of()).find("main/section").get("class") == "verdict good"
