"""The frame of every page: what it says in its head, the verdict on top, and the foot."""

from typing import Final

from vqcheck import __version__
from vqcheck.report.html.markup import Element, Node, element, render
from vqcheck.report.html.parts import unbroken
from vqcheck.report.html.style import SHEET

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded and no script runs, whatever a page should contain."""
TONES: Final = ("good", "bad", "open")
"""By exit status."""
_MEANS: Final = (
    "Exit status 0: checked, and consistent.",
    "Exit status 1: checked, and not consistent.",
    "Exit status 2: could not check. This says neither that all is well nor that it is not.",
)
_SIGNS: Final = (
    ("M24 4a20 20 0 1 0 0 40a20 20 0 0 0 0-40Z", "m15 24.5l6.5 6.5l12.5-13"),
    ("M15.7 4h16.6L44 15.7v16.6L32.3 44H15.7L4 32.3V15.7Z", "M16.5 16.5l15 15m0-15l-15 15"),
    ("M24 4L45 43H3Z", "M24 18v12m0 5.5v1"),
)
"""A disc with a tick, an octagon with a cross, a triangle with an exclamation mark: told apart without colour."""


def page(command: str, exit_code: int, verdict: str, headline: str, *content: Node, lead: Node = None) -> str:
    """Return a whole page; `content` are its sections, `lead` stands under the headline."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"vqcheck {__version__}"),
        element("title", f"vqcheck {command}: {verdict}"),
    )
    body = element(
        "body",
        element(
            "header",
            element("p", element("b", f"vqcheck {command}")),
            element("p", f"vqcheck {__version__}"),
            class_="top",
        ),
        element("main", _verdict(exit_code, verdict, headline, lead), *content),
        element(
            "footer",
            element("p", "One file: nothing in it runs, and nothing is loaded from elsewhere."),
            class_="end",
        ),
    )
    # The style sheet is ours and constant; everything else went through `render`.
    opened = render(head).removesuffix("</head>")
    return f'<!doctype html>\n<html lang="en">{opened}<style>{SHEET}</style></head>\n{render(body)}</html>\n'


def _sentence(headline: str) -> str:
    """Return a headline with a capital, unless it begins with the name of a stage."""
    return headline if headline[:2] in ("s1", "s2") else headline[:1].upper() + headline[1:]


def _verdict(exit_code: int, verdict: str, headline: str, lead: Node) -> Element:
    tone = TONES[exit_code]
    shape, mark = _SIGNS[exit_code]
    sign = element(
        "svg",
        element("path", d=shape, fill="currentColor"),
        element("path", d=mark, fill="none", stroke=f"var(--{tone}-ground)", stroke_width=4.5, stroke_linecap="round"),
        viewBox="0 0 48 48",
        class_=f"sign {tone}",
        aria_hidden="true",
    )
    words = element(
        "div",
        element("p", verdict, class_=f"word {tone}"),
        element("h1", unbroken(_sentence(headline))),
        lead,
        element("p", _MEANS[exit_code], class_="exit"),
    )
    return element("section", sign, words, class_=f"verdict {tone}", aria_label="Verdict")
