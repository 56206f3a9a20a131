"""Text from anywhere takes one printable line, of which a reader keeps as much as can be kept."""

from hypothesis import given
from hypothesis import strategies as st

from vqcheck.errors import VqcheckError
from vqcheck.printable import printable
from vqcheck.report.plain import plain
from vqcheck.report.text.page import Page, Style


@given(st.text())
def test_any_text_is_one_printable_line(text):
    assert printable(text).isprintable()


def test_only_what_steers_is_escaped():
    """In reports, messages and documents alike: a Chinese name stays one though it holds a control character."""
    name, shown = "录音\x1b[2J\n\u202e一.pth", r"录音\x1b[2J\n\u202e一.pth"
    page = Page(Style())
    page.line(name)
    assert printable(name) == plain(name) == str(VqcheckError(name)) == page.text().rstrip("\n") == shown


def test_what_joins_letters_is_kept_where_it_is_asked_for():
    family = "\N{MAN}\u200d\N{WOMAN}\x07"
    assert printable(family) == "\N{MAN}\\u200d\N{WOMAN}\\x07"
    assert plain(family) == "\N{MAN}\u200d\N{WOMAN}\\x07"
