"""Every page, whatever the command and outcome: one sound, small, self-contained and accessible file."""

import itertools
import re
from dataclasses import replace

import pytest
from vqcheck.report.html import diff, failed, gate, history, replay, stages, tokens
from vqcheck.report.html.style import DARK, LIGHT, SHEET

LIMIT = 100_000
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
    assert "prefers-color-scheme:dark" in head
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
    boxes = [each for each in body.iter("div") if each.get("class") == "scroll"]
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


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
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
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\(--([\w-]+)\)", SHEET)) <= LIGHT.keys()


@pytest.fixture(scope="module")
def large(make):
    """Name -> page of results much larger than any real one."""
    seven = [make.arm(f"strategy-{number}", moved=number < 4, steps=200, writes=6) for number in range(7)]
    kept = [make.arm(f"strategy-{number}", steps=2_000) for number in range(7)]
    endless = [make.arm(f"arm {number}{LONG}", steps=50, writes=40, said=LONG) for number in range(40)]
    wide = make.comparison(books=64, codes=2048, tensors=300)
    return {
        "7 arms of 200 steps": replay.document(make.replay(seven)),
        "7 arms of 2000 kept steps": replay.document(make.replay(kept)),
        "40 arms with endless names": replay.document(make.replay(endless, LONG)),
        "1024 codes": diff.document(make.comparison(codes=1024)),
        "65536 codes": diff.document(make.comparison(codes=65_536)),
        "64 codebooks": diff.document(wide),
        "64 codebooks with endless names": diff.document(make.comparison(books=64, tensors=300, said=LONG, flips=900)),
        "two codecs": diff.document(replace(wide, further=(replace(make.diagnosis(32, 1024), family="mimi"),))),
        "700 checkpoints": history.document(make.history(700)),
        "700 checkpoints with endless names": history.document(make.history(700, said=LONG)),
        "10000 items": tokens.document(make.audit(10_000), None),
        "10000 items with endless names": tokens.document(make.audit(10_000, said=LONG, notes=5_000), None),
        "every check, endless": gate.document(make.gate(said=LONG)),
        "stages": stages.document(make.stages(said=LONG)),
        "failed": failed.document("diff", LONG * 100),
    }


def test_pages_stay_small(large, body_of):
    """Whatever is reported, a page is under 100 KB and whole."""
    sizes = {}
    for name, page in large.items():
        sizes[name] = len(page)
        body_of(page)
    assert {name: size for name, size in sizes.items() if size >= LIMIT} == {}


def test_what_is_left_out_is_said(make, large, body_of, text_of):
    """A page that thins out or cuts off says so, with numbers; one that shows all says nothing of it."""
    said = {name: text_of(body_of(page)) for name, page in large.items()}
    assert (
        "Of 2000 steps those with the smallest and the greatest value of each stretch are drawn"
        in said["7 arms of 2000 kept steps"]
    )
    assert re.search(r"\d+ more arms have no chart", said["40 arms with endless names"])
    assert "A field stands for 64 codes in a row" in said["65536 codes"]
    assert re.search(r"\d+ tensors are not shown", said["64 codebooks"])
    assert "32 more codebooks are not drawn" in said["64 codebooks"]
    assert "Of 700 checkpoints" in said["700 checkpoints"]
    assert re.search(r"\d+ lines are not shown", said["700 checkpoints"])
    assert re.search(r"\d+ items are not shown", said["10000 items"])
    small = text_of(body_of(replay.document(make.replay([make.arm()]))))
    assert not re.search(r"not shown|not drawn|no chart|are drawn", small)
