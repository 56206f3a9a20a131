"""Progress on a terminal: one bar at a time, since two would draw over each other."""

import io
import sys

from vqcheck.cli import terminal
from vqcheck.cli.terminal import Waiting


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_second_bar_waits_until_the_first_is_gone(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(terminal, "_PATIENCE", -1)
    monkeypatch.setenv("TERM", "xterm")
    with Waiting("first") as first:
        first.step(1, 3)
        with Waiting("second") as second:
            second.step(1, 3)
        first.step(2, 3)
    with Waiting("third") as third:
        third.step(1, 3)
    shown = screen.getvalue()
    assert "first" in shown
    assert "second" not in shown
    assert "third" in shown
