"""The parts that pages are made of: sections, lists, tables, and words that carry a verdict."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from vqcheck.report.html.markup import Element, Node, element, render

_BYTES: Final = 7_000
"""The most that the rows of one table, or the items of one list, may take."""
_Thing = TypeVar("_Thing")

_NAME: Final = 180
_SIGN: Final = {"good": "\N{CHECK MARK}", "bad": "\N{BALLOT X}", "open": "?", "quiet": "\N{EN DASH}"}


def section(title: str, *content: Node) -> Element:
    """Return a part of the page under a heading of its own."""
    return element("section", element("h2", title), *content)


def paragraph(text: str) -> Element:
    return element("p", unbroken(text))


def unbroken(text: str) -> str:
    """Return a sentence whose shares do not lose their percent sign to the next line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def path(text: str) -> Element:
    """Return a path or another name out of a file."""
    return element("span", short(text), class_="path")


def code(text: str) -> Element:
    return element("code", short(text))


def pill(word: str, tone: str) -> Element:
    """Return a verdict with its sign; `tone` is good, bad, open or quiet."""
    sign = element("span", f"{_SIGN[tone]}\N{NO-BREAK SPACE}", aria_hidden="true")
    return element("span", sign, word, class_=f"pill {tone}")


def tag(word: str) -> Element:
    return element("span", word, class_="tag")


def facts(*pairs: tuple[str, Node]) -> Element:
    """Return names with their values; a pair without a value is left out."""
    told = [(name, value) for name, value in pairs if value]
    return element("dl", *(each for name, value in told for each in (element("dt", name), element("dd", value))))


def bullets(items: Iterable[Node], noun: str = "more", *, most: int = _BYTES) -> Element:
    """Return a list; of very many items the first, and how many `noun` there are beyond."""
    told = list(items)
    kept, left = fitting(told, lambda item: element("li", item), most)
    more = element("li", f"{left} {noun}", class_="more") if left else None
    return element("ul", *kept, more)


def table(
    name: str,
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Node]],
    looks: Sequence[str] = (),
    *,
    left_out: str = "more",
    most: int = _BYTES,
) -> Element:
    """Return a table whose first column names the rows; it scrolls inside its own box where it is too wide.

    `name` is unique on the page. `looks` are classes of the columns: n for numbers, k for words kept on one line,
    w for prose. Where all rows would take more than `most` bytes, the caption says how many are `left_out`.
    """
    kinds = [*looks, *[""] * (len(head) - len(looks))]
    titles = [element("th", text, scope="col", class_=kind or None) for text, kind in zip(head, kinds, strict=True)]
    kept, left = fitting(list(rows), lambda cells: _row(cells, kinds), most)
    rest = f" {left} {left_out} not shown." if left else ""
    return element(
        "div",
        element(
            "table",
            element("caption", element("span", f"{caption}{rest}"), id=f"{name}-caption"),
            element("thead", element("tr", *titles)),
            element("tbody", *kept),
        ),
        class_="scroll",
        role="region",
        tabindex="0",
        aria_labelledby=f"{name}-caption",
    )


def fitting(things: Sequence[_Thing], make: Callable[[_Thing], Element], most: int) -> tuple[list[Element], int]:
    """Return the elements of the first things that take at most `most` bytes together, and how many are left."""
    kept: list[Element] = []
    for thing in things:
        made = make(thing)
        most -= len(render(made))
        if most < 0 and kept:
            break
        kept.append(made)
    return kept, len(things) - len(kept)


def _row(cells: Sequence[Node], kinds: Sequence[str]) -> Element:
    first = element("th", cells[0], scope="row", class_=kinds[0] or None)
    rest = (element("td", cell, class_=kind or None) for cell, kind in zip(cells[1:], kinds[1:], strict=True))
    return element("tr", first, *rest)


def short(text: str, most: int = _NAME) -> str:
    """Return a name without its middle where it is too long to be read: beginning and end tell names apart."""
    return text if len(text) <= most else f"{text[: most // 3]} ... {text[-most // 2 :]}"
