"""Whatever a path leads to and whatever happens to the file, reading it ends in exact bytes or in one clear error."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


@given(data=st.binary(max_size=200), start=st.integers(-3, 210), size=st.integers(-3, 210))
def test_a_read_returns_exactly_the_bytes_asked_for_or_fails(data, start, size, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(data)
    with PositionedFile(path) as file:
        assert file.size == len(data)
        if start >= 0 and size >= 0 and start + size <= len(data):
            assert file.read(start, size, "piece") == data[start : start + size]
        else:
            with pytest.raises(CheckpointError, match="piece: lies outside the file"):
                file.read(start, size, "piece")


def test_a_read_longer_than_one_chunk_is_whole(put):
    data = os.urandom(9 << 20)
    with PositionedFile(put(data)) as file:
        assert file.read(0, len(data), "all") == data


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
        open_checkpoint(tmp_path / "absent.pth")


def test_an_empty_file_is_named(put):
    with pytest.raises(CheckpointError, match=r"file\.pth: is empty"):
        open_checkpoint(put(b""))


def test_a_folder_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is a directory, expected a checkpoint file"):
        open_checkpoint(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in its file system")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r"pipe: .*is not a regular file"):
        open_checkpoint(tmp_path / "pipe")


def test_a_device_is_refused():
    with pytest.raises(CheckpointError, match="is not a regular file"):
        open_checkpoint(os.devnull)


def test_a_path_that_no_file_can_have_is_refused():
    with pytest.raises(CheckpointError, match=r"a\\x00b: cannot be opened"):
        open_checkpoint("a\0b")


def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CheckpointError, match="loop: cannot be opened"):
        open_checkpoint(tmp_path / "loop")


def test_a_path_that_would_break_the_line_is_escaped_in_messages(put):
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(put(b"", name="two\nlines\x1b[31m.pth"))
    assert str(caught.value).endswith(r"two\nlines\x1b[31m.pth: is empty; save or download it again")
    with pytest.raises(CheckpointError, match="码本: is empty"):
        open_checkpoint(put(b"", name="码本"))


def test_a_path_given_as_bytes_is_read_like_text(put):
    with PositionedFile(os.fsencode(put(b"abc"))) as file:
        assert file.read(1, 2, "piece") == b"bc"
