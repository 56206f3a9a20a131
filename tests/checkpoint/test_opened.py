"""No matter how torch or safetensors stored a tensor, what is read equals torch's own bytes, and no more is read."""

import os
from dataclasses import replace as replace_fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.stored_tensor import ITEM_SIZE
from vqcheck.errors import CheckpointError


def save_zip(state, path):
    torch.save(state, path)


def save_legacy(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


FORMATS = {"torch zip": save_zip, "torch legacy": save_legacy, "safetensors": save_file}
TORCH_FORMATS = [save_zip, save_legacy]


def random_bits(dtype, count):
    """Return elements of any bit pattern, NaN payloads included."""
    bits = torch.randint(0, 2 if dtype == "bool" else 256, (count * ITEM_SIZE[dtype],), dtype=torch.uint8)
    return bits.view(getattr(torch, dtype))


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("dtype", ITEM_SIZE)
def test_every_element_type_is_read_bit_by_bit_from_every_format(dtype, format_name, tmp_path, torch_bytes, read_all):
    tensor = random_bits(dtype, 24).reshape(2, 3, 4)
    FORMATS[format_name]({"t": tensor}, tmp_path / "a")
    assert read_all(tmp_path / "a") == {"t": (dtype, (2, 3, 4), torch_bytes(tensor))}
    with open_checkpoint(tmp_path / "a") as checkpoint:
        assert checkpoint.format == format_name


@st.composite
def views(draw):
    """Return a tensor of any shape, strides (zero included) and offset over a storage that just holds it."""
    dtype = draw(st.sampled_from(sorted(ITEM_SIZE)))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    stride = draw(st.lists(st.integers(0, 7), min_size=len(shape), max_size=len(shape)))
    offset = draw(st.integers(0, 5))
    reach = sum((length - 1) * step for length, step in zip(shape, stride, strict=True) if length)
    count = offset + reach + 1 + draw(st.integers(0, 3))
    return dtype, random_bits(dtype, count).as_strided(shape, stride, offset)


@settings(max_examples=150, deadline=None)
@given(view=views(), save=st.sampled_from(TORCH_FORMATS))
def test_no_matter_the_strides_a_view_is_read_as_torch_reads_it(view, save, tmp_path_factory, torch_bytes, read_all):
    dtype, tensor = view
    path = tmp_path_factory.getbasetemp() / "view.pth"
    save({"t": tensor}, path)
    assert read_all(path) == {"t": (dtype, tuple(tensor.shape), torch_bytes(tensor))}


@settings(max_examples=50, deadline=None)
@given(dtype=st.sampled_from(sorted(ITEM_SIZE)), shape=st.lists(st.integers(0, 5), max_size=4))
def test_no_matter_the_shape_a_safetensors_entry_is_read_as_the_library_wrote_it(
    dtype, shape, tmp_path_factory, torch_bytes, read_all
):
    tensor = random_bits(dtype, torch.Size(shape).numel()).reshape(shape)
    path = tmp_path_factory.getbasetemp() / "dense.safetensors"
    save_file({"t": tensor, "other": torch.ones(3)}, path)
    assert read_all(path)["t"] == (dtype, tuple(shape), torch_bytes(tensor))


@pytest.mark.parametrize("save", TORCH_FORMATS)
def test_tensors_that_share_a_storage_are_each_read_as_their_own_view(save, tmp_path, torch_bytes, read_all):
    base = torch.randn(6, 5)
    state = {"whole": base, "turned": base.t(), "row": base[2], "column": base[:, 3], "wide": base[0].expand(4, 5)}
    save(state, tmp_path / "a.pth")
    assert {name: found[2] for name, found in read_all(tmp_path / "a.pth").items()} == {
        name: torch_bytes(tensor) for name, tensor in state.items()
    }


def test_pieces_of_a_tensor_join_to_what_reading_it_whole_returns(tmp_path):
    state = {"large": torch.randn(300, 400), "turned": torch.randn(30, 40).t(), "none": torch.ones(0, 3)}
    torch.save(state, tmp_path / "a.pth")
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        for tensor in checkpoint.tensors.values():
            assert b"".join(checkpoint.pieces(tensor)) == checkpoint.read(tensor)


@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_only_the_index_and_the_bytes_asked_for_are_read(save, tmp_path, torch_bytes, monkeypatch):
    state = {"wanted": torch.randn(10, 10), "model": torch.randn(500_000), "other": torch.randn(250_000)}
    save(state, tmp_path / "a")
    read = []
    original = PositionedFile.read
    monkeypatch.setattr(PositionedFile, "read", lambda *a: read.append(a[2]) or original(*a))
    with open_checkpoint(tmp_path / "a") as checkpoint:
        opening = sum(read)
        assert bytes(checkpoint.read(checkpoint.tensors["wanted"])) == torch_bytes(state["wanted"])
        # A zip member's own header, of some dozen bytes, is read with the first bytes of the member.
        assert 400 <= sum(read) - opening < 700
        checkpoint.read(checkpoint.tensors["model"])
        assert sum(read) - opening > 2_000_000
    # A legacy file is scanned for the end of its pickles in one window; the rest of 3 MB stays unread.
    assert opening < 1_200_000 if save is save_legacy else opening < 80_000


def test_a_tensor_is_read_though_every_other_storage_is_a_hole(tmp_path, torch_bytes):
    state = {"wanted": torch.randn(10, 10), "other": torch.randn(100_000)}
    torch.save(state, tmp_path / "a.pth")
    data = (tmp_path / "a.pth").read_bytes()
    at = data.index(torch_bytes(state["other"]))
    with open(tmp_path / "a.pth", "r+b") as file:
        file.seek(at)
        file.write(bytes(400_000))
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert bytes(checkpoint.read(checkpoint.tensors["wanted"])) == torch_bytes(state["wanted"])
        assert bytes(checkpoint.read(checkpoint.tensors["other"])) == bytes(400_000)


def truncate(path):
    os.truncate(path, 2_000)


def append(path):
    with open(path, "ab") as file:
        file.write(b"more")


def replace(path):
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


def overwrite(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\x01")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("disturb", [truncate, append, replace, overwrite, os.unlink])
def test_a_file_that_is_disturbed_while_it_is_open_is_refused_in_the_end(disturb, save, tmp_path):
    path = tmp_path / "a.pth"
    save({"t": torch.randn(1000), "u": torch.randn(10)}, path)

    def check():
        with open_checkpoint(path) as checkpoint:
            checkpoint.read(checkpoint.tensors["u"])
            disturb(path)

    with pytest.raises(CheckpointError, match=r"a\.pth: was written or replaced while it was read"):
        check()


@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_a_file_that_is_left_alone_while_it_is_open_is_accepted(save, tmp_path):
    save({"t": torch.randn(1000)}, tmp_path / "a.pth")
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert len(checkpoint.read(checkpoint.tensors["t"])) == 4000
        checkpoint.check_unchanged()


@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_reading_from_a_file_that_was_truncated_meanwhile_fails_cleanly(save, tmp_path):
    path = tmp_path / "a.pth"
    save({"t": torch.randn(100_000)}, path)
    checkpoint = open_checkpoint(path)
    truncate(path)
    with pytest.raises(CheckpointError, match="truncated while it was read"):
        checkpoint.read(checkpoint.tensors["t"])
    checkpoint.close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.ones(2, dtype=torch.complex64), "element type complex64 is not supported"),
        (lambda: torch.ones(2, dtype=torch.complex128), "element type complex128 is not supported"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "is quantised"),
        (lambda: torch.eye(2).to_sparse(), "is sparse"),
        (lambda: torch.ones(2, device="meta"), "is a tensor without data"),
        (lambda: torch._neg_view(torch.ones(2)), "signs"),
    ],
    ids=["complex64", "complex128", "quantised", "sparse", "meta", "lazily negated"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tensor_that_cannot_be_read_is_refused_by_name_and_only_when_it_is_read(make, reason, tmp_path):
    torch.save({"plain": torch.ones(2), "odd.name": make()}, tmp_path / "a.pth")
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        assert bytes(checkpoint.read(checkpoint.tensors["plain"])) == b"\x00\x00\x80\x3f" * 2
        with pytest.raises(CheckpointError, match=rf"a\.pth: odd\.name: .*{reason}"):
            checkpoint.read(checkpoint.tensors["odd.name"])


def test_a_complex_safetensors_entry_is_refused_by_name_and_only_when_it_is_read(tmp_path):
    save_file({"plain": torch.ones(2), "odd": torch.ones(2, dtype=torch.complex64)}, tmp_path / "a.safetensors")
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        assert checkpoint.read(checkpoint.tensors["plain"])
        with pytest.raises(CheckpointError, match="odd: element type complex64 is not supported"):
            checkpoint.read(checkpoint.tensors["odd"])


def test_a_tensor_larger_than_any_codebook_is_refused_before_it_is_read(put, torch_pickle, zip_bytes, claim):
    zero_strides = torch_pickle({"t": claim(size=(1 << 20, 1 << 20), stride=(0, 0), count=4)})
    with (
        open_checkpoint(put(zip_bytes(zero_strides, {"0": bytes(16)}))) as checkpoint,
        pytest.raises(CheckpointError, match=r"t: claims \d+ bytes, more than"),
    ):
        checkpoint.read(checkpoint.tensors["t"])


def test_a_tensor_spread_over_more_than_any_codebook_is_refused_before_it_is_read(tmp_path):
    torch.save({"t": torch.ones(2)}, tmp_path / "a.pth")
    with open_checkpoint(tmp_path / "a.pth") as checkpoint:
        tensor = checkpoint.tensors["t"]
        assert len(checkpoint.read(tensor)) == 8
        spread = replace_fields(tensor, stride=(1 << 28,), extent=replace_fields(tensor.extent, size=1 << 40))
        with pytest.raises(CheckpointError, match="t: is spread over 1073741828 bytes"):
            checkpoint.read(spread)
