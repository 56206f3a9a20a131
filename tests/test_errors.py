"""What an error says is one printable line of bounded length, whatever of a file stands in it."""

import pytest

from vqcheck.errors import CheckpointError, NoCodebookError, UsageError


@pytest.mark.parametrize("kind", [CheckpointError, NoCodebookError, UsageError])
def test_a_text_from_a_file_cannot_steer_the_terminal_or_fill_it(kind):
    assert str(kind("日本語/é.pth: is damaged")) == "日本語/é.pth: is damaged"
    assert str(kind("日本.pth: \x1b[31m\n\u202e\ud800")) == r"日本.pth: \x1b[31m\n\u202e\ud800"
    long = str(kind("a.pth: " + "x" * 1_000_000 + ": is too long"))
    assert len(long) < 2_100
    assert long.startswith("a.pth: xxx")
    assert long.endswith("xxx: is too long")
