"""What rounding hides is not told: averages, rows of another file and short trainings in float16 and bfloat16."""

import pytest
import torch

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED, SUMS, COUNTS = (f"{CODEBOOK}.{name}" for name in ("embed", "embed_avg", "cluster_size"))
LOW = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


def cast(state, dtype):
    return {name: value.to(dtype) for name, value in state.items()}


def averaged(a, b, weight, dtype):
    """Return A and its average with B, calculated in a narrow type."""
    a, b = cast(a, dtype), cast(b, dtype)
    return a, {name: a[name] * (1 - weight) + b[name] * weight for name in a}


def claimed(diagnosis):
    return {cause.code for cause in diagnosis.causes if cause.certainty != "cannot tell"}


@LOW
@pytest.mark.parametrize("weight", [0.3, 0.5, 0.7])
def test_an_average_with_another_codebook_is_one(base, diagnose, dtype, weight):
    """All values agree on one weight, although each is rounded."""
    other = base(seed=8) | {name: base()[name] for name in base() if "ssl" in name}
    result = diagnose(*averaged(base(), other, weight, dtype))
    cause = result.of("merged")
    assert cause.certainty == "likely"
    assert claimed(result) <= {"merged", "projection-trained"}
    assert cause.evidence.weight == pytest.approx(weight, abs=0.03)


@pytest.mark.parametrize("weight", [0.5, 0.7])
def test_no_number_of_updates_is_claimed_of_an_average(base, updates, diagnose, weight):
    """Unhit codes shrank by one factor, but by that of no whole number of updates."""
    unhit = range(20)
    later = updates(base(), 7, unhit=unhit)[0].after
    found = diagnose(*averaged(base(), later, weight, torch.float16))
    assert "ema-updates" not in claimed(found)
    assert "edited" not in claimed(found)
    whole = diagnose(*(cast(state, torch.float16) for state in (base(), later)))
    assert (whole.of("ema-updates").evidence.precision, whole.of("ema-updates").evidence.steps) == ("about", 7)


@LOW
@pytest.mark.parametrize("kept", [16, 32, 48])
@pytest.mark.parametrize("source", ["later", "another"])
def test_rows_of_another_file_are_no_training_and_no_edit(base, updates, diagnose, dtype, kept, source):
    """Some codes are the same to the last bit, the others another file's: no update leaves it, and no single edit."""
    other = updates(base(), 60)[0].after if source == "later" else base(seed=8)
    a, b = cast(base(), dtype), cast(other, dtype)
    mixed = {k: torch.cat([a[k][:kept], b[k][kept:]]) if k in (EMBED, SUMS, COUNTS) else a[k] for k in a}
    assert claimed(diagnose(a, mixed)) <= {"merged"}


@LOW
def test_a_few_edited_rows_are_still_told(base, diagnose, dtype):
    """The other way round: an edit of single codes stays an edit."""
    a = cast(base(), dtype)
    b = {name: value.clone() for name, value in a.items()}
    for name in (EMBED, SUMS):
        b[name][[3, 40]] *= 1.1
    assert claimed(diagnose(a, b)) == {"edited"}


def test_each_of_three_tensors_may_be_rounded_by_itself(base, updates, diagnose):
    """Sums in bfloat16 beside codes in float32: codes are not off their sums by more than these were rounded."""
    a, b = base(), updates(base(), 20)[0].after
    mixed = [state | {SUMS: state[SUMS].bfloat16(), COUNTS: state[COUNTS].half()} for state in (a, b)]
    assert claimed(diagnose(*mixed)) == {"ema-updates"}


def test_whole_counts_make_no_file_a_rounded_one(base, diagnose):
    """Counts of whole frames fit into every type; an edit in float32 is seen beside them."""
    a = base()
    a[COUNTS] = torch.arange(64.0) + 5
    a[SUMS] = a[EMBED] * a[COUNTS][:, None]
    b = a | {EMBED: a[EMBED].clone()}
    b[EMBED][4] *= 1.001
    assert claimed(diagnose(a, b)) == {"edited"}


@pytest.mark.parametrize("frames", [(20, 12), (16, 30)])
def test_siblings_of_one_length_and_other_batches_are_told(base, updates, diagnose, frames):
    """Totals differ, but codes that both hit equally often by other frames have equal counts."""
    a, b = (updates(base(), 1, frames=n, seed=s)[0].after for s, n in enumerate(frames, 1))
    found = diagnose(a, b).of("ema-updates")
    assert found is None or (found.certainty, found.evidence.order) == ("likely", "siblings")


def test_codes_near_those_of_other_numbers_are_no_other_codebook(base, updates, diagnose):
    """A codebook that was renumbered and trained on has its codes near the old ones; another one has not."""
    a, b = base(), updates(base(), 150)[0].after
    order = torch.randperm(64, generator=torch.Generator().manual_seed(4))
    b = {name: value[order] if name in (EMBED, SUMS, COUNTS) else value for name, value in b.items()}
    assert "another-codebook" not in claimed(diagnose(a, b))
    other = base(seed=8) | {name: a[name] for name in a if "ssl" in name}
    assert claimed(diagnose(a, other)) == {"another-codebook"}
