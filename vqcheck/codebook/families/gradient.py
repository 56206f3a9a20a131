"""Codecs whose codes are parameters: gradients move them, whatever train() and eval() say."""

from typing import Final

from vqcheck.codebook.family import Axes, Family, Key, Metric, ResidualChain, Role, Update, codebook, projection


def _factorised(path: str, before: str, behind: str, codes: str = "codebook.weight", book: int = 0) -> tuple[Key, ...]:
    """Return the keys of residual layers that project down to few dimensions, look up, and project up again."""
    return (
        Key(Role.CODES, f"{path}.{codes}", "", book),
        *projection(Role.INPUT_PROJ, f"{path}.{before}", book=book),
        *projection(Role.OUTPUT_PROJ, f"{path}.{behind}", book=book),
    )


_DAC: Final = ("in_proj", "out_proj")
_AMPHION: Final = ("in_project", "out_project")
_LAYER: Final = "quantizer.quantizers.{layer}"

GRADIENT_FAMILIES: Final = (
    Family(
        name="dac",
        title="DAC (descript-audio-codec, transformers, SNAC, stable-audio-tools)",
        keys=_factorised(_LAYER, *_DAC),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.LAYERS,
    ),
    Family(
        name="fish-dac",
        title="fish-speech DAC (OpenAudio S1)",
        books=("semantic", "acoustic"),
        keys=(
            *_factorised("quantizer.semantic_quantizer.quantizers.{layer}", *_DAC),
            *_factorised("quantizer.quantizer.quantizers.{layer}", *_DAC, book=1),
            Key(Role.INPUT_PROJ, "quantizer.downsample.*", "downsample."),
            Key(Role.INPUT_PROJ, "quantizer.pre_module.*", "pre_module."),
        ),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.BOOKS,
    ),
    Family(
        name="maskgct",
        title="Amphion RepCodec (MaskGCT, IndexTTS-2)",
        keys=_factorised(_LAYER, *_AMPHION),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.LAYERS,
    ),
    Family(
        name="amphion-simple",
        title="Amphion VectorQuantize with a simple codebook",
        keys=_factorised(_LAYER, *_AMPHION, "codebook.embed.weight"),
        update=Update.GRADIENT,
        residual=ResidualChain.LAYERS,
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
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.GROUPS,
    ),
    Family(
        name="vqgan",
        title="VQGAN (taming, latent diffusion, diffusers, Chameleon, Emu3, Janus, GLM-Image, VAR)",
        keys=(
            *codebook("quantize.embedding", "weight"),
            *projection(Role.INPUT_PROJ, "quant_conv", "quant_conv.conv"),
            # VAR looks one codebook up at several scales, each in what the scales before it left.
            Key(Role.OUTPUT_PROJ, "quantize.quant_resi.*", "quant_resi.", fed_back=True),
            *projection(Role.OUTPUT_PROJ, "post_quant_conv", "post_quant_conv.conv"),
        ),
        in_front=("quant_conv",),
        update=Update.GRADIENT,
    ),
    Family(
        name="vqgan-gumbel",
        title="VQGAN with Gumbel softmax (taming-transformers)",
        keys=(
            *codebook("quantize.embed", "weight"),
            *projection(Role.INPUT_PROJ, "quantize.proj"),
            *projection(Role.OUTPUT_PROJ, "post_quant_conv"),
        ),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.GRADIENT,
        metric=Metric.ARGMAX,
        projects=True,
    ),
    Family(
        name="wav2vec2",
        title="wav2vec 2.0 quantizer (fairseq, transformers, SpeechBrain)",
        keys=(
            *codebook("quantizer", "vars"),
            *codebook("quantizer", "codevectors"),
            Key(Role.INPUT_PROJ, "quantizer.weight_proj.*"),
            *codebook("vector_quantizer", "vars"),
            Key(Role.INPUT_PROJ, "vector_quantizer.weight_proj.*"),
            *projection(Role.OUTPUT_PROJ, "project_q"),
        ),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.GRADIENT,
        metric=Metric.ARGMAX,
        projects=True,
    ),
    Family(
        name="vq-wav2vec",
        title="vq-wav2vec with k-means (fairseq)",
        keys=(
            *codebook("vector_quantizer", "embedding"),
            Key(Role.INPUT_PROJ, "vector_quantizer.projection.*"),
        ),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        axes=Axes.CODES_HEADS_DIM,
        update=Update.GRADIENT,
        projects=True,
    ),
)
