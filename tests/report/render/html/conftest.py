"""The page of each command and outcome."""

import pytest

NAMES = (
    "diff changed",
    "diff of a residual codec",
    "diff of two codecs",
    "diff identical",
    "diff never trained",
    "stages apart",
    "stages together",
    "stages unknown",
    "tokens wrong",
    "tokens right",
    "tokens of two files",
    "history moved",
    "history still",
    "history of nothing",
    "replay as expected",
    "replay not as expected",
    "replay inconclusive",
    "gate closed",
    "gate open",
    "gate unknown",
    "failed",
)


@pytest.fixture(scope="session")
def pages(make):
    """Every page, by name."""
    found = make.every_page()
    assert tuple(found) == NAMES
    return found


@pytest.fixture(params=NAMES)
def page(request, pages):
    """Each page in turn."""
    return pages[request.param]
