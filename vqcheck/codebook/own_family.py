"""A user's own row of the family table, from a TOML file: for a codec that vqcheck does not know by name.

    name = "my-codec"
    decay = 0.99

    [tensors]
    codes = "tokenizer.layers.{layer}.table"
    ema_sum = "tokenizer.layers.{layer}.table_sum"
    ema_count = "tokenizer.layers.{layer}.uses"
    input_proj = "tokenizer.before"

Codes, sums, counts and flags are names of tensors; projections are names of modules, whose weight and bias are found in
every spelling. `{layer}` and `{group}` stand for a number. Several quantizers are several `[[tensors]]` with a `book`.

An output projection decides tokens where a later lookup takes what it leaves of the features. `residual` says how far
that reaches: "layers", "groups", "books", or "nowhere"; left out it is "books", everything in its order.
"""

import difflib
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.checkpoint.untrusted_text import LONGEST_TOML, parse_toml
from vqcheck.codebook.family import (
    ANYTHING,
    Axes,
    Derivation,
    Family,
    Key,
    Metric,
    ResidualChain,
    Role,
    Update,
    projection,
)
from vqcheck.errors import UsageError
from vqcheck.language import tr
from vqcheck.word_enum import WordEnum

Choice = TypeVar("Choice", bound=WordEnum)

_CHOICES: Final = ("axes", "derivation", "update", "metric", "residual")
_NUMBERS: Final = ("decay", "epsilon", "dead_code_threshold")
_FLAGS: Final = ("projects",)
_LISTS: Final = ("markers", "optional")
_KEYS: Final = ("name", "title", "tensors", *_CHOICES, *_NUMBERS, *_FLAGS, *_LISTS)
_PLACEHOLDERS: Final = ("{layer}", "{group}")


class _Reader:
    """Reads values of one file, and names the file and the key in whatever is wrong."""

    def __init__(self, path: str, values: dict[str, Any]) -> None:
        self._path = path
        self._values = values

    def wrong(self, reason: str, key: str) -> UsageError:
        return UsageError(reason, self._path, key)

    def check_keys(self, table: dict[str, Any], known: Iterable[str], where: str) -> None:
        known = tuple(known)
        for key in table:
            if key not in known:
                raise self.wrong(_suggestion(tr("no such key"), key, known), f"{where}{key}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._values.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.wrong(tr("is missing") if value is None else tr("must be a text"), key)
        return value

    def choice(self, key: str, default: Choice) -> Choice:
        value, choices = self.text(key, default), type(default)
        if value not in tuple(choices):
            raise self.wrong(
                tr("is {value}, must be one of {choices}", value=repr(str(value)), choices=", ".join(choices)), key
            )
        return choices(value)

    def number(self, key: str, default: float | None) -> float | None:
        value = self._values.get(key, default)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
            raise self.wrong(tr("must be a number that is not negative"), key)
        try:
            return None if value is None else float(value)
        except OverflowError:
            raise self.wrong(tr("is larger than any number that can be calculated with"), key) from None

    def flag(self, key: str) -> bool:
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(tr("must be true or false"), key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        return self.listed(key, self._values.get(key, []))

    def listed(self, key: str, value: object) -> tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
            raise self.wrong(tr("must be a text, or a list of texts"), key)
        return tuple(values)

    def books(self) -> list[dict[str, Any]]:
        tables = self._values.get("tensors")
        tables = [tables] if isinstance(tables, dict) else tables
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise self.wrong(tr("is missing: it says which tensor plays which role"), "tensors")
        return tables


def read_own_family(path: str) -> Family:
    """Return the row that a TOML file describes.

    Raises:
        UsageError: the file cannot be read, is not TOML, or describes no usable row; the text names file and key.

    """
    try:
        with open(path, encoding="utf-8", opener=open_regular_file) as file:
            values = parse_toml(file.read(LONGEST_TOML + 1))
    except OSError as error:
        raise UsageError(tr("cannot be read: {reason}", reason=error.strerror), path) from None
    except ValueError as error:
        raise UsageError(tr("is not valid TOML: {error}", error=str(error)), path) from None
    reader = _Reader(path, values)
    reader.check_keys(values, _KEYS, "")
    decay = reader.number("decay", None)
    if decay is not None and not 0 < decay < 1:
        raise reader.wrong(tr("is {decay:g}, must lie between 0 and 1", decay=decay), "decay")
    optional = reader.texts("optional")
    for role in optional:
        if role not in tuple(Role):
            raise reader.wrong(_suggestion(tr("there is no role '{role}'", role=role), role, Role), "optional")
    books = reader.books()
    name = reader.text("name")
    family = Family(
        name=name,
        title=reader.text("title", name),
        keys=tuple(key for number, table in enumerate(books) for key in _keys(reader, table, number)),
        books=tuple(str(table.get("book", "")) for table in books),
        markers=reader.texts("markers"),
        axes=reader.choice("axes", Axes.CODES_DIM),
        derivation=reader.choice("derivation", Derivation.STORED),
        update=reader.choice("update", Update.EMA),
        metric=reader.choice("metric", Metric.EUCLIDEAN),
        residual=reader.choice("residual", ResidualChain.BOOKS),
        decay=decay,
        epsilon=reader.number("epsilon", 1e-5) or 0.0,
        dead_code_threshold=reader.number("dead_code_threshold", None),
        projects=reader.flag("projects"),
        in_front=(),
        encoders=(ANYTHING,),
        optional=frozenset(map(Role, optional)),
    )
    if family.source_of_codes not in {key.role for key in family.keys}:
        raise reader.wrong(
            tr("is missing; codes of the derivation '{derivation}' come from it", derivation=family.derivation),
            f"tensors.{family.source_of_codes}",
        )
    return family


def _keys(reader: _Reader, table: dict[str, Any], book: int) -> Iterable[Key]:
    reader.check_keys(table, ("book", *Role), "tensors.")
    for role in Role:
        for name in reader.listed(f"tensors.{role}", table.get(role, [])):
            for part in name.split("."):
                if not part or ("{" in part and part not in _PLACEHOLDERS):
                    raise reader.wrong(
                        tr(
                            "{name}: '{part}' cannot be part of a name; {{layer}} and {{group}} stand for one "
                            "number each, between dots",
                            name=repr(name),
                            part=part,
                        ),
                        f"tensors.{role}",
                    )
            if role in (Role.INPUT_PROJ, Role.OUTPUT_PROJ) and not name.endswith(".*"):
                yield from projection(role, name.removesuffix(".weight"), book=book)
            else:
                yield Key(
                    role, name, name.rpartition(".")[2] if role == Role.CODE_TRANSFORM and name[-1] != "*" else "", book
                )


def _suggestion(problem: str, key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), 1)
    if near:
        return tr("{message}; did you mean {names}?", message=problem, names=near[0])
    return tr("{message}; known are {names}", message=problem, names=", ".join(known))
