"""What is left when no codec's names fit: tensors that lie side by side as those of a codebook do.

A count of the length of one axis of a matrix beside it is evidence enough to compare both, whatever the model; which
codec it is, in which order its quantizers come, and what stands in front of them is then not known.
"""

from typing import Final

from vqcheck.codebook.family import (
    CODES,
    EMA_COUNT,
    EMA_SUM,
    INIT_FLAG,
    SUM_OVER_COUNT,
    Family,
    Key,
    codebook,
)

_FLAGS: Final = ("inited", "initted", "initialized", "_initialized")


NAMED: Final = (
    ("embed", "embed_avg", "cluster_size"),
    ("codes", "codes_avg", "cluster_size"),
    ("embeddings", "z_avg", "N"),
    ("weight", "embed_avg", "cluster_size"),
)
"""Names so usual that codes and counts are evidence enough, also without the sums; other names: see `siblings`."""


def siblings(codes: str, sums: str, counts: str) -> Family:
    """Return the row for tensors of these names side by side."""
    return Family(
        name=f"unknown:{codes}",
        title=f"unknown layout, found by neighbouring tensors ({codes}, {sums}, {counts})",
        keys=codebook("", codes, sums, counts, _FLAGS),
        requires=frozenset({CODES, EMA_COUNT}),
        structural=True,
    )


STRUCTURAL: Final = (
    *(siblings(*names) for names in NAMED),
    Family(
        name="unknown:embed_sum",
        title="unknown layout, found by neighbouring tensors (embed_sum, cluster_usage)",
        keys=(
            Key(EMA_SUM, "embed_sum"),
            Key(EMA_SUM, "embedding_sum"),
            Key(EMA_COUNT, "cluster_usage"),
            *(Key(INIT_FLAG, flag) for flag in _FLAGS),
        ),
        requires=frozenset({EMA_SUM, EMA_COUNT}),
        derivation=SUM_OVER_COUNT,
        structural=True,
    ),
)
