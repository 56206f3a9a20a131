"""An experiment directory is paired, filtered and ordered as s2 training does it."""

import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from warm import HANGS

from vqcheck.errors import UsageError
from vqcheck.experiment.directory import read_experiment, read_speaker_vector, read_ssl, read_wav
from vqcheck.experiment.name2text import ids_from_file, ids_in_sorted_order, read_name2text
from vqcheck.replay.batches import ModelInputs
from vqcheck.replay.training_data import RecordedData
from vqcheck.synthesizer import SpectrogramSettings

FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = [f"syn_000{i}.wav" for i in range(1, 5)]


@pytest.fixture
def folder(tmp_path):
    """A copy of the small experiment directory, to break."""
    return Path(shutil.copytree(FIXTURES / "experiment", tmp_path / "experiment"))


def data(folder, **changes):
    arguments = {"ssl_dim": 768, "table_size": 732, "sv_dim": None, "symbols": None, **changes}
    table = {"symbols": arguments.pop("table_size")}
    experiment = read_experiment(str(folder), with_speakers=arguments["sv_dim"] is not None)
    names = arguments.pop("symbols")
    return RecordedData(experiment, ModelInputs(SpectrogramSettings(), **arguments, **table), names)


def write_wav(path, samples, rate=32000, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.zeros(samples * channels, "<i2").tobytes())


def test_every_item_of_the_fixture_is_used(folder):
    """All four items pair up, and a short list is repeated to about a hundred in a fixed order."""
    experiment = read_experiment(str(folder), with_speakers=True)
    assert sorted(entry.name for entry in experiment.entries) == NAMES
    assert experiment.left_out == {}
    listed = [entry.name for entry in experiment.training_list()]
    assert len(listed) == 100
    assert listed == [entry.name for entry in read_experiment(str(folder), with_speakers=True).training_list()]


def test_items_are_loaded_as_recorded(folder):
    """Features are widened and stretched by a frame, audio is in -1..1, and both have as many frames."""
    loaded = data(folder, sv_dim=20480)
    item = loaded.item(0)
    stored = torch.load(folder / "4-cnhubert" / f"{item.name}.pt", weights_only=True)
    assert stored.requires_grad
    assert not stored.is_contiguous()
    assert stored.dtype == torch.float16
    assert item.ssl.shape == (768, stored.shape[2] + 1)
    assert torch.equal(item.ssl[:, :-1], stored[0].detach().float())
    assert torch.equal(item.ssl[:, -1], item.ssl[:, -2])
    assert item.spec.shape == (1025, item.ssl.size(1))
    assert float(item.wav.abs().max()) <= 1
    assert item.sv_emb.shape == (20480,)


@pytest.mark.parametrize("part", ["4-cnhubert", "5-wav32k", "7-sv_cn"])
def test_items_without_a_part_are_left_out_by_name(folder, part):
    """An item that lacks features, audio or, for Pro versions, a speaker vector is left out and named."""
    next((folder / part).glob("syn_0002.wav*")).unlink()
    experiment = read_experiment(str(folder), with_speakers=True)
    assert experiment.left_out == {"syn_0002.wav": f"not in {part}"}
    if part == "7-sv_cn":
        assert read_experiment(str(folder), with_speakers=False).left_out == {}


@pytest.mark.parametrize(("seconds", "kept"), [(0.59, False), (0.61, True), (53.9, True), (54.1, False)])
def test_items_too_short_or_too_long_are_left_out(folder, seconds, kept):
    """Only items between 0.6 and 54 seconds are trained on, by the size of their file."""
    write_wav(folder / "5-wav32k" / NAMES[0], int(seconds * 32000))
    assert (NAMES[0] not in read_experiment(str(folder), with_speakers=False).left_out) == kept


def test_lines_without_four_fields_are_passed_over(folder):
    """A line of another number of fields has no item, as upstream has it."""
    with (folder / "2-name2text.txt").open("a", encoding="utf-8") as file:
        file.write("syn_0009.wav\ta b\n\n")
    assert list(read_name2text(str(folder))) == NAMES


def break_nan(folder):
    path = folder / "4-cnhubert" / f"{NAMES[1]}.pt"
    values = torch.load(path, weights_only=True).detach().clone()
    values[0, 3, 4] = float("nan")
    torch.save(values, path)


def break_shape(folder):
    torch.save(torch.zeros(1, 256, 40), folder / "4-cnhubert" / f"{NAMES[1]}.pt")


def break_file(folder):
    (folder / "4-cnhubert" / f"{NAMES[1]}.pt").write_bytes(b"nothing of that kind")


def break_rate(folder):
    write_wav(folder / "5-wav32k" / NAMES[1], 44100, rate=44100)


def break_channels(folder):
    write_wav(folder / "5-wav32k" / NAMES[1], 32000, channels=2)


def cut_audio(folder):
    path = folder / "5-wav32k" / NAMES[1]
    path.write_bytes(path.read_bytes()[:-7000])


def break_audio(folder):
    (folder / "5-wav32k" / NAMES[1]).write_bytes(b"x" * 60000)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_nan, "1 of .* values are NaN or infinite"),
        (break_shape, r"expected features of shape \[1, 768, T\]"),
        (break_file, "not a checkpoint|cannot be read|is not"),
        (break_rate, "16-bit mono at 32000 Hz, found 16-bit, 1 channels at 44100 Hz"),
        (break_channels, "2 channels"),
        (cut_audio, "ends after"),
        (break_audio, "is not a PCM wav file"),
    ],
)
def test_what_upstream_would_replace_by_zeros_is_an_error(folder, damage, message):
    """An item that cannot be loaded is named with the reason, instead of being trained on as silence."""
    damage(folder)
    loaded = data(folder)
    positions = [i for i, entry in enumerate(loaded._list) if entry.name == NAMES[1]]
    with pytest.raises(UsageError, match=f"item '{NAMES[1]}': .*({message})"):
        loaded.item(positions[0])


def test_missing_parts_of_the_directory_are_named(folder, tmp_path):
    """A directory that lacks a part, or everything, says which."""
    shutil.rmtree(folder / "4-cnhubert")
    with pytest.raises(UsageError, match="4-cnhubert: cannot be read"):
        read_experiment(str(folder), with_speakers=False)
    with pytest.raises(UsageError, match=r"2-name2text\.txt: cannot be read"):
        read_experiment(str(tmp_path), with_speakers=False)
    with pytest.raises(UsageError, match="is not an experiment directory"):
        read_experiment(str(tmp_path / "gone"), with_speakers=False)


def test_an_empty_dataset_is_an_error(folder):
    """Fewer than two usable items are refused, with the reason of one that was left out."""
    for name in NAMES[:3]:
        (folder / "5-wav32k" / name).unlink()
    with pytest.raises(UsageError, match=r"1 items can be trained on.*syn_0001\.wav not in 5-wav32k"):
        read_experiment(str(folder), with_speakers=False)
    (folder / "2-name2text.txt").write_text("", "utf-8")
    with pytest.raises(UsageError, match="no line of four"):
        read_experiment(str(folder), with_speakers=False)


def test_phones_without_a_table_have_stable_ids():
    """Ids are the symbols' places in sorted order, and a table too small for them is refused."""
    assert ids_in_sorted_order([("b", "a"), ("c", "a")], 3) == {"a": 0, "b": 1, "c": 2}
    with pytest.raises(UsageError, match="3 different phones"):
        ids_in_sorted_order([("b", "a"), ("c",)], 2)


def test_phones_with_a_table_are_upstreams(folder, tmp_path):
    """With the symbol file ids are its lines, and an item with an unknown phone is left out as upstream does."""
    table = tmp_path / "symbols.txt"
    known = ["_", "s", "i4", "a1", "u4", "i2", "e4", "u3"]
    table.write_text("\n".join(known) + "\n", "utf-8")
    assert ids_from_file(str(table), 8)["a1"] == 3
    with pytest.raises(UsageError, match="has 8 symbols, the version 732"):
        ids_from_file(str(table), 732)
    loaded = data(folder, table_size=8, symbols=str(table))
    assert NAMES[3] not in {entry.name for entry in loaded._list}
    assert any("syn_0004.wav has the unknown phone 'e2'" in note for note in loaded.notes)
    first = next(i for i, entry in enumerate(loaded._list) if entry.name == NAMES[0])
    assert loaded.item(first).text.tolist() == [1, 2, 3]


def test_audio_is_scaled_by_the_full_range(tmp_path):
    """The lowest 16-bit value is -1, and everything else lies within."""
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(32000)
        file.writeframes(np.array([-32768, 0, 16384], "<i2").tobytes())
    assert read_wav(str(path), 32000).tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_features_of_every_precision_are_widened(tmp_path, dtype):
    """A directory may mix precisions; values come out as float32 without loss."""
    values = torch.randn(1, 8, 5).to(dtype)
    torch.save(values, tmp_path / "a.pt")
    assert torch.equal(torch.from_numpy(read_ssl(str(tmp_path / "a.pt"), 8)), values[0].float())


def test_speaker_vectors_have_their_size(tmp_path):
    """A vector of another size is refused."""
    torch.save(torch.ones(1, 20480), tmp_path / "a.pt")
    assert read_speaker_vector(str(tmp_path / "a.pt"), 20480).shape == (20480,)
    with pytest.raises(UsageError, match=r"shape \[1, 192\]"):
        read_speaker_vector(str(tmp_path / "a.pt"), 192)


@pytest.mark.slow
def test_the_script_makes_the_fixture(tmp_path):
    """The committed experiment directory is what its script writes, value for value."""
    script = FIXTURES / "make_experiment.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "made")], check=True, timeout=HANGS)
    for made in sorted(path for path in (tmp_path / "made").rglob("*") if path.is_file()):
        kept = FIXTURES / "experiment" / made.relative_to(tmp_path / "made")
        if made.suffix == ".pt":
            one, other = (torch.load(path, weights_only=True).detach().float() for path in (made, kept))
            assert (one.shape, one.stride()) == (other.shape, other.stride())
            torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)
        elif made.suffix == ".wav":
            one, other = (read_wav(str(path), 32000) for path in (made, kept))
            np.testing.assert_allclose(one, other, atol=2 / 32768)
        else:
            assert made.read_bytes() == kept.read_bytes()
