"""Checkpoints of every format over the network: the same tensors as on the disk, and how much travels for them."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from loopback import serving
from safetensors.torch import save_file

from vqcheck import compare
from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.remote.transfers import Limits, with_transfers
from vqcheck.errors import CheckpointError

FIXTURES = Path(__file__).parents[3] / "fixtures" / "checkpoints"
BOOK = "quantizer.vq.layers.0._codebook"


def state(seed, filling=3_000_000):
    """A VQ encoder between other tensors, which are larger than what comes at once."""
    random = torch.Generator().manual_seed(seed)
    return {
        "enc_p.first": torch.randn(filling // 8, generator=random),
        "ssl_proj.weight": torch.randn(96, 96, 2, generator=torch.Generator().manual_seed(1)),
        "ssl_proj.bias": torch.randn(96, generator=torch.Generator().manual_seed(2)),
        f"{BOOK}.inited": torch.ones(1),
        f"{BOOK}.cluster_size": torch.full((64,), 5.0),
        f"{BOOK}.embed": torch.randn(64, 96, generator=torch.Generator().manual_seed(3)),
        f"{BOOK}.embed_avg": 5 * torch.randn(64, 96, generator=torch.Generator().manual_seed(3)),
        "enc_p.last": torch.randn(filling // 8, generator=random),
    }


def packed(path):
    """Save it again with its members compressed, as zip programs do."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_suffix(".new"), "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    path.with_suffix(".new").replace(path)


def write(path, seed=7):
    if path.suffix == ".safetensors":
        save_file(state(seed), path)
    else:
        torch.save({"weight": state(seed)}, path, _use_new_zipfile_serialization=path.stem != "legacy")
        if path.stem == "packed":
            packed(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for name in ("zip.pth", "legacy.pth", "packed.pth", "model.safetensors"):
        write(folder / name)
    torch.save({"weight": state(8)}, folder / "other.pth")
    moved = state(7)
    moved[f"{BOOK}.embed"][5] += 1
    torch.save({"weight": moved}, folder / "moved.pth")
    shards = {"a-00001-of-00002.safetensors": {}, "a-00002-of-00002.safetensors": {}}
    for number, (name, value) in enumerate(state(7).items()):
        shards[f"a-0000{1 + number % 2}-of-00002.safetensors"][name] = value
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    index = {"weight_map": {name: shard for shard, tensors in shards.items() for name in tensors}}
    (folder / "a.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def served(folder):
    with serving(files={f"/models/{each.name}": each for each in folder.iterdir()}) as server:
        yield server


NAMES = ("zip.pth", "legacy.pth", "packed.pth", "model.safetensors", "a.safetensors.index.json")


@pytest.mark.parametrize("name", NAMES)
def test_a_remote_checkpoint_is_what_the_file_is(folder, served, name):
    with open_checkpoint(f"{served.url}/models/{name}") as remote, open_checkpoint(folder / name) as local:
        assert dict(remote.tensors) == dict(local.tensors)
        assert remote.format == local.format
        for each in local.tensors:
            assert remote.read(remote.tensors[each]) == local.read(local.tensors[each])


@pytest.mark.parametrize("name", NAMES)
def test_the_vq_encoder_alone_travels(folder, served, name):
    assert compare(f"{served.url}/models/{name}", folder / "zip.pth").verdict == "identical"
    # A legacy file begins with a pickle of unknown length; three files are three beginnings.
    most = {"legacy.pth": 1_600_000, "packed.pth": 1_200_000, "a.safetensors.index.json": 1_000_000}
    assert served.sent < most.get(name, 800_000)
    assert len(served.asked) <= 8


def test_a_remote_file_that_moved_is_changed(folder, served):
    assert compare(f"{served.url}/models/moved.pth", folder / "zip.pth").verdict == "changed"


def test_two_remote_files_are_compared(served):
    comparison = compare(f"{served.url}/models/other.pth", f"{served.url}/models/zip.pth")
    assert comparison.verdict == "identical"
    assert not comparison.one_file


def test_one_remote_file_named_twice_is_one_file(folder, served):
    url = f"{served.url}/models/zip.pth"
    assert compare(url, f"{url}#part").one_file is False
    assert compare(url, url).one_file
    assert not compare(url, folder / "zip.pth").one_file
    assert not compare(folder / "zip.pth", url).one_file


def test_a_distributed_checkpoint_is_read_on_this_machine_alone(tmp_path, served):
    """What lies on a server is not called missing."""
    import torch.distributed.checkpoint as dcp

    dcp.save({"model": state(7, filling=8)}, checkpoint_id=tmp_path / "saved")
    served.files |= {f"/saved/{each.name}": each for each in (tmp_path / "saved").iterdir()}
    with pytest.raises(CheckpointError, match="download its whole folder"):
        open_checkpoint(f"{served.url}/saved/.metadata")
    open_checkpoint(tmp_path / "saved").close()
    (tmp_path / "saved" / "__0_0.distcp").unlink()
    with pytest.raises(CheckpointError, match=r"without its parts \(\*.distcp\)"):
        open_checkpoint(tmp_path / "saved")


def test_shards_have_the_login_of_their_index(served):
    url = served.url.replace("//", "//me:secret@")
    with open_checkpoint(f"{url}/models/a.safetensors.index.json?signature=secret") as file:
        assert file.path == f"{served.url}/models/a.safetensors.index.json"
    assert len({each.path for each in served.asked}) == 3
    assert all("Authorization" in each.headers for each in served.asked)
    assert {each.query for each in served.asked if "-of-" in each.path} == {""}


@pytest.mark.parametrize(
    "shard",
    ["https://example.org/a", "http://127.0.0.1:1/a", "//example.org/a", "..", "../a", "\\\\host\\a", "hf://a/b/c"],
)
@pytest.mark.parametrize("place", ["remote", "local"])
def test_an_index_leads_to_no_address(served, tmp_path, shard, place):
    index = json.dumps({"weight_map": {"a": shard}})
    served.files["/models/x.safetensors.index.json"] = index.encode()
    (tmp_path / "x.safetensors.index.json").write_text(index)
    path = served.url + "/models" if place == "remote" else tmp_path
    with pytest.raises(CheckpointError, match="in the index's own folder"):
        open_checkpoint(f"{path}/x.safetensors.index.json")
    assert {each.path for each in served.asked} <= {"/models/x.safetensors.index.json"}


def test_a_shard_whose_name_looks_like_something_else_is_a_file(served):
    """What follows on a question mark or a number sign is part of its name."""
    served.files["/models/x.index.json"] = json.dumps({"weight_map": {"a": "b?c#d%2e@e.safetensors"}}).encode()
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(f"{served.url}/models/x.index.json")
    assert served.asked[-1].path == "/models/b?c#d%2e@e.safetensors"


def test_a_file_that_changes_between_index_and_tensors_is_refused(served):
    with open_checkpoint(f"{served.url}/models/zip.pth") as remote:
        served.tag = '"two"'
        with pytest.raises(CheckpointError, match="written or replaced"):
            remote.read(remote.tensors["enc_p.last"])


def test_a_truncated_remote_file_is_called_damaged(folder, served):
    served.files["/models/zip.pth"] = (folder / "zip.pth").read_bytes()[:-1000]
    with pytest.raises(CheckpointError, match="zip directory"):
        open_checkpoint(f"{served.url}/models/zip.pth")


def test_a_name_of_a_file_says_the_same_as_on_the_disk(served):
    from vqcheck.codebook.model import training

    served.files["/G_400.pth"] = FIXTURES / "drifted_v2_e8_s400.pth"
    with open_checkpoint(f"{served.url}/G_400.pth?download=true") as file:
        assert training(file).steps == 400


def test_a_download_is_read_and_goes_away(folder, served, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    served.ranges = False
    with with_transfers(download=True), open_checkpoint(f"{served.url}/models/zip.pth") as file:
        assert len(list(tmp_path.iterdir())) == 1
        assert file.path == f"{served.url}/models/zip.pth"
        with open_checkpoint(folder / "zip.pth") as local:
            assert file.read(file.tensors["enc_p.last"]) == local.read(local.tensors["enc_p.last"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"body": lambda data: data[:-1]}, r"cut the connection.*\(5 tries\)"),
        ({"headers": {"Content-Length": None}}, "does not say how long"),
        ({"headers": {"Content-Encoding": "gzip"}}, "compressed"),
        ({"headers": {"Content-Type": "text/html"}}, "web page"),
        ({"headers": {"Content-Length": str(1 << 60)}}, "does not fit on the disk"),
        ({"first": [(404, {})]}, "no such file"),
    ],
)
def test_a_download_that_is_not_whole_leaves_nothing(served, tmp_path, monkeypatch, fault, words):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, value in fault.items():
        setattr(served, name, value)
    with with_transfers(download=True, limits=Limits(silence=1)), pytest.raises(CheckpointError, match=words):
        open_checkpoint(f"{served.url}/models/zip.pth")
    assert not list(tmp_path.iterdir())


def test_a_download_that_was_cut_starts_again(folder, served):
    served.body = lambda data: data[:-1] if len(served.asked) < 3 else data
    with with_transfers(download=True), open_checkpoint(f"{served.url}/models/zip.pth") as file:
        assert file.files[0].size == (folder / "zip.pth").stat().st_size


def test_an_address_is_remote_whatever_lies_here_under_its_name(folder, served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decoy = Path(f"{served.url}/models/zip.pth".replace("://", ":/"))
    decoy.mkdir(parents=True)
    shutil.copy(folder / "moved.pth", decoy)
    assert compare(f"{served.url}/models/zip.pth", folder / "zip.pth").verdict == "identical"


def test_other_file_systems_come_along(folder):
    memory = MemoryFileSystem()
    memory.pipe_file("/bucket/zip.pth", (folder / "zip.pth").read_bytes())
    try:
        assert compare("memory://bucket/zip.pth", folder / "zip.pth").verdict == "identical"
        with open_checkpoint("memory://bucket/zip.pth") as file:
            memory.pipe_file("/bucket/zip.pth", (folder / "moved.pth").read_bytes())
            with pytest.raises(CheckpointError, match="written or replaced"):
                file.read(file.tensors["enc_p.last"])
        with pytest.raises(CheckpointError, match="no such file"):
            open_checkpoint("memory://bucket/absent.pth")
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("address", "package", "named"),
    [
        ("https://h/a.pth", "requests", "https://.*needs requests"),
        ("hf://me/voices/a.pth", "huggingface_hub", "hf://.*needs huggingface_hub"),
        ("s3://b/a.pth", "fsspec.core", "s3://.*needs fsspec"),
    ],
)
def test_a_missing_package_is_one_line(monkeypatch, address, package, named):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CheckpointError, match=rf"{named}: pip install 'vqcheck\[remote\]'"):
        open_checkpoint(address)


def test_a_whole_file_is_not_taken_from_an_address():
    with pytest.raises(CheckpointError, match="is an address, and this takes the whole file"):
        PositionedFile("https://example.org/a.pth")


def test_local_files_load_nothing_remote(folder):
    import subprocess

    code = (
        "import sys; from vqcheck.cli.main import main; main(sys.argv[1:]); "
        "print([each for each in ('requests', 'fsspec', 'huggingface_hub', 'numpy', 'rich') if each in sys.modules])"
    )
    shutil.copy(folder / "zip.pth", folder / "copy.pth")
    done = subprocess.run(
        [sys.executable, "-c", code, "diff", folder / "zip.pth", folder / "copy.pth"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
