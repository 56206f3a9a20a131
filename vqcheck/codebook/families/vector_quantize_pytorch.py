"""vector-quantize-pytorch's codebooks under an exponential moving average, and codecs around them.

Whoever uses the library by itself puts what they like in front of it.
"""

from typing import Final

from vqcheck.codebook.family import Family, Key, ResidualChain, Role, Update, codebook, projection

_ENCODEC: Final = ("embed", "embed_avg", "cluster_size")
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


VECTOR_QUANTIZE_PYTORCH: Final = (
    Family(
        name="vector-quantize-pytorch",
        title="vector-quantize-pytorch",
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
        name="soundstream",
        title="SoundStream (audiolm-pytorch)",
        keys=(
            *_vector_quantize("rq.rvqs.{group}.layers.{layer}."),
            *projection(Role.INPUT_PROJ, "rq.rvqs.{group}.project_in"),
            *projection(Role.OUTPUT_PROJ, "rq.rvqs.{group}.project_out"),
            Key(Role.INPUT_PROJ, "encoder_attn.*", "encoder_attn."),
            Key(Role.INPUT_PROJ, "encoder_film.*", "encoder_film."),
        ),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
        behind=("decoder", "decoder_attn", "decoder_film", "discriminators", "stft_discriminator"),
    ),
    Family(
        name="stable-audio",
        title="RVQ bottleneck (stable-audio-tools)",
        keys=(
            *_vector_quantize("bottleneck.quantizer.layers.{layer}."),
            *projection(Role.INPUT_PROJ, "bottleneck.quantizer.project_in"),
            *projection(Role.OUTPUT_PROJ, "bottleneck.quantizer.project_out"),
        ),
        requires=frozenset({Role.CODES, Role.EMA_COUNT}),
        residual=ResidualChain.LAYERS,
        encoders=("encoder",),
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
)
