"""Ranks are compared by what each of them wrote down: the same step, the same module, the same process group."""

import pytest

from vqcheck.live.rank_records import compare_records

A, B = {"codes": 1, "counts": 2}, {"codes": 1, "counts": 3}


def record(number, *modules, group="g", of=2):
    """Returns what a process writes: of each module its class, and fingerprints by step."""
    rank = None if number is None else {"number": number, "of": of, "group": group}
    return {"rank": rank, "modules": [{"name": name, "prints": prints} for name, prints in modules]}


def found(*records):
    """Returns the differences of the only group."""
    (comparison,) = compare_records(records)
    return [(each.module, each.step, each.ranks, each.names) for each in comparison.differences]


def test_ranks_with_the_same_fingerprints_agree():
    """Nothing differs, and what was compared is named, also where a rank runs elsewhere."""
    (comparison,) = compare_records([record(0, ("G", {"0": A}), of=3), record(2, ("G", {"0": A}), of=3)])
    assert (comparison.world_size, comparison.ranks, comparison.differences) == (3, (0, 2), ())


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([record(0, ("G", {"0": A})), record(1, ("G", {"0": B}))], [("G", 0, ((0,), (1,)), ("counts",))]),
        (
            [record(0, ("G", {"0": B})), record(1, ("G", {"0": A})), record(2, ("G", {"0": A}))],
            [("G", 0, ((0,), (1, 2)), ("counts",))],
        ),
        ([record(0, ("G", {"0": A})), record(1, ("G", {"0": {"codes": 1}}))], [("G", 0, ((0,), (1,)), ("counts",))]),
        ([record(0, ("G", {"0": A, "20": A})), record(1, ("G", {"0": A, "20": B, "40": A}))], [
            ("G", 20, ((0,), (1,)), ("counts",))
        ]),
        ([record(0, ("G", {"20": A})), record(1, ("G", {"40": B}))], []),
        (
            [record(0, ("G", {"0": A}), ("H", {"0": A})), record(1, ("G", {"0": A}), ("H", {"0": B}))],
            [("H", 0, ((0,), (1,)), ("counts",))],
        ),
        ([record(0, ("G", {"0": A})), record(1, ("H", {"0": B}))], []),
    ],
    ids=["two", "three", "a tensor less", "later", "other steps", "the second module", "other modules"],
)  # fmt: skip
def test_the_first_difference_of_each_module_is_named(records, expected):
    """Only what both have seen at the same step of the same module is compared."""
    assert found(*records) == expected


@pytest.mark.parametrize(
    "records",
    [
        [record(None, ("G", {"0": A})), record(None, ("G", {"0": B}))],
        [record(0, ("G", {"0": A})), record(1, ("G", {"0": B}), group="another")],
        [record(0, ("G", {"0": A})), record(0, ("G", {"0": B}))],
        [record(0, ("G", {"0": A})), record(1)],
    ],
    ids=["alone", "two groups", "the same rank twice", "no codebook"],
)
def test_processes_that_are_no_ranks_of_one_group_are_not_compared(records):
    """Two trainings may have other codebooks."""
    assert compare_records(records) == ()
