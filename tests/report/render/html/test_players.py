"""Sounds on a page: those in it play, those that are too large are links, and its policy allows what is in it alone."""

import base64
import re
from html.parser import HTMLParser

import pytest

from vqcheck.report.blocks import Paragraph, Players, Section, Sound
from vqcheck.report.document import Document, Status
from vqcheck.report.render import text
from vqcheck.report.render.html import render

WAV = b"RIFF\x04\0\0\0WAVE"
SILENT = 'content="default-src &#x27;none&#x27;; style-src &#x27;unsafe-inline&#x27;"'
WITH_SOUND = SILENT.replace('inline&#x27;"', 'inline&#x27;; media-src data:"')


def document(*rows):
    players = Players("Compare.", "recording", rows)
    blocks = (Section("Listen", (players,)), Paragraph("That is all."))
    return Document("restore", Status.CONSISTENT, "restored", "done", "a", (), {}, blocks=blocks)


def test_a_sound_in_the_page_plays_from_the_page():
    page = render(document(("0.wav", [Sound("recording", WAV), Sound("restored", WAV + b"\1")])))
    assert WITH_SOUND in page
    sources = re.findall(r'<audio [^>]*src="data:audio/wav;base64,([^"]*)"[^>]*></audio>', page)
    assert [base64.b64decode(source) for source in sources] == [WAV, WAV + b"\1"]
    assert not re.search(r"https?:|href=", page)
    assert re.findall(r'aria-label="([^"]*)"', page)[-2:] == ["recording, 0.wav", "restored, 0.wav"]


def test_a_sound_that_is_too_large_is_a_link(tmp_path):
    """Nothing is loaded until somebody follows it, so the policy allows nothing."""
    path = tmp_path / "a b#.wav"
    page = render(document(("0.wav", [Sound("recording", b"", str(path))])))
    assert SILENT in page
    assert f'<a href="{path.as_uri()}">' in page
    assert "<audio" not in page


class _Attributes(HTMLParser):
    """The names of all attributes, as a browser sees them."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def handle_starttag(self, _, attrs):
        self.names |= {name for name, _ in attrs}


@pytest.mark.parametrize("evil", ['"><script>x</script>', "' onplay='x", "</table>"])
def test_names_stay_text(evil, tmp_path):
    page = render(document((evil, [Sound(evil, WAV), Sound("link", b"", str(tmp_path / evil.replace("/", "_")))])))
    assert "<script>" not in page
    parser = _Attributes()
    parser.feed(page)
    assert "onplay" not in parser.names
    assert page.count("</table>") == 1


def test_a_page_without_sound_allows_none_and_text_has_no_players():
    assert SILENT in render(document())
    said = text.render(document(("0.wav", [Sound("recording", WAV)])), text.Style())
    assert "That is all." in said
    assert "RIFF" not in said
    assert "Listen" not in said
