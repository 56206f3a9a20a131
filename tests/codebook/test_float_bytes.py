"""Widening loses nothing: every half-precision value becomes the float32 that torch makes of it."""

import numpy as np
import pytest
import torch

from vqcheck.codebook import float_bytes as module
from vqcheck.codebook.float_bytes import widen

EIGHT_BITS = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]


@pytest.fixture(params=["with numpy", "without numpy"])
def way(request, monkeypatch):
    """Whether numpy is at hand, which is the quicker way."""
    monkeypatch.setattr(module, "_has_numpy", lambda: request.param == "with numpy")


@pytest.mark.usefixtures("way")
def test_every_float16_becomes_its_float32_bit_for_bit():
    """All 65,536 patterns agree with IEEE 754: signed zeros, subnormal values, infinities and NaN payloads."""
    patterns = np.arange(65536, dtype="<u2")
    widened = np.frombuffer(widen(patterns.tobytes(), "float16"), "<u4")
    halves = patterns.view("<f2")
    expected = halves.astype("<f4").view("<u4")
    numbers = ~np.isnan(halves)
    assert np.array_equal(widened[numbers], expected[numbers])
    payload = (patterns.astype("<u4") & 0x3FF) << 13 | 0x7F800000 | (patterns.astype("<u4") & 0x8000) << 16
    assert np.array_equal(widened[~numbers], payload[~numbers])


def test_a_tensor_of_subnormal_values_takes_no_step_for_each(monkeypatch):
    """Otherwise a file of 128 MB could take a minute. The values are the same, signs and zeros included."""
    monkeypatch.setattr(module, "_has_numpy", lambda: False)
    module._float16_table()
    monkeypatch.setattr(module, "re", None)
    patterns = np.tile(np.concatenate([np.arange(0x0400), np.arange(0x8000, 0x8400), [0x3C00]]).astype("<u2"), 8)
    widened = np.frombuffer(widen(patterns.tobytes(), "float16"), "<u4")
    assert np.array_equal(widened, patterns.view("<f2").astype("<f4").view("<u4"))


def test_a_tensor_full_of_zeros_takes_neither_a_loop_nor_numpy(monkeypatch):
    """Counts of a codebook that was never trained are zeros; a few subnormal values among them are kept."""
    monkeypatch.setattr(module, "_has_numpy", lambda: False)
    monkeypatch.setattr(module, "_float16_by_table", None)
    patterns = np.zeros(50_000, "<u2")
    patterns[::2] = 0x8000
    patterns[[7, 100]] = 1, 0x8001
    widened = np.frombuffer(widen(patterns.tobytes(), "float16"), "<u4")
    assert np.array_equal(widened, patterns.view("<f2").astype("<f4").view("<u4"))


def test_every_bfloat16_becomes_its_float32_bit_for_bit():
    """All 65,536 patterns are the upper half of their float32."""
    patterns = np.arange(65536, dtype="<u2")
    widened = np.frombuffer(widen(patterns.tobytes(), "bfloat16"), "<u4")
    assert np.array_equal(widened, patterns.astype("<u4") << 16)


@pytest.mark.parametrize("dtype", EIGHT_BITS)
def test_every_float8_becomes_the_float32_torch_makes_of_it(dtype):
    """All 256 patterns of each 8-bit format agree with torch; a NaN is a NaN."""
    if not hasattr(torch, dtype):
        pytest.skip(f"this torch has no {dtype}")
    patterns = torch.arange(256, dtype=torch.uint8)
    expected = patterns.view(getattr(torch, dtype)).float().numpy()
    widened = np.frombuffer(widen(patterns.numpy().tobytes(), dtype), "<f4")
    assert np.array_equal(np.isnan(widened), np.isnan(expected))
    numbers = ~np.isnan(expected)
    assert np.array_equal(widened[numbers].view("<u4"), expected[numbers].view("<u4"))


def test_wide_types_are_left_alone():
    """A float32, float64 or integer tensor is returned as it is."""
    data = bytes(range(64))
    assert all(widen(data, dtype) == data for dtype in ("float32", "float64", "int64", "bool"))
