"""Members of an archive are found as torch finds them: in any case, up to a NUL; what could be two is refused."""

import pytest
from differential.crafted import NAME, STORAGES, A, B, archive, index, state_dict, storage, tensor

from vqcheck.errors import CheckpointError

OTHER_INDEX = index(state_dict(tensor(storage("b"))))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["archive/DATA/a", "archive/data/A", "Archive/data/a", "ARCHIVE/DATA/A"])
def test_a_storage_in_another_case_is_refused(name, first, put, vqcheck_value):
    members = {"first" if first else "more": [(name, B)]}
    with pytest.raises(CheckpointError, match="is named so that torch takes it for another"):
        vqcheck_value(put(archive(index(), **members)))


def test_torch_does_find_a_storage_in_another_case(put, torch_value):
    held = {f"e{number}": A for number in range(3)} | {"A": B, "b": B}
    assert torch_value(put(archive(index(), held))) == B


@pytest.mark.parametrize("name", ["archive/DATA.PKL", "archive/Data.pkl", "evil/DATA.PKL"])
@pytest.mark.parametrize("first", [True, False])
def test_a_second_index_in_another_case_is_refused(name, first, put, vqcheck_value):
    members = {"first" if first else "more": [(name, OTHER_INDEX)]}
    with pytest.raises(CheckpointError, match=r"is named so that torch takes it|2 files named data\.pkl"):
        vqcheck_value(put(archive(index(), **members)))


@pytest.mark.parametrize("name", ["archive/BYTEORDER", "archive/ByteOrder"])
@pytest.mark.parametrize("also", [True, False])
def test_a_byte_order_in_another_case_counts(name, also, put, torch_value, vqcheck_value):
    path = put(archive(index(), order=b"little" if also else None, first=[(name, b"big")]))
    if not also:
        assert torch_value(path) != A
    with pytest.raises(CheckpointError, match=r"only little-endian checkpoints are read|is named so that torch"):
        vqcheck_value(path)


def test_a_byte_order_in_another_case_that_says_little_is_no_matter(agreed):
    agreed(archive(index(), order=None, more=[("archive/BYTEORDER", b"little")]), A)


@pytest.mark.parametrize("name", ["archive/data.pkl\0", "archive/data/a\0x", "archive/x\0"])
def test_a_name_with_a_nul_is_refused(name, put, vqcheck_value):
    with pytest.raises(CheckpointError, match="is named so that torch takes it for another"):
        vqcheck_value(put(archive(index(), more=[(name, B)])))


def test_a_storage_key_with_a_nul_is_refused(refused):
    seems = index(state_dict(tensor(storage("b\0x"))))
    refused(archive(seems, STORAGES), A, "under a name that torch reads differently")


def test_a_member_that_is_called_a_folder_is_refused(put, torch_value, vqcheck_value):
    data = bytearray(archive(index()))
    entry = data.rindex(b"PK\1\2", 0, data.rindex(b"archive/data/a"))
    data[entry + 38] = 0x10
    path = put(bytes(data))
    # Whatever the memory held.
    assert torch_value(path) is not None
    with pytest.raises(CheckpointError, match="archive/data/a: has the name of a folder, but holds bytes"):
        vqcheck_value(path)
    with pytest.raises(CheckpointError, match="archive/x/: has the name of a folder, but holds bytes"):
        vqcheck_value(put(archive(index(), more=[("archive/x/", B)])))


def test_folders_that_archivers_list_are_no_matter(agreed):
    data = bytearray(archive(index(), more=[("archive/data/", b"")]))
    data[data.rindex(b"PK\1\2") + 38] = 0x10
    agreed(bytes(data), A)


@pytest.mark.parametrize("key", ["é", "\u212a", "z ", "./z", "../data/z", "a\\z", "k" * 190])
def test_an_odd_key_is_found_by_both(key, agreed):
    held = STORAGES | {key: A, "z": B, "k": B}
    agreed(archive(index(state_dict(tensor(storage(key)))), held), A)
    assert NAME == "q.embed"
