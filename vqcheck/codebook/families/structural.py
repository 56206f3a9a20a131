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


def _siblings(name: str, codes: str, sums: str, counts: str) -> Family:
    return Family(
        name=f"unknown:{name}",
        title=f"unknown layout, found by neighbouring tensors ({codes}, {sums}, {counts})",
        keys=codebook("", codes, sums, counts, _FLAGS),
        requires=frozenset({CODES, EMA_COUNT}),
        structural=True,
    )


STRUCTURAL: Final = (
    _siblings("embed", "embed", "embed_avg", "cluster_size"),
    _siblings("codes", "codes", "codes_avg", "cluster_size"),
    _siblings("embeddings", "embeddings", "z_avg", "N"),
    _siblings("weight", "weight", "embed_avg", "cluster_size"),
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
