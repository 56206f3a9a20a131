"""Between codebooks of two shapes only what is common to the last bit is told, and nothing else is certain."""

import pytest
import torch

from vqcheck.codebook.diagnosis.evidence import OtherShape
from vqcheck.report.views.causes import headline

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED, SUMS, COUNTS = (f"{CODEBOOK}.{name}" for name in ("embed", "embed_avg", "cluster_size"))


def rows(state, chosen):
    """Return the state with some of its codes alone."""
    return state | {name: state[name][chosen] for name in (EMBED, SUMS, COUNTS)}


def channels(state, count):
    return state | {name: state[name][:, :count] for name in (EMBED, SUMS)}


def the_other(side):
    return "B" if side == "A" else "A"


@pytest.mark.parametrize("part", ["A", "B"])
@pytest.mark.parametrize(
    ("chosen", "in_place"), [(slice(0, 32), True), (slice(0, 1), True), (slice(32, 64), False), ([5, 3, 60], False)]
)
def test_a_part_is_named_as_one_and_as_nothing_more(base, diagnose, part, chosen, in_place):
    """A cut codebook is no other one: which file is the part, and whether tokens kept their numbers, is certain."""
    whole, cut = base(), rows(base(), chosen)
    result = diagnose(*((cut, whole) if part == "A" else (whole, cut)))
    (cause,) = result.causes
    found = cause.evidence
    assert isinstance(found, OtherShape)
    assert (found.part, found.shared, found.in_place, found.rounded_to) == (part, len(cut[EMBED]), in_place, "")
    assert f"{part} is a part of {the_other(part)}" in headline(result)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_part_is_seen_through_a_rounding(base, diagnose, dtype):
    """An export of a part is one, too, and no rounding of the whole."""
    cut = {name: value.to(dtype) for name, value in rows(base(), slice(0, 32)).items()}
    (cause,) = diagnose(base(), cut).causes
    assert (cause.evidence.part, cause.evidence.shared) == ("B", 32)
    assert cause.evidence.rounded_to == str(dtype).removeprefix("torch.")


def test_a_part_of_which_codes_moved_is_no_part(base, diagnose):
    """How many codes are still common is told, and no more."""
    cut = rows(base(), slice(0, 32))
    cut[EMBED] = cut[EMBED].clone()
    cut[EMBED][[2, 9]] += 1
    result = diagnose(base(), cut)
    (cause,) = result.causes
    assert (cause.evidence.part, cause.evidence.shared, cause.evidence.in_place) == ("", 30, True)
    assert "a part of" not in headline(result)


def test_codebooks_without_a_common_code_have_other_shapes(base, diagnose):
    """That is all the values say: nobody knows where the smaller one comes from."""
    other = rows(base(seed=8), slice(0, 32)) | {name: base()[name] for name in base() if "ssl" in name}
    result = diagnose(base(), other)
    (cause,) = result.causes
    assert (cause.code, cause.evidence.part, cause.evidence.shared) == ("other-shape", "", 0)
    assert "no token" not in headline(result)


@pytest.mark.parametrize("part", ["A", "B"])
def test_fewer_channels_may_be_a_part(base, diagnose, part):
    """Channels that were cut off leave the others as they were."""
    whole, cut = base(), channels(base(), 8)
    result = diagnose(*((cut, whole) if part == "A" else (whole, cut)))
    found = result.of("other-shape").evidence
    assert (found.part, found.shared, found.in_place) == (part, 64, True)
    other = channels(base(seed=8), 8)
    assert diagnose(whole, other).of("other-shape").evidence.shared == 0


def test_codes_that_are_calculated_have_shapes_too(diagnose):
    """Mimi stores sums and counts alone."""
    path = "quantizer.semantic_residual_vector_quantizer.layers.0.codebook"
    generator = torch.Generator().manual_seed(2)
    sums, counts = torch.randn(16, 4, generator=generator), 5 + torch.rand(16, generator=generator)
    names = (f"{path}.embed_sum", f"{path}.cluster_usage")
    a = {f"{path}.initialized": torch.ones(1)} | dict(zip(names, (sums, counts), strict=True))
    cut = a | dict(zip(names, (sums[:7], counts[:7]), strict=True))
    assert diagnose(a, cut).of("other-shape").evidence.part == "B"
