"""Codecs for inference, whose codes nothing moves, and codebooks that are random for good."""

from typing import Final

from vqcheck.codebook.family import (
    CODES,
    COSINE,
    EMA_COUNT,
    EMA_SUM,
    INIT_FLAG,
    INPUT_PROJ,
    LAYERS,
    NOTHING,
    OUTPUT_PROJ,
    Family,
    Key,
    codebook,
    projection,
)

_ENCODEC: Final = ("embed", "embed_avg", "cluster_size", ("inited",))
_BOOKKEEPING: Final = frozenset({EMA_SUM, EMA_COUNT, INIT_FLAG})

FIXED: Final = (
    Family(
        name="encodec-transformers",
        title="EnCodec (transformers)",
        keys=(
            *codebook("quantizer.layers.{layer}.codebook", *_ENCODEC),
            *projection(INPUT_PROJ, "quantizer.layers.{layer}.project_in"),
            *projection(OUTPUT_PROJ, "quantizer.layers.{layer}.project_out"),
        ),
        update=NOTHING,
        dead_code_threshold=2.0,
        optional=_BOOKKEEPING,
        residual=LAYERS,
    ),
    Family(
        name="xcodec-transformers",
        title="X-Codec, Higgs Audio v2 (transformers)",
        keys=(
            *codebook("quantizer.quantizers.{layer}.codebook", *_ENCODEC),
            *projection(INPUT_PROJ, "fc", "quantizer.quantizers.{layer}.project_in"),
            *projection(OUTPUT_PROJ, "quantizer.quantizers.{layer}.project_out"),
        ),
        update=NOTHING,
        dead_code_threshold=2.0,
        optional=_BOOKKEEPING,
        residual=LAYERS,
    ),
    Family(
        name="s3tokenizer-v1",
        title="S3Tokenizer v1 (CosyVoice 1)",
        keys=codebook("quantizer._codebook", "embed"),
        update=NOTHING,
        metric=COSINE,
    ),
    Family(
        name="best-rq",
        title="BEST-RQ (SpeechBrain)",
        keys=(*codebook("quantizer", "CB"), Key(INPUT_PROJ, "quantizer.P", "weight")),
        requires=frozenset({CODES, INPUT_PROJ}),
        update=NOTHING,
        metric=COSINE,
        projects=True,
    ),
)
