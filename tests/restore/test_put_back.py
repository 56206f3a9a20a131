"""A restored file: the base's VQ encoder, every other byte the old file's, and torch loads it as it loaded the old."""

import io
import os
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError, VqcheckError
from vqcheck.restore.put_back import put_back
from vqcheck.restore.result import RestoredPart, RestoreVerdict

BOOK = "quantizer.vq.layers.0._codebook"
CODES = f"{BOOK}.embed"
OTHER = "enc_p.text_embedding.weight"


def zipped(content, path):
    torch.save(content, path)


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def other_root(content, path):
    stream = io.BytesIO()
    torch.save(content, stream)
    path.write_bytes(stream.getvalue())


def overwritten_header(content, path):
    torch.save(content, path)
    with path.open("r+b") as file:
        file.write(b"05")


def safetensors(content, path):
    save_file({name: tensor.contiguous() for name, tensor in content["weight"].items()}, path, {"format": "pt"})


class _Pipe(io.RawIOBase):
    """Cannot seek, so that zipfile writes checksums behind the data."""

    def __init__(self):
        self.content = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.content += data
        return len(data)


def behind_the_data(content, path):
    """As torch 2 and streams do: sizes and checksums stand behind each member."""
    stream = io.BytesIO()
    torch.save(content, stream)
    pipe = _Pipe()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(pipe, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    path.write_bytes(pipe.content)


def before_the_data(content, path):
    """As zipfile does in a file: the local header has the checksum."""
    stream = io.BytesIO()
    torch.save(content, stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))


WRITERS = (zipped, legacy, other_root, overwritten_header, safetensors, behind_the_data, before_the_data)


def loaded(path):
    """Return the tensors of a file as the real libraries load them."""
    content = path.read_bytes()
    if content[2:4] == b"\3\4":
        assert zipfile.ZipFile(io.BytesIO(b"PK" + content[2:])).testzip() is None
        return torch.load(io.BytesIO(b"PK" + content[2:]), weights_only=True)["weight"]
    if content[:1] == b"\x80":
        return torch.load(path, weights_only=True)["weight"]
    return load_file(path)


def restore(base, file, out, **options):
    with open_checkpoint(base) as first, open_checkpoint(file) as second:
        return put_back(first, second, os.fspath(out), **options)


@pytest.fixture
def write(tmp_path, vq_state):
    """Writes a checkpoint of a seed with a tensor beside its VQ encoder; returns path and tensors."""

    def make(name, writer=zipped, seed=0, dtype=torch.float32, change=lambda state: state, **around):
        state = {key: tensor.to(dtype) for key, tensor in vq_state(seed=seed).items()}
        generator = torch.Generator().manual_seed(seed)
        state[OTHER] = torch.randn(322, 2, generator=generator).to(dtype)
        state = change(state)
        writer({"weight": state, **around}, tmp_path / name)
        return tmp_path / name, state

    return make


@pytest.mark.parametrize("writer", WRITERS)
def test_every_format_gets_the_bases_encoder_and_keeps_the_rest(write, tmp_path, writer):
    """The real libraries load the base's values in the VQ encoder, and the old ones elsewhere; checksums fit."""
    base, wanted = write("base.pth", seed=1)
    file, old = write("file.pth", writer, seed=2)
    result = restore(base, file, tmp_path / "out.pth")
    found = loaded(tmp_path / "out.pth")
    assert found.keys() == old.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, (old if name == OTHER else wanted)[name]), name
    assert result.verdict is RestoreVerdict.RESTORED
    assert (tmp_path / "out.pth").stat().st_size == file.stat().st_size


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_restored_and_restored_again_is_the_file_again(write, tmp_path, writer, dtype):
    """restore(A, B), then restore(B, that), is B, bytes included, whatever A's type is."""
    base, _ = write("a.pth", seed=1, dtype=torch.float32 if dtype is torch.float16 else torch.float16)
    file, _ = write("b.pth", writer, seed=2, dtype=dtype)
    restore(base, file, tmp_path / "c.pth")
    assert (tmp_path / "c.pth").read_bytes() != file.read_bytes()
    restore(file, tmp_path / "c.pth", tmp_path / "d.pth")
    assert (tmp_path / "d.pth").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("have", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("want", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values_are_what_torch_makes_of_them_in_the_files_type(write, tmp_path, have, want):
    """Widened exactly, rounded to nearest; and the file's type stays."""
    base, wanted = write("base.pth", seed=1, dtype=have)
    file, _ = write("file.pth", seed=2, dtype=want)
    restore(base, file, tmp_path / "out.pth")
    found = loaded(tmp_path / "out.pth")
    for name in wanted.keys() - {OTHER}:
        assert found[name].dtype == want
        assert torch.equal(found[name], wanted[name].to(want)), name


@pytest.mark.parametrize(
    ("part", "changed"), [(RestoredPart.CODEBOOK, "quantizer"), (RestoredPart.PROJECTION, "ssl_proj")]
)
def test_only_one_part_is_put_back(write, tmp_path, part, changed):
    base, wanted = write("base.pth", seed=1)
    file, old = write("file.pth", seed=2)
    restore(base, file, tmp_path / "out.pth", part=part)
    for name, tensor in loaded(tmp_path / "out.pth").items():
        assert torch.equal(tensor, (wanted if name.startswith(changed) else old)[name]), name


@pytest.mark.parametrize(
    "change",
    [
        lambda codes: codes.T.contiguous().T,
        lambda codes: torch.cat([codes, codes + 1], dim=1)[:, : codes.shape[1]],
        lambda codes: torch.cat([codes + 1, codes])[codes.shape[0] :],
    ],
    ids=["transposed", "every other run", "behind others"],
)
@pytest.mark.parametrize("writer", [zipped, legacy])
def test_tensors_that_are_not_stored_in_one_run(write, tmp_path, writer, change):
    """Values land where torch reads them, and what lies between them stays."""
    base, wanted = write("base.pth", seed=1)
    file, old = write("file.pth", writer, seed=2, change=lambda state: {**state, CODES: change(state[CODES])})
    restore(base, file, tmp_path / "out.pth")
    found = loaded(tmp_path / "out.pth")
    assert torch.equal(found[CODES], wanted[CODES])
    assert found[CODES].stride() == old[CODES].stride()
    restore(file, tmp_path / "out.pth", tmp_path / "again.pth")
    assert (tmp_path / "again.pth").read_bytes() == file.read_bytes()


def _with_view(state):
    return {**state, OTHER: state[CODES][2:4]}


def _apart_in_one_storage(state):
    both = torch.cat([state[CODES], state[OTHER].reshape(-1, 1).expand(-1, state[CODES].shape[1])])
    return {**state, CODES: both[: len(state[CODES])], OTHER: both[len(state[CODES]) :]}


@pytest.mark.parametrize("writer", [zipped, legacy])
def test_a_storage_that_something_else_reads_is_refused(write, tmp_path, writer):
    """A tensor beside the VQ encoder would change with it; one that only lies beside it in the storage is kept."""
    base, _ = write("base.pth", seed=1)
    file, _ = write("file.pth", writer, seed=2, change=_with_view)
    with pytest.raises(CheckpointError, match=r"shares its bytes with enc_p"):
        restore(base, file, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
    file, old = write("apart.pth", writer, seed=2, change=_apart_in_one_storage)
    restore(base, file, tmp_path / "out.pth")
    assert torch.equal(loaded(tmp_path / "out.pth")[OTHER], old[OTHER])


@pytest.mark.parametrize("writer", [zipped, legacy])
@pytest.mark.parametrize(
    "around",
    [
        lambda state: {"extra": state[CODES]},
        lambda state: {"extra": state[CODES][1:]},
        lambda state: {"optimizer": {"state": [state[CODES].view(-1)[3:5]]}},
        lambda state: {"info": [("x", {"deep": state["ssl_proj.bias"]})]},
    ],
    ids=["the tensor itself", "a part of it", "an optimizer's", "deep inside"],
)
def test_what_stands_outside_the_state_dict_counts_too(tmp_path, vq_state, write, writer, around):
    """Torch would load another value there."""
    base, _ = write("base.pth", seed=1)
    state = vq_state(seed=2)
    writer({"weight": state, **around(state)}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="shares its bytes with"):
        restore(base, tmp_path / "file.pth", tmp_path / "out.pth")
    assert sorted(os.listdir(tmp_path)) == ["base.pth", "file.pth"]


def test_overflow_is_refused(write, tmp_path):
    """A count that half precision cannot hold would be infinite."""
    base, _ = write("base.pth", seed=1, change=lambda s: {**s, f"{BOOK}.cluster_size": s[f"{BOOK}.cluster_size"] * 1e4})
    file, _ = write("file.pth", seed=2, dtype=torch.float16)
    with pytest.raises(VqcheckError, match="infinite"):
        restore(base, file, tmp_path / "out.pth")
    assert sorted(os.listdir(tmp_path)) == ["base.pth", "file.pth"]


def test_codes_that_rounding_makes_equal_are_refused(write, tmp_path):
    """Two codes in use would be one to a lookup: the VQ encoder would not be the base's."""

    def near(state):
        codes = state[CODES].clone()
        codes[1] = codes[0] * (1 + 1e-5)
        return {**state, CODES: codes}

    base, _ = write("base.pth", seed=1, change=near)
    file, _ = write("file.pth", seed=2, dtype=torch.float16)
    with pytest.raises(VqcheckError, match="equal in float16"):
        restore(base, file, tmp_path / "out.pth")
    assert sorted(os.listdir(tmp_path)) == ["base.pth", "file.pth"]


def test_an_export_without_bookkeeping_gets_what_it_stores(write, tmp_path):
    base, wanted = write("base.pth", seed=1)
    dropped = {f"{BOOK}.embed_avg", f"{BOOK}.cluster_size"}
    file, _ = write("file.pth", seed=2, change=lambda s: {k: v for k, v in s.items() if k not in dropped})
    result = restore(base, file, tmp_path / "out.pth")
    assert torch.equal(loaded(tmp_path / "out.pth")[CODES], wanted[CODES])
    assert result.not_stored == ("ema_sum", "ema_count") or set(result.not_stored) == {"ema_sum", "ema_count"}


def test_a_lora_export_gets_the_codebook_that_it_has(checkpoints, tmp_path):
    """Its projection stays in its base; everything else of it is kept."""
    file, out = checkpoints / "lora_v3_e2_s50_l32.pth", tmp_path / "out.pth"
    with open_checkpoint(file) as opened:
        names = {name: (tensor.shape, tensor.dtype) for name, tensor in opened.tensors.items()}
    codes = next(name for name in names if name.endswith("_codebook.embed"))
    (count, dim), _ = names[codes]
    state = {
        f"{BOOK}.{part}": torch.rand(shape) + 1
        for part, shape in (
            ("inited", (1,)),
            ("cluster_size", (count,)),
            ("embed", (count, dim)),
            ("embed_avg", (count, dim)),
        )
    }
    state |= {"ssl_proj.weight": torch.rand(dim, dim, 2), "ssl_proj.bias": torch.rand(dim)}
    torch.save({"weight": state}, tmp_path / "base.pth")
    result = restore(tmp_path / "base.pth", file, out)
    assert any(label.startswith("input_proj") for label in result.not_stored)
    with open_checkpoint(out) as opened:
        found = torch.frombuffer(bytearray(opened.read(opened.tensors[codes])), dtype=torch.float16)
    assert torch.equal(found.view(count, dim), state[CODES].half())


def test_the_wrong_base_is_refused(write, tmp_path, vq_state):
    """Other shapes, another codec, several layers where the file has one."""
    file, _ = write("file.pth", seed=2)
    torch.save({"weight": vq_state(codes=8)}, tmp_path / "small.pth")
    with pytest.raises(VqcheckError, match="another shape"):
        restore(tmp_path / "small.pth", file, tmp_path / "out.pth")
    other = {
        "quantizer.vq.layers.0._codebook." + part: tensor
        for part, tensor in (
            ("inited", torch.ones(1)),
            ("cluster_size", torch.ones(16)),
            ("embed", torch.rand(16, 8)),
            ("embed_avg", torch.rand(16, 8)),
        )
    }
    two = {**other, **{name.replace("layers.0", "layers.1"): t + 1 for name, t in other.items()}}
    torch.save(two, tmp_path / "two.pth")
    with pytest.raises(VqcheckError):
        restore(tmp_path / "two.pth", file, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_compressed_members_are_refused(write, tmp_path):
    base, _ = write("base.pth", seed=1)
    file, _ = write("file.pth", seed=2)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(CheckpointError, match="compress"):
        restore(base, tmp_path / "packed.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_a_damaged_member_is_not_given_a_new_checksum(write, tmp_path):
    """What was damaged before must stay so to whoever looks at checksums."""
    base, _ = write("base.pth", seed=1)
    file, state = write("file.pth", before_the_data, seed=2)
    content = file.read_bytes()
    codes = state[CODES].numpy().tobytes()
    file.write_bytes(content.replace(codes, b"\0" + codes[1:]))
    with pytest.raises(CheckpointError, match="damaged"):
        restore(base, file, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_several_copies_want_a_name_and_only_that_copy_changes(tmp_path, vq_state):
    base, raw, ema = (vq_state(seed=seed) for seed in (1, 2, 3))
    torch.save({"weight": base}, tmp_path / "base.pth")
    torch.save({"model": raw, "ema": ema}, tmp_path / "file.pth")
    with pytest.raises(VqcheckError, match="--copy"):
        restore(tmp_path / "base.pth", tmp_path / "file.pth", tmp_path / "out.pth")
    restore(tmp_path / "base.pth", tmp_path / "file.pth", tmp_path / "out.pth", copies=("ema",))
    found = torch.load(tmp_path / "out.pth", weights_only=True)
    assert all(torch.equal(found["ema"][name], base[name]) for name in base)
    assert all(torch.equal(found["model"][name], raw[name]) for name in raw)


def _layers(same, seed):
    """Two layers of a residual codec, tied or not."""
    generator = torch.Generator().manual_seed(seed)
    books = [torch.randn(16, 8, generator=generator) for _ in range(2)]
    state = {}
    for layer in range(2):
        codes = books[0 if same else layer]
        at = f"quantizer.vq.layers.{layer}._codebook"
        state |= {f"{at}.embed": codes, f"{at}.embed_avg": codes, f"{at}.cluster_size": torch.ones(16)}
        state[f"{at}.inited"] = torch.ones(1)
    return state


def test_layers_that_share_a_codebook_take_only_one(tmp_path):
    """A base whose layers differ would lose one of them."""
    shared = _layers(True, 1)
    tied = {**shared}
    for name in list(tied):
        if "layers.1" in name:
            tied[name] = tied[name.replace("layers.1", "layers.0")]
    for name in list(tied):  # no bookkeeping that shares bytes with codes
        if name.endswith("embed_avg"):
            tied[name] = tied[name].clone() if "layers.0" in name else tied[name.replace("layers.1", "layers.0")]
    torch.save(tied, tmp_path / "tied.pth")
    torch.save({name: t.clone() for name, t in _layers(False, 2).items()}, tmp_path / "apart.pth")
    torch.save({name: t.clone() for name, t in _layers(True, 3).items()}, tmp_path / "equal.pth")
    with pytest.raises(VqcheckError, match="shares"):
        restore(tmp_path / "apart.pth", tmp_path / "tied.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
    restore(tmp_path / "equal.pth", tmp_path / "tied.pth", tmp_path / "out.pth")
    want, found = (torch.load(tmp_path / name, weights_only=True) for name in ("equal.pth", "out.pth"))
    assert all(torch.equal(found[name], want[name]) for name in want)


def test_a_shard_of_the_base_is_an_input(tmp_path, vq_state, write):
    """OUT over a file that the base's index leads to would destroy the base."""
    file, _ = write("file.pth", seed=2)
    folder = tmp_path / "base"
    folder.mkdir()
    state = vq_state(seed=1)
    shard = folder / "model-00001-of-00001.safetensors"
    save_file(state, shard)
    index = folder / "model.safetensors.index.json"
    listed = ", ".join(f'"{name}": "{shard.name}"' for name in state)
    index.write_text(f'{{"metadata": {{}}, "weight_map": {{{listed}}}}}')
    before = shard.read_bytes()
    with pytest.raises(VqcheckError, match="what this command reads"):
        restore(index, file, shard)
    assert shard.read_bytes() == before
    restore(index, file, tmp_path / "out.pth")
    assert torch.equal(loaded(tmp_path / "out.pth")[CODES], state[CODES])


def test_the_shipped_synthesizer_loads_it_strictly(tmp_path):
    """A whole model, with the base's VQ encoder in it: nothing is missing, and only that has changed."""
    from vqcheck.synthesizer import preset

    torch.manual_seed(1)
    a, b = (preset("tiny").synthesizer() for _ in range(2))
    for number, net in enumerate((a, b)):
        net.initialise_codebook(torch.randn(1, 32, 400))
        torch.save({"weight": net.state_dict()}, tmp_path / f"{number}.pth")
    restore(tmp_path / "0.pth", tmp_path / "1.pth", tmp_path / "out.pth")
    net = preset("tiny").synthesizer()
    net.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True)["weight"], strict=True)
    ssl = torch.randn(1, 32, 40)
    assert torch.equal(net.eval().extract_latent(ssl), a.eval().extract_latent(ssl))
    rest = {name: tensor for name, tensor in b.state_dict().items() if not name.startswith(("ssl_proj", "quantizer"))}
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in rest.items())


def test_codes_that_are_stored_as_columns(tmp_path):
    """Their axes are read in another order than they are stored in."""
    states = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        states.append(
            {
                "quantize_t.embed": torch.randn(8, 32, generator=generator),
                "quantize_t.embed_avg": torch.randn(8, 32, generator=generator),
                "quantize_t.cluster_size": torch.rand(32, generator=generator),
                "quantize_conv_t.weight": torch.randn(8, 4, 1, 1, generator=generator),
                "dec.weight": torch.randn(3, generator=generator),
            }
        )
        torch.save(states[seed], tmp_path / f"{seed}.pth")
    restore(tmp_path / "0.pth", tmp_path / "1.pth", tmp_path / "out.pth")
    found = torch.load(tmp_path / "out.pth", weights_only=True)
    for name, tensor in found.items():
        assert torch.equal(tensor, states[name.startswith("dec")][name]), name
