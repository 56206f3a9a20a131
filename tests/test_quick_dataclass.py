"""Data classes that are quick to define behave as the standard library's do."""

import copy
import dataclasses
import pickle
import sys

import pytest

from vqcheck.quick_dataclass import quick_dataclass


def both(**options):
    """Return one class twice: by the standard library and here."""

    def plain():
        class Point:
            """Two numbers and a name."""

            x: int
            y: "float"
            name: str = "origin"

            @property
            def sum(self):
                return self.x + self.y

        return Point

    return dataclasses.dataclass(**options)(plain()), quick_dataclass(**options)(plain())


OPTIONS = [
    {},
    {"frozen": True},
    {"slots": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "repr": False},
    {"frozen": True, "eq": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_instance_shows_compares_and_hashes_as_the_standard_librarys(options):
    """What is made of the same values says the same of itself, and of whether it equals another."""
    seen = []
    for cls in both(**options):
        one, same, other = cls(1, 2.5), cls(1, y=2.5, name="origin"), cls(x=1, y=3.0, name="b")
        shown = repr(one).rpartition(".")[2] if options.get("repr", True) else "left to object"
        hashed = hash(one) == hash(same) if cls.__hash__ else "refused"
        facts = (one == same, one == other, one != other, one == (1, 2.5, "origin"), hashed, shown, one.sum)
        seen.append((facts, cls.__match_args__, hasattr(one, "__dict__")))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_standard_library_takes_its_instances(options):
    """`replace`, `fields` and `asdict` work, and what they say is the same."""
    seen = []
    for cls in both(**options):
        one = dataclasses.replace(cls(1, 2.5), y=4.0)
        named = [(each.name, each.type, each.default) for each in dataclasses.fields(cls)]
        seen.append((dataclasses.asdict(one), named, dataclasses.is_dataclass(one)))
        with pytest.raises(TypeError):
            dataclasses.replace(one, z=1)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2.0, "a", 4)], ids=len)
def test_a_wrong_number_of_arguments_is_refused(arguments):
    """What is missing, or too much, is no attribute."""
    for cls in both(frozen=True, slots=True):
        with pytest.raises(TypeError):
            cls(*arguments)
        assert cls(1, 2.0).name == "origin"


@pytest.mark.parametrize("slots", [False, True])
def test_a_frozen_instance_cannot_be_changed(slots):
    """Setting, deleting and adding attributes raise the standard library's error."""
    one = both(frozen=True, slots=slots)[1](1, 2.0)
    for change in (lambda: setattr(one, "x", 2), lambda: delattr(one, "x"), lambda: setattr(one, "z", 2)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert one.x == 1


@quick_dataclass(frozen=True, slots=True)
class Kept:
    """Found again by its name, as pickle wants it."""

    x: int
    rest: tuple[int, ...] = ()


def test_copies_and_pickles_are_equal():
    """Frozen slots do not keep a copy from being filled."""
    one = Kept(3, (4,))
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_a_class_without_attributes_is_one_value():
    """A finding that says all by its class has none."""

    def plain():
        class Found:
            """Nothing more to say."""

        Found.__annotations__ = {}
        return Found

    for decorate in (dataclasses.dataclass, quick_dataclass):
        cls = decorate(frozen=True, slots=True)(plain())
        assert (cls() == cls(), hash(cls()), dataclasses.asdict(cls())) == (True, hash(()), {})


def test_nothing_is_compiled_once_a_class_is_defined():
    """While a hostile file is read, records are made, and replaced: no code may come into being then."""
    events = []
    sys.addaudithook(lambda name, _: events.append(name) if watching else None)
    watching = True
    dataclasses.replace(Kept(3, (4,)), x=5)
    watching = False
    assert not {"compile", "exec"}.intersection(events)
