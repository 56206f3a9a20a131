"""Displacement, retention and token flips are what they are said to be."""

import numpy as np
import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.codebook.diagnosis import flips
from vqcheck.codebook.diagnosis.book import Book, State
from vqcheck.codebook.diagnosis.displacement import measure as displaced
from vqcheck.codebook.family import Family
from vqcheck.codebook.tokenizer import Features
from vqcheck.errors import UsageError

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED = f"{CODEBOOK}.embed"


def displacement(diagnosis):
    (found,) = diagnosis.displacement
    return found


def test_displacement_is_in_units_of_half_the_distance_to_the_nearest_neighbour(base, diagnose):
    """Each figure is the one that all pairs of codes give when they are calculated one by one."""
    start = base()
    after = start | {EMBED: start[EMBED] + 0.3 * torch.randn(64, 16, generator=torch.Generator().manual_seed(4))}
    a, b = (state[EMBED].double() for state in (start, after))
    between = torch.cdist(a, a) + torch.diag(torch.full((64,), torch.inf))
    expected = (b - a).norm(dim=1) / (between.min(dim=1).values / 2)
    found = displacement(diagnose(start, after))
    assert found.codes == 64
    assert found.median == pytest.approx(np.median(expected))
    assert found.p99 == pytest.approx(np.percentile(expected, 99))
    assert (found.maximum, found.maximum_code) == (pytest.approx(expected.max().item()), expected.argmax().item())
    assert found.above_one == (expected > 1).sum()
    assert found.retained == (torch.cdist(a, b).argmin(dim=1) == torch.arange(64)).sum()


def test_displacement_below_one_retains_every_code(base, diagnose):
    """Codes that all moved less than half the way to their neighbour are all still nearest to themselves."""
    start = base()
    a = start[EMBED]
    half = (torch.cdist(a, a) + torch.diag(torch.full((64,), torch.inf))).min(dim=1).values / 2
    direction = torch.nn.functional.normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(5)), dim=1)
    found = displacement(diagnose(start, start | {EMBED: a + 0.99 * half[:, None] * direction}))
    assert found.maximum == pytest.approx(0.99, rel=1e-4)
    assert (found.above_one, found.retained) == (0, 64)


def test_codes_that_coincide_or_are_not_finite_are_left_out(base, diagnose):
    """A distance of zero is no unit, and NaN no distance; the other codes are still measured."""
    start = base()
    start[EMBED][1] = start[EMBED][0]
    after = start | {EMBED: start[EMBED] * 1.01}
    after[EMBED][2] = torch.nan
    found = displacement(diagnose(start, after))
    assert found.codes == 61
    assert np.isfinite([found.median, found.p99, found.maximum]).all()


def test_a_lookup_by_cosine_takes_no_notice_of_length(base):
    """Where directions are compared, longer codes have not moved; by Euclidean distance they have."""
    codes = base()[EMBED].numpy()[None]
    euclidean = Family("euclidean", "Euclidean", (), metric="euclidean")
    cosine = Family("cosine", "Cosine", (), metric="cosine")
    pair = State(codes, None, None), State(codes * 1.5, None, None)
    assert displaced(Book(0, euclidean, *pair, frozenset({"codes"}))).median > 0.1
    found = displaced(Book(0, cosine, *pair, frozenset({"codes"})))
    assert (found.retained, found.maximum) == (64, pytest.approx(0, abs=1e-6))


def measure(save, a, b, features):
    with open_checkpoint(save(a, "a.pth")) as first, open_checkpoint(save(b, "b.pth")) as second:
        return flips.measure(first, second, "somewhere", features)


def tokens(state, features):
    """Return tokens as GPT-SoVITS's own layers derive them."""
    weight, bias = state["ssl_proj.weight"], state["ssl_proj.bias"]
    frames = torch.nn.functional.conv1d(torch.as_tensor(features)[None], weight, bias, stride=weight.shape[2])[0].T
    return torch.cdist(frames.double(), state[EMBED].double()).argmin(dim=1)


def recordings(count=5):
    generator = torch.Generator().manual_seed(6)
    return [Features(f"{n}.wav", (3 * torch.randn(16, 101 + n, generator=generator)).numpy()) for n in range(count)]


@pytest.mark.parametrize("kernel", [1, 2])
def test_flips_are_the_frames_that_get_another_token(base, save, kernel):
    """Frames, items, codes and what they mostly turn into agree with tokens derived by torch, at 25 and at 50 Hz."""
    a = base()
    a["ssl_proj.weight"] = a["ssl_proj.weight"][..., :kernel].contiguous()
    b = a | {EMBED: a[EMBED] + 0.5 * torch.randn(64, 16, generator=torch.Generator().manual_seed(4))}
    found = measure(save, a, b, recordings())
    pairs = [(tokens(a, item.values), tokens(b, item.values)) for item in recordings()]
    before, after = (torch.cat(side) for side in zip(*pairs, strict=True))
    assert (found.items, found.frames, found.flipped) == (5, len(before), (before != after).sum())
    assert 0 < found.flipped < found.frames
    for code in found.codes:
        mine = before == code.code
        moved = after[mine & (before != after)]
        assert (code.frames, code.flipped) == (mine.sum(), len(moved))
        assert (moved == code.mostly).sum() == torch.bincount(moved).max()
    assert [code.flipped for code in found.codes] == sorted((code.flipped for code in found.codes), reverse=True)
    shares = {item.item: (x != y).float().mean().item() for item, (x, y) in zip(recordings(), pairs, strict=True)}
    assert [item.item for item in found.worst] == sorted(shares, key=lambda item: -shares[item])


def test_a_trained_projection_flips_tokens_too(base, save):
    """Each side goes through its own projection."""
    a = base()
    b = a | {"ssl_proj.weight": a["ssl_proj.weight"] * 1.5}
    found = measure(save, a, b, recordings())
    expected = sum(int((tokens(a, item.values) != tokens(b, item.values)).sum()) for item in recordings())
    assert found.flipped == expected > 0


def test_a_side_without_projection_borrows_the_others(base, save):
    """A LoRA export leaves ssl_proj to its base model: its tokens are derived with the base's."""
    a = base()
    b = {name: value for name, value in a.items() if not name.startswith("ssl_proj")} | {EMBED: a[EMBED] * 1.2}
    b["cfm.x.lora_A.weight"] = torch.zeros(2, 2)
    found = measure(save, a, b, recordings())
    assert found.borrowed == "B"
    assert found.frames == sum(item.values.shape[1] // 2 for item in recordings())


def test_unusable_recordings_are_named_and_the_rest_is_measured(base, save):
    """Wrong channels, NaN, a recording too short and an unreadable file are skipped with their reasons."""
    nan = np.full((16, 10), np.nan, np.float32)
    bad = [
        Features("channels", np.zeros((8, 10), np.float32)),
        Features("nan", nan),
        Features("short", np.zeros((16, 1), np.float32)),
        Features("broken", None, "is empty"),
    ]
    a = base()
    found = measure(save, a, a | {EMBED: a[EMBED] * 1.2}, [*bad, *recordings(1)])
    assert found.items == 1
    assert dict(found.skipped) == {
        "channels": "has 8 channels where the VQ encoder takes 16",
        "nan": "holds NaN or infinity",
        "short": "is shorter than one token",
        "broken": "is empty",
    }


def test_no_usable_recording_is_no_measurement(base, save):
    """Nothing measured is an error, never zero flips."""
    a = base()
    with pytest.raises(UsageError, match="no usable features: x: is empty"):
        measure(save, a, a | {EMBED: a[EMBED] * 1.2}, [Features("x", None, "is empty")])
