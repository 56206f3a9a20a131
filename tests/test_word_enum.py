"""Members of enumerations behave as the strings that they are, wherever a report, a lock or JSON writes them."""

import copy
import csv
import importlib
import io
import json
import pickle
import pkgutil

import pytest

import vqcheck
from vqcheck.codebook.comparison import Verdict
from vqcheck.word_enum import VerdictEnum, WordEnum

for _module in pkgutil.walk_packages(vqcheck.__path__, "vqcheck."):
    # Those of integrations need the libraries that they are for, and have no words of their own.
    if not _module.name.endswith("__main__") and not _module.name.startswith("vqcheck.integrations."):
        importlib.import_module(_module.name)


def kinds(base):
    """Return every enumeration of words there is, whoever made it."""
    return [kind for each in base.__subclasses__() for kind in (each, *kinds(each))]


ENUMS = sorted(filter(len, kinds(WordEnum)), key=lambda kind: kind.__name__)


def test_a_name_means_one_enumeration():
    assert Verdict in ENUMS
    assert len({kind.__name__ for kind in ENUMS}) == len(ENUMS) > 15


@pytest.mark.parametrize("member", [member for enum in ENUMS for member in enum], ids=repr)
def test_a_member_is_written_as_its_value(member):
    text = member.value
    words = [member, member]
    assert str(member) == f"{member}" == format(member, "") == text
    assert ", ".join(words) == f"{text}, {text}"
    assert f"{member:>30}" == text.rjust(30)
    assert member.ljust(30) == text.ljust(30)
    assert json.dumps({member: [member]}) == json.dumps({text: [text]})
    assert json.dumps([member], indent=1) == json.dumps([text], indent=1)
    row = io.StringIO()
    csv.writer(row).writerow([member])
    assert row.getvalue().strip('"\r\n') == text
    assert member == text
    assert hash(member) == hash(text)
    assert {text: 1}[member] == {member: 1}[text] == 1
    assert type(member)(text) is member
    assert copy.deepcopy(member) is member
    assert pickle.loads(pickle.dumps(member)) is member


@pytest.mark.parametrize("enum", ENUMS)
def test_a_word_outside_the_set_is_an_error(enum):
    with pytest.raises(ValueError, match="identical!"):
        enum("identical!")


@pytest.mark.parametrize("verdict", [member for enum in kinds(VerdictEnum) for member in enum], ids=repr)
def test_a_verdict_has_an_exit_status_and_is_found_by_its_word(verdict):
    assert verdict.exit_code in (0, 1, 2)
    assert type(verdict)(verdict.value) is verdict
    assert type(verdict.value) is str


def test_verdicts_of_one_word_have_one_exit_status():
    statuses = {}
    for verdict in (member for enum in kinds(VerdictEnum) for member in enum):
        assert statuses.setdefault(verdict.value, verdict.exit_code) == verdict.exit_code
