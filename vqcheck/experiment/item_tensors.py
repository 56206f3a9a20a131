"""Reads the tensors that training takes for one item, and refuses what it could not be trained on."""

import numpy as np
import numpy.typing as npt

from vqcheck.errors import UsageError
from vqcheck.experiment.features import read_features


def read_ssl(path: str, channels: int) -> npt.NDArray[np.float32]:
    """Return SSL features `[channels, T]` (float32) from `4-cnhubert/<name>.pt`.

    Raises:
        UsageError: the file cannot be read, has another shape or no frame, or values that are not finite.

    """
    values = _read(path)
    if values.shape[0] != channels or not values.shape[1]:
        raise UsageError(f"expected features of shape [1, {channels}, T], found {list(values.shape)}", path)
    return values


def read_speaker_vector(path: str, size: int) -> npt.NDArray[np.float32]:
    """Return a speaker vector `[size]` (float32) from `7-sv_cn/<name>.pt`. Raises as `read_ssl` does."""
    values = _read(path)
    if values.shape != (1, size):
        raise UsageError(f"expected a speaker vector of shape [1, {size}], found {list(values.shape)}", path)
    vector: npt.NDArray[np.float32] = values[0]
    return vector


def _read(path: str) -> npt.NDArray[np.float32]:
    found = read_features(path)
    if found.values is None:
        raise UsageError(found.problem, path)
    values = found.values.astype(np.float32)
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise UsageError(f"{bad} of {values.size} values are NaN or infinite", path)
    return values
