"""Text from anywhere takes one printable line, of which a reader keeps as much as can be kept."""

from hypothesis import given
from hypothesis import strategies as st

from vqcheck.errors import VqcheckError
from vqcheck.printable import printable
from vqcheck.report.document import Document, Status
from vqcheck.report.render import plain
from vqcheck.report.render.text import Style, render


@given(st.text())
def test_any_text_is_one_printable_line(text):
    assert printable(text).isprintable()


def test_only_what_steers_is_escaped():
    """In reports, messages and documents alike: a Chinese name stays one though it holds a control character."""
    name, shown = "录音\x1b[2J\n\u202e一.pth", r"录音\x1b[2J\n\u202e一.pth"
    text = render(Document("diff", Status.CONSISTENT, "x", name, "", (), {}), Style())
    assert text == f"x  {shown}\n"
    assert printable(name) == plain(name) == str(VqcheckError(name)) == shown


def test_what_joins_letters_is_kept_where_it_is_asked_for():
    family = "\N{MAN}\u200d\N{WOMAN}\x07"
    assert printable(family) == "\N{MAN}\\u200d\N{WOMAN}\\x07"
    assert plain(family) == "\N{MAN}\u200d\N{WOMAN}\\x07"
