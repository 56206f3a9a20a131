"""Whatever stands in a file name, a key, `info` or an item: on a page it is text, and can be read as what it is."""

import re
from html.parser import HTMLParser

import pytest

from vqcheck.report.render.html.markup import element, render_node

HOSTILE = (
    "<script>alert(1)</script>",
    '" onload="alert(1)" x="',
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}</style>",
    "</title></head><body onload=alert(1)>",
    "</table></section></main><iframe src=//example.org>",
    "]]><![CDATA[<svg onload=alert(1)>",
    "--><!-- <b>",
    "&lt;b&gt;&#60;script&#62;&amp;",
    "a\x00b\x08\x1b[31m\x7f\x85\u2028\u2029\ufffe",
    "\udc80\ud83d",
    "\u202egnp.exe\u2066\u200f",
    "\uff1cscript\uff1e \u226e",
    "{{7*7}} ${x} `y` javascript:alert(1)",
)


class Elements(HTMLParser):
    """Collects elements and attributes as a browser sees them."""

    def __init__(self):
        super().__init__()
        self.seen, self.data = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, tuple(sorted(name for name, _ in attributes))))

    def handle_data(self, data):
        self.data.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    def unknown_decl(self, data):
        raise AssertionError(data)


def read(page):
    parser = Elements()
    parser.feed(page)
    parser.close()
    return parser


@pytest.fixture(scope="module")
def harmless(make):
    """The elements of every page with a harmless word planted."""
    return {name: read(page).seen for name, page in make.every_page("planted").items()}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_element_and_no_attribute_comes_of_it(make, harmless, body_of, text):
    """Every page has exactly the elements and attributes, in order, that it has with a harmless word instead."""
    for name, page in make.every_page(text).items():
        assert read(page).seen == harmless[name], name
        body_of(page)
        assert page.isascii()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", page)


@pytest.mark.parametrize("text", HOSTILE[:9] + HOSTILE[13:])
def test_what_was_planted_can_be_read(make, text):
    """Printable text stands on the page as it is, not cleaned away."""
    for name, page in make.every_page(text).items():
        if name not in ("tokens right", "replay as expected", "replay not as expected", "replay inconclusive"):
            assert text in "".join(read(page).data), name


def test_what_cannot_be_seen_is_shown_by_its_escape():
    """Control characters, lone surrogates, and marks that turn the direction of writing."""
    shown = render_node("a\x00\x1b[31m\udc80\u202egnp.exe\u2028")
    assert shown == r"a\x00\x1b[31m\udc80\u202egnp.exe\u2028"


def test_letters_of_every_script_stay():
    assert render_node("编码本 é 👩") == "&#32534;&#30721;&#26412; &#233; &#128105;"


def test_only_elements_make_markup():
    """Children and values of attributes are text, even where the text looks like an element."""
    inner = render_node(element("b", "x"))
    assert inner == "<b>x</b>"
    assert render_node(element("p", inner, title=inner)) == ('<p title="&lt;b&gt;x&lt;/b&gt;">&lt;b&gt;x&lt;/b&gt;</p>')


def test_attributes_keep_all_of_their_value():
    """Points of a long line are not text that nobody reads to the end."""
    points = " ".join(f"{number},1" for number in range(5_000))
    assert points in render_node(element("polyline", points=points))
    assert " ... " in render_node("word " * 5_000)
