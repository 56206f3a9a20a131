"""`6-name2semantic.tsv` as upstream, Windows editors and interrupted runs leave it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcheck.errors import UsageError
from vqcheck.experiment.name2semantic import HEADER, MERGED, read_name2semantic

ROWS = (("a.wav", (1, 2, 3)), ("b.wav", (0, 1023)))
TEXT = f"{HEADER}\na.wav\t1 2 3\nb.wav\t0 1023\n"


def rows(found):
    return tuple((row.item, tuple(row.tokens)) for row in found.rows)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("\n"),
        TEXT.replace("\n", "\r\n"),
        "\ufeff" + TEXT,
        TEXT.replace("\nb", "\n\n \nb"),
        f"{TEXT}\n\n",
        TEXT.replace("1 2 3", "1 2 3 "),
        TEXT.replace("1 2 3", "1 2 3\tmore"),
    ],
    ids=[
        "plain",
        "no last newline",
        "CRLF",
        "byte order mark",
        "blank lines",
        "blank end",
        "blank in row",
        "third column",
    ],
)
def test_every_spelling_gives_the_same_rows(tmp_path, text):
    """Line ends, blank lines and a byte order mark make no difference."""
    (tmp_path / MERGED).write_bytes(text.encode())
    found = read_name2semantic(str(tmp_path))
    assert (rows(found), found.malformed, found.headless, found.files) == (ROWS, (), False, (MERGED,))


def test_a_missing_header_loses_no_item_here_and_is_told(tmp_path):
    """Stage 1 takes the first line for a header whatever it is."""
    (tmp_path / MERGED).write_text(TEXT.removeprefix(f"{HEADER}\n"))
    found = read_name2semantic(str(tmp_path))
    assert (rows(found), found.headless) == (ROWS, True)


def test_parts_are_read_in_the_order_of_their_numbers(tmp_path):
    """Without a merged file its parts count, of which an empty one is harmless; they need no header."""
    for number, text in ((10, "b.wav\t0 1023\n"), (2, "a.wav\t1 2 3"), (3, "\n"), (4, "")):
        (tmp_path / f"6-name2semantic-{number}.tsv").write_text(text)
    found = read_name2semantic(str(tmp_path))
    assert (rows(found), found.headless) == (ROWS, False)
    assert found.files == tuple(f"6-name2semantic-{number}.tsv" for number in (2, 3, 4, 10))


def test_parts_beside_a_merged_file_are_left_alone_and_named(tmp_path):
    """Nothing reads them any more."""
    (tmp_path / MERGED).write_text(TEXT)
    (tmp_path / "6-name2semantic-0.tsv").write_text("c.wav\t5\n")
    found = read_name2semantic(str(tmp_path))
    assert (rows(found), found.leftover_parts) == (ROWS, ("6-name2semantic-0.tsv",))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("no tab", "tab"),
        ("\t1 2", "tab"),
        ("c.wav\t", "no tokens"),
        ("c.wav\t1 x 2", "'x'"),
        ("c.wav\t1 -2", "'-2'"),
        ("c.wav\t1.5", "'1.5'"),
        ("c.wav\t\u0661", "is not a token"),
        ("c.wav\t" + "9" * 5000, "is not a token"),
    ],
)
def test_a_line_without_tokens_is_named_and_the_others_kept(tmp_path, line, word):
    """It says where the line stands and what is wrong with it."""
    (tmp_path / MERGED).write_text(TEXT + line + "\n", encoding="utf-8")
    found = read_name2semantic(str(tmp_path))
    assert rows(found) == ROWS
    ((where, why),) = found.malformed
    assert where == f"{MERGED}:4"
    assert word in why
    assert len(why) < 100


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "extract the tokens first"),
        (b"", "no tokens"),
        (f"{HEADER}\n\n".encode(), "no tokens"),
        (b"\xff\t1", "UTF-8"),
    ],
)
def test_nothing_to_read_is_an_error(tmp_path, content, word):
    """No file, an empty one, a header alone, and another encoding."""
    if content is not None:
        (tmp_path / MERGED).write_bytes(content)
    with pytest.raises(UsageError, match=word):
        read_name2semantic(str(tmp_path))


def test_a_folder_that_is_none_is_an_error(tmp_path):
    """A path that cannot be listed."""
    with pytest.raises(UsageError, match="cannot be listed"):
        read_name2semantic(str(tmp_path / "absent"))


NAMES = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(NAMES, st.lists(st.integers(0, 1023), min_size=1).map(tuple)), min_size=1))
def test_whatever_upstream_writes_is_read_back(tmp_path_factory, written):
    """Any names and tokens, written as upstream writes them."""
    folder = tmp_path_factory.mktemp("experiment")
    lines = [HEADER, *(f"{item}\t{' '.join(map(str, tokens))}" for item, tokens in written)]
    (folder / MERGED).write_bytes(("\n".join(lines) + "\n").encode())
    found = read_name2semantic(str(folder))
    assert rows(found) == tuple(written)
    assert [row.line for row in found.rows] == [f"{MERGED}:{number}" for number in range(2, len(written) + 2)]


@pytest.mark.parametrize("largest", [1023, 65535, 65536, 999_999])
def test_a_thousand_hours_fit_into_less_memory_than_their_text(tmp_path, largest):
    """Tokens of any size are kept as they are, those of a codebook in use in two bytes each."""
    written = [largest, 0, *range(1000)] * 20
    (tmp_path / MERGED).write_text("".join(f"{item}.wav\t{' '.join(map(str, written))}\n" for item in range(5)))
    found = read_name2semantic(str(tmp_path))
    assert rows(found) == tuple((f"{item}.wav", tuple(written)) for item in range(5))
    held = sum(len(row.tokens) * row.tokens.itemsize for row in found.rows)
    assert held < (tmp_path / MERGED).stat().st_size * (0.6 if largest < 1 << 16 else 1.2)
