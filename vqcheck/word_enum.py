"""Enumerations whose members are the words that JSON, locks and tables show, in every version of Python alike."""

from enum import Enum


class WordEnum(str, Enum):
    """A string of a fixed set. Formatted, joined, compared and written as JSON it is its value."""

    __str__ = str.__str__

    def __format__(self, format_spec: str) -> str:
        return str.__format__(self, format_spec)
