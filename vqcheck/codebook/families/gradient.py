"""Codecs whose codes are parameters: gradients move them, whatever train() and eval() say."""

from typing import Final

from vqcheck.codebook.family import (
    ARGMAX,
    BOOKS,
    CODES,
    CODES_HEADS_DIM,
    COSINE,
    GRADIENT,
    GROUPS,
    INPUT_PROJ,
    LAYERS,
    OUTPUT_PROJ,
    Family,
    Key,
    codebook,
    projection,
)


def _factorised(path: str, before: str, behind: str, codes: str = "codebook.weight", book: int = 0) -> tuple[Key, ...]:
    """Return the keys of residual layers that project down to few dimensions, look up, and project up again."""
    return (
        Key(CODES, f"{path}.{codes}", "", book),
        *projection(INPUT_PROJ, f"{path}.{before}", book=book),
        *projection(OUTPUT_PROJ, f"{path}.{behind}", book=book),
    )


_DAC: Final = ("in_proj", "out_proj")
_AMPHION: Final = ("in_project", "out_project")
_LAYER: Final = "quantizer.quantizers.{layer}"

GRADIENT_FAMILIES: Final = (
    Family(
        name="dac",
        title="DAC (descript-audio-codec, transformers, SNAC, stable-audio-tools)",
        keys=_factorised(_LAYER, *_DAC),
        update=GRADIENT,
        metric=COSINE,
        residual=LAYERS,
    ),
    Family(
        name="fish-dac",
        title="fish-speech DAC (OpenAudio S1)",
        books=("semantic", "acoustic"),
        keys=(
            *_factorised("quantizer.semantic_quantizer.quantizers.{layer}", *_DAC),
            *_factorised("quantizer.quantizer.quantizers.{layer}", *_DAC, book=1),
            Key(INPUT_PROJ, "quantizer.downsample.*", "downsample."),
            Key(INPUT_PROJ, "quantizer.pre_module.*", "pre_module."),
        ),
        update=GRADIENT,
        metric=COSINE,
        residual=BOOKS,
    ),
    Family(
        name="maskgct",
        title="Amphion RepCodec (MaskGCT, IndexTTS-2)",
        keys=_factorised(_LAYER, *_AMPHION),
        requires=frozenset({CODES, INPUT_PROJ}),
        update=GRADIENT,
        metric=COSINE,
        residual=LAYERS,
    ),
    Family(
        name="amphion-simple",
        title="Amphion VectorQuantize with a simple codebook",
        keys=_factorised(_LAYER, *_AMPHION, "codebook.embed.weight"),
        update=GRADIENT,
        residual=LAYERS,
    ),
    Family(
        name="factorised-vq",
        title="Factorised VQ (FACodec, X-Codec 2)",
        keys=(
            *_factorised("quantizer.layers.{layer}", *_DAC, "_codebook.weight"),
            *_factorised("quantizer.quantizers.{layer}", *_DAC, "_codebook.weight"),
            *_factorised("quantizer.{group}.layers.{layer}", *_DAC, "_codebook.weight"),
            *_factorised("quantizer.{group}.quantizers.{layer}", *_DAC, "_codebook.weight"),
        ),
        update=GRADIENT,
        metric=COSINE,
        residual=GROUPS,
    ),
    Family(
        name="vqgan",
        title="VQGAN (taming, latent diffusion, diffusers, Chameleon, Emu3, Janus, GLM-Image, VAR)",
        keys=(
            *codebook("quantize.embedding", "weight"),
            *projection(INPUT_PROJ, "quant_conv", "quant_conv.conv"),
            # VAR looks one codebook up at several scales, each in what the scales before it left.
            Key(OUTPUT_PROJ, "quantize.quant_resi.*", "quant_resi.", fed_back=True),
            *projection(OUTPUT_PROJ, "post_quant_conv", "post_quant_conv.conv"),
        ),
        in_front=("quant_conv",),
        update=GRADIENT,
    ),
    Family(
        name="vqgan-gumbel",
        title="VQGAN with Gumbel softmax (taming-transformers)",
        keys=(
            *codebook("quantize.embed", "weight"),
            *projection(INPUT_PROJ, "quantize.proj"),
            *projection(OUTPUT_PROJ, "post_quant_conv"),
        ),
        requires=frozenset({CODES, INPUT_PROJ}),
        update=GRADIENT,
        metric=ARGMAX,
        projects=True,
    ),
    Family(
        name="wav2vec2",
        title="wav2vec 2.0 quantizer (fairseq, transformers, SpeechBrain)",
        keys=(
            *codebook("quantizer", "vars"),
            *codebook("quantizer", "codevectors"),
            Key(INPUT_PROJ, "quantizer.weight_proj.*"),
            *codebook("vector_quantizer", "vars"),
            Key(INPUT_PROJ, "vector_quantizer.weight_proj.*"),
            *projection(OUTPUT_PROJ, "project_q"),
        ),
        requires=frozenset({CODES, INPUT_PROJ}),
        update=GRADIENT,
        metric=ARGMAX,
        projects=True,
    ),
    Family(
        name="vq-wav2vec",
        title="vq-wav2vec with k-means (fairseq)",
        keys=(
            *codebook("vector_quantizer", "embedding"),
            Key(INPUT_PROJ, "vector_quantizer.projection.*"),
        ),
        requires=frozenset({CODES, INPUT_PROJ}),
        axes=CODES_HEADS_DIM,
        update=GRADIENT,
        projects=True,
    ),
)
