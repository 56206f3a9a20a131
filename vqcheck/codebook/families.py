"""The family table: one row for each codec whose VQ encoder vqcheck knows by name."""

from typing import Final

from vqcheck.codebook.family import CODES, EMA_COUNT, EMA_SUM, INIT_FLAG, INPUT_PROJ, Family, Key

FAMILIES: Final = (
    Family(
        name="gpt-sovits",
        title="GPT-SoVITS",
        keys=(
            Key(CODES, "quantizer.vq.layers.{layer}._codebook.embed"),
            Key(EMA_SUM, "quantizer.vq.layers.{layer}._codebook.embed_avg"),
            Key(EMA_COUNT, "quantizer.vq.layers.{layer}._codebook.cluster_size"),
            Key(INIT_FLAG, "quantizer.vq.layers.{layer}._codebook.inited"),
            Key(INPUT_PROJ, "ssl_proj.weight", "weight"),
            Key(INPUT_PROJ, "ssl_proj.bias", "bias"),
        ),
        # Other codecs keep their codebook under the same names.
        markers=("ssl_proj.", "enc_p.", "cfm."),
        decay=0.99,
        epsilon=1e-5,
        dead_code_threshold=2.0,
        optional=frozenset({EMA_SUM, EMA_COUNT, INIT_FLAG}),
        optional_in_lora=frozenset({INPUT_PROJ}),
    ),
)
