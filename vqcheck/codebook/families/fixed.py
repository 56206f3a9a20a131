"""Codecs for inference, whose codes nothing moves, and codebooks that are random for good."""

from typing import Final

from vqcheck.codebook.family import Family, Key, Metric, ResidualChain, Role, Update, codebook, projection

_ENCODEC: Final = ("embed", "embed_avg", "cluster_size", ("inited",))
_BOOKKEEPING: Final = frozenset({Role.EMA_SUM, Role.EMA_COUNT, Role.INIT_FLAG})

FIXED: Final = (
    Family(
        name="encodec-transformers",
        title="EnCodec (transformers)",
        keys=(
            *codebook("quantizer.layers.{layer}.codebook", *_ENCODEC),
            *projection(Role.INPUT_PROJ, "quantizer.layers.{layer}.project_in"),
            *projection(Role.OUTPUT_PROJ, "quantizer.layers.{layer}.project_out"),
        ),
        update=Update.NOTHING,
        dead_code_threshold=2.0,
        optional=_BOOKKEEPING,
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
    ),
    Family(
        name="xcodec-transformers",
        title="X-Codec, Higgs Audio v2 (transformers)",
        keys=(
            *codebook("quantizer.quantizers.{layer}.codebook", *_ENCODEC),
            *projection(Role.INPUT_PROJ, "fc", "quantizer.quantizers.{layer}.project_in"),
            *projection(Role.OUTPUT_PROJ, "quantizer.quantizers.{layer}.project_out"),
        ),
        update=Update.NOTHING,
        dead_code_threshold=2.0,
        optional=_BOOKKEEPING,
        residual=ResidualChain.LAYERS,
        encoders=("acoustic_encoder", "encoder_semantic", "semantic_model"),
        behind=("acoustic_decoder", "decoder_semantic", "fc1", "fc2"),
    ),
    Family(
        name="s3tokenizer-v1",
        title="S3Tokenizer v1 (CosyVoice 1)",
        keys=codebook("quantizer._codebook", "embed"),
        update=Update.NOTHING,
        metric=Metric.COSINE,
        encoders=("encoder",),
    ),
    Family(
        name="best-rq",
        title="BEST-RQ (SpeechBrain)",
        keys=(*codebook("quantizer", "CB"), Key(Role.INPUT_PROJ, "quantizer.P", "weight")),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.NOTHING,
        metric=Metric.COSINE,
        projects=True,
    ),
)
