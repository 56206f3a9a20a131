"""Tells whether a codebook is fit for use: trained, finite, in use, and with running sums that fit its codes."""

from dataclasses import dataclass
from typing import Final

from vqcheck.codebook.family import CODES, EMA_COUNT, EMA_SUM, INIT_FLAG, Family
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor

# Relative error of ema_sum / smoothed(count) against the codes, by the precision in which all three were rounded.
_FIT_TOLERANCE: Final = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-6}
_SMALLEST_HALF: Final = 2.0**-24


@dataclass(frozen=True, slots=True)
class Health:
    """What the stored values of one codebook say about it; None where the file lacks the tensor for it."""

    codes: int
    initialised: bool | None
    all_zero: bool
    not_finite: int
    """Values of the codebook's tensors that are NaN or infinite."""
    dead: int | None
    """Codes whose count is below the family's threshold."""
    unused: int | None
    """Codes whose count is zero."""
    rows_off: int | None
    """Codes that are not their running sum over their smoothed count."""

    @property
    def never_trained(self) -> bool:
        """The codebook still waits for its first batch."""
        return self.all_zero or self.initialised is False

    @property
    def usable(self) -> bool:
        return not self.never_trained and not self.not_finite


def never_trained(codebook: Codebook, data: dict[RoleTensor, bytes | bytearray]) -> bool:
    """Say whether a codebook still waits for its first batch: its flag is 0 or its codes are all zero."""
    flag = codebook.of_role(INIT_FLAG)
    if flag is not None and not any(data[flag]):
        return True
    # Stripping stops at the first byte that is not zero.
    return not data[codebook.codes].lstrip(b"\0")


def examine(family: Family, codebook: Codebook, data: dict[RoleTensor, bytes | bytearray]) -> Health:
    """Return the health of one codebook, given the stored bytes of its tensors."""
    import numpy as np

    from vqcheck.codebook.values import as_array

    arrays = {tensor.role: as_array(tensor, data[tensor]) for tensor in codebook.tensors}
    flag = arrays.get(INIT_FLAG)
    counts = arrays.get(EMA_COUNT)
    codes = arrays[CODES]
    return Health(
        codes=codes.shape[0] * codes.shape[1],
        initialised=None if flag is None else bool(flag.any()),
        all_zero=not codes.any(),
        not_finite=sum(int(np.count_nonzero(~np.isfinite(array))) for array in arrays.values()),
        dead=None
        if counts is None or family.dead_code_threshold is None
        else int(np.count_nonzero(counts < family.dead_code_threshold)),
        unused=None if counts is None else int(np.count_nonzero(counts == 0)),
        rows_off=_rows_off(family, codebook, data),
    )


def _rows_off(family: Family, codebook: Codebook, data: dict[RoleTensor, bytes | bytearray]) -> int | None:
    sums, counts = codebook.of_role(EMA_SUM), codebook.of_role(EMA_COUNT)
    if sums is None or counts is None:
        return None
    import numpy as np

    from vqcheck.codebook.values import as_array

    codes = as_array(codebook.codes, data[codebook.codes]).astype(np.float64)
    total = as_array(sums, data[sums]).astype(np.float64)
    count = as_array(counts, data[counts]).astype(np.float64)
    whole = count.sum(axis=1, keepdims=True)
    size = count.shape[1]
    with np.errstate(all="ignore"):
        smoothed = (count + family.epsilon) / (whole + size * family.epsilon) * whole
        expected = total / smoothed[..., None]
        tolerance = _FIT_TOLERANCE[_precision([codes, total, count])]
        # A half-precision sum is also off by up to half the smallest step there is, which small counts magnify.
        step = _SMALLEST_HALF * (1 + 1 / np.maximum(smoothed, 1e-30))[..., None] if tolerance > 1e-6 else 0.0
        off = ~(np.abs(codes - expected) <= tolerance * np.abs(expected) + step + 1e-30)
    return int(np.count_nonzero(off.any(axis=2)))


def _precision(arrays: list) -> str:  # type: ignore[type-arg]
    """Return the narrowest type that holds every value, which is the precision they were last rounded to."""
    import numpy as np

    from vqcheck.codebook.values import round_to

    # Coarsest first: nearly every bfloat16 value is a float16 value too.
    for dtype in ("bfloat16", "float16"):
        if all(np.array_equal(round_to(array, dtype), array) for array in arrays):
            return dtype
    return "float32"
