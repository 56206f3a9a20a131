"""What an error says is one printable line of bounded length, and what it knows stays in fields."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vqcheck import find_vq_encoder, open_checkpoint
from vqcheck.codebook.own_family import read_own_family
from vqcheck.errors import CheckpointError, NoCodebookError, UsageError
from vqcheck.experiment.config_file import read_config_file
from vqcheck.language import Sentence, tr

KINDS = pytest.mark.parametrize("kind", [CheckpointError, NoCodebookError, UsageError])


@KINDS
def test_a_text_from_a_file_cannot_steer_the_terminal_or_fill_it(kind):
    assert str(kind("日本語/é.pth: is damaged")) == "日本語/é.pth: is damaged"
    assert str(kind("日本.pth: \x1b[31m\n\u202e\ud800")) == r"日本.pth: \x1b[31m\n\u202e\ud800"
    assert str(kind("is \n damaged", "\x1b日.pth", "\u202etensor")) == r"\x1b日.pth: \u202etensor: is \n damaged"
    long = str(kind("x" * 1_000_000 + ": is too long", "a.pth", "m" * 1_000_000))
    assert len(long) < 2_100
    assert long.startswith("a.pth: mmm")
    assert long.endswith("xxx: is too long")


@KINDS
def test_path_member_and_reason_are_fields(kind):
    error = kind("is damaged: twice", Path("a: b.pth"), "c: d")
    assert (error.path, error.member, error.reason) == ("a: b.pth", "c: d", "is damaged: twice")
    assert str(error) == "a: b.pth: c: d: is damaged: twice"
    assert error.what == "c: d: is damaged: twice"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.path, again.member, again.reason) == (kind, error.path, error.member, error.reason)


def test_an_error_names_its_file_as_the_user_named_it(tmp_path, monkeypatch):
    """Also where the name holds what messages have between their parts, or cannot be printed."""
    monkeypatch.chdir(tmp_path)
    name = "no: such\n.pth"
    with pytest.raises(CheckpointError) as missing:
        open_checkpoint(name)
    assert (missing.value.path, missing.value.member, missing.value.reason) == (name, "", "no such file")
    save_file({"quantizer.vq.layers.0._codebook.embed": np.zeros((1, 4, 3), np.complex64)}, name)
    with pytest.raises(CheckpointError) as unsupported, open_checkpoint(name) as checkpoint:
        checkpoint.read(checkpoint.tensors["quantizer.vq.layers.0._codebook.embed"])
    assert unsupported.value.path == name
    assert unsupported.value.member == "quantizer.vq.layers.0._codebook.embed"
    assert "complex64" in unsupported.value.reason
    save_file({"weight": np.zeros((4, 3), np.float32)}, name)
    with pytest.raises(NoCodebookError) as nothing, open_checkpoint(name) as checkpoint:
        find_vq_encoder(checkpoint)
    assert (nothing.value.path, nothing.value.member) == (name, "")


def test_a_misshapen_tensor_is_the_member_of_the_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = "quantizer.vq.layers.0._codebook."
    shapes = {
        f"{book}embed": (8, 3),
        f"{book}embed_avg": (8, 3),
        f"{book}cluster_size": (7,),
        "ssl_proj.weight": (3, 3, 2),
    }
    save_file({name: np.ones(shape, np.float32) for name, shape in shapes.items()}, "a.safetensors")
    with pytest.raises(CheckpointError) as misshapen, open_checkpoint("a.safetensors") as checkpoint:
        find_vq_encoder(checkpoint)
    assert (misshapen.value.path, misshapen.value.member) == ("a.safetensors", f"{book}cluster_size")
    assert "shape [7]" in misshapen.value.reason


def _templates(text):
    """Return the templates of a sentence and of those in it."""
    assert isinstance(text, Sentence)
    inner = [_templates(value) for value in text.fields.values() if isinstance(value, Sentence)]
    return {text.template}.union(*inner)


@pytest.mark.parametrize(
    ("name", "content", "read", "template"),
    [
        ("a.pth", b"", open_checkpoint, "is empty; save or download it again"),
        (
            "a.pth",
            b"\x1f\x8b" + bytes(9),
            open_checkpoint,
            "is compressed with {kind}; unpack it and name the checkpoint ",
        ),
        ("a.pkl", b"\x93NUMPY" + bytes(9), open_checkpoint, "is no array of numpy, or of a version that is not known"),
        ("a.safetensors", bytes([2, *bytes(7)]) + b"{]", open_checkpoint, "is not valid JSON ({error})"),
        ("a.safetensors", bytes([13, *bytes(7)]) + b'{"a":1,"a":2}', open_checkpoint, "a key is repeated"),
        ("a.toml", b'a = "C:\\Users"', read_own_family, "{error}; write a Windows path in 'single quotes'"),
        ("a.toml", b'nam = "x"', read_own_family, "{message}; did you mean {names}?"),
        ("a.toml", b"a." * 101 + b"a = 1", read_config_file, "a line with more than {most} dots"),
    ],
)
def test_what_is_wrong_with_a_file_stays_a_sentence(tmp_path, name, content, read, template):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((CheckpointError, UsageError)) as caught:
        read(str(path))
    assert any(each.startswith(template) for each in _templates(str(caught.value)))


def test_what_is_wrong_with_a_pickle_stays_a_sentence(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02cevil\x1b\ncode\n)R.")
        archive.writestr("a/version", b"3")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    text = str(caught.value)
    assert {"the pickle {error}", "calls {function}, which may give any value"} <= _templates(text)
    assert "evil\\x1b.code" in text
    assert text.isprintable()


def test_a_field_of_any_kind_is_sanitized():
    error = UsageError(tr("{what}: {shape} {number:.1f}", what=ValueError("\x1b[2J"), shape=[1, 2], number=2.0))
    assert str(error) == "\\x1b[2J: [1, 2] 2.0"
