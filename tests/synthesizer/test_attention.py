"""Relative attention against its definition, entry by entry."""

import math

import pytest
import torch

from vqcheck.synthesizer.attention import MultiHeadAttention, band_to_matrix, matrix_to_band


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 20])
@pytest.mark.parametrize("window", [1, 4])
def test_band_and_matrix_are_each_others_layout(size, window):
    """Entry (i, r) of the band is entry (i, i + r - window) of the matrix, for sizes below and above the window."""
    torch.manual_seed(0)
    band = torch.randn(2, 3, size, 2 * window + 1)
    matrix = band_to_matrix(band, window)
    assert matrix.shape == (2, 3, size, size)
    for i in range(size):
        for j in range(size):
            r = j - i + window
            expected = band[..., i, r] if 0 <= r <= 2 * window else torch.zeros(2, 3)
            assert torch.equal(matrix[..., i, j], expected)
    back = matrix_to_band(matrix, window)
    columns = torch.arange(size)[:, None] + torch.arange(2 * window + 1) - window
    inside = (columns >= 0) & (columns < size)
    assert torch.equal(back, band * inside)


def test_attention_is_its_definition():
    """One query at a time, with every term written out, gives the same output."""
    torch.manual_seed(0)
    heads, head, size, window = 2, 4, 7, 2
    attention = MultiHeadAttention(heads * head, heads, window=window).eval()
    x = torch.randn(1, heads * head, size)
    mask = (torch.rand(1, 1, size, size) > 0.3).float()
    query, key, value = (
        conv(x)[0].view(heads, head, size) for conv in (attention.conv_q, attention.conv_k, attention.conv_v)
    )
    expected = torch.zeros(heads, head, size)
    for h in range(heads):
        for i in range(size):
            scores = []
            for j in range(size):
                against = key[h, :, j]
                if abs(j - i) <= window:
                    against = against + attention.emb_rel_k[0, j - i + window]
                score = query[h, :, i] @ against / math.sqrt(head)
                scores.append(score if mask[0, 0, i, j] else torch.tensor(-1e4))
            weights = torch.stack(scores).softmax(0)
            for j in range(size):
                what = value[h, :, j]
                if abs(j - i) <= window:
                    what = what + attention.emb_rel_v[0, j - i + window]
                expected[h, :, i] += weights[j] * what
    expected = attention.conv_o(expected.reshape(1, heads * head, size))
    torch.testing.assert_close(attention(x, x, mask), expected)


def test_fully_masked_rows_are_uniform():
    """A query that may see nothing sees the mean of everything, and is no NaN."""
    attention = MultiHeadAttention(4, 1).eval()
    x = torch.randn(1, 4, 5)
    expected = attention.conv_o(attention.conv_v(x).mean(dim=2, keepdim=True)).expand(1, 4, 5)
    torch.testing.assert_close(attention(x, x, torch.zeros(1, 1, 5, 5)), expected)
