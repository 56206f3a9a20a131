"""Codecs that store their codes and move them by an exponential moving average in train mode."""

from typing import Final

from vqcheck.codebook.family import Axes, Family, Key, Metric, ResidualChain, Role, Update, codebook, projection

_ENCODEC: Final = ("embed", "embed_avg", "cluster_size")
_BOOKKEEPING: Final = frozenset({Role.EMA_SUM, Role.EMA_COUNT, Role.INIT_FLAG})
_ALL: Final = frozenset({Role.CODES, Role.EMA_SUM, Role.EMA_COUNT})
# affine_param=True: running statistics that rescale the codes at lookup time.
_AFFINE: Final = ("codebook_mean", "codebook_variance", "batch_mean", "batch_variance")


def _vector_quantize(path: str) -> tuple[Key, ...]:
    """Return the keys of one vector-quantize-pytorch VectorQuantize; embed is `[heads, codes, dim]`."""
    affine = (*_AFFINE, *(f"{name}_needs_init" for name in _AFFINE))
    return (
        # EnCodec's quantizer, saved without its model, goes by the same names but for the flag.
        *codebook(f"{path}_codebook", *_ENCODEC, ("initted", "inited")),
        *(Key(Role.CODE_TRANSFORM, f"{path}_codebook.{name}", name) for name in affine),
        # A network of the user's that the codes pass (vq_bridge), and whatever else stands beside them.
        Key(Role.CODE_TRANSFORM, f"{path}_codebook.*"),
        *projection(Role.INPUT_PROJ, f"{path}project_in"),
        # layernorm_after_project_in=True: a linear layer and the norm behind it.
        *(Key(Role.INPUT_PROJ, f"{path}project_in.{number}.*", f"{number}.") for number in (0, 1)),
        *projection(Role.OUTPUT_PROJ, f"{path}project_out"),
    )


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
    ),
    Family(
        name="vector-quantize-pytorch",
        title="vector-quantize-pytorch (also SoundStream, stable-audio-tools)",
        keys=(
            *_vector_quantize(""),
            *_vector_quantize("layers.{layer}."),
            *_vector_quantize("rvqs.{group}.layers.{layer}."),
            *projection(Role.INPUT_PROJ, "rvqs.{group}.project_in"),
            *projection(Role.OUTPUT_PROJ, "rvqs.{group}.project_out"),
            # Implicit neural codebooks: each layer's codes are transformed by what was quantised before.
            Key(Role.CODE_TRANSFORM, "mlps.{layer}.*"),
            Key(Role.CODE_TRANSFORM, "rvqs.{group}.mlps.{layer}.*"),
        ),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        residual=ResidualChain.LAYERS,
    ),
    Family(
        name="hierarchical-vq",
        title="HierarchicalVQ (vector-quantize-pytorch)",
        keys=(
            *_vector_quantize("vq."),
            *_vector_quantize("vqs.{layer}."),
            # Each scale is looked up in what these layers leave of the scales before it.
            Key(Role.OUTPUT_PROJ, "phi_shared.*", "phi_shared.", fed_back=True),
            Key(Role.OUTPUT_PROJ, "phi_levels.*", "phi_levels.", fed_back=True),
        ),
        requires=frozenset({Role.CODES, Role.EMA_COUNT, Role.OUTPUT_PROJ}),
        residual=ResidualChain.LAYERS,
    ),
    Family(
        name="random-projection",
        title="RandomProjectionQuantizer (vector-quantize-pytorch)",
        keys=(Key(Role.INPUT_PROJ, "rand_projs", "rand_projs"), *_vector_quantize("vq.")),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.NOTHING,
        projects=True,
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
    ),
    Family(
        name="vq-vae-2",
        title="VQ-VAE-2 (rosinality)",
        books=("top", "bottom"),
        keys=(
            *codebook("quantize_t", *_ENCODEC),
            *projection(Role.INPUT_PROJ, "quantize_conv_t"),
            *codebook("quantize_b", *_ENCODEC, book=1),
            *projection(Role.INPUT_PROJ, "quantize_conv_b", book=1),
        ),
        in_front=("quantize_conv_t", "quantize_conv_b"),
        axes=Axes.DIM_CODES,
        decay=0.99,
        projects=True,
    ),
    Family(
        name="dvae",
        title="Discrete VAE (XTTS, Tortoise lineage)",
        keys=codebook("codebook", *_ENCODEC),
        requires=_ALL,
        axes=Axes.DIM_CODES,
        decay=0.99,
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
        keys=codebook("quantizer.codebook.layers.{layer}", *_ENCODEC),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        axes=Axes.DIM_CODES,
        decay=0.99,
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
        in_front=("quant_conv", "encode_task_layer"),
        requires=_ALL,
        decay=0.99,
    ),
    Family(
        name="beats",
        title="BEATs tokenizer, BEiT v2 (VQ-KD)",
        keys=(
            *codebook("quantize.embedding", "weight", "embed_avg", "cluster_size", ("initted",)),
            Key(Role.INPUT_PROJ, "encode_task_layer.*"),
        ),
        requires=_ALL | {Role.INPUT_PROJ},
        metric=Metric.COSINE,
        projects=True,
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
    ),
    Family(
        name="videogpt",
        title="VideoGPT",
        keys=codebook("codebook", "embeddings", "z_avg", "N"),
        requires=_ALL,
        decay=0.99,
        dead_code_threshold=1.0,
    ),
    Family(
        name="torchmultimodal",
        title="torchmultimodal Codebook",
        keys=codebook("", "embedding", "code_avg", "code_usage"),
        requires=_ALL,
    ),
    Family(
        name="jukebox",
        title="Jukebox",
        keys=codebook("bottleneck.level_blocks.{layer}", "k"),
        decay=0.99,
    ),
    Family(
        name="t2m-gpt",
        title="T2M-GPT",
        keys=codebook("quantizer", "codebook"),
        decay=0.99,
    ),
)
