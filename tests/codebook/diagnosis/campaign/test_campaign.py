"""A short, fixed part of the campaign; `python campaign.py --trials 2000` beside this file is the long one."""

import dataclasses

import pytest
from campaign import WRONG, attempt, judge, run
from scenarios import SCENARIOS, Trial

from vqcheck.codebook.diagnosis.evidence import EmaUpdates
from vqcheck.codebook.diagnosis.result import Cause

TRIALS = 3


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_nothing_wrong_is_said(name, tmp_path):
    """No direction is wrong, nothing certain is false, no exact number is wrong, no bound is too high."""
    outcomes = list(run(name, TRIALS, 7, tmp_path))
    assert len(outcomes) == TRIALS
    assert [(key, found.told) for key, _, found in outcomes if found.verdict in WRONG] == []


@pytest.mark.parametrize("name", ["updates", "updates_read_backwards", "updates_with_padding", "codes_exchanged"])
def test_what_the_files_tell_is_told(name, tmp_path):
    """Where the evidence is there, the answer is right and specific."""
    outcomes = list(run(name, TRIALS, 8, tmp_path))
    assert [(key, found.told) for key, could, found in outcomes if could and found.verdict != "right"] == []


@pytest.mark.parametrize(
    "key",
    [
        "average_in_low_precision 5 39",
        "average_in_low_precision 5 190",
        "average_of_two_trainings 1001 1386",
        "copies_averaged_between_ranks 1001 352",
        "copies_averaged_between_ranks 4004 100",
        "one_type_each_role 11 1",
        "permuted_and_trained_long 5 6",
        "rows_from_a_later_file 1001 1110",
        "rows_in_low_precision 5 1",
        "short_siblings_in_float16 8008 358",
        "the_same_recordings_in_larger_or_smaller_batches 77 5",
        "the_same_recordings_in_larger_or_smaller_batches 77 14",
        "two_trainings_of_one_length 6 69",
        "updates_and_dead_codes_replaced 9 20",
        "updates_by_frames_that_are_hardly_off_the_codes 900 8",
    ],
)
def test_what_was_once_told_wrong_is_so_no_more(key, tmp_path):
    """Trials of long campaigns in which something false was told."""
    _, found = attempt(key, tmp_path)
    assert found.verdict not in WRONG, found.told


UPDATES = EmaUpdates("a to b", 5, "exact", 5.0, 0.99, 3, 64, (), ())


@pytest.mark.parametrize(
    ("change", "certainty", "expected"),
    [
        ({}, "certain", "right"),
        ({"order": "b to a"}, "likely", "wrong direction"),
        ({"order": "siblings"}, "likely", "wrong direction"),
        ({"steps": 6}, "certain", "wrong exact number"),
        ({"precision": "at least", "steps": 6}, "likely", "bound too high"),
        ({"precision": "at least", "steps": 4}, "likely", "vague"),
    ],
)
def test_the_judge_sees_each_fault(change, certainty, expected):
    """The campaign would notice: every kind of wrong answer is called by its name."""
    trial = Trial({}, {}, {"ema-updates"}, "a to b", 5, exact=True)
    assert judge(trial, [Cause(certainty, dataclasses.replace(UPDATES, **change))]) == expected


def test_the_judge_sees_false_causes_and_silence():
    """A cause that is not there is a fault, more so if it is certain; saying nothing is silence."""
    edited = Trial({}, {}, {"edited"})
    updates = dataclasses.replace(UPDATES, order="unknown", steps=None, precision="unknown")
    assert judge(edited, [Cause("certain", updates)]) == "false certainty"
    assert judge(edited, [Cause("likely", updates)]) == "false cause"
    assert judge(edited, []) == "silent"
