"""Codecs whose lookup vectors are calculated when they run, from what they store or from nothing at all."""

from typing import Final

from vqcheck.codebook.family import Axes, Derivation, Family, Key, ResidualChain, Role, Update, projection

_BOTH_PROJECTIONS: Final = frozenset({Role.INPUT_PROJ, Role.OUTPUT_PROJ})


def _mimi(quantizer: str, layer: str, sums: tuple[str, ...], flags: tuple[str, ...], book: int) -> tuple[Key, ...]:
    path = f"quantizer.{quantizer}.{layer}"
    return (
        *(Key(Role.EMA_SUM, f"{path}.{name}", "", book) for name in sums),
        *(Key(Role.EMA_COUNT, f"{path}.{name}", "", book) for name in ("cluster_usage", "cluster_size")),
        *(Key(Role.INIT_FLAG, f"{path}.{name}", "", book) for name in flags),
        *projection(Role.INPUT_PROJ, f"quantizer.{quantizer}.input_proj", book=book),
        *projection(Role.OUTPUT_PROJ, f"quantizer.{quantizer}.output_proj", book=book),
    )


# moshi itself, with the names its loader translates, and transformers.
_MOSHI: Final = ("vq.layers.{layer}._codebook", ("embedding_sum", "embed_sum", "embed_avg"), ("_initialized", "inited"))
_HUGGING_FACE: Final = ("layers.{layer}.codebook", ("embed_sum",), ("initialized",))


_GRIDS: Final = ("", "layers.{layer}.", "rvqs.{group}.layers.{layer}.")


def _grids(path: str) -> tuple[Key, ...]:
    """Return the keys of vector-quantize-pytorch's fixed grids: those in groups, and the rotation in front of each."""
    return (
        *projection(Role.INPUT_PROJ, f"{path}rvqs.{{group}}.project_in"),
        *projection(Role.OUTPUT_PROJ, f"{path}rvqs.{{group}}.project_out"),
        *(Key(Role.INPUT_PROJ, f"{path}{inside}orthogonal_rot", "orthogonal_rot") for inside in _GRIDS),
    )


DERIVED: Final = (
    Family(
        name="mimi",
        title="Mimi (moshi, transformers)",
        books=("semantic", "acoustic"),
        keys=(
            *_mimi("rvq_first", *_MOSHI, book=0),
            *_mimi("rvq_rest", *_MOSHI, book=1),
            *_mimi("semantic_residual_vector_quantizer", *_HUGGING_FACE, book=0),
            *_mimi("acoustic_residual_vector_quantizer", *_HUGGING_FACE, book=1),
            # In front of both books: moshi, transformers' files and its modules.
            Key(Role.INPUT_PROJ, "downsample.conv.conv.conv.weight", "downsample.weight"),
            Key(Role.INPUT_PROJ, "downsample.conv.weight", "downsample.weight"),
            Key(Role.INPUT_PROJ, "encoder.downsample.conv.weight", "downsample.weight"),
        ),
        requires=frozenset({Role.EMA_SUM, Role.EMA_COUNT}),
        derivation=Derivation.SUM_OVER_COUNT,
        decay=0.99,
        # Both books take the features themselves, and one projection stands behind all layers of each.
        residual=ResidualChain.LAYERS,
        encoders=("encoder", "encoder_transformer"),
        behind=("decoder", "decoder_transformer", "upsample"),
    ),
    Family(
        name="simvq",
        title="SimVQ, ResidualSimVQ (vector-quantize-pytorch)",
        keys=(
            Key(Role.CODES, "frozen_codebook"),
            Key(Role.CODE_TRANSFORM, "code_transform.*"),
            Key(Role.CODES, "layers.{layer}.frozen_codebook"),
            Key(Role.CODE_TRANSFORM, "layers.{layer}.code_transform.*"),
            *projection(Role.INPUT_PROJ, "project_in", "in_proj"),
            *projection(Role.OUTPUT_PROJ, "project_out", "out_proj"),
        ),
        requires=frozenset({Role.CODES, Role.CODE_TRANSFORM}),
        derivation=Derivation.TRANSFORMED,
        update=Update.GRADIENT,
        residual=ResidualChain.LAYERS,
    ),
    Family(
        name="latent-quantize",
        title="LatentQuantize (vector-quantize-pytorch)",
        keys=(
            Key(Role.CODES, "values_per_latent.{layer}"),
            *projection(Role.INPUT_PROJ, "project_in"),
            *projection(Role.OUTPUT_PROJ, "project_out"),
        ),
        axes=Axes.VALUES,
        update=Update.GRADIENT,
    ),
    Family(
        name="s3tokenizer-v2",
        title="S3Tokenizer v2 (CosyVoice 2 and 3)",
        keys=projection(Role.INPUT_PROJ, "quantizer._codebook.project_down"),
        derivation=Derivation.IMPLICIT,
        update=Update.NOTHING,
        projects=True,
        encoders=("encoder",),
    ),
    Family(
        name="simvq-authors",
        title="SimVQ (its authors')",
        keys=(
            Key(Role.CODES, "quantize.embedding.weight"),
            Key(Role.CODE_TRANSFORM, "quantize.embedding_proj.*"),
            *projection(Role.INPUT_PROJ, "quant_conv"),
            *projection(Role.OUTPUT_PROJ, "post_quant_conv"),
        ),
        requires=frozenset({Role.CODES, Role.CODE_TRANSFORM}),
        derivation=Derivation.TRANSFORMED,
        update=Update.GRADIENT,
        in_front=("quant_conv",),
        encoders=("encoder",),
        behind=("decoder", "discriminator", "loss", "backbone", "head"),
    ),
    Family(
        name="xcodec2",
        title="X-Codec 2",
        keys=(
            # Semantic and acoustic features are mixed here, in front of the projection to the grid.
            Key(Role.INPUT_PROJ, "fc_prior.*", "fc_prior."),
            *projection(Role.INPUT_PROJ, "generator.quantizer.project_in"),
            *projection(Role.OUTPUT_PROJ, "generator.quantizer.project_out"),
        ),
        requires=_BOTH_PROJECTIONS,
        markers=("fc_prior.",),
        derivation=Derivation.IMPLICIT,
        update=Update.GRADIENT,
        projects=True,
        encoders=("CodecEnc", "SemanticEncoder_module", "semantic_model"),
        behind=(
            *("generator.backbone", "generator.head", "fc_post_a", "fc_post_s", "SemanticDecoder_module"),
            *("discriminator", "spec_discriminator", "mel_conv", "model_spk", "criteria", "perception_model"),
        ),
    ),
    Family(
        name="fsq",
        title="FSQ in a codec (X-Codec 2, NeuCodec, fish-speech firefly)",
        keys=(
            *projection(Role.INPUT_PROJ, "quantizer.project_in", "quantizer.residual_fsq.rvqs.{group}.project_in"),
            *projection(Role.OUTPUT_PROJ, "quantizer.project_out", "quantizer.residual_fsq.rvqs.{group}.project_out"),
            Key(Role.INPUT_PROJ, "quantizer.downsample.*", "downsample."),
            # transformers' X-Codec 2 and NeuCodec mix semantic and acoustic features here.
            Key(Role.INPUT_PROJ, "fc_encoder.*", "fc_encoder."),
            *_grids("quantizer."),
        ),
        in_front=("fc_prior", "fc_encoder"),
        requires=_BOTH_PROJECTIONS,
        derivation=Derivation.IMPLICIT,
        update=Update.GRADIENT,
        projects=True,
        # fish-speech firefly calls its encoder a backbone.
        encoders=("acoustic_encoder", "semantic_encoder", "semantic_adapter", "backbone"),
        behind=("acoustic_decoder", "head", "quantizer.upsample"),
    ),
    Family(
        name="lfq",
        title="LFQ, ResidualLFQ (vector-quantize-pytorch)",
        keys=(
            *projection(Role.INPUT_PROJ, "project_in"),
            *projection(Role.OUTPUT_PROJ, "project_out"),
            *_grids(""),
            # What each bit counts in a token.
            *(Key(Role.INPUT_PROJ, f"{path}mask", "mask") for path in _GRIDS),
        ),
        markers=("mask", "layers.0.mask", "rvqs.0.layers.0.mask"),
        requires=_BOTH_PROJECTIONS,
        alone=True,
        derivation=Derivation.IMPLICIT,
        update=Update.GRADIENT,
        projects=True,
    ),
    Family(
        name="fsq-alone",
        title="FSQ, ResidualFSQ (vector-quantize-pytorch)",
        keys=(*projection(Role.INPUT_PROJ, "project_in"), *projection(Role.OUTPUT_PROJ, "project_out"), *_grids("")),
        requires=_BOTH_PROJECTIONS,
        alone=True,
        derivation=Derivation.IMPLICIT,
        update=Update.GRADIENT,
        projects=True,
    ),
)
