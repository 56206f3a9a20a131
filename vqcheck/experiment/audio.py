"""Reads `5-wav32k/<name>`: 16-bit PCM, mono, at the version's rate."""

import wave

import numpy as np
import numpy.typing as npt

from vqcheck.checkpoint.file import open_regular_file
from vqcheck.errors import UsageError


def read_wav(path: str, rate: int) -> npt.NDArray[np.float32]:
    """Return the samples `[N]` in -1..1.

    Raises:
        UsageError: the file is no such wav file, or is shorter than its header says.

    """
    try:
        with open(path, "rb", opener=open_regular_file) as stream, wave.open(stream) as file:
            found = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            count = file.getnframes()
            data = file.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        raise UsageError(f"is no PCM wav file: {error}", path) from None
    if found != (1, 2, rate):
        channels, width, hertz = found
        raise UsageError(
            f"expected 16-bit mono at {rate} Hz, found {8 * width}-bit, {channels} channels at {hertz} Hz", path
        )
    if len(data) != 2 * count:
        raise UsageError(f"ends after {len(data) // 2} of {count} samples", path)
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
