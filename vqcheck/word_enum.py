"""Enumerations whose members are the words that JSON, locks and tables show, in every version of Python alike."""

from enum import Enum


class WordEnum(str, Enum):
    """A string of a fixed set. Formatted, joined, compared and written as JSON it is its value."""

    __str__ = str.__str__

    def __format__(self, format_spec: str) -> str:
        return str.__format__(self, format_spec)


class VerdictEnum(WordEnum):
    """Verdicts, each with the exit status that it comes to: 0 consistent, 1 changed, 2 could not check."""

    _value_: str
    exit_code: int

    def __new__(cls, word: str, exit_code: int) -> "VerdictEnum":
        member = str.__new__(cls, word)
        member._value_ = str(word)
        member.exit_code = exit_code
        return member
