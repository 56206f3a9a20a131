"""The plain word for what a drift does to the tokens goes by the share of the frames, and never understates it."""

import pytest

from vqcheck.codebook.diagnosis.result import Severity


@pytest.mark.parametrize(
    ("flipped", "frames", "word"),
    [
        (0, 240, "none"),
        (1, 10**9, "small"),
        (99, 10_000, "small"),
        (100, 10_000, "noticeable"),
        (999, 10_000, "noticeable"),
        (1000, 10_000, "severe"),
        (7, 7, "severe"),
    ],
)
def test_a_severity_is_that_of_the_share(flipped, frames, word):
    """A share on a border counts to the worse word."""
    assert Severity.of(flipped, frames).value == word
