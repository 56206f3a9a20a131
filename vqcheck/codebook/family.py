"""What a row of the family table says: under which names a codec keeps its VQ encoder, and how it is updated."""

from dataclasses import dataclass
from typing import Final

CODES: Final = "codes"
EMA_SUM: Final = "ema_sum"
EMA_COUNT: Final = "ema_count"
INIT_FLAG: Final = "init_flag"
INPUT_PROJ: Final = "input_proj"
OUTPUT_PROJ: Final = "output_proj"

ROLES: Final = (CODES, EMA_SUM, EMA_COUNT, INIT_FLAG, INPUT_PROJ, OUTPUT_PROJ)
"""Every role, in the order in which tensors are listed and digested."""
CODEBOOK_ROLES: Final = frozenset({CODES, EMA_SUM, EMA_COUNT, INIT_FLAG})
TOKEN_RELEVANT: Final = frozenset({CODES, INPUT_PROJ, INIT_FLAG})
"""Roles that decide which token a frame gets."""
BOOKKEEPING: Final = frozenset({EMA_SUM, EMA_COUNT})
"""Roles that decide no token today, but betray train-mode updates."""


@dataclass(frozen=True, slots=True)
class Key:
    """One kind of tensor of a family.

    `template` is the tensor's name after wrapper prefixes; `{layer}` and `{group}` stand for a number.
    """

    role: str
    template: str
    part: str = ""
    """`weight` or `bias` where one role has several tensors."""
    book: int = 0
    """Position of the quantizer among those of the family: first before rest, semantic before acoustic."""


@dataclass(frozen=True, slots=True)
class Family:
    """One codec family: one row of the table."""

    name: str
    title: str
    keys: tuple[Key, ...]
    markers: tuple[str, ...] = ()
    """Beginnings of names of which at least one must be present, where the keys alone are not enough."""
    decay: float | None = None
    """EMA decay per update, where the family fixes it."""
    epsilon: float = 1e-5
    """Laplace smoothing of the counts in `codes = ema_sum / smoothed(ema_count)`."""
    dead_code_threshold: float | None = None
    """A code whose count is below this is dead and may be replaced in train mode."""
    optional: frozenset[str] = frozenset()
    """Roles that an inference export of this family leaves out."""
    optional_in_lora: frozenset[str] = frozenset()
    """Roles that only a LoRA export of this family leaves out."""
