"""Members of enumerations behave as the strings that they are, wherever a report, a lock or JSON writes them."""

import copy
import csv
import io
import json
import pickle

import pytest

from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.family import Axes, Derivation, Metric, ResidualChain, Role, Update
from vqcheck.codebook.file_record import FileKind, Order, RoundingReading
from vqcheck.codebook.health import Condition
from vqcheck.codebook.vq_encoder import InFront

ENUMS = [
    Verdict,
    Scope,
    Role,
    Axes,
    Derivation,
    Update,
    Metric,
    ResidualChain,
    Condition,
    InFront,
    FileKind,
    Order,
    RoundingReading,
]


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
