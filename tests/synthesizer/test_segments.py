"""Random segments stay inside their items."""

import pytest
import torch

from vqcheck.synthesizer import InputError, rand_slice_segments, slice_segments


def test_segments_are_cut_where_they_start():
    """Row b of the result is the piece of row b that begins at its start, the last possible one included."""
    x = torch.arange(2 * 3 * 10).view(2, 3, 10)
    starts = torch.tensor([0, 6])
    assert torch.equal(slice_segments(x, starts, 4), torch.stack([x[0, :, 0:4], x[1, :, 6:10]]))


def test_gradient_reaches_the_segment_only():
    """The rest of the item gets a gradient of zero."""
    x = torch.zeros(1, 1, 6, requires_grad=True)
    slice_segments(x, torch.tensor([2]), 3).sum().backward()
    assert x.grad.flatten().tolist() == [0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("start", [-1, 7])
def test_segments_outside_are_refused(start):
    """A start before the item or too near its end is named."""
    with pytest.raises(InputError, match=rf"starts: expected values in 0..6 .*x \[1, 2, 10\].* given {start}..{start}"):
        slice_segments(torch.zeros(1, 2, 10), torch.tensor([start]), 4)


def test_segments_longer_than_the_item_are_refused():
    """A segment that is longer than the whole tensor is named."""
    with pytest.raises(InputError, match="size: expected at most the 10 frames of x, given 11"):
        slice_segments(torch.zeros(1, 2, 10), torch.tensor([0]), 11)


def test_random_segments_stay_within_the_lengths():
    """Over many draws the starts reach both ends of what the lengths allow, and never leave it."""
    torch.manual_seed(0)
    x = torch.arange(12.0).expand(2, 1, 12)
    drawn = []
    for _ in range(300):
        segments, starts = rand_slice_segments(x, torch.tensor([12, 5]), 4)
        assert torch.equal(segments[:, 0, 0], starts.float())
        drawn.append(starts)
    starts = torch.stack(drawn)
    assert starts[:, 0].unique().tolist() == list(range(9))
    assert starts[:, 1].unique().tolist() == [0, 1]


@pytest.mark.parametrize("lengths", [[12, 3], [13, 5]])
def test_lengths_without_room_are_refused(lengths):
    """A length below a segment or beyond the tensor is named."""
    message = rf"lengths: expected values in 4..12 .* given {min(lengths)}..{max(lengths)}"
    with pytest.raises(InputError, match=message):
        rand_slice_segments(torch.zeros(2, 1, 12), torch.tensor(lengths), 4)
