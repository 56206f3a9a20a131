"""An archive is read as its one directory says, or refused: every number in it is checked against the others."""

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.zip_archive import ZipArchive
from vqcheck.errors import CheckpointError

CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


def made(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return bytearray(buffer.getvalue())


def patched(data, at, layout, value):
    struct.pack_into(layout, data, at, value)
    return data


@pytest.fixture
def members(put):
    """Returns name -> bytes of every member of an archive."""

    def read(data):
        with PositionedFile(put(bytes(data), "a.zip")) as file:
            archive = ZipArchive(file)
            return {name: bytes(archive.read(name, 0, member.size)) for name, member in archive.members.items()}

    return read


names = st.text(st.characters(codec="utf-8", exclude_characters="\0\\/"), min_size=1, max_size=20)


@settings(deadline=None)
@given(
    content=st.dictionaries(names, st.binary(max_size=300), min_size=1, max_size=5),
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    data=st.data(),
)
def test_every_slice_of_every_member_is_what_was_put_in(content, compression, data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "slices.zip"
    path.write_bytes(made(content.items(), compression))
    with PositionedFile(path) as file:
        archive = ZipArchive(file)
        assert archive.members.keys() == content.keys()
        for name, expected in content.items():
            start = data.draw(st.integers(0, len(expected)))
            size = data.draw(st.integers(0, len(expected) - start))
            assert archive.read(name, start, size) == expected[start : start + size]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("start", "size"), [(0, 6), (5, 1), (-1, 2), (0, -1), (6, 1), (1 << 62, 1)])
def test_a_slice_that_leaves_its_member_is_refused(start, size, compression, put):
    with PositionedFile(put(bytes(made([("a", b"12345"), ("b", b"behind")], compression)))) as file:
        with pytest.raises(CheckpointError, match=rf"a: bytes {start} to {start + size} lie outside its 5 bytes"):
            ZipArchive(file).read("a", start, size)
        with pytest.raises(CheckpointError, match="c: is missing from the archive"):
            ZipArchive(file).read("c", start, size)


TWO = [("first", b"11111111"), ("second", b"22222222")]
FIRST, SECOND = made(TWO).index(CENTRAL), made(TWO).rindex(CENTRAL)
LOCAL_SECOND = made(TWO).rindex(LOCAL)


def test_the_archive_that_is_damaged_below_is_read_when_it_is_whole(members):
    assert members(made(TWO)) == dict(TWO)
    assert members(b"06" + made(TWO)[2:]) == dict(TWO)


@pytest.mark.parametrize(
    ("at", "layout", "value", "reason"),
    [
        (SECOND + 42, "<L", 0, "overlaps another member"),
        (SECOND + 42, "<L", 10, "overlaps another member"),
        (SECOND + 42, "<L", 1 << 30, "overlaps another member of the archive or the zip directory"),
        (SECOND + 8, "<H", 1, "second: is encrypted"),
        *((SECOND + 8, "<H", flag, "second: is encrypted") for flag in (0x20, 0x40, 0x2000, 0x2841)),
        (LOCAL_SECOND + 6, "<H", 0x40, "second: its local header disagrees"),
        (LOCAL_SECOND + 6, "<H", 1, "second: its local header disagrees"),
        (SECOND + 10, "<H", 12, "second: is encrypted or compressed with an unsupported method"),
        (SECOND + 10, "<H", 8, "second: its local header disagrees"),
        (LOCAL_SECOND, "<L", 0, "second: its local header disagrees"),
        (SECOND + 20, "<L", 7, "second: is stored, but claims 7 bytes packed and 8 unpacked"),
        (SECOND + 24, "<L", 9, "second: is stored, but claims 8 bytes packed and 9 unpacked"),
        (LOCAL_SECOND + 18, "<L", 7, "second: its local header disagrees with the zip directory about its size"),
        (LOCAL_SECOND + 22, "<L", 9, "second: its local header disagrees with the zip directory about its size"),
        (LOCAL_SECOND + 18, "<L", 0xFFFFFFFF, "second: lacks the 64-bit sizes"),
        (LOCAL_SECOND + 30, "<B", ord("S"), "second: its local header disagrees with the zip directory about its name"),
        (LOCAL_SECOND + 28, "<H", 1, "second: overlaps another member of the archive or the zip directory"),
        (28, "<H", 60, "first: overlaps another member of the archive or the zip directory"),
        (SECOND + 24, "<L", 0xFFFFFFFF, "second: lacks the 64-bit sizes"),
        (SECOND, "<L", 0, "zip directory: is damaged"),
        (SECOND + 28, "<H", 0xFFFF, "zip directory: is damaged"),
        (-14, "<H", 3, "spans several disks"),
        (-10, "<L", 0x01000001, "zip directory: does not lie where the end of the file says"),
        (-6, "<L", 0, "zip directory: does not lie where the end of the file says"),
        (-2, "<H", 5, "zip directory: is followed by other bytes"),
        (-18, "<H", 1, "spans several disks"),
    ],
)
def test_a_number_that_disagrees_with_another_is_refused(at, layout, value, reason, members):
    data = made(TWO)
    with pytest.raises(CheckpointError, match=reason):
        members(patched(data, at % len(data), layout, value))


@pytest.mark.parametrize(("count", "reason"), [(1, "more entries than it counts"), (3, "ends early")])
def test_a_directory_that_miscounts_its_entries_is_refused(count, reason, members):
    data = made(TWO)
    for at in (8, 10):
        patched(data, len(data) - 22 + at, "<H", count)
    with pytest.raises(CheckpointError, match=reason):
        members(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_listed_twice_is_refused(members):
    with pytest.raises(CheckpointError, match="first: is listed twice"):
        members(made([("first", b"1"), ("first", b"2")]))
    data = made(TWO)
    # The same member under one entry twice.
    entry = data[FIRST:SECOND]
    doubled = data[:SECOND] + entry + data[SECOND:]
    for at, layout, value in ((8, "<H", 3), (10, "<H", 3), (12, "<L", 2 * len(entry) + len(data) - 22 - SECOND)):
        patched(doubled, len(doubled) - 22 + at, layout, value)
    with pytest.raises(CheckpointError, match=r"is listed twice|overlaps another member"):
        members(doubled)


@pytest.mark.parametrize("cut", [1, 5, 21, 22, 23, 60, 100, 150])
def test_an_archive_cut_short_is_refused(cut, members):
    with pytest.raises(CheckpointError, match=r"not found at the end of the file \(truncated\?\)|lies outside"):
        members(made(TWO)[:-cut])


def test_an_archive_with_bytes_before_or_behind_it_is_refused(members):
    with pytest.raises(CheckpointError, match="is followed by other bytes"):
        members(made(TWO) + b"x")
    with pytest.raises(CheckpointError, match="does not lie where the end of the file says"):
        members(b"x" + made(TWO))


def test_a_second_directory_in_a_gap_before_the_end_is_refused(members):
    data = made(TWO)
    end = data.rindex(END)
    hidden = data[:end] + data[FIRST:end] + data[end:]
    with pytest.raises(CheckpointError, match="does not lie where the end of the file says"):
        members(hidden)


@pytest.fixture
def zip64(monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    return made(TWO)


def test_a_zip64_archive_is_read(zip64, members):
    assert b"PK\x06\x06" in zip64
    assert members(zip64) == dict(TWO)


@pytest.mark.parametrize(
    ("signature", "offset", "layout", "value", "reason"),
    [
        (b"PK\x06\x06", 0, "<B", 0, "zip64 directory: is damaged"),
        (b"PK\x06\x07", 8, "<Q", 0, "zip64 directory: is damaged"),
        (b"PK\x06\x07", 8, "<Q", 1 << 63, "zip64 directory: is damaged"),
        (b"PK\x06\x06", 24, "<Q", 3, "spans several disks"),
        (b"PK\x06\x06", 32, "<Q", 3, "two end records disagree"),
        (b"PK\x06\x06", 40, "<Q", 1 << 63, "two end records disagree"),
        (b"PK\x06\x06", 48, "<Q", 0, "two end records disagree"),
        (CENTRAL, 46 + 5 + 2, "<H", 8, "first: lacks the 64-bit sizes"),
        (CENTRAL, 46 + 5 + 2, "<H", 1000, "first: lacks the 64-bit sizes"),
        (CENTRAL, 46 + 5, "<H", 2, "first: lacks the 64-bit sizes"),
        (CENTRAL, 46 + 5 + 4, "<Q", 1 << 63, "first: is stored, but claims"),
    ],
)
def test_a_64_bit_number_that_disagrees_is_refused(signature, offset, layout, value, reason, zip64, members):
    with pytest.raises(CheckpointError, match=reason):
        members(patched(zip64, zip64.index(signature) + offset, layout, value))


def test_two_end_records_that_disagree_are_refused(zip64, members):
    classic = zip64.rindex(END)
    # Either the number itself or all ones, which stand for a number that did not fit.
    for at, layout, value in ((10, "<H", 0xFFFF), (12, "<L", 0xFFFFFFFF), (16, "<L", 0xFFFFFFFF)):
        assert members(patched(zip64, classic + at, layout, value)) == dict(TWO)
    with pytest.raises(CheckpointError, match="its two end records disagree"):
        members(patched(zip64, classic + 10, "<H", 1))


def deflated(claimed=None, packed=None):
    """Return an archive of one deflated member of 3,000 bytes that may lie about its sizes in both places."""
    data = made([("a", bytes(3_000))], zipfile.ZIP_DEFLATED)
    at = data.index(CENTRAL)
    for value, central, local in ((packed, 20, 18), (claimed, 24, 22)):
        if value is not None:
            patched(data, at + central, "<L", value)
            patched(data, local, "<L", value)
    return data


def test_packed_data_that_lies_about_its_size_is_refused(put, members):
    assert members(deflated()) == {"a": bytes(3_000)}
    with pytest.raises(CheckpointError, match="a: its compressed data ends before its claimed size"):
        members(deflated(claimed=3_001))
    with pytest.raises(CheckpointError, match="a: its compressed data ends before its claimed size"):
        members(deflated(packed=3))
    with PositionedFile(put(bytes(deflated(claimed=(1 << 30) + 1)))) as file:
        archive = ZipArchive(file)
        with pytest.raises(CheckpointError, match="a: claims to unpack to 1073741825 bytes, more than is read"):
            archive.read("a", 0, 1)


def test_packed_data_that_is_damaged_is_refused(members):
    data = deflated()
    at = 30 + 1
    data[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(CheckpointError, match="a: its compressed data is damaged"):
        members(data)


def test_a_name_that_would_break_the_line_is_escaped_in_messages(members):
    with pytest.raises(CheckpointError) as caught:
        members(patched(made([("a\n\x1b[31m", b"1")]), 30, "<B", ord("b")))
    assert r"a\n\x1b[31m: its local header disagrees" in str(caught.value)
    assert str(caught.value).isprintable()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_matter_which_bytes_are_changed_the_right_bytes_are_read_or_the_file_is_refused(data, tmp_path_factory):
    archive = made(TWO, data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    for at in data.draw(st.lists(st.integers(0, len(archive) - 1), max_size=4)):
        archive[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(archive)
    with PositionedFile(path) as file:
        said, lengths, sizes = "read", {}, {}
        try:
            found = ZipArchive(file)
            sizes = {name: member.size for name, member in found.members.items()}
            lengths = {name: len(found.read(name, 0, size)) for name, size in sizes.items()}
        except CheckpointError as error:
            said, lengths = str(error), sizes
        assert said.isprintable()
        assert lengths == sizes
