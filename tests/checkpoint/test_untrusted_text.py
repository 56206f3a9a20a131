"""TOML from others is read within bounds: what would take the parser minutes or gigabytes is refused at once."""

import pytest

from vqcheck.checkpoint.untrusted_text import LONGEST_TOML, parse_toml


def test_a_configuration_is_read():
    assert parse_toml('[a]\nb.c = [1, 0.5]\r\nd = "é"\n') == {"a": {"b": {"c": [1, 0.5]}, "d": "é"}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # 64 KB of it took the parser 16 seconds and 4 GB.
        (".".join(["a"] * 32_000) + " = 1", "a line with more than 100 dots"),
        ("a = " + "[" * 100_000, "is nested too deeply"),
        ("a = " + "[" * 5_000 + "]" * 5_000, "is nested too deeply"),
        ("a = " + "{ b = " * 5_000, "is nested too deeply"),
        ("a = " + "9" * 5_000, "5000 digits|integer string conversion"),
        ("#" * (LONGEST_TOML + 1), "more than the 262144 that are read"),
        ("a = ", "Invalid value"),
    ],
    ids=["dotted key", "open arrays", "arrays", "tables", "digits", "length", "syntax"],
)
def test_what_no_configuration_has_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_toml(text)


@pytest.mark.parametrize("path", [r"C:\Users\me", r"D:\GPT-SoVITS", r"E:\data\me"])
def test_a_windows_path_in_double_quotes_is_told_how_to_be_written(path):
    """A backslash begins an escape there, which who copies a path does not know."""
    with pytest.raises(ValueError, match=r"Windows path .*'single quotes'"):
        parse_toml(f'checkout = "{path}"')
    assert parse_toml(f"checkout = '{path}'") == {"checkout": path}
