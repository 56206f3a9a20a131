"""What a row of the family table says: under which names a codec keeps its VQ encoder, and how it is updated."""

from __future__ import annotations

from typing import Final

from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.word_enum import WordEnum


class Role(WordEnum):
    """The part that a tensor plays in a VQ encoder, in the order in which tensors are listed and digested."""

    CODES = "codes"
    EMA_SUM = "ema_sum"
    EMA_COUNT = "ema_count"
    INIT_FLAG = "init_flag"
    CODE_TRANSFORM = "code_transform"
    """What stored codes are sent through before the lookup: a learned map, or statistics that rescale them."""
    INPUT_PROJ = "input_proj"
    OUTPUT_PROJ = "output_proj"


CODEBOOK_ROLES: Final = frozenset({Role.CODES, Role.EMA_SUM, Role.EMA_COUNT, Role.INIT_FLAG, Role.CODE_TRANSFORM})
BOOKKEEPING: Final = frozenset({Role.EMA_SUM, Role.EMA_COUNT})
"""Roles that decide no token today, but betray train-mode updates."""

ANYTHING: Final = "*"
"""Stands for every module beside a codebook, where the input projection takes the features themselves."""

LOOK_ALIKES: Final = frozenset({"enc_p.ssl_proj"})
"""Modules that are called as one in front of a codebook, and stand elsewhere: GPT-SoVITS's text encoder has its own."""


class Axes(WordEnum):
    """How codes lie in the file, wherever shapes do not say it."""

    CODES_DIM = "codes dim"
    DIM_CODES = "dim codes"
    CODES_HEADS_DIM = "codes heads dim"
    VALUES = "values"
    """Codes of one dimension each."""


class Derivation(WordEnum):
    """Where the vectors of the lookup come from."""

    STORED = "stored"
    SUM_OVER_COUNT = "sum over count"
    TRANSFORMED = "transformed"
    IMPLICIT = "implicit"
    """A fixed grid of which nothing is stored."""


class Update(WordEnum):
    """What moves the codes in train mode."""

    EMA = "ema"
    GRADIENT = "gradient"
    NOTHING = "nothing"


class Metric(WordEnum):
    """What the lookup goes by."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"
    ARGMAX = "argmax"
    """The input projection alone decides the token."""


class ResidualChain(WordEnum):
    """Among what a lookup takes what the lookups before it left of the features."""

    NOWHERE = "nowhere"
    LAYERS = "layers"
    """The layers of one group."""
    GROUPS = "groups"
    """All groups of one book, in their order."""
    BOOKS = "books"
    """All books, in their order."""


@quick_dataclass(frozen=True)
class Key:
    """One kind of tensor of a family.

    `template` is the tensor's name behind any prefix; `{layer}` and `{group}` stand for a number each. A last component
    `*` stands for everything below a module, whose names become parts.
    """

    role: Role
    template: str
    part: str = ""
    """`weight`, `g`, `v` or `bias` where one role has several tensors; with `*` what stands in front of the part."""
    book: int = 0
    """Position of the quantizer among those of the family: first before rest, semantic before acoustic."""
    fed_back: bool = False
    """What comes out is taken off the features before the same codebook is looked up again."""


@quick_dataclass(frozen=True, eq=False)
class Family:
    """One codec family: one row of the table. Rows are told apart by identity."""

    name: str
    title: str
    keys: tuple[Key, ...]
    """Several keys may name one tensor, where versions spell it differently."""
    books: tuple[str, ...] = ("",)
    """What the family calls its quantizers, in their order."""
    markers: tuple[str, ...] = ()
    """Beginnings of names of which at least one must be present, where the keys alone are not enough."""
    requires: frozenset[Role] = frozenset()
    """Roles without which names that common are no evidence."""
    alone: bool = False
    """Nothing else may stand under the same prefix, and no other model around it: names too common for more."""
    in_front: tuple[str, ...] = ("ssl_proj",)
    """Modules that stand in front of this codebook, or show that one does. Where none is found beside the codebook, but
    one elsewhere in the model, the codebook alone would be too little to judge. GPT-SoVITS's own is looked for always:
    its codebook under changed names is that of many."""
    encoders: tuple[str, ...] = ()
    """Modules of the codec that the features come from. Where one stands under the same prefix, nothing outside it is
    in front of the codebook."""
    behind: tuple[str, ...] = ("decoder", "discriminator", "loss")
    """Further modules and tensors of the codec that no feature passes on its way to a lookup. Whatever else stands
    beside the codebook may be in front of it: nobody knows."""
    structural: bool = False
    """No codec at all: names that belong together in any codec of this kind."""
    axes: Axes = Axes.CODES_DIM
    derivation: Derivation = Derivation.STORED
    update: Update = Update.EMA
    metric: Metric = Metric.EUCLIDEAN
    residual: ResidualChain = ResidualChain.NOWHERE
    """How far a chain of residuals reaches."""
    decay: float | None = None
    """EMA decay per update, where the family fixes it."""
    epsilon: float = 1e-5
    """Laplace smoothing of the counts in `codes = ema_sum / smoothed(ema_count)`."""
    smoothed: bool = True
    """Whether codes follow from sums and counts by that equation."""
    dead_code_threshold: float | None = None
    """A code whose count is below this is dead and may be replaced in train mode."""
    projects: bool = False
    """Features always pass an input projection, so that a file without it holds half a VQ encoder."""
    optional: frozenset[Role] = frozenset()
    """Roles that an inference export of this family leaves out."""
    optional_in_lora: frozenset[Role] = frozenset()
    """Roles that only a LoRA export of this family leaves out."""

    @property
    def source_of_codes(self) -> Role:
        """The role without which nothing can be said of tokens."""
        return {Derivation.SUM_OVER_COUNT: Role.EMA_SUM, Derivation.IMPLICIT: Role.INPUT_PROJ}.get(
            self.derivation, Role.CODES
        )


_SPELLINGS: Final = (
    ("weight", "weight"),
    ("bias", "bias"),
    ("weight_g", "g"),
    ("weight_v", "v"),
    ("parametrizations.weight.original0", "g"),
    ("parametrizations.weight.original1", "v"),
)
"""(end of the name, part) of a layer's tensors: plain, and weight-normed in torch's old and new spelling."""


def projection(role: Role, *modules: str, book: int = 0) -> tuple[Key, ...]:
    """Return the keys of modules in front of or behind the lookup: whatever a module holds, features pass through it.

    A plain layer, one with weight norm, or several in a row.
    """
    return tuple(Key(role, f"{module}.*", "", book) for module in modules)


def canonical_part(below: str) -> str:
    """Return the part that a name below a module is, with weight norm under its canonical names."""
    for ending, part in _SPELLINGS:
        if below == ending:
            return part
        if part in ("g", "v") and below.endswith(f".{ending}"):
            return f"{below[: -len(ending)]}{part}"
    return below


def codebook(
    path: str, codes: str, sums: str = "", counts: str = "", flags: tuple[str, ...] = (), book: int = 0
) -> tuple[Key, ...]:
    """Return the keys of the codebook whose tensors lie side by side below `path`."""
    named = (
        (Role.CODES, codes),
        (Role.EMA_SUM, sums),
        (Role.EMA_COUNT, counts),
        *((Role.INIT_FLAG, flag) for flag in flags),
    )
    return tuple(Key(role, f"{path}.{name}" if path else name, "", book) for role, name in named if name)
