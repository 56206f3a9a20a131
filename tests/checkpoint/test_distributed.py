"""Distributed checkpoints are read as torch puts them together, or refused where it could put together other values."""

import copy
import os
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path
from random import Random

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    MetadataIndex,
    TensorStorageMetadata,
)

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.errors import CheckpointError

EMBED = "model.quantizer.vq.layers.0._codebook.embed"
WAYS = ("axis0", "axis1", "fsdp")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def saved(two_ranks, tmp_path_factory):
    """The folder in which two processes saved one model: divided along its axes, by FSDP, and whole."""
    folder = tmp_path_factory.mktemp("saved")
    two_ranks(Path(__file__).with_name("save_on_two_ranks.py"), folder / "store", folder)
    return folder


@pytest.fixture
def change(saved, tmp_path):
    """Returns a copy of a checkpoint whose metadata was changed; `with_metadata` gets torch's own object."""

    def make(with_metadata, way="axis0"):
        folder = tmp_path / "changed"
        shutil.copytree(saved / way, folder, dirs_exist_ok=True)
        path = folder / ".metadata"
        metadata = pickle.loads(path.read_bytes())
        path.write_bytes(pickle.dumps(with_metadata(metadata) or metadata))
        return folder

    return make


def loaded_by_torch(folder, tmp_path):
    """Return name -> tensor of what torch makes of a distributed checkpoint, without its optimizer."""
    whole = tmp_path / "whole.pth"
    dcp_to_torch_save(folder, whole)
    return torch.load(whole, weights_only=False)["model"]


def read(folder):
    with open_checkpoint(folder) as checkpoint:
        return {name: bytes(checkpoint.read(tensor)) for name, tensor in checkpoint.tensors.items()}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_read_is_what_torch_loads(way, saved, tmp_path, torch_bytes):
    expected = loaded_by_torch(saved / way, tmp_path)
    assert read(saved / way) == {name: torch_bytes(value) for name, value in expected.items()}


def test_one_process_saves_other_types_lists_and_numbers(tmp_path, torch_bytes):
    """Each element type, a number without axes, an empty tensor, tensors in lists; loaded back by torch itself."""
    types = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)
    state = {f"a.{dtype}".replace("torch.", ""): torch.arange(6).reshape(2, 3).to(dtype) for dtype in types}
    state |= {"a.number": torch.tensor(2.5), "a.empty": torch.zeros(0, 3), "a.turned": torch.rand(3, 2).T}
    dcp.save({"model": state, "list": [torch.ones(2)], "note": "text"}, checkpoint_id=tmp_path / "one")
    loaded = {"model": {name: torch.zeros_like(value) for name, value in state.items()}}
    dcp.load(loaded, checkpoint_id=tmp_path / "one")
    assert read(tmp_path / "one") == {name: torch_bytes(value) for name, value in loaded["model"].items()}


@pytest.mark.parametrize("way", WAYS)
def test_diff_and_inspect_take_the_folder(way, saved, capsys):
    assert main(["diff", str(saved / "plain.pth"), str(saved / way)]) == 0
    assert "same VQ encoder" in capsys.readouterr().out
    assert main(["inspect", str(saved / way)]) == 0
    assert "distributed" in capsys.readouterr().out


def test_a_changed_value_in_one_rank_s_file_is_seen(saved, tmp_path, capsys):
    shutil.copytree(saved / "axis0", tmp_path / "moved")
    value = pickle.loads((saved / "axis0" / ".metadata").read_bytes()).storage_data[
        MetadataIndex(EMBED, torch.Size([4, 0]))
    ]
    path = tmp_path / "moved" / value.relative_path
    data = bytearray(path.read_bytes())
    wanted = torch.load(saved / "plain.pth")[EMBED.removeprefix("model.")][4:].numpy().tobytes()
    data[data.index(wanted)] ^= 1
    path.write_bytes(data)
    assert main(["diff", str(saved / "plain.pth"), str(tmp_path / "moved")]) == 1
    assert "codes" in capsys.readouterr().out


def test_a_missing_file_without_the_codebook_is_a_remark_and_one_with_it_is_status_2(tmp_path, vq_state, capsys):
    """A file each for the codec and for the rest, as two ranks write them that hold different parts."""
    state = vq_state() | {"decoder.weight": torch.rand(4, 4)}
    dcp.save({"model": state}, storage_writer=dcp.FileSystemWriter(tmp_path / "two", single_file_per_rank=False))
    torch.save({"model": state}, tmp_path / "plain.pth")
    stored = pickle.loads((tmp_path / "two" / ".metadata").read_bytes()).storage_data
    place = {index.fqn: tmp_path / "two" / info.relative_path for index, info in stored.items()}
    place["model.decoder.weight"].unlink()
    for command in (["inspect", str(tmp_path / "two")], ["diff", str(tmp_path / "plain.pth"), str(tmp_path / "two")]):
        assert main(command) == 0
        assert place["model.decoder.weight"].name in capsys.readouterr().out
    place["model.ssl_proj.weight"].unlink()
    for command in (["inspect", str(tmp_path / "two")], ["diff", str(tmp_path / "plain.pth"), str(tmp_path / "two")]):
        assert main(command) == 2
        assert "which is missing" in "".join(capsys.readouterr())


def chunks(metadata):
    return metadata.state_dict_metadata[EMBED].chunks


def info(metadata, row=0):
    return metadata.storage_data[MetadataIndex(EMBED, torch.Size([row, 0]))]


class Twice:
    """Pickled as a dictionary in which one key stands twice; the later is the one that Python keeps."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __reduce__(self):
        return OrderedDict, (), None, None, iter(self.pairs)


def two_places(metadata):
    first, second = info(metadata), copy.copy(info(metadata, 4))
    index = MetadataIndex(EMBED, torch.Size([0, 0]))
    rest = [pair for pair in metadata.storage_data.items() if pair[0] != index]
    # Equal to Python whatever their hints.
    metadata.storage_data = Twice(
        [(MetadataIndex(EMBED, [0, 0], 0), first), (MetadataIndex(EMBED, [0, 0], 1), second), *rest]
    )


def overlap(metadata):
    chunks(metadata)[1].offsets = torch.Size([3, 0])
    metadata.storage_data[MetadataIndex(EMBED, torch.Size([3, 0]))] = info(metadata, 4)


HOSTILE = {
    "overlapping chunks": (overlap, "overlap, or leave a part"),
    "a hole": (lambda metadata: chunks(metadata).pop() and None, "overlap, or leave a part"),
    "a chunk twice": (lambda metadata: chunks(metadata).append(chunks(metadata)[0]), "overlap, or leave a part"),
    "a chunk outside": (lambda metadata: setattr(chunks(metadata)[1], "offsets", torch.Size([5, 0])), "reaches out"),
    "a chunk of other axes": (
        lambda metadata: setattr(chunks(metadata)[1], "sizes", torch.Size([3])),
        "number of axes",
    ),
    "two places for one chunk": (two_places, "two places for one chunk"),
    "a chunk that is stored nowhere": (
        lambda metadata: metadata.storage_data.pop(MetadataIndex(EMBED, torch.Size([4, 0]))) and None,
        "stored nowhere",
    ),
    "a file elsewhere": (lambda metadata: setattr(info(metadata), "relative_path", "../plain.pth"), "own folder"),
    "an absolute file": (lambda metadata: setattr(info(metadata), "relative_path", "/etc/passwd"), "own folder"),
    "compressed": (lambda metadata: setattr(info(metadata), "transform_descriptors", ["zstd"]), "transformed"),
    "an offset beside": (
        lambda metadata: setattr(info(metadata), "offset", info(metadata).offset + 1),
        "torch archive",
    ),
    "an offset outside": (lambda metadata: setattr(info(metadata), "offset", 1 << 40), "outside the file"),
    "a negative offset": (lambda metadata: setattr(info(metadata), "offset", -4), "negative"),
    "an endless chunk": (lambda metadata: setattr(info(metadata), "length", 1 << 40), "lies outside|which torch does"),
    "a cut chunk": (lambda metadata: setattr(info(metadata), "length", 700), "zip directory"),
    "another element type": (
        lambda metadata: setattr(metadata.state_dict_metadata[EMBED].properties, "dtype", torch.float16),
        "not stored as",
    ),
    "another shape": (
        lambda metadata: setattr(metadata.state_dict_metadata[EMBED], "size", torch.Size([6, 7])),
        "reaches out|overlap",
    ),
    "a billion elements": (
        lambda metadata: setattr(metadata.state_dict_metadata[EMBED], "size", torch.Size([1 << 30, 6])),
        "overlap|more than",
    ),
    "another name of the place": (
        lambda metadata: metadata.planner_data.update({EMBED: ("model", "other")}),
        "in a way that torch does not write",
    ),
    "another tensor's bytes": (
        lambda metadata: metadata.storage_data.update(
            {MetadataIndex(EMBED, torch.Size([0, 0])): metadata.storage_data[MetadataIndex("model.ssl_proj.bias", [0])]}
        ),
        "not stored as",
    ),
    "a class of somebody": (lambda metadata: setattr(metadata, "planner_data", Random(1)), "has no place"),
    "no dictionary": (lambda metadata: setattr(metadata, "storage_data", 7), "does not say where"),
    "another object": (lambda _: {"state_dict_metadata": {}}, "not a checkpoint|something else"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_torch_might_put_together_otherwise_is_refused(what, change):
    mutate, reason = HOSTILE[what]
    with pytest.raises(CheckpointError, match=reason):
        read(change(mutate))


def test_a_call_in_the_metadata_is_not_carried_out(saved, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    shutil.copytree(saved / "axis0", tmp_path / "evil")
    metadata = pickle.loads((tmp_path / "evil" / ".metadata").read_bytes())
    metadata.planner_data["x"] = Evil()
    (tmp_path / "evil" / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match=r"calls (posix|nt)\.mkdir"):
        read(tmp_path / "evil")
    assert not (tmp_path / "made").exists()


def test_a_link_out_of_the_folder_is_not_followed(saved, tmp_path):
    shutil.copytree(saved / "axis0", tmp_path / "linked")
    part = tmp_path / "linked" / "__0_0.distcp"
    part.unlink()
    try:
        part.symlink_to(saved / "axis0" / "__0_0.distcp")
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(CheckpointError, match="link that leads out"):
        read(tmp_path / "linked")


def test_random_changes_are_refused_or_read_as_torch_loads_them(change, tmp_path, torch_bytes):
    """Numbers, files, types and entries exchanged at random: whatever is read, torch reads as well."""
    equal = refused = 0
    for seed in range(80):
        folder = change(lambda metadata, seed=seed: _shuffle(metadata, Random(seed)), WAYS[seed % 2])
        with open_or_none(folder) as checkpoint:
            found = {}
            for name, tensor in checkpoint.tensors.items() if checkpoint else ():
                try:
                    found[name] = bytes(checkpoint.read(tensor))
                except CheckpointError:
                    refused += 1
        if not found:
            refused += 1
            continue
        try:
            expected = loaded_by_torch(folder, tmp_path)
        except (CheckpointException, RuntimeError, ValueError, AssertionError, OSError):
            # What torch does not load at all, nobody trains with.
            continue
        for name, data in found.items():
            assert data == torch_bytes(expected[name]), (seed, name)
            equal += 1
    assert equal > 100
    assert refused > 20


class open_or_none:  # noqa: N801 - a function in all but name
    def __init__(self, folder):
        try:
            self.checkpoint = open_checkpoint(folder)
        except CheckpointError:
            self.checkpoint = None

    def __enter__(self):
        return self.checkpoint

    def __exit__(self, *_):
        if self.checkpoint:
            self.checkpoint.close()


def _shuffle(metadata, chance):
    tensors = [each for each in metadata.state_dict_metadata.values() if isinstance(each, TensorStorageMetadata)]
    tensor, other = chance.sample(tensors, 2)
    places = [each for each in metadata.storage_data.values() if isinstance(each, _StorageInfo)]
    one, two = chance.sample(places, 2)
    kind = chance.randrange(7)
    if kind == 0:
        one.offset, two.offset = two.offset, one.offset
    elif kind == 1:
        one.length += chance.choice((-1, 1, 64))
    elif kind == 2:
        one.relative_path, two.relative_path = two.relative_path, one.relative_path
    elif kind == 3:
        box = chance.choice(tensor.chunks)
        box.offsets = torch.Size([max(0, n + chance.choice((-1, 0, 1))) for n in box.offsets])
    elif kind == 4:
        box = chance.choice(tensor.chunks)
        box.sizes = torch.Size([max(0, n + chance.choice((-1, 0, 1))) for n in box.sizes])
    elif kind == 5:
        tensor.chunks, other.chunks = other.chunks, tensor.chunks
    else:
        name = chance.choice([*metadata.state_dict_metadata])
        metadata.state_dict_metadata[name] = chance.choice((tensor, BytesStorageMetadata()))


def test_many_tensors_that_share_one_list_of_chunks_are_refused_quickly(change):
    """A thousand chunks, named by two thousand tensors: two million in a file of some kilobytes."""

    def share(metadata):
        tensor = metadata.state_dict_metadata[EMBED]
        tensor.chunks = 1_000 * [chunks(metadata)[0]]
        metadata.state_dict_metadata |= {f"model.{number}": tensor for number in range(2_000)}
        metadata.planner_data = None

    with pytest.raises(CheckpointError, match="more than 200000 chunks"):
        read(change(share))


def test_of_a_tensor_too_large_to_read_nothing_is_put_together(change):
    def claim(metadata):
        tensor = metadata.state_dict_metadata[EMBED]
        tensor.size = torch.Size([1 << 40, 6])
        tensor.chunks = [ChunkStorageMetadata(torch.Size([0, 0]), torch.Size([1 << 40, 6]))]

    with pytest.raises(CheckpointError, match=r"more than the \d+ that are read"):
        read(change(claim))


def test_what_an_older_torch_wrote_is_read(change, saved):
    """Until 2.3 the properties of a tensor were a class of another module."""
    from torch.distributed._shard.sharded_tensor import metadata as older

    def age(metadata):
        for entry in metadata.state_dict_metadata.values():
            if isinstance(entry, TensorStorageMetadata):
                entry.properties = older.TensorProperties(dtype=entry.properties.dtype)

    folder = change(age)
    assert b"_shard.sharded_tensor" in (folder / ".metadata").read_bytes()
    assert read(folder) == read(saved / "axis0")


def test_nothing_is_put_back_into_it_and_a_part_is_called_what_it_is(saved, tmp_path, capsys):
    plain, folder, out = str(saved / "plain.pth"), saved / "axis0", tmp_path / "out.pth"
    assert main(["restore", plain, str(folder), "-o", str(out)]) == 2
    assert not out.exists()
    capsys.readouterr()
    assert main(["inspect", str(folder / "__0_0.distcp")]) == 2
    assert "name the folder" in capsys.readouterr().err


def test_a_lock_of_it_judges_the_same_values_in_other_formats(saved, tmp_path):
    lock = str(tmp_path / "a.lock")
    assert main(["lock", str(saved / "axis0"), "-o", lock]) == 0
    for other in ("plain.pth", "full.pth", "fsdp", "axis1"):
        assert main(["lock", "--check", str(saved / other), "-o", lock]) == 0
