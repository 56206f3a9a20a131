"""What is on record of each codec: its tensors, the roles they play, and which of them decide tokens."""

import json
from pathlib import Path

LAYOUTS = json.loads((Path(__file__).parent / "layouts.json").read_text(encoding="utf-8"))
"""Codec -> where it was read off, and its tensors: names, shape, dtype, role, changed (by that codec's training)."""
ROLES = {
    "code_vectors": "codes",
    "ema_sum": "ema_sum",
    "ema_count": "ema_count",
    "init_flag": "init_flag",
    "input_proj": "input_proj",
    "output_proj": "output_proj",
    "aux_affine_stat": "code_transform",
}
SOURCES = {"embed_sum": "ema_sum", "embedding_sum": "ema_sum", "frozen_codebook": "codes"}
"""What lookup vectors are calculated from, by the tensor's own name; a learned transform otherwise."""
EMPTY = {name for name, layout in LAYOUTS.items() if not layout["tensors"]}
NEGATIVE = {name for name in LAYOUTS if name.startswith("neg_")} | EMPTY
CODECS = sorted(set(LAYOUTS) - NEGATIVE)


def shapes_of(codec):
    return {name: tuple(t["shape"]) for t in LAYOUTS[codec]["tensors"] for name in t["names"]}


def roles_of(codec):
    """Returns name -> role by the sheet, for all tensors that play one."""
    roles = {}
    for tensor in LAYOUTS[codec]["tensors"]:
        for name in tensor["names"]:
            role = ROLES.get(tensor["role"])
            if tensor["role"] == "code_vectors_source":
                fallback = "code_transform" if "code_transform" in name else "codes"
                role = SOURCES.get(name.rpartition(".")[2], fallback)
            if role:
                roles[name] = role
    return roles


FEEDS = {
    "hf_dac": ("quantizers.0.", "quantizers.1."),
    "dac": ("quantizers.0.", "quantizers.1."),
    "snac": ("quantizers.0.",),
    "stable_audio_dacrvq": ("quantizers.0.",),
    "fish_speech_dac": ("semantic_quantizer.quantizers.0.", "quantizer.quantizer.quantizers.0."),
    "hf_higgs_audio_v2_tokenizer": ("quantizers.0.",),
    "amphion_vq_euclidean": ("quantizers.0.",),
    "amphion_vq_simple": ("quantizers.0.",),
}
"""Codec -> its layers behind which another one looks up what is left; in all others nothing follows a projection."""


def decides(codec, name):
    """Says whether a lookup depends on a tensor that is no bookkeeping."""
    behind = roles_of(codec).get(name) == "output_proj"
    return not behind or any(layer in name for layer in FEEDS.get(codec, ()))
