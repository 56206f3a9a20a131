"""Lines of a terminal's width, in scripts with blanks between words and without."""

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vqcheck.report.render.wrapping import widest_piece, wrapped

CHINESE = (
    "码本在 s2 训练中漂移了：共发生 37 次 EMA 更新，1,021 个码（占 1,024 个的 99.7 %）已移动。"
    "请用原来的底模重新训练 s2。"
)
CONSOLE = Console(width=80)


@pytest.mark.parametrize("width", [2, 3, 8, 20, 39, 80, 200])
@pytest.mark.parametrize("text", [CHINESE, "naïve words, and a/very/long/path_of_one_word.pth", "。" * 90])
def test_no_line_is_wider_and_nothing_but_blanks_is_lost(text, width):
    lines = [line.plain for line in wrapped(Text(text), width, CONSOLE)]
    assert max(map(cell_len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("width", range(12, 60))
def test_no_line_begins_with_closing_punctuation_or_splits_a_number(width):
    lines = [line.plain for line in wrapped(Text(CHINESE), width, CONSOLE)]
    assert not any(line[0] in "，。：）、" for line in lines)
    assert all(any(word in line for line in lines) for word in ("1,021", "99.7", "EMA", "1,024"))


def test_a_chinese_text_fills_its_lines():
    lines = [line.plain for line in wrapped(Text(CHINESE), 40, CONSOLE)]
    assert all(cell_len(line) >= 34 for line in lines[:-1])


def test_what_is_kept_together():
    assert widest_piece("漂移 a_name.pth，漂移") == cell_len("a_name.pth，")
    assert widest_piece("two words") == 5
    assert widest_piece("  ") == 0


def test_colours_stay_on_their_words():
    text = Text("一二三四五六七八九十", "red")
    assert [(line.plain, line.spans[0].style if line.spans else line.style) for line in wrapped(text, 8, CONSOLE)] == [
        ("一二三四", "red"),
        ("五六七八", "red"),
        ("九十", "red"),
    ]


def test_a_file_keeps_its_name_on_a_line_that_has_room_for_it():
    name = "语音模型_第八轮_e8_s400.pth"
    lines = [line.plain for line in wrapped(Text(f"这个文件的码本已经漂移了：{name}，请重新训练"), 34, CONSOLE)]
    assert any(name in line for line in lines)
