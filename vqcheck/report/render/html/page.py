"""A document as a page: what it says in its head, the verdict on top, what to do, and all blocks."""

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Final

from vqcheck import __version__
from vqcheck.language import capitalized, current, tr
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Tone
from vqcheck.report.document import Document, Remedy, Status
from vqcheck.report.render.html.blocks import TONES, Writer, unbroken
from vqcheck.report.render.html.markup import Element, Node, element, render_node

_TAGS: Final = {"zh": "zh-Hans"}
"""Languages whose name does not say in which characters they are written."""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded and no script runs, whatever a page should contain."""
_SOUND: Final = "; media-src data:"
"""Added where a page has sound in itself."""
_SIGNS: Final = {
    Tone.GOOD: ("good", "M24 4a20 20 0 1 0 0 40a20 20 0 0 0 0-40Z", "m15 24.5l6.5 6.5l12.5-13"),
    Tone.BAD: ("bad", "M15.7 4h16.6L44 15.7v16.6L32.3 44H15.7L4 32.3V15.7Z", "M16.5 16.5l15 15m0-15l-15 15"),
    Tone.WARNING: ("open", "M24 4L45 43H3Z", "M24 18v12m0 5.5v1"),
}
"""A disc with a tick, an octagon with a cross, a triangle with an exclamation mark: told apart without colour."""


def _means(status: Status) -> str:
    return {
        Status.CONSISTENT: tr("Exit status 0: checked, and consistent."),
        Status.INCONSISTENT: tr("Exit status 1: checked, and not consistent."),
        Status.NOT_CHECKED: tr(
            "Exit status 2: could not check. This says neither that all is well nor that it is not."
        ),
    }[status]


def render(document: Document) -> str:
    """Return a whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY + _SOUND * _has_sound(document.blocks)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"vqcheck {__version__}"),
        element("title", tr("{title}: {verdict}", title=document.title, verdict=document.verdict_word)),
    )
    writer = Writer()
    body = element(
        "body",
        element(
            "header",
            element("p", element("b", document.title)),
            element("p", f"vqcheck {__version__}"),
            class_="top",
        ),
        element("main", _verdict(document), *_remedies(writer, document.remedies), *writer.sections(document.blocks)),
        element(
            "footer",
            element("p", tr("Made by:"), " ", element("code", document.made_by)) if document.made_by else None,
            element("p", tr("One file: nothing in it runs, and nothing is loaded from elsewhere.")),
            class_="end",
        ),
    )
    # The style sheet is ours and constant; everything else went through `render_node`.
    language = _TAGS.get(current(), current())
    opened = render_node(head).removesuffix("</head>")
    opened = f"{opened}<style>{style_sheet()}</style></head>"
    return f'<!doctype html>\n<html lang="{language}">{opened}\n{render_node(body)}</html>\n'


def _has_sound(blocks: Sequence[doc.Block]) -> bool:
    """Say whether a page has sound in itself."""
    for block in blocks:
        if isinstance(block, doc.Players) and any(sound.wav for _, sounds in block.rows for sound in sounds):
            return True
        if isinstance(block, (doc.Section, doc.Beside)) and _has_sound(block.blocks):
            return True
    return False


def style_sheet() -> str:
    """Return the style sheet without remarks and line breaks."""
    text = resources.files(__package__).joinpath("style.css").read_text("ascii")
    return "".join(line.strip() for line in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).splitlines())


def _verdict(document: Document) -> Element:
    # By what happened: a codebook that was never trained gets no tick, though nothing is inconsistent.
    tone, shape, mark = _SIGNS.get(document.verdict_tone, _SIGNS[Tone.WARNING])
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
        element("p", document.verdict_word, class_=f"word {tone}"),
        element("h1", unbroken(capitalized(document.headline))),
        _warnings(document.warnings),
        _figures(document),
        element("p", _means(document.status), class_="exit"),
    )
    return element("section", sign, words, class_=f"verdict {tone}", aria_label=tr("Verdict"))


def _warnings(warnings: Sequence[str]) -> Node:
    return element("ul", *(element("li", element("b", line)) for line in warnings)) if warnings else None


def _figures(document: Document) -> Node:
    if not document.figures:
        return None
    tiles = [
        element("div", element("dt", capitalized(name)), element("dd", value, class_=TONES[tone] or None))
        for name, value, tone in document.figures
    ]
    return element("dl", *tiles, class_="figures")


def _remedies(writer: Writer, remedies: Sequence[Remedy]) -> Iterator[Element]:
    if not remedies:
        return
    blocks: list[doc.Paragraph | doc.Bullets] = []
    for of in dict.fromkeys(remedy.of for remedy in remedies):
        blocks += [doc.Paragraph((doc.strong(of),))] if of else []
        blocks.append(doc.Bullets([remedy.text for remedy in remedies if remedy.of == of]))
    yield from writer.sections([doc.Section(tr("What to do"), blocks)])
