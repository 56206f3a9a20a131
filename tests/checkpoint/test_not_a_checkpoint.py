"""What is not a checkpoint is called what it is, with what helps: the first line that a user meets."""

import bz2
import gzip
import io
import lzma
import pickle
import re
import tarfile
import wave
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.errors import CheckpointError


def told(path):
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    text = str(caught.value)
    assert text.isprintable()
    assert path.name in text
    return text


def archive(write, name="logs/G_400.pth", data=b"x" * 40):
    buffer = io.BytesIO()
    write(buffer, name, data)
    return buffer.getvalue()


def tar(buffer, name, data, form=tarfile.PAX_FORMAT):
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        file.addfile(entry, io.BytesIO(data))


def old_tar(buffer, name, data):
    """As before POSIX, without a magic number: only its checksum tells it."""
    tar(buffer, name, data)
    buffer.seek(0)
    header = bytearray(buffer.read(512))
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    buffer.seek(0)
    buffer.write(header)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as file:
        assert file.getnames() == [name]


def zipped(buffer, name, data):
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "x")
        file.writestr(name, data)


def sound(buffer, *_):
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(100))


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
KINDS = {
    "web page": (b"<!DOCTYPE html>\n<html lang='en'>", "web page .*fetch the file itself"),
    "web page after a comment": (b"\xef\xbb\xbf\r\n <!-- x -->\n<HTML>", "web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "xhtml": (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x">', "web page"),
    "git-lfs": (LFS, "git-lfs pointer.*git lfs pull"),
    "tar": (archive(tar), r"tar archive \(logs/G_400.pth, \.\.\.\).*tar -xf"),
    "gnu tar": (archive(lambda *a: tar(*a, form=tarfile.GNU_FORMAT)), "tar archive"),
    "old tar": (archive(old_tar), "tar archive"),
    "tar of a name that begins as a legacy file does": (archive(tar, "\x80\x02x"), "tar archive"),
    "tar of old torch": (archive(tar, "sys_info"), "torch before 0.1.10"),
    "tar.gz": (gzip.compress(archive(tar)), "gzip.*tar -xzf"),
    "tar.bz2": (bz2.compress(archive(tar)), "bzip2.*tar -xjf"),
    "tar.xz": (lzma.compress(archive(tar)), "xz.*tar -xJf"),
    "zip": (archive(zipped), r"zip archive with checkpoints inside; unpack it \(unzip\) and name one: logs/G_400.pth"),
    "zip of something else": (archive(zipped, "a.txt"), "zip archive, but no torch checkpoint"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(60), "7z"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(60), "rar"),
    "wav": (archive(sound), "audio"),
    "mp3": (b"ID3\x04" + bytes(60), "audio"),
    "pickle of torch's tensors": (pickle.dumps({"a": torch.ones(2)}), "pickle with torch's tensors.*torch.save"),
    "the same, ordered and old": (
        pickle.dumps(OrderedDict(a=torch.ones(2)), 2),
        "pickle with torch's tensors.*torch.save",
    ),
    "program of torch.export": (archive(zipped, "e/models/model.json"), "torch.export"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(60), "GGUF"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
    "faiss": (b"IwFl" + bytes(60), "FAISS"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(60), "picture"),
    "program": (b"\x7fELF" + bytes(60), "program"),
    "zeros": (bytes(5000), "zeros only"),
    "text": ("项目说明\nWeights are elsewhere.\n".encode() * 30, "text file"),
    "empty": (b"", "is empty"),
    "unknown": (b"\xb7\x01\xfe" * 40, r"neither torch nor safetensors"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_called_what_it_is(kind, put):
    """Saved as .pth, as browsers and scripts do."""
    data, said = KINDS[kind]
    text = told(put(data, "G_400.pth"))
    assert re.search(said, text), text


def test_a_torch_file_written_as_text_keeps_the_reason_why_it_is_not_read(tmp_path):
    """It begins as a text file does."""
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False, pickle_protocol=0)
    path.write_bytes(path.read_bytes()[:-20])
    assert "text file" not in told(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.onnx", "ONNX"),
        ("added.index", "an index"),
        ("G_400.pth.part", "unfinished download"),
        ("未确认 1.crdownload", "unfinished download"),
    ],
)
def test_a_name_tells_what_the_bytes_do_not(name, said, put):
    assert said in told(put(b"\x08\x07\xff\x00" * 40, name)).replace("未确认 ", "")


@pytest.mark.parametrize("cut", [100, 1000, -10])
@pytest.mark.parametrize("writer", [torch.save, save_file])
def test_half_a_download_is_called_one_and_keeps_its_reason(writer, cut, tmp_path, vq_state):
    """Whole, it is read by any name."""
    path = tmp_path / "G_400.pth.part"
    writer(vq_state(), path)
    open_checkpoint(path).close()
    path.write_bytes(path.read_bytes()[:cut])
    text = told(path)
    assert "unfinished download" in text
    assert "truncated?" in text or "zip directory" in text


def test_a_file_that_aria2_has_not_finished_is_refused_although_it_can_be_read(save, vq_state):
    """It has its full size from the beginning, and zeros where nothing has come yet."""
    path = save(vq_state())
    control = path.with_name(path.name + ".aria2")
    control.write_bytes(b"\0\1")
    assert "let aria2 finish it" in told(path)
    control.unlink()
    open_checkpoint(path).close()


@pytest.mark.parametrize("address", ["https://huggingface.co/x/a.pth", "hf://a/b/c", "s3://bucket/a.pth"])
def test_a_path_object_is_no_address(address):
    """It has lost a slash, and another library might find a host where none was named."""
    with pytest.raises(CheckpointError, match="has lost a slash"):
        open_checkpoint(Path(address))


@pytest.mark.parametrize("path", ["absent.pth", "C:\\a.pth", "C:/a.pth", "a:b.pth", "./a//b"])
def test_a_path_that_leads_nowhere_is_no_address(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(path)


FOLDERS = {
    "empty": ([], "empty folder"),
    "experiment": (["2-name2text.txt", "4-cnhubert/a.pt", "logs_s2_v2/G_400.pth"], r"experiment folder.*logs_s2_v2"),
    "experiment without runs": (["6-name2semantic.tsv"], r"experiment folder.*SoVITS_weights"),
    "DCP without its index": (["__0_0.distcp", "__1_0.distcp"], r"distributed checkpoint without.*\.metadata"),
    "DeepSpeed": (["latest", "zero_to_fp32.py", "global_step10/mp_rank_00_model_states.pt"], "DeepSpeed.*zero_to_fp32"),
    "no weights": (["config.json", "README.md"], "model folder without weights"),
    "shards alone": (["config.json", "model-00001-of-00002.safetensors"], "without their index"),
    "bin shards alone": (["pytorch_model-00002-of-00002.bin"], "without their index"),
    "TensorFlow": (["saved_model.pb", "variables/x"], "TensorFlow"),
    "TensorFlow checkpoint": (["m.index", "m.data-00000-of-00001", "checkpoint"], "TensorFlow"),
    "ONNX": (["config.json", "model.onnx"], "ONNX"),
    "pipeline": (
        ["model_index.json", "vqvae/diffusion_pytorch_model.safetensors"],
        "these folders in it hold checkpoints: vqvae",
    ),
    "other": (["a.txt", "b"], "it holds a.txt, b"),
    "weights": (["me_e4.pth", "me_e8.pth"], "several checkpoints, name one: me_e4.pth, me_e8.pth; 'vqcheck history'"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_another_kind_is_called_what_it_is(kind, tmp_path):
    files, said = FOLDERS[kind]
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    text = told(folder)
    assert re.search(said, text), text
