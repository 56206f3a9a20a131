"""The words of a codec's users, for advice: GPT-SoVITS has stages with names and files, other codecs have none."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Wording:
    """Advice in the terms of one family. `{later}` and `{earlier}` stand for a file's letter."""

    start_trained: str
    again: str
    """How to go on with the later file."""
    keep: str
    """How to go on with the earlier one."""
    freeze: str


_HARMLESS: Final = "A changed codebook is harmless once the tokens are made again."
_GPT_SOVITS: Final = Wording(
    start_trained="Start s2 from a pretrained s2G file (pretrained_s2G in its configuration). Who really trains from "
    "scratch must let the codebook train (freeze_quantizer: false) until it has content, and extract tokens only then.",
    again="extract the tokens (6-name2semantic.tsv) again with {later}, or the weight exported at its step if it is a "
    f"G_*.pth, which extraction cannot read, and train s1 on them. {_HARMLESS}",
    keep="Or keep the tokens and s1 as they are: train s2 again from {earlier}, with the codebook frozen.",
    freeze="To keep the codebook still the next time, put the quantizer into eval() on every forward, as GPT-SoVITS "
    "does since 2 May 2024 with freeze_quantizer: true. requires_grad_(False), no_grad(), or eval() before "
    "net_g.train() do not stop these updates.",
)
_OTHERS: Final = Wording(
    start_trained="Start from a checkpoint with a trained codebook. Who really trains from scratch must let the "
    "codebook train until it has content, and make tokens only then.",
    again=f"make the tokens again with {{later}}, and train again on them whatever was trained on others. {_HARMLESS}",
    keep="Or keep the tokens and what was trained on them: train again from {earlier}, with the codebook frozen.",
    freeze="To keep the codebook still the next time, put the quantizer into eval() on every forward, or hold it with "
    "vqcheck.freeze(model). requires_grad_(False), no_grad(), or eval() before train() do not stop these updates.",
)


def wording_of(family: str) -> Wording:
    """Return the words for a row of the family table."""
    return _GPT_SOVITS if family == "gpt-sovits" else _OTHERS
