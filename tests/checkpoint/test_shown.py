"""No matter what a name from a file holds, it takes one printable line of bounded length."""

from hypothesis import given
from hypothesis import strategies as st

from vqcheck.checkpoint.shown import one_line, shown


@given(st.text(max_size=500))
def test_a_shown_name_is_one_printable_line_of_bounded_length(text):
    assert shown(text).isprintable()
    assert len(shown(text)) <= 200 * len("\\U0001f600") + len("...")


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=200))
def test_a_printable_name_is_shown_as_it_is(text):
    assert shown(text) == one_line(text) == text


def test_what_steers_a_terminal_is_escaped():
    assert one_line("a\x1b[2J\n\u202eb") == r"a\x1b[2J\n\u202eb"
