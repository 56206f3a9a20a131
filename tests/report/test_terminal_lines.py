"""Lines are broken for a terminal of any width: between words, by columns and not by characters."""

import pytest
from rich.cells import cell_len
from vqcheck.report.text.page import Page, Style
from vqcheck.report.text.wrap import lines, pad

PATH = "/home/somebody/GPT-SoVITS/vqcheck/synthesizer/a_codebook_of_mine.py:153"
CHINESE = "语音模型_我的声音_第八轮训练_最终版本_e8_s400.pth"


def broken(text, first, others, **options):
    return [text[start:end] for start, end in lines(text, first, others, **options)]


def test_words_stay_whole_where_they_fit():
    """A line ends between words, and no word is lost."""
    assert broken("the codebook moved at every step", 14, 10) == ["the codebook", "moved at", "every step"]


def test_a_path_longer_than_a_line_is_cut_behind_a_separator():
    """It begins where it stands, and is cut at the end of a folder's name where there is one."""
    found = broken(f"written at {PATH} in forward", 50, 46)
    assert found[0] == "written at /home/somebody/GPT-SoVITS/vqcheck/"
    assert "".join(found).replace(" ", "") == f"written at {PATH} in forward".replace(" ", "")
    assert all(cell_len(line) <= 50 for line in found)


def test_a_chinese_name_is_measured_in_columns():
    """A Chinese character takes two columns; none is halved or lost."""
    found = broken(f"  B  {CHINESE} does not agree", 30, 28)
    assert all(cell_len(line) <= 30 for line in found)
    assert "".join(found).replace(" ", "") == f"B{CHINESE}doesnotagree"


def test_a_word_is_never_cut_where_no_terminal_says_so():
    """In a pipe a path stays one word, so that it can be searched for."""
    assert broken(f"written at {PATH} in forward", 40, 40, cut=False)[1] == PATH


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_any_width_ends(width):
    """However narrow: every line holds something, and nothing is lost."""
    text = f"a {CHINESE} {PATH}"
    found = broken(text, width, width)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_columns_are_padded_by_width():
    """What stands behind a Chinese name is aligned with what stands behind an English one."""
    assert cell_len(pad("我的声音", 12)) == cell_len(pad("mine", 12)) == 12


def test_a_continued_line_is_indented_and_keeps_its_colour():
    """Colour goes on behind a break, and without it the same text stands in the same place."""
    pages = []
    for color in (True, False):
        page = Page(Style(color=color, width=30))
        page.line("  label   ", ("a text that is too long for one line of it", "bold red"), indent=10)
        pages.append(page.text())
    assert pages[1].splitlines() == ["  label   a text that is too", "          long for one line of", "          it"]
    assert all("\x1b[1;31m" in line for line in pages[0].splitlines())
