"""Codecs that store their codes and move them by an exponential moving average in train mode."""

from typing import Final

from vqcheck.codebook.family import (
    ANYTHING,
    Axes,
    Family,
    Key,
    Metric,
    ResidualChain,
    Role,
    codebook,
    projection,
)

_ENCODEC: Final = ("embed", "embed_avg", "cluster_size")
_BOOKKEEPING: Final = frozenset({Role.EMA_SUM, Role.EMA_COUNT, Role.INIT_FLAG})
_ALL: Final = frozenset({Role.CODES, Role.EMA_SUM, Role.EMA_COUNT})


EMA_FAMILIES: Final = (
    Family(
        name="gpt-sovits",
        title="GPT-SoVITS",
        keys=(
            *codebook("quantizer.vq.layers.{layer}._codebook", *_ENCODEC, ("inited",)),
            *projection(Role.INPUT_PROJ, "ssl_proj"),
        ),
        # Other codecs keep their codebook under the same names.
        markers=("ssl_proj.", "enc_p.", "cfm."),
        encoders=(ANYTHING,),
        decay=0.99,
        dead_code_threshold=2.0,
        projects=True,
        optional=_BOOKKEEPING,
        optional_in_lora=frozenset({Role.INPUT_PROJ}),
    ),
    Family(
        name="encodec",
        title="EnCodec (encodec, audiocraft, SpeechTokenizer, WavTokenizer, X-Codec)",
        books=("", "semantic", "acoustic"),
        keys=tuple(
            key
            for book, quantizer in enumerate(("quantizer", "semantic_quantizer", "acoustic_quantizer"))
            for key in (
                *codebook(f"{quantizer}.vq.layers.{{layer}}._codebook", *_ENCODEC, ("inited",), book),
                *projection(Role.INPUT_PROJ, f"{quantizer}.vq.layers.{{layer}}.project_in", book=book),
                *projection(Role.OUTPUT_PROJ, f"{quantizer}.vq.layers.{{layer}}.project_out", book=book),
            )
        )
        # X-Codec mixes semantic and acoustic features here.
        + projection(Role.INPUT_PROJ, "fc_prior"),
        decay=0.99,
        dead_code_threshold=2.0,
        optional=_BOOKKEEPING,
        residual=ResidualChain.BOOKS,
        in_front=("ssl_proj", "enc_p", "fc_prior"),
        encoders=("encoder", "encoder_semantic", "semantic_model"),
        behind=("decoder", "discriminator", "transform", "decoder_2", "decoder_semantic", "fc_post1", "fc_post2"),
    ),
    Family(
        name="funcodec",
        title="FunCodec",
        keys=(
            # All quantizers in one tensor, codes and sums as [quantizers, codes, dim]; or one module for each.
            *codebook("quantizer.rq.model", *_ENCODEC, ("inited",)),
            *codebook("quantizer.rq.model.layers.{layer}._codebook", *_ENCODEC, ("inited",)),
            *projection(Role.INPUT_PROJ, "quantizer.input_proj", "quantizer.rq.model.layers.{layer}.project_in"),
            *projection(Role.OUTPUT_PROJ, "quantizer.output_proj", "quantizer.rq.model.layers.{layer}.project_out"),
        ),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        decay=0.99,
        dead_code_threshold=2.0,
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
    ),
    Family(
        name="nemo",
        title="NeMo audio codec",
        keys=(
            *codebook("vector_quantizer.codebooks.{layer}", "codes", "codes_avg", "cluster_size", ("initialized",)),
            *codebook(
                "vector_quantizer.rvqs.{group}.codebooks.{layer}",
                "codes",
                "codes_avg",
                "cluster_size",
                ("initialized",),
            ),
        ),
        dead_code_threshold=2.0,
        optional=_BOOKKEEPING,
        encoders=("audio_encoder",),
        behind=("audio_decoder", "discriminator"),
    ),
    Family(
        name="vq-vae-2",
        title="VQ-VAE-2 (rosinality)",
        books=("top", "bottom"),
        keys=(
            *codebook("quantize_t", *_ENCODEC),
            *projection(Role.INPUT_PROJ, "quantize_conv_t"),
            # What the top gave is decoded, and goes into the features of the bottom.
            Key(Role.OUTPUT_PROJ, "dec_t.*", "dec_t."),
            *codebook("quantize_b", *_ENCODEC, book=1),
            *projection(Role.INPUT_PROJ, "quantize_conv_b", book=1),
        ),
        in_front=("quantize_conv_t", "quantize_conv_b"),
        axes=Axes.DIM_CODES,
        decay=0.99,
        projects=True,
        residual=ResidualChain.BOOKS,
        encoders=("enc_b", "enc_t"),
        behind=("dec", "upsample_t"),
    ),
    Family(
        name="dvae",
        title="Discrete VAE (XTTS, Tortoise lineage)",
        keys=codebook("codebook", *_ENCODEC),
        requires=_ALL,
        axes=Axes.DIM_CODES,
        decay=0.99,
        encoders=("encoder",),
        behind=("decoder", "discrete_loss"),
    ),
    Family(
        name="dl-art-school",
        title="Discrete VAE (DL-Art-School)",
        keys=codebook("codebook", *_ENCODEC, ("initted", "inited")),
        requires=_ALL | {Role.INIT_FLAG},
    ),
    Family(
        name="repcodec",
        title="RepCodec, AudioDec",
        keys=(
            *codebook("quantizer.codebook.layers.{layer}", *_ENCODEC),
            *projection(Role.INPUT_PROJ, "projector"),
        ),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        axes=Axes.DIM_CODES,
        decay=0.99,
        in_front=("projector",),
        encoders=("encoder",),
    ),
    Family(
        name="amphion-euclidean",
        title="Amphion VectorQuantize with a Euclidean codebook",
        keys=(
            *codebook("quantizer.quantizers.{layer}.codebook", *_ENCODEC, ("initted",)),
            *projection(Role.INPUT_PROJ, "quantizer.quantizers.{layer}.in_project"),
            *projection(Role.OUTPUT_PROJ, "quantizer.quantizers.{layer}.out_project"),
        ),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        dead_code_threshold=2.0,
        residual=ResidualChain.LAYERS,
    ),
    Family(
        name="taming-ema",
        title="VQGAN with EMA updates (taming-transformers)",
        keys=(
            *codebook("quantize.embedding", "weight", "embed_avg", "cluster_size"),
            *projection(Role.INPUT_PROJ, "quant_conv"),
            *projection(Role.OUTPUT_PROJ, "post_quant_conv"),
        ),
        in_front=("quant_conv", "encode_task_layer", "quantize_layer"),
        requires=_ALL,
        decay=0.99,
        encoders=("encoder",),
    ),
    Family(
        name="beats",
        title="BEATs tokenizer, BEiT v2 (VQ-KD)",
        keys=(
            *codebook("quantize.embedding", "weight", "embed_avg", "cluster_size", ("initted",)),
            # Counts of use, beside those of the moving average.
            Key(Role.INPUT_PROJ, "encode_task_layer.*"),
            Key(Role.INPUT_PROJ, "quantize_layer.*"),
        ),
        requires=_ALL | {Role.INPUT_PROJ},
        metric=Metric.COSINE,
        projects=True,
        encoders=("encoder", "patch_embedding", "layer_norm", "post_extract_proj"),
        behind=("decoder", "decode_task_layer", "teacher", "teacher_model", "quantize.cluster_size"),
    ),
    Family(
        name="vq-ema",
        title="VectorQuantizerEMA (Zalando and copies)",
        keys=(
            *codebook("", "_embedding.weight", "_ema_w", "_ema_cluster_size"),
            *codebook("_vq_vae", "_embedding.weight", "_ema_w", "_ema_cluster_size"),
            *projection(Role.INPUT_PROJ, "_pre_vq_conv"),
        ),
        in_front=("_pre_vq_conv",),
        requires=_ALL,
        # The count is stored smoothed already, over a total that is not.
        smoothed=False,
        encoders=("_encoder",),
        behind=("_decoder",),
    ),
    Family(
        name="videogpt",
        title="VideoGPT",
        keys=(
            *codebook("codebook", "embeddings", "z_avg", "N"),
            *projection(Role.INPUT_PROJ, "pre_vq_conv"),
            *projection(Role.OUTPUT_PROJ, "post_vq_conv"),
        ),
        requires=_ALL,
        decay=0.99,
        dead_code_threshold=1.0,
        in_front=("pre_vq_conv",),
        encoders=("encoder",),
    ),
    Family(
        name="torchmultimodal",
        title="torchmultimodal Codebook",
        keys=(
            *codebook("", "embedding", "code_avg", "code_usage"),
            *codebook("codebook", "embedding", "code_avg", "code_usage"),
        ),
        requires=_ALL,
        encoders=("encoder",),
    ),
    Family(
        name="jukebox",
        title="Jukebox",
        keys=codebook("bottleneck.level_blocks.{layer}", "k"),
        decay=0.99,
        encoders=("encoders",),
        behind=("decoders",),
    ),
    Family(
        name="t2m-gpt",
        title="T2M-GPT",
        keys=codebook("quantizer", "codebook"),
        decay=0.99,
        encoders=("encoder",),
    ),
    Family(
        name="glm-4-voice",
        title="GLM-4-Voice tokenizer",
        keys=(
            Key(Role.CODES, "codebook.weight"),
            Key(Role.EMA_SUM, "ema_weight"),
            Key(Role.EMA_COUNT, "ema_count"),
        ),
        # The codebook lies between two layers of a Whisper encoder.
        markers=("embed_positions2.",),
        encoders=("conv1", "conv2", "embed_positions", "layers"),
        behind=("embed_positions2", "layer_norm"),
        # The count is stored smoothed already.
        smoothed=False,
        optional=_BOOKKEEPING,
    ),
)
