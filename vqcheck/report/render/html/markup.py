"""Elements of a page. Text can only become text: nothing but `element` makes markup, `render_node` escapes the rest.

The page is ASCII: other characters are written as references, so that no console or file encoding can spoil them.
"""

import html
from dataclasses import dataclass
from typing import Final, Union

from vqcheck.language import localized
from vqcheck.report.render import plain

Node = Union[str, "Element", None]
"""Text, which is escaped, an element, or nothing."""

_EMPTY: Final = frozenset({"br", "meta"})
"""Elements of HTML that have no end tag."""
_SPACE: Final = "\N{NO-BREAK SPACE}"
"""Ours; any other that is not printable is shown by its escape."""
_LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Element:
    """An element with its attributes and what is in it."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Node, ...]


def element(tag: str, *children: Node, **attributes: str | float | None) -> Element:
    """Return an element. `class_` stands for class, and an underscore inside a name for a hyphen.

    Attributes that are None are left out. Names of elements and attributes are ours; only values may come from files.
    """
    named = tuple(
        (name.rstrip("_").replace("_", "-"), localized(value) if isinstance(value, str) else f"{value:g}")
        for name, value in attributes.items()
        if value is not None
    )
    return Element(tag, named, children)


def render_node(node: Node) -> str:
    """Return the markup of a node, in ASCII."""
    if node is None:
        return ""
    if isinstance(node, str):
        return _escaped(_without_middle(localized(node)))
    attributes = "".join(f' {name}="{_escaped(value)}"' for name, value in node.attributes)
    if node.tag in _EMPTY:
        return f"<{node.tag}{attributes}>"
    return f"<{node.tag}{attributes}>{''.join(map(render_node, node.children))}</{node.tag}>"


def _without_middle(text: str) -> str:
    """Return text as it is, or, where nobody would read it to the end, its beginning and its end."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def _escaped(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = _SPACE.join(map(plain, text.split(_SPACE)))
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode()
