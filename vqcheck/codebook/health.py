"""Tells whether a codebook is fit for use: trained, finite, in use, and with running sums that fit its codes."""

from dataclasses import dataclass

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.family import EMA_COUNT, EMA_SUM, INIT_FLAG, STORED, Family
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor


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
    """Codes that are not their running sum over their smoothed count; None where they need not be."""
    place: str = ""
    """What tells the codebook from others, such as `acoustic.3`; empty when there is but one."""
    threshold: float | None = None
    """Count below which the family calls a code dead."""

    @property
    def never_trained(self) -> bool:
        """The codebook still waits for its first batch."""
        return self.all_zero or self.initialised is False

    @property
    def usable(self) -> bool:
        return not self.never_trained and not self.not_finite


def never_trained(checkpoint: Checkpoint, codebook: Codebook) -> bool:
    """Say whether a codebook still waits for its first batch: its flag is 0 or its codes are all zero.

    Reads no further than the first code that is not zero.
    """
    flag = codebook.of_role(INIT_FLAG)
    if flag is not None and not any(checkpoint.read(flag.tensor)):
        return True
    return not any(piece.lstrip(b"\0") for piece in checkpoint.pieces(codebook.codes.tensor))


def examine(family: Family, codebook: Codebook, data: dict[RoleTensor, bytes | bytearray], place: str = "") -> Health:
    """Return the health of one codebook, given the stored bytes of its tensors."""
    import numpy as np

    # Any bits may be stored. What they come to is said in words, not by numpy's warnings on stderr.
    with np.errstate(all="ignore"):
        return _examine(family, codebook, data, place)


def _examine(family: Family, codebook: Codebook, data: dict[RoleTensor, bytes | bytearray], place: str) -> Health:
    import numpy as np

    from vqcheck.codebook.values import as_array, code_vectors

    stored = [(tensor.role, as_array(tensor, data[tensor])) for tensor in codebook.tensors]
    arrays = dict(stored)
    flag = arrays.get(INIT_FLAG)
    counts = arrays.get(EMA_COUNT)
    codes = code_vectors(family, codebook, data)
    return Health(
        codes=codes.shape[0] * codes.shape[1],
        initialised=None if flag is None else bool(flag.any()),
        all_zero=not codes.any(),
        not_finite=sum(int(np.count_nonzero(~np.isfinite(array))) for _, array in stored),
        dead=None
        if counts is None or family.dead_code_threshold is None
        else int(np.count_nonzero(counts < family.dead_code_threshold)),
        unused=None if counts is None else int(np.count_nonzero(counts == 0)),
        rows_off=_rows_off(family, codebook, data),
        place=place,
        threshold=family.dead_code_threshold,
    )


def not_finite(tensor: RoleTensor, data: bytes | bytearray) -> int:
    """Return how many values of a tensor are NaN or infinite, given its stored bytes."""
    import numpy as np

    from vqcheck.codebook.values import as_array

    return int(np.count_nonzero(~np.isfinite(as_array(tensor, data))))


def _rows_off(family: Family, codebook: Codebook, data: dict[RoleTensor, bytes | bytearray]) -> int | None:
    sums, counts = codebook.of_role(EMA_SUM), codebook.of_role(EMA_COUNT)
    if sums is None or counts is None or family.derivation != STORED or not family.smoothed:
        return None
    import numpy as np

    from vqcheck.codebook.ema_fit import are_unit_vectors, rows_off
    from vqcheck.codebook.values import as_array

    codes, total, count = (as_array(tensor, data[tensor]) for tensor in (codebook.codes, sums, counts))
    off = int(np.count_nonzero(rows_off(codes, total, count, family.epsilon)))
    return None if off and are_unit_vectors(codes) else off
