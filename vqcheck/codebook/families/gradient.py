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


_TRANSFORMERS: Final = ("wav2vec2", "wav2vec2_conformer", "unispeech")
_BEHIND_FEATURES: Final = ("feature_projection.projection", "encoder", "masked_spec_embed")
_DAC: Final = ("in_proj", "out_proj")
_AMPHION: Final = ("in_project", "out_project")
_LAYER: Final = "quantizer.quantizers.{layer}"
_FACODEC_BEHIND: Final = (
    *("model", "discriminator", "spec_discriminator", "timbre_encoder", "timbre_linear", "f0_predictor"),
    *("phone_predictor", "res_f0_predictor", "res_phone_predictor", "content_f0_predictor", "prosody_phone_predictor"),
    "x_timbre_predictor",
)

GRADIENT_FAMILIES: Final = (
    Family(
        name="dac",
        title="DAC (descript-audio-codec, transformers, SNAC)",
        keys=_factorised(_LAYER, *_DAC),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
    ),
    Family(
        name="stable-audio-dac",
        title="DAC bottleneck (stable-audio-tools)",
        keys=_factorised(f"bottleneck.{_LAYER}", *_DAC),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
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
        encoders=("encoder",),
        behind=("decoder", "quantizer.upsample", "quantizer.post_module"),
    ),
    Family(
        name="maskgct",
        title="Amphion RepCodec (MaskGCT, IndexTTS-2)",
        keys=(*_factorised(_LAYER, *_AMPHION), Key(Role.INPUT_PROJ, "down.*", "down.")),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
        behind=("decoder", "up"),
    ),
    Family(
        name="bicodec",
        title="BiCodec (Spark-TTS)",
        books=("semantic", "global"),
        keys=(
            *codebook("quantizer", "codebook.weight", "", "cluster_size"),
            *projection(Role.INPUT_PROJ, "quantizer.in_project"),
            *projection(Role.OUTPUT_PROJ, "quantizer.out_project"),
            # The global tokens are those of a fixed grid.
            *projection(Role.INPUT_PROJ, "speaker_encoder.quantizer.project_in", book=1),
            *projection(Role.OUTPUT_PROJ, "speaker_encoder.quantizer.project_out", book=1),
            Key(Role.INPUT_PROJ, "speaker_encoder.perceiver_sampler.*", "perceiver_sampler.", 1),
        ),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        decay=0.99,
        encoders=("encoder", "speaker_encoder.speaker_encoder"),
        behind=("decoder", "prenet", "postnet", "speaker_encoder.project", "mel_transformer", "discriminator"),
    ),
    Family(
        name="facodec",
        title="FAcodec (Plachtaa)",
        books=("prosody", "content", "timbre", "residual"),
        keys=(
            *(
                key
                for path in ("quantizer.", "")
                for book, name in enumerate(("prosody", "content", "timbre", "residual"))
                for key in _factorised(f"{path}{name}_quantizer.quantizers.{{layer}}", *_DAC, book=book)
            ),
            *(
                Key(Role.INPUT_PROJ, f"{path}{name}.*", f"{name}.")
                for path in ("quantizer.", "")
                for name in ("melspec_linear", "melspec_encoder", "melspec_linear2")
            ),
        ),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.BOOKS,
        encoders=("encoder",),
        behind=(
            *("decoder", "discriminator", "fa_predictors"),
            *(f"{path}{name}" for path in ("", "quantizer.") for name in ("timbre_encoder", "timbre_linear", "to_mel")),
        ),
    ),
    Family(
        name="hifi-codec",
        title="HiFi-Codec (AcademiCodec)",
        books=("first", "second"),
        keys=(
            # Groups of channels are looked up each in its own codebook, what they leave in those of the second book.
            *codebook("quantizer_modules.{layer}", "embedding.weight"),
            *codebook("quantizer_modules2.{layer}", "embedding.weight", book=1),
        ),
        update=Update.GRADIENT,
        encoders=("encoder",),
        behind=("generator", "mpd", "msd", "mstftd"),
    ),
    Family(
        name="esc",
        title="ESC (efficient-speech-codec)",
        keys=(
            # Groups of channels at each scale; a scale takes what is left once those before it are decoded.
            *codebook("quantizers.{layer}.vqs.{group}", "embedding.weight"),
            *projection(Role.INPUT_PROJ, "quantizers.{layer}.down_projs.{group}"),
            *projection(Role.OUTPUT_PROJ, "quantizers.{layer}.up_projs.{group}"),
            Key(Role.OUTPUT_PROJ, "decoder.blocks.{layer}.*", "blocks."),
        ),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
        behind=("decoder.post_nn", "decoder.patch_deembed", "ft", "ift"),
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
        title="Factorised VQ (FACodec, X-Codec 2, BigCodec)",
        keys=(
            *_factorised("quantizer.layers.{layer}", *_DAC, "_codebook.weight"),
            *_factorised("quantizer.quantizers.{layer}", *_DAC, "_codebook.weight"),
            *_factorised("quantizer.{group}.layers.{layer}", *_DAC, "_codebook.weight"),
            *_factorised("quantizer.{group}.quantizers.{layer}", *_DAC, "_codebook.weight"),
            # What gives the prosody its features, where these are not those of the encoder.
            Key(Role.INPUT_PROJ, "melspec_linear.*", "melspec_linear."),
            Key(Role.INPUT_PROJ, "melspec_encoder.*", "melspec_encoder."),
        ),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.GROUPS,
        # The quantizer is part of the decoder, whose other layers are its `model`; the encoder is another model.
        encoders=("CodecEnc", "encoder"),
        behind=_FACODEC_BEHIND,
    ),
    Family(
        name="bigcodec",
        title="BigCodec (its trainer's names)",
        keys=_factorised("generator.quantizer.layers.{layer}", *_DAC, "_codebook.weight"),
        update=Update.GRADIENT,
        metric=Metric.COSINE,
        residual=ResidualChain.LAYERS,
        encoders=("CodecEnc",),
        behind=("generator.model", "discriminator", "spec_discriminator", "criteria"),
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
        encoders=("encoder",),
        behind=("decoder", "discriminator", "loss", "quantize.ema_vocab_hit_SV"),
    ),
    Family(
        name="vqgan-gumbel",
        title="VQGAN with Gumbel softmax (taming-transformers)",
        keys=(
            *codebook("quantize.embed", "weight"),
            *projection(Role.INPUT_PROJ, "quantize.proj"),
            Key(Role.INPUT_PROJ, "quant_conv.*", "quant_conv."),
            *projection(Role.OUTPUT_PROJ, "post_quant_conv"),
        ),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.GRADIENT,
        metric=Metric.ARGMAX,
        projects=True,
        in_front=("quant_conv",),
        encoders=("encoder",),
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
            # The norm of the features, in fairseq and, under the name of each model, in transformers.
            Key(Role.INPUT_PROJ, "layer_norm.*", "layer_norm."),
            *(
                Key(Role.INPUT_PROJ, f"{model}.feature_projection.layer_norm.*", "layer_norm.")
                for model in _TRANSFORMERS
            ),
        ),
        requires=frozenset({Role.CODES, Role.INPUT_PROJ}),
        update=Update.GRADIENT,
        metric=Metric.ARGMAX,
        projects=True,
        encoders=("feature_extractor", *(f"{model}.feature_extractor" for model in _TRANSFORMERS)),
        behind=(
            *("quantizer.max_ent", "project_hid", "post_extract_proj", "final_proj", "encoder", "mask_emb"),
            *("target_glu", "feature_aggregator", "wav2vec_predictions"),
            *(f"{model}.{module}" for model in _TRANSFORMERS for module in _BEHIND_FEATURES),
        ),
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
        encoders=("feature_extractor",),
        behind=("feature_aggregator", "wav2vec_predictions"),
    ),
)
