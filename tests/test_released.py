"""What a released version said of its files holds for ever. Files below `fixtures/released/` are never edited.

When a test here fails, the code has to change, or the digest's algorithm gets a new name.
"""

import json
from pathlib import Path

import pytest

from vqcheck import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.codebook.inspection import inspect

RELEASED = Path(__file__).parent.parent / "fixtures" / "released"
VERSIONS = sorted(path.name for path in RELEASED.iterdir() if (path / "digests.json").is_file())
FILES = [
    (version, path.name) for version in VERSIONS for path in sorted((RELEASED / version / "checkpoints").iterdir())
]
DOCUMENTS = [
    (version, path.name) for version in VERSIONS for path in sorted((RELEASED / version / "documents").iterdir())
]


def test_there_is_something_to_hold():
    assert VERSIONS
    assert len(FILES) > 20


@pytest.mark.parametrize(("version", "name"), FILES)
def test_a_released_file_has_the_digests_that_it_was_released_with(version, name):
    """Of every part and every tensor, by every algorithm: torch 1.1 to 2.13, every element type, every container."""
    expected = json.loads((RELEASED / version / "digests.json").read_text(encoding="utf-8"))[name]
    with open_checkpoint(RELEASED / version / "checkpoints" / name) as checkpoint:
        encoder = inspect(checkpoint).vq_encoder
    found = {}
    for of in (encoder.f32, encoder.f16, encoder.bf16):
        algorithm = of.codebook.algorithm
        found |= {f"{algorithm} {part}": str(getattr(of, part)) for part in ("codebook", "projection", "vq_encoder")}
        found |= {f"{algorithm} {label}": str(digest) for label, digest in of.tensors}
    assert found == expected


def test_the_files_of_one_element_type_have_one_digest():
    """Whatever torch wrote them, zipped or not, as tensors or parameters, contiguous or not."""
    for version in VERSIONS:
        expected = json.loads((RELEASED / version / "digests.json").read_text(encoding="utf-8"))
        kinds = {"float16": set(), "bfloat16": set(), "float32": set()}
        for name, digests in expected.items():
            narrow = name.removesuffix(".pth").rpartition("-")[2]
            if name.startswith("torch-"):
                kinds[narrow if narrow in kinds else "float32"].add(digests["sha256-f32v1 vq_encoder"])
        assert [len(digests) for digests in kinds.values()] == [1, 1, 1]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_codec_keeps_the_digest_that_it_was_released_with(version, tmp_path, monkeypatch):
    """The order of books, roles and canonical shapes of each family are part of the digest."""
    monkeypatch.syspath_prepend(RELEASED.parent)
    from make_released import codec_digests

    released = json.loads((RELEASED / version / "codecs.json").read_text(encoding="utf-8"))
    found = codec_digests(tmp_path)
    assert [codec for codec in released if found.get(codec) != released[codec]] == []
    assert len(released) > 40


@pytest.mark.parametrize("version", VERSIONS)
def test_a_released_lock_is_still_read(version, capsys, monkeypatch, valid):
    """It agrees with what it was made from, tokens and s1 checkpoint included, and not with what drifted."""
    monkeypatch.chdir(RELEASED / version)
    bound = ["--experiment", "logs/demo", "--s1", "s1.ckpt", "-o", "logs/demo/vqcheck.lock", "--format", "json"]
    assert main(["lock", "--check", "checkpoints/torch-2.13.0.pth", *bound]) == 0
    assert valid(capsys.readouterr().out)["verdict"] == "identical"
    assert main(["lock", "--check", "checkpoints/drifted.pth", *bound]) == 1
    assert valid(capsys.readouterr().out)["verdict"] == "changed"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lock_made_now_says_what_the_released_one_says(version, tmp_path, monkeypatch):
    monkeypatch.chdir(RELEASED / version)
    new = tmp_path / "new.lock"
    made = ["lock", "checkpoints/torch-2.13.0.pth", "--experiment", "logs/demo", "--s1", "s1.ckpt", "-o", str(new)]
    assert main(made) == 0
    assert new.read_text(encoding="utf-8") == Path("logs/demo/vqcheck.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize(("version", "name"), DOCUMENTS)
def test_a_released_document_is_still_valid(version, name, valid):
    """The schemas of today accept what was written then, as long as its schema has the same number."""
    assert valid((RELEASED / version / "documents" / name).read_text(encoding="utf-8"))["vqcheck"] == version
