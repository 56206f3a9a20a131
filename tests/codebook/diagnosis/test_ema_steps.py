"""The number of leaked EMA updates is exact only where it can be, and never too high where it is a bound."""

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.codebook.diagnosis import ema_steps
from vqcheck.codebook.diagnosis.book import CountedBook, CountedState
from vqcheck.codebook.families import FAMILIES

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED, SUMS, COUNTS = (f"{CODEBOOK}.{name}" for name in ("embed", "embed_avg", "cluster_size"))
STEPS = (1, 2, 5, 20, 100, 500)
LIBRARIES = [("ours", "before-ema"), ("ours", "after-ema"), ("vqp", "")]
GPT_SOVITS = FAMILIES[0]
UNHIT = (5, 6, 7, 8)
"""Padding may be nearest to one or two of them, which then testify to nothing."""


def updates_of(diagnosis):
    return diagnosis.of("ema-updates").evidence


def book(before, after, family=GPT_SOVITS):
    """Return two states as the arrays that a cause sees."""
    a, b = (
        CountedState(*(state[name].reshape(1, *before[name].shape).numpy() for name in (EMBED, SUMS, COUNTS)))
        for state in (before, after)
    )
    return CountedBook(0, family, a, b, frozenset({"codes", "ema_sum", "ema_count"}))


@pytest.mark.parametrize(("library", "order"), LIBRARIES)
def test_exact_when_a_code_went_unhit(base, updates, narrowed, diagnose, library, order):
    """With an unhit code in float32 the number is exact from 1 to 500, also from an fp16 base, and about in fp16."""
    # A count that stays above 2 for 500 steps keeps vector-quantize-pytorch from resetting it.
    start = base()
    start[COUNTS][list(UNHIT)] = 4000.0
    start[SUMS][list(UNHIT)] *= 100
    for before in (start, narrowed(start)):
        for run in updates(before, *STEPS, library=library, order=order, unhit=UNHIT):
            assert 5 in run.unhit
            found = updates_of(diagnose(before, run.after))
            assert (found.precision, found.steps, found.order) == ("exact", run.steps, "a to b")
            assert 2 <= found.unhit <= len(run.unhit)
            rounded = updates_of(diagnose(narrowed(before), narrowed(run.after)))
            # After fewer updates rounding makes codes that were hit look unhit, too.
            assert rounded.precision == "about" or run.steps < 5
            assert rounded.steps == pytest.approx(run.steps, abs=1)


@pytest.mark.parametrize(("library", "order"), LIBRARIES)
@pytest.mark.parametrize("hits", ["uniform", "zipf"])
def test_never_exact_otherwise(base, updates, narrowed, diagnose, library, order, hits):
    """Exact is claimed for the true number and with an unhit code only; a bound is never above the truth."""
    start = base(rare=(3, 9, 20))
    for run in updates(start, *STEPS, library=library, order=order, hits=hits):
        found = updates_of(diagnose(start, run.after))
        assert found.precision in ("exact", "at least")
        if found.precision == "exact":
            assert run.unhit
            assert found.steps == run.steps
        else:
            assert 1 <= found.steps <= run.steps
        rounded = updates_of(diagnose(narrowed(start), narrowed(run.after)))
        assert rounded.precision in ("about", "at least")
        assert 1 <= rounded.steps <= run.steps + 1


def test_an_fp16_base_that_was_rounded_after_the_start_is_no_obstacle(base, updates, narrowed, diagnose):
    """Where B goes on from A's unrounded values, the number is not claimed to be exact and no bound is too high."""
    start = base()
    for run in updates(start, *STEPS, unhit=UNHIT):
        found = updates_of(diagnose(narrowed(start), run.after))
        assert found.precision != "exact"
        assert found.steps <= run.steps


def test_zero_and_subnormal_counts_are_left_out(base, updates, narrowed, diagnose):
    """Counts that are zero or too small to hold their digits do not spoil the number, in either width."""
    start = base()
    start[COUNTS][:4] = torch.tensor([0.0, 1e-40, 3e-7, 1e-5])
    start[SUMS][:4] = start[EMBED][:4] * start[COUNTS][:4, None]
    for run in updates(start, 1, 20, 100, unhit=(0, 1, 2, 3, *UNHIT)):
        assert updates_of(diagnose(start, run.after)).steps == run.steps
        assert updates_of(diagnose(start, run.after)).precision == "exact"
        rounded = updates_of(diagnose(narrowed(start), narrowed(run.after)))
        assert rounded.steps == pytest.approx(run.steps, abs=1)
        assert rounded.precision == "about" or run.steps < 5


@pytest.mark.parametrize("decay", [0.8, 0.9, 0.95, 0.97, 0.98, 0.995])
def test_another_decay_is_not_counted_with_the_familys(base, updates, diagnose, decay):
    """Updates with a decay that is not the family's are seen as updates, but their number is not claimed."""
    start = base()
    start[COUNTS][list(UNHIT)] = 4000.0
    start[SUMS][list(UNHIT)] *= 100
    for run in updates(start, 1, 5, 20, decay=decay, unhit=UNHIT):
        found = updates_of(diagnose(start, run.after))
        assert (found.precision, found.steps) == ("unknown", None)


def test_where_users_choose_the_decay_the_usual_values_are_given(base, updates):
    """A family without a decay of its own gets the number for each usual decay, and the true one is whole."""
    family = type(GPT_SOVITS)(name="chosen", title="Chosen", keys=GPT_SOVITS.keys, decay=None)
    start = base()
    for run in updates(start, 1, 5, 20, library="vqp", decay=0.8, unhit=UNHIT):
        if not run.unhit >= set(UNHIT):
            continue
        found = ema_steps.find(book(start, run.after, family)).evidence
        assert (found.precision, found.steps, found.decay) == ("unknown", None, None)
        by_decay = {usual.decay: usual for usual in found.steps_by_decay}
        assert by_decay[0.8].whole
        assert round(by_decay[0.8].steps) == run.steps


def test_codes_whose_count_rose_are_named_greatest_first(base, updates, diagnose):
    """The codes that most frames went to come first, and none whose count fell is among them."""
    start = base()
    after = updates(start, 20, hits="zipf")[0].after
    rise = after[COUNTS].reshape(-1) - start[COUNTS]
    rose = updates_of(diagnose(start, after)).rose
    assert list(rose) == sorted(rose, key=lambda code: -rise[code])
    assert set(rose) == set(torch.nonzero(rise > 0).flatten().tolist())


def test_files_in_the_wrong_order_are_told(base, updates, diagnose):
    """When A is the later file, the diagnosis says so and counts the same number."""
    start = base()
    run = updates(start, 37, unhit=UNHIT)[0]
    found = updates_of(diagnose(run.after, start))
    assert (found.order, found.precision, found.steps) == ("b to a", "exact", 37)


@pytest.mark.parametrize("lengths", [(20, 33), (33, 20), (20, 20)])
def test_two_trainings_from_one_start_are_not_one_training(base, updates, diagnose, lengths):
    """A code that neither training hit does not make one file the other's successor: no number is claimed."""
    start = base()
    a = updates(start, lengths[0], unhit=UNHIT, seed=1)[0].after
    b = updates(start, lengths[1], unhit=UNHIT, seed=2, hits="zipf")[0].after
    diagnosis = diagnose(a, b)
    if lengths[0] == lengths[1] and diagnosis.of("ema-updates") is None:
        return  # equally long, they may leave nothing that tells them from other files
    found = updates_of(diagnosis)
    assert (found.order, found.steps, found.precision) == ("siblings", None, "unknown")


def test_rescaled_bookkeeping_is_no_update(base):
    """One factor on every sum and count is not what frames leave behind."""
    start = base()
    scaled = start | {SUMS: start[SUMS] * 0.99, COUNTS: start[COUNTS] * 0.99}
    assert ema_steps.find(book(start, scaled)) is None


def test_the_files_own_step_count_stands_beside_the_number(checkpoints):
    """What the file says of its training is part of the diagnosis."""
    with (
        open_checkpoint(checkpoints / "base_v2.pth") as a,
        open_checkpoint(checkpoints / "drifted_v2_e8_s400.pth") as b,
    ):
        diagnosis = compare(a, b).diagnosis
    assert [training.steps for training in diagnosis.training] == [None, 400]
    assert updates_of(diagnosis).steps == 37
