"""What people read, in their own language: sentences keep what they were made of, and are put into words when shown.

    tr("{count:,} of {all:,} codes moved", count=3, all=1024)

is a `str`: the English sentence, as JSON, SARIF and every other format for machines show it, whatever the language.
Renderers for people, and they alone, call `localized` on each text: no result, view or document depends on it.

Rules for whoever writes words:
- Whole sentences. What varies is a field, which may be a sentence, too; a list is `listed(...)`, a count `trn(...)`.
- An f-string, `+` or `join` around a sentence gives a plain `str`, which stays English.
- The template is a literal: catalogues are made by reading the source. Its braces are doubled, or it has no fields.
- Words of a fixed set (the members of a `WordEnum`) are `word(value)`.
- Where one English word needs two translations, `trc("context", "word")` tells them apart.

Catalogues are GNU gettext's, in `report/locale/<language>/LC_MESSAGES/`; CONTRIBUTING says how to add one.
"""

from __future__ import annotations

import os
import re
from string import Formatter
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ENGLISH: Final = "en"
LOCALES: Final = os.path.join(os.path.dirname(__file__), "report", "locale")
DOMAIN: Final = "vqcheck"
_FIELD: Final = re.compile(r"\{(\w+)")
_HAN: Final = "[\u3400-\u9fff]"
_FORMATTER: Final = Formatter()
_WORD: Final = re.compile(r"[a-z]+(?=[ ,.]? |$)")
"""A word of a sentence, not a name such as `s1`, `freeze_quantizer`, `logs/me` or `me:`."""


class _Catalogue(Protocol):
    def gettext(self, message: str, /) -> str: ...
    def ngettext(self, one: str, many: str, number: int, /) -> str: ...
    def pgettext(self, context: str, message: str, /) -> str: ...


class Sentence(str):  # noqa: SLOT000 - a `str` cannot have slots with anything in them
    """An English text that can be said in another language.

    Attributes:
        template: the text before its fields were filled in: the key in the catalogue.
        fields: what stands in the template's braces; sentences among them are translated, too.
        many: the template where `number` is not 1; empty where the text has no plural.
        context: what tells this text from another one with the same words.
        capital: whether it begins a sentence, in languages that show that.

    """

    template: str
    fields: Mapping[str, object]
    many: str
    number: int
    context: str
    capital: bool

    def __new__(
        cls,
        template: str,
        fields: Mapping[str, object] | None = None,
        many: str = "",
        number: int = 1,
        context: str = "",
        *,
        capital: bool = False,
    ) -> Sentence:
        fields = fields or {}
        english = many if many and number != 1 else template
        filled = english.format_map(fields) if fields else english
        capital_shown = capital and not _begins_with_name(english, fields, _english)
        self = super().__new__(cls, _with_capital(filled) if capital_shown else filled)
        self.template, self.fields, self.many, self.number = template, fields, many, number
        self.context, self.capital = context, capital
        return self

    def with_names(self, change: Callable[[str], str]) -> Sentence:
        """Return the sentence with each field that is no number changed, as by escaping what a file holds."""
        fields = {
            name: value.with_names(change)
            if isinstance(value, Sentence)
            else value
            if hasattr(value, "__float__")
            else change(value if isinstance(value, str) else str(value))
            for name, value in self.fields.items()
        }
        return Sentence(self.template, fields, self.many, self.number, self.context, capital=self.capital)


def tr(template: str, /, **fields: object) -> str:
    """Return a text for people."""
    return Sentence(template, fields)


def trn(one: str, many: str, number: int, /, **fields: object) -> str:
    """Return a text whose words depend on a number; `{number}` stands for it."""
    return Sentence(one, {"number": number, **fields}, many, number)


def trc(context: str, template: str, /, **fields: object) -> str:
    """Return a text whose translation depends on where it stands."""
    return Sentence(template, fields, context=context)


def word(value: str) -> str:
    """Return a word of a fixed set, such as a verdict, for people; what machines get is the value itself.

    The sets are named in `fixtures/make_translations.py`, since no literal stands here.
    """
    return Sentence(str(value), context="word")


def capitalized(text: str) -> str:
    """Return words with a capital at the front, unless they begin with a name: of a stage, a file, a key of code."""
    if isinstance(text, Sentence):
        return Sentence(text.template, text.fields, text.many, text.number, text.context, capital=True)
    return _with_capital(text)


def _with_capital(text: str) -> str:
    return text[:1].upper() + text[1:] if _WORD.match(text) else text


def _begins_with_name(template: str, fields: Mapping[str, object], words: Callable[[Sentence], str]) -> bool:
    """Say whether the front of a text is a field that is no sentence: a file called `c` is not called `C`."""
    front = _FIELD.match(template)
    value = fields.get(front[1]) if front else ""
    return front is not None and not (
        isinstance(value, Sentence) and not _begins_with_name(words(value), value.fields, words)
    )


def _english(text: Sentence) -> str:
    return text.many if text.many and text.number != 1 else text.template


def listed(items: Sequence[object], last: str = "and") -> str:
    """Return "a, b and c", or with `last="or"` "a, b or c"; `last=""` gives "a, b, c"."""
    if len(items) < 2:
        return items[0] if items and isinstance(items[0], str) else "".join(map(str, items))
    if len(items) > 2 or not last:
        # Halves, not one item and the rest: a file may have thousands of tensors to name.
        half = len(items) // 2
        return tr("{first}, {rest}", first=listed(items[:half], ""), rest=listed(items[half:], last))
    if last == "or":
        return tr("{first} or {second}", first=items[0], second=items[1])
    return tr("{first} and {second}", first=items[0], second=items[1])


def sentences(*parts: str) -> str:
    """Return sentences behind each other, those that say anything; languages differ in what stands between them."""
    said = [part for part in parts if part]
    if len(said) < 2:
        return said[0] if said else ""
    return tr("{sentence} {next}", sentence=said[0], next=sentences(*said[1:]))


def packed(text: str) -> object:
    """Return a text as JSON can hold it, for another process of vqcheck to show; `unpacked` reads it."""
    if not isinstance(text, Sentence) or not all(isinstance(each, (str, int, float)) for each in text.fields.values()):
        return str(text)
    fields = {name: packed(value) if isinstance(value, str) else value for name, value in text.fields.items()}
    return [text.template, fields, text.many, text.number, text.context]


def unpacked(value: object) -> str:
    """Return the text that another process packed, which may hold anything: what is no such text is shown as it is."""
    if not isinstance(value, list) or len(value) != 5 or not isinstance(value[1], dict):
        return str(value)
    template, fields, many, number, context = value
    texts = template, many, context
    if not all(isinstance(each, str) and each.isprintable() for each in texts) or not isinstance(number, int):
        return str(value)
    try:
        given = {name: unpacked(each) if isinstance(each, (str, list)) else each for name, each in fields.items()}
        return Sentence(template, given, many, number, context)
    except (LookupError, ValueError, TypeError, AttributeError):
        return str(value)


class _Language:
    """The language that people read in this process, and its catalogue once a text was looked up."""

    def __init__(self) -> None:
        self.name = ENGLISH
        self._catalogue: _Catalogue | None = None

    def choose(self, name: str) -> None:
        self.name, self._catalogue = name, None

    @property
    def catalogue(self) -> _Catalogue:
        if self._catalogue is None:
            import gettext

            self._catalogue = gettext.translation(DOMAIN, LOCALES, [self.name])
        return self._catalogue


_language: Final = _Language()


def languages() -> tuple[str, ...]:
    """Return the languages there are: English, and each for which there is a catalogue."""
    found = os.listdir(LOCALES) if os.path.isdir(LOCALES) else ()
    return (ENGLISH, *sorted(name for name in found if os.path.isfile(_catalogue_of(name))))


def _catalogue_of(name: str) -> str:
    return os.path.join(LOCALES, name, "LC_MESSAGES", f"{DOMAIN}.mo")


def current() -> str:
    """Return the language that people read, as `zh`."""
    return _language.name


def choose(name: str) -> None:
    """Set the language that people read, one of `languages()`."""
    _language.choose(name if name in languages() else ENGLISH)


def localized(text: str) -> str:
    """Return a text in the language that people read; one that is no `Sentence` stays as it is."""
    if _language.name == ENGLISH or not isinstance(text, Sentence):
        return text
    found = _in_catalogue(text)
    filled = _filled(found, text.fields) if text.fields else found
    capital = text.capital and not _begins_with_name(found, text.fields, _in_catalogue)
    return _with_capital(filled) if capital else filled


def _in_catalogue(text: Sentence) -> str:
    catalogue = _language.catalogue
    if text.many:
        return catalogue.ngettext(text.template, text.many, text.number)
    if text.context:
        return catalogue.pgettext(text.context, text.template)
    return catalogue.gettext(text.template)


def _filled(template: str, fields: Mapping[str, object]) -> str:
    """Return a text with its fields filled in: Chinese has a blank before a number or Latin letters only."""
    shown, own = "", True
    for literal, name, spec, conversion in _FORMATTER.parse(template):
        shown = _joined(shown, literal) if own else shown + literal
        if name is not None:
            value = fields[name]
            own = isinstance(value, Sentence)
            # The blank is part of the words around it; what a file holds keeps its own.
            if conversion:
                said = format(_FORMATTER.convert_field(value, conversion), spec or "")
            else:
                said = localized(value) if isinstance(value, str) else format(value, spec or "")
            shown = _joined(shown, said) if own else shown + said
    return shown


def _joined(before: str, behind: str) -> str:
    if re.search(rf"{_HAN} $", before) and re.match(_HAN, behind):
        return before[:-1] + behind
    if re.search(rf"{_HAN}$", before) and re.match(rf" {_HAN}", behind):
        return before + behind[1:]
    if re.search(rf"{_HAN}$", before) and re.match("[A-Za-z0-9]", behind):
        return f"{before} {behind}"
    if re.search("[A-Za-z0-9]$", before) and re.match(_HAN, behind):
        return f"{before} {behind}"
    return before + behind


def translated(message: str) -> str:
    """Return a text that another library keeps as a plain `str`, such as the help of an option, in that language."""
    return _language.catalogue.gettext(message) if _language.name != ENGLISH and message else message


def can_show(encoding: str) -> bool:
    """Say whether a stream of this encoding shows the language; else it gets English, not a row of escapes."""
    sample = "" if _language.name == ENGLISH else _language.catalogue.gettext("What to do")
    return sample.encode(encoding, "ignore").decode(encoding, "ignore") == sample
