"""What two files cannot tell is not told: neither a direction, nor an exact number, nor a cause that only looks so."""

import pytest
import torch

from vqcheck.codebook.diagnosis.evidence import EmaUpdates, NotFinite
from vqcheck.report.views.causes import headline

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED, SUMS, COUNTS = (f"{CODEBOOK}.{name}" for name in ("embed", "embed_avg", "cluster_size"))


def told(diagnosis):
    return [cause.code for cause in diagnosis.causes]


def few(state, codes):
    """Return the state with its first codes alone, which follow from their sums and counts as all did."""
    sums, counts = state[SUMS][:codes], state[COUNTS][:codes]
    smoothed = (counts + 1e-5) / (counts.sum() + codes * 1e-5) * counts.sum()
    return state | {EMBED: sums / smoothed[:, None], SUMS: sums, COUNTS: counts}


@pytest.mark.parametrize("codes", [3, 6, 12])
def test_few_codes_that_kept_their_numbers_are_no_other_codebook(base, diagnose, codes):
    """Chance leaves a code or two in place: of six codes that is a third, but not all of them."""
    a = few(base(), codes)
    moved = a | {SUMS: a[SUMS] * 1.01 + 0.3, COUNTS: a[COUNTS] * torch.linspace(0.9, 1.2, codes)}
    assert "another-codebook" not in told(diagnose(a, few(moved, codes)))


def test_another_codebook_of_few_codes_is_told(base, diagnose):
    """The same test still sees two codebooks that have nothing in common."""
    a, b = few(base(), 12), few(base(seed=8), 12)
    assert "another-codebook" in told(diagnose(a, b | {name: a[name] for name in a if "ssl" in name}))


def separate(base, updates, frames_a, frames_b, steps=1):
    """Return two trainings of one length from one start, by batches of these sizes."""
    return [updates(base(), steps, frames=n, seed=s)[0].after for s, n in enumerate((frames_a, frames_b), 1)]


@pytest.mark.parametrize("steps", [1, 2])
def test_trainings_of_one_length_are_no_edit(base, updates, diagnose, steps):
    """Codes that neither run hit are the same to the last bit, and yet nobody edited the others."""
    result = diagnose(*separate(base, updates, 20, 20, steps))
    (cause,) = result.causes
    assert (cause.code, cause.certainty, cause.evidence.order) == ("ema-updates", "likely", "siblings")
    assert "separate trainings" in headline(result)


def test_nothing_is_told_where_rows_of_another_file_look_alike(base, updates, diagnose):
    """Batches of two sizes leave other totals, as rows from elsewhere do."""
    (cause,) = diagnose(*separate(base, updates, 20, 12)).causes
    assert (cause.code, cause.certainty) == ("unexplained", "cannot tell")


def test_a_moving_average_of_one_step_is_not_called_one_update(base, updates, diagnose):
    """0.999 of the first file and 0.001 of the second: nearly one update lies between that and the second."""
    a, b = base(), updates(base(), 1, unhit=(5, 6, 7))[0].after
    average = {name: 0.999 * a[name] + 0.001 * b[name] for name in a}
    updated = diagnose(a, b).of("ema-updates")
    assert (updated.certainty, updated.evidence.precision) == ("certain", "exact")
    found = diagnose(average, b).of("ema-updates")
    assert found is None or found.evidence.precision != "exact"


def test_bfloat16_tells_no_direction(base, updates, diagnose):
    """A step of bfloat16 is nearly as wide as an update."""
    after = updates(base(), 37, unhit=range(20))[0].after
    for a, b in ((base(), after), (after, base())):
        found = diagnose(*({name: value.bfloat16() for name, value in state.items()} for state in (a, b)))
        assert found.of("ema-updates").evidence.order == "unknown"


def test_float16_tells_the_direction_of_many_unhit_codes(base, updates, diagnose, narrowed):
    """There it is: the bound on rounding leaves updates of unhit codes visible."""
    after = updates(base(), 37, unhit=range(20))[0].after
    orders = [
        diagnose(narrowed(a), narrowed(b)).of("ema-updates").evidence.order
        for a, b in ((base(), after), (after, base()))
    ]
    assert orders == ["a to b", "b to a"]


def test_dead_codes_that_are_set_to_padding_every_time_are_one_witness(diagnose):
    """vector-quantize-pytorch sets dead codes to a frame and a count; where frames are padding, to the same ones."""
    names = {key: f"_codebook.{key}" for key in ("embed", "embed_avg", "cluster_size")}
    generator = torch.Generator().manual_seed(4)
    counts = 5 + 20 * torch.rand(1, 24, generator=generator)
    codes = torch.randn(1, 24, 8, generator=generator)
    counts[:, 12:], codes[:, 12:] = 2.0, codes[:, 12]

    def state(codes, counts):
        return {names["embed"]: codes, names["embed_avg"]: codes * counts[..., None], names["cluster_size"]: counts} | {
            "_codebook.initted": torch.tensor(True)
        }

    after, used = counts.clone(), codes.clone()
    after[:, :12] = counts[:, :12] * torch.linspace(0.9, 1.1, 12)
    used[:, :12] += 0.05 * torch.randn(1, 12, 8, generator=generator)
    assert "edited" not in told(diagnose(state(codes, counts), state(used, after)))


def test_updates_do_not_hide_that_a_file_is_broken(base, updates, diagnose):
    """Both are told, and nobody is advised to keep the broken file."""
    after = {name: value.clone() for name, value in updates(base(), 5, unhit=(1, 2, 3))[0].after.items()}
    after[EMBED][9, 4] = torch.nan
    result = diagnose(base(), after)
    assert [type(cause.evidence) for cause in result.causes] == [NotFinite, EmaUpdates]
    assert [advice.code for advice in result.advice] == ["get-a-sound-file"]
    assert "broken" in headline(result)


def signs_flipped(state):
    zero = state | {EMBED: state[EMBED].clone()}
    zero[EMBED][3, 2] = 0.0
    return zero, zero | {EMBED: torch.where(zero[EMBED] == 0, -0.0, zero[EMBED])}


@pytest.mark.parametrize("what", ["signs", "counts", "bookkeeping"])
def test_tokens_are_kept_where_a_lookup_reads_the_same(base, updates, diagnose, what):
    """Then no token differs, and none has to be made again."""
    after = updates(base(), 5, unhit=(1, 2, 3))[0].after
    a, b = {
        "signs": signs_flipped(base()),
        "counts": (base(), base() | {COUNTS: base()[COUNTS] / 2}),
        "bookkeeping": (base(), after | {EMBED: base()[EMBED]}),
    }[what]
    result = diagnose(a, b)
    assert result.advice[0].code == "keep-tokens"
    assert "extract-tokens-again" not in {advice.code for advice in result.advice}
    assert "every value" not in headline(result)


def test_tokens_are_made_again_where_codes_or_the_projection_moved(base, updates, diagnose):
    """The other way round: whatever a lookup reads and differs calls for new tokens."""
    a = base()
    projection = a | {"ssl_proj.bias": a["ssl_proj.bias"] + 0.1, COUNTS: a[COUNTS] / 2}
    for b in (updates(a, 5)[0].after, projection):
        assert "extract-tokens-again" in {advice.code for advice in diagnose(a, b).advice}


def test_tokens_of_derived_codes_hang_on_sums_and_counts(diagnose):
    """Mimi's codes are sums over counts: what changes only these changes tokens."""
    path = "quantizer.semantic_residual_vector_quantizer.layers.0.codebook"
    generator = torch.Generator().manual_seed(2)
    counts = 5 + torch.rand(16, generator=generator)
    a = {
        f"{path}.initialized": torch.ones(1),
        f"{path}.cluster_usage": counts,
        f"{path}.embed_sum": torch.randn(16, 4, generator=generator),
    }
    result = diagnose(a, a | {f"{path}.cluster_usage": counts / 2})
    assert "keep-tokens" not in {advice.code for advice in result.advice}
