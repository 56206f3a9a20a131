"""Says whether a codebook is fit for use: trained, finite, in use, and with running sums that fit its codes.

Counts are running means or sums of frames, in whatever unit a codec has, so use is judged relative to their mean.

- A code is *in use* while its count is at least a thousandth of the mean count. Frames spread evenly would give each
  code the mean; a count that no frame feeds any more falls below a thousandth of it after some 700 updates at a decay
  of 0.99, and floors such as 1e-30 lie below it from the start. Rare codes of a sound codebook lie far above.
- A codebook is *collapsed* when less than a tenth of its codes are in use, or one alone, or when its perplexity (the
  exponential of the entropy of its counts: so many codes would do if all were used alike) is below a twentieth of its
  codes. Trained codebooks use most of their codes: a third of them dead is ordinary, and a perplexity of a quarter of
  the codes is, too. Many unused codes, short of a collapse, are reported and fail nothing.
- Counts are *broken* when one is negative: an average of numbers of frames cannot be.

Where nothing is counted, nothing is said of use.
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.collapse import is_collapsed
from vqcheck.codebook.digest import set_flags
from vqcheck.codebook.family import Derivation, Family, Role
from vqcheck.codebook.float_bytes import not_finite, widen
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor, VQEncoder
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum

if TYPE_CHECKING:
    from vqcheck.codebook.values import Array


class Condition(WordEnum):
    """What a codebook or a whole file is fit for; among ailments the worst comes first."""

    HEALTHY = "healthy"
    NEVER_TRAINED = "never trained"
    NOT_FINITE = "not finite"
    BROKEN = "broken"
    COLLAPSED = "collapsed"
    NO_CODEBOOK = "no codebook"
    UNREADABLE_COPY = "unreadable copy"
    """A copy can be judged, but there is another one that training might load and that cannot be read."""
    COULD_NOT_CHECK = "could not check"
    NOT_READ = "not read"
    """It is there, and nobody asked for its values."""


AILMENTS: Final = (Condition.NEVER_TRAINED, Condition.NOT_FINITE, Condition.BROKEN, Condition.COLLAPSED)
"""What makes a codebook unfit for use, the worst first."""
FIT_TO_TRAIN: Final = frozenset({Condition.HEALTHY, Condition.COLLAPSED})
"""What training can start from: where few codes are used, the tokens still mean what they mean."""


_LEAST_OF_MEAN: Final = 1e-3
MANY_DEAD: Final = 0.5
"""Share of codes not in use from which on that is worth a word, though the codebook may be fit for use."""


@quick_dataclass(frozen=True, slots=True)
class Use:
    """How one table of codes is used."""

    codes: int
    used: int
    perplexity: float
    negative: int
    """Counts below zero."""

    @property
    def collapsed(self) -> bool:
        return is_collapsed(self.codes, self.used, self.perplexity)


def least_count(counts: Sequence[float]) -> float:
    """Return the count from which on a code is in use; counts that no number of frames can be are left out."""
    sound = [count for count in counts if 0 < count < math.inf]
    # Each is divided before they are added: their sum may be too large for a number.
    return _LEAST_OF_MEAN * math.fsum(count / len(counts) for count in sound)


def use_of(counts: Sequence[float]) -> Use | None:
    """Return how the codes with these counts are used; None where nothing was counted, or not in numbers."""
    if not counts or not all(map(math.isfinite, counts)) or not any(counts):
        return None
    least = least_count(counts)
    largest = max(counts)
    shares = [count / largest for count in counts if count > 0] if largest > 0 else []
    total = math.fsum(shares)
    entropy = -math.fsum(share / total * math.log(share / total) for share in shares if share / total > 0)
    return Use(
        codes=len(counts),
        used=sum(count >= least for count in counts if count > 0),
        perplexity=math.exp(entropy) if shares else 0.0,
        negative=sum(count < 0 for count in counts),
    )


@quick_dataclass(frozen=True, slots=True)
class Health:
    """What the stored values of one codebook say about it; None where the file lacks the tensor for it."""

    codes: int
    initialised: bool | None
    all_zero: bool
    not_finite: int
    """Values of the codebook's tensors that are NaN or infinite."""
    dead: int | None
    """Codes whose count is below the family's threshold, or, where it has none, codes not in use."""
    unused: int | None
    """Codes whose count is less than a thousandth of the mean count; None also where nothing was counted yet."""
    rows_off: int | None
    """Codes that are not their running sum over their smoothed count; None where they need not be."""
    place: str = ""
    """What tells the codebook from others, such as `acoustic.3`; empty when there is but one."""
    threshold: float | None = None
    """Count below which the family calls a code dead."""
    perplexity: float | None = None
    """So many codes would do if all were used alike; of several heads the least."""
    negative: int = 0
    """Counts below zero, which no frames add up to."""
    collapsed: bool = False

    @property
    def never_trained(self) -> bool:
        """The codebook still waits for its first batch."""
        return self.all_zero or self.initialised is False

    @property
    def verdict(self) -> Condition:
        """What ails it most, or `healthy`."""
        ill = (self.never_trained, self.not_finite, self.negative, self.collapsed)
        return next((ailment for ailment, has_it in zip(AILMENTS, ill, strict=True) if has_it), Condition.HEALTHY)

    @property
    def usable(self) -> bool:
        return self.verdict == Condition.HEALTHY

    @property
    def many_unused(self) -> bool:
        """More codes are out of use than in a sound codebook, though it may be fit for use."""
        return self.unused is not None and self.unused > MANY_DEAD * self.codes


def ailments(checkpoint: Checkpoint, encoder: VQEncoder) -> tuple[Condition, ...]:
    """Return what makes the VQ encoder of a file unfit for use, the worst first; all of it is read."""
    judged = [tensor for tensor in encoder.tensors if is_examined(tensor)]
    count = sum(not_finite(checkpoint.read(tensor.tensor), tensor.tensor.dtype) for tensor in judged)
    return ailments_of(checkpoint, (encoder,), count)


def ailments_of(checkpoint: Checkpoint, encoders: Iterable[VQEncoder], not_finite_values: int) -> tuple[Condition, ...]:
    """Return what makes VQ encoders unfit for use, given how many of their values are NaN or infinite."""
    books = [codebook for encoder in encoders for codebook in encoder.codebooks]
    uses = [use for codebook in books for use in stored_use(checkpoint, codebook)]
    ill = (
        any(never_trained(checkpoint, codebook) for codebook in books),
        bool(not_finite_values),
        any(use.negative for use in uses),
        any(use.collapsed for use in uses),
    )
    return tuple(ailment for ailment, has_it in zip(AILMENTS, ill, strict=True) if has_it)


def is_examined(tensor: RoleTensor) -> bool:
    """Say whether values of this tensor that are no numbers make a VQ encoder unfit for use."""
    return tensor.role != Role.OUTPUT_PROJ or tensor.token_relevant


def stored_use(checkpoint: Checkpoint, codebook: Codebook) -> list[Use]:
    """Return how the codes of each head are used; empty where nothing is counted. numpy is not needed for it."""
    tensor = codebook.of_role(Role.EMA_COUNT)
    return [] if tensor is None else _uses(tensor, checkpoint.read(tensor.tensor))


def _uses(tensor: RoleTensor, data: bytes | bytearray) -> list[Use]:
    """Return the use of each head, given the stored counts `[heads, codes]`."""
    dtype = tensor.tensor.dtype
    counts = array(_ARRAY_TYPES.get(dtype, "f"), bytes(widen(data, dtype)))
    heads, codes = tensor.shape
    uses = [use_of(counts[head * codes : (head + 1) * codes]) for head in range(heads)]
    return [use for use in uses if use is not None]


_ARRAY_TYPES: Final = {
    "float64": "d",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint64": "Q",
    "uint32": "I",
    "uint16": "H",
    "uint8": "B",
    "bool": "B",
}


def never_trained(checkpoint: Checkpoint, codebook: Codebook) -> bool:
    """Say whether a codebook still waits for its first batch: a flag of it is 0 or its codes are all zero.

    Reads no further than the first code that is not zero.
    """
    flag = codebook.of_role(Role.INIT_FLAG)
    if flag is not None and not all(set_flags(checkpoint.read(flag.tensor), flag.tensor.dtype)):
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
    flag = arrays.get(Role.INIT_FLAG)
    codes = code_vectors(family, codebook, data)
    counted = codebook.of_role(Role.EMA_COUNT)
    uses = _uses(counted, data[counted]) if counted else []
    unused = sum(use.codes - use.used for use in uses) if uses else None
    threshold = family.dead_code_threshold
    return Health(
        codes=codes.shape[0] * codes.shape[1],
        initialised=None if flag is None else bool(flag.all()),
        all_zero=not codes.any(),
        not_finite=sum(int(np.count_nonzero(~np.isfinite(array))) for _, array in stored),
        dead=unused if not uses or threshold is None else _dead(arrays[Role.EMA_COUNT], threshold),
        unused=unused,
        rows_off=_rows_off(family, codebook, data),
        place=place,
        threshold=threshold,
        perplexity=min((use.perplexity for use in uses), default=None),
        negative=sum(use.negative for use in uses),
        collapsed=any(use.collapsed for use in uses),
    )


def _dead(counts: "Array", threshold: float) -> int:
    """Return how many counts `[heads, codes]` are below the family's threshold, or too small to be in use."""
    return sum(sum(count < max(threshold, least_count(row)) for count in row) for row in counts.tolist())


def _rows_off(family: Family, codebook: Codebook, data: dict[RoleTensor, bytes | bytearray]) -> int | None:
    sums, counts = codebook.of_role(Role.EMA_SUM), codebook.of_role(Role.EMA_COUNT)
    if sums is None or counts is None or family.derivation != Derivation.STORED or not family.smoothed:
        return None
    import numpy as np

    from vqcheck.codebook.ema_fit import are_unit_vectors, rows_off
    from vqcheck.codebook.values import as_array

    codes, total, count = (as_array(tensor, data[tensor]) for tensor in (codebook.codes, sums, counts))
    off = int(np.count_nonzero(rows_off(codes, total, count, family.epsilon)))
    return None if off and are_unit_vectors(codes) else off
