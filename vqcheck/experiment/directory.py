"""An experiment directory, `logs/<name>`: which items s2 training pairs up in it, and what it loads of each."""

import os
import random
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.errors import UsageError
from vqcheck.experiment.features import read_features
from vqcheck.experiment.name2text import read_name2text
from vqcheck.language import listed, tr

FEATURES: Final = "4-cnhubert"
AUDIO: Final = "5-wav32k"
SPEAKERS: Final = "7-sv_cn"

_SHUFFLE_SEED: Final = 1234
_FEW: Final = 100
_BYTES_PER_SECOND: Final = 2 * 32000
_SECONDS: Final = (0.6, 54.0)
_BYTES_PER_FRAME: Final = 2 * 640
_SMALLEST: Final = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One item, not yet loaded."""

    name: str
    phones: tuple[str, ...]
    frames: int
    """Spectrogram frames by the size of the audio file, which is what upstream sorts by."""
    features: str
    audio: str
    speaker: str | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """The items that s2 training uses."""

    folder: str
    entries: tuple[Entry, ...]
    left_out: Mapping[str, str]
    """Item name -> why it is not trained on."""

    def training_list(self) -> list[Entry]:
        """Return the entries in upstream's order: shuffled, and a short list repeated to about a hundred.

        Upstream shuffles a set, whose order differs from run to run; here names are sorted first.
        """
        entries = sorted(self.entries, key=lambda entry: entry.name)
        random.Random(_SHUFFLE_SEED).shuffle(entries)  # noqa: S311 - an order, not a secret
        return entries * max(2, _FEW // len(entries)) if len(entries) < _FEW else entries


def read_experiment(folder: str, with_speakers: bool) -> Experiment:
    """Return the items of an experiment directory; no audio or feature file is opened.

    An item needs a line in 2-name2text.txt, features and audio (for Pro versions a speaker vector too), and must last
    more than 0.6 and less than 54 seconds.

    Raises:
        UsageError: a part of the directory is missing, or fewer than two items are left.

    """
    if not os.path.isdir(folder):
        raise UsageError(tr("is not an experiment directory (logs/<name>)"), folder)
    phones = read_name2text(folder)
    parts = {
        FEATURES: {name.removesuffix(".pt") for name in _listed(folder, FEATURES)},
        AUDIO: _listed(folder, AUDIO),
    }
    if with_speakers:
        parts[SPEAKERS] = {name.removesuffix(".pt") for name in _listed(folder, SPEAKERS)}
    entries, left_out = [], {}
    for name, symbols in phones.items():
        absent = [part for part, names in parts.items() if name not in names]
        audio = os.path.join(folder, AUDIO, name)
        size = 0 if absent else os.path.getsize(audio)
        seconds = size / _BYTES_PER_SECOND
        if absent:
            left_out[name] = tr("not in {folders}", folders=listed(absent, last=""))
        elif not _SECONDS[0] < seconds < _SECONDS[1]:
            left_out[name] = tr("lasts {seconds:.2f} s", seconds=seconds)
        else:
            vector = os.path.join(folder, SPEAKERS, f"{name}.pt") if with_speakers else None
            features = os.path.join(folder, FEATURES, f"{name}.pt")
            entries.append(Entry(name, symbols, size // _BYTES_PER_FRAME, features, audio, vector))
    if len(entries) < _SMALLEST:
        too_few = tr(
            "{items} items can be trained on, at least {least} are needed", items=len(entries), least=_SMALLEST
        )
        for name, why in list(left_out.items())[:1]:
            too_few = tr("{message}; {item} {why}", message=too_few, item=name, why=why)
        raise UsageError(too_few, folder)
    return Experiment(folder, tuple(entries), left_out)


def read_ssl(path: str, channels: int) -> npt.NDArray[np.float32]:
    """Return SSL features `[channels, T]` (float32) from `4-cnhubert/<name>.pt`.

    Raises:
        UsageError: the file cannot be read, has another shape or no frame, or values that are not finite.

    """
    values = _finite(path)
    if values.shape[0] != channels or not values.shape[1]:
        raise UsageError(
            tr(
                "expected features of shape [1, {channels}, T], found {shape}",
                channels=channels,
                shape=list(values.shape),
            ),
            path,
        )
    return values


def read_speaker_vector(path: str, size: int) -> npt.NDArray[np.float32]:
    """Return a speaker vector `[size]` (float32) from `7-sv_cn/<name>.pt`. Raises as `read_ssl` does."""
    values = _finite(path)
    if values.shape != (1, size):
        raise UsageError(
            tr("expected a speaker vector of shape [1, {size}], found {shape}", size=size, shape=list(values.shape)),
            path,
        )
    vector: npt.NDArray[np.float32] = values[0]
    return vector


def read_wav(path: str, rate: int) -> npt.NDArray[np.float32]:
    """Return the samples `[N]` in -1..1 of `5-wav32k/<name>`: 16-bit PCM, mono, at the version's rate.

    Raises:
        UsageError: the file is not such a wav file, or is shorter than its header says.

    """
    try:
        with open(path, "rb", opener=open_regular_file) as stream, wave.open(stream) as file:
            found = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            count = file.getnframes()
            data = file.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        raise UsageError(tr("is not a PCM wav file: {error}", error=str(error)), path) from None
    if found != (1, 2, rate):
        channels, width, hertz = found
        raise UsageError(
            tr(
                "expected 16-bit mono at {rate} Hz, found {bits}-bit, {channels} channels at {hertz} Hz",
                rate=rate,
                bits=8 * width,
                channels=channels,
                hertz=hertz,
            ),
            path,
        )
    if len(data) != 2 * count:
        raise UsageError(tr("ends after {samples} of {count} samples", samples=len(data) // 2, count=count), path)
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def _listed(folder: str, part: str) -> set[str]:
    path = os.path.join(folder, part)
    try:
        return set(os.listdir(path))
    except OSError as error:
        raise UsageError(tr("cannot be read: {reason}", reason=error.strerror), path) from None


def _finite(path: str) -> npt.NDArray[np.float32]:
    found = read_features(path)
    if found.values is None:
        raise UsageError(found.problem, path)
    values = found.values.astype(np.float32)
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise UsageError(tr("{bad} of {size} values are NaN or infinite", bad=bad, size=values.size), path)
    return values
