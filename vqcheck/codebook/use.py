"""Says from a codebook's counts how it is used: how many codes are, how evenly, and whether the counts can be true.

Counts are running means or sums of frames, in whatever unit a codec has, so everything here is relative to their mean.

- A code is *in use* while its count is at least a thousandth of the mean count. Frames spread evenly would give each
  code the mean; a count that no frame feeds any more falls below a thousandth of it after some 700 updates at a decay
  of 0.99, and floors such as 1e-30 lie below it from the start. Rare codes of a sound codebook lie far above.
- A codebook is *collapsed* when less than a tenth of its codes are in use, or one alone, or when its perplexity (the
  exponential of the entropy of its counts: so many codes would do if all were used alike) is below a twentieth of its
  codes. Trained codebooks use most of their codes: a third of them dead is ordinary, and a perplexity of a quarter of
  the codes is, too.
- Counts are *broken* when one is negative: an average of numbers of frames cannot be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LEAST_OF_MEAN: Final = 1e-3
_LEAST_SHARE: Final = 0.1
_LEAST_PERPLEXITY: Final = 0.05
MANY_DEAD: Final = 0.5
"""Share of codes not in use from which on that is worth a word, though the codebook may be fit for use."""


@dataclass(frozen=True, slots=True)
class Use:
    """How one table of codes is used."""

    codes: int
    used: int
    perplexity: float
    negative: int
    """Counts below zero."""

    @property
    def collapsed(self) -> bool:
        few = self.used == 1 or self.used < _LEAST_SHARE * self.codes
        return self.codes > 1 and (few or self.perplexity < _LEAST_PERPLEXITY * self.codes)


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
