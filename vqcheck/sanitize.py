"""Text from an untrusted file or a caller, in one printable line.

It must not break the line or steer a terminal, and tells no login.
"""

import re
from typing import Final

from vqcheck.language import Sentence

_LONGEST_NAME: Final = 200
_SCHEME: Final = r"[a-zA-Z][a-zA-Z0-9+.-]+(?::[/\\]+|(?<=http)//|(?<=https)//)"
"""How an address begins, also one that was mistyped or has lost a slash as in a Path."""
_LOGIN: Final = re.compile(rf"({_SCHEME})(?:[^/\s]*@|[^/\s:\[]+:(?!\d+/)[^\s'\"]*@)")
"""A password may have a slash, though it should not; what follows on a colon is one unless it is a port."""
_QUERY: Final = re.compile(rf"({_SCHEME}[^\s?#]*)[?#][^\s'\")]*")


def sanitize(text: str, keep: str = "") -> str:
    """Return the text with each character escaped that is not printable and not in `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def sanitize_name(name: str) -> str:
    """Return the beginning of a name that stands in a checkpoint, sanitized."""
    return sanitize(name) if len(name) <= _LONGEST_NAME else f"{sanitize(name[:_LONGEST_NAME])}..."


def without_credentials(text: str) -> str:
    """Return a text in which no address has a login or a query, as far as one can tell an address there."""
    if "/" not in text and "\\" not in text:
        return text
    clean = _QUERY.sub(r"\1", _LOGIN.sub(r"\1", text))
    if not isinstance(text, Sentence):
        return clean
    # Logins stand in the fields of a sentence. Where one is made of several fields, no sentence is left of it.
    sentence = text.with_names(without_credentials)
    return sentence if sentence == clean else clean
