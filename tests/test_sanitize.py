"""Text from anywhere takes one printable line, of which a reader keeps as much as can be kept."""

from hypothesis import given
from hypothesis import strategies as st

from vqcheck.errors import VqcheckError
from vqcheck.report.render import plain
from vqcheck.sanitize import sanitize, sanitize_name


@given(st.text(max_size=500))
def test_any_text_is_one_printable_line_and_a_name_is_of_bounded_length(text):
    assert sanitize(text).isprintable()
    assert sanitize_name(text).isprintable()
    assert len(sanitize_name(text)) <= 200 * len("\\U0001f600") + len("...")


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=200))
def test_a_printable_name_stays_as_it_is(text):
    assert sanitize(text) == sanitize_name(text) == text


def test_only_what_steers_is_escaped():
    """In messages and documents alike: a Chinese name stays one though it holds a control character."""
    name, safe = "录音\x1b[2J\n\u202e一.pth", r"录音\x1b[2J\n\u202e一.pth"
    assert sanitize(name) == sanitize_name(name) == plain(name) == str(VqcheckError(name)) == safe


def test_what_joins_letters_is_kept_where_it_is_wanted():
    family = "\N{MAN}\u200d\N{WOMAN}\x07"
    assert sanitize(family) == "\N{MAN}\\u200d\N{WOMAN}\\x07"
    assert plain(family) == "\N{MAN}\u200d\N{WOMAN}\\x07"
