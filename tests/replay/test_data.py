"""Batches are upstream's: who is in them, in which order, and with which padding."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcheck.errors import UsageError
from vqcheck.replay.batches import (
    FLOW_BOUNDARIES,
    Item,
    ModelInputs,
    collate,
    endless_batches,
    epoch_batches,
    fit_features,
    is_kept,
)
from vqcheck.replay.generated_data import GeneratedData
from vqcheck.synthesizer import preset


def item(frames, samples=None, letters=3, ssl_frames=None):
    return Item(
        name=f"item of {frames}",
        ssl=torch.ones(4, ssl_frames or frames),
        spec=torch.ones(5, frames),
        wav=torch.ones(1, samples or frames * 10),
        text=torch.ones(letters, dtype=torch.int64),
    )


@pytest.mark.parametrize(("longest", "padded"), [(40, 42), (41, 42), (42, 44)])
def test_frames_are_padded_to_an_even_number_above_the_longest(longest, padded):
    """Padding is strictly longer than an even longest item, and zero."""
    batch = collate([item(30), item(longest, letters=7)])
    assert batch.ssl.shape == (2, 4, padded)
    assert batch.spec.shape == (2, 5, padded)
    assert batch.wav.shape == (2, 1, longest * 10)
    assert batch.text.shape == (2, 7)
    assert float(batch.ssl[:, :, longest:].abs().sum()) == 0
    assert int(batch.text[1, 3:].sum()) == 0


def test_rows_stand_by_length():
    """The longest spectrogram comes first, and lengths are the true ones."""
    batch = collate([item(33), item(50, letters=2), item(40)])
    assert batch.spec_lengths.tolist() == [50, 40, 33]
    assert batch.text_lengths.tolist() == [2, 3, 3]


@pytest.mark.parametrize(("features", "fitted"), [(39, 40), (40, 40), (41, 42), (38, 39)])
def test_one_frame_is_repeated_whatever_the_difference(features, fitted):
    """Where features and spectrogram differ in length, exactly the last frame is repeated, once."""
    ssl = torch.arange(features).float()[None]
    result = fit_features(ssl, 40)
    assert result.size(1) == fitted
    assert float(result[0, -1]) == features - 1


def test_frames_that_cannot_be_aligned_are_an_error():
    """A batch whose features and audio disagree names the item instead of failing inside the network."""
    with pytest.raises(UsageError, match="'item of 60': its features have 50 frames, its audio 60"):
        collate([item(40), item(60, ssl_frames=50)])


@given(
    st.lists(st.integers(1, 2000), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_every_kept_item_is_in_whole_batches(lengths, size, world, epoch):
    """Whatever the lengths, all processes get as many whole batches, and every item that is kept is in one of them."""
    shares = [epoch_batches(lengths, epoch, size, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch) == size for share in shares for batch in share)
    seen = Counter(position for share in shares for batch in share for position in batch)
    assert set(seen) == {position for position, length in enumerate(lengths) if is_kept(length)}


def test_batches_hold_items_of_similar_length():
    """A short and a long item are never in one batch, and items of 32 frames or more than 1900 in none."""
    lengths = [32, 33, 299, 300, 301, 400, 1900, 1901]
    batches = epoch_batches(lengths, 1, 4)
    buckets = [{lengths[position] for position in batch} for batch in batches]
    assert sorted(map(sorted, buckets)) == [[33, 299, 300], [301, 400], [1900]]


def test_v3_and_v4_leave_out_what_is_longer_than_20_seconds():
    """Their last bucket ends at 1000 frames."""
    batches = epoch_batches([33, 1000, 1001, 1900], 1, 1, boundaries=FLOW_BOUNDARIES)
    assert sorted(batches) == [[0], [1]]


@pytest.mark.parametrize("version", ["v3", "v4"])
@pytest.mark.parametrize("longest", [40, 47, 48, 49, 55, 56, 57])
def test_the_mel_is_padded_as_upstream_does(version, longest):
    """By 15 frames for each 8 of the features in v3, to twice the spectrogram in v4; with 0, and always long enough."""
    target = preset(version).mel
    frames = int((longest + 0.99) * target.frames)  # the most that its samples can give
    shorter, longer = (replace(item(n), mel=torch.ones(100, m)) for n, m in ((34, 50), (longest, frames)))
    batch = collate([shorter, longer], target)
    width = {"v3": int(8 * (longest // 8 + 1) * 1.25 * 1.5), "v4": 2 * batch.spec.size(2)}[version]
    assert batch.mel.shape == (2, 100, width)
    assert batch.mel_lengths.tolist() == [frames, 50]
    assert float(batch.mel[1, :, 50:].abs().sum()) == 0
    fea = int(batch.ssl.size(2) * target.frames)
    assert frames <= min(fea, width)


def test_epochs_differ_and_repeat():
    """The order of an epoch is drawn from its number alone."""
    lengths = [50] * 20
    assert epoch_batches(lengths, 1, 4) == epoch_batches(lengths, 1, 4)
    assert epoch_batches(lengths, 1, 4) != epoch_batches(lengths, 2, 4)
    plan = endless_batches(lengths, 4)
    assert [next(plan)[0] for _ in range(11)] == [1] * 5 + [2] * 5 + [3]
    assert list(endless_batches([10, 20], 4)) == []


def test_generated_data_look_like_features():
    """Generated features have the scale of real ones, dwell on their targets, and repeat with their seed."""
    inputs = ModelInputs(preset("tiny").spectrogram, 64, 732)
    data, again, other = (GeneratedData(8, seed, inputs) for seed in (1, 1, 2))
    ssl = torch.cat([data.item(i).ssl for i in range(8)], dim=1)
    assert torch.equal(data.item(3).ssl, again.item(3).ssl)
    assert not torch.equal(data.item(3).ssl[:, :40], other.item(3).ssl[:, :40])
    assert 0.2 < float(ssl.std()) < 0.8
    assert abs(float(ssl.mean())) < 0.1
    neighbours = torch.corrcoef(torch.stack([ssl[:, :-1].flatten(), ssl[:, 1:].flatten()]))[0, 1]
    assert 0.5 < float(neighbours) < 0.95
