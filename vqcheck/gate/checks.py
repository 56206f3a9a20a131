"""The gate's checks: what each is called, whether it decides, and what to do when it fails."""

import difflib
from dataclasses import dataclass
from typing import Final

from vqcheck.errors import UsageError


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One question the gate asks."""

    code: str
    title: str
    required: bool
    why: str
    """What goes wrong without it, and what to do when it fails."""


CHECKS: Final = (
    GateCheck(
        "codebook-trained",
        "the pretrained generator has a trained VQ encoder",
        True,
        "No tokens come from a codebook that was never trained, and freezing does not mend it: one that is all zero "
        "stays so, and one whose init flag is 0 is filled from the first batch that it sees, where that is no error. "
        "Use a published s2G base model, or train from scratch with freeze_quantizer off, and s1 after that.",
    ),
    GateCheck(
        "loader",
        "upstream's training script reads that file as what it is",
        True,
        "The training script loads the state dict under 'weight' of an ordinary torch file and keeps its own values "
        "for tensors that are not in it; one of another shape ends it. Exports of Pro versions and LoRA have an "
        "overwritten header, G_*.pth keep their weights elsewhere, and a file of another version fits only in part, if "
        "at all. Name the published base of your version.",
    ),
    GateCheck(
        "lock",
        "its VQ encoder and the tokens are the locked ones",
        True,
        "The lock was made from the checkpoint that the tokens were extracted with. If the generator disagrees, s1 and "
        "s2 speak different languages. Put back the locked base, or extract the tokens again, train s1 again and "
        "update the lock: vqcheck lock CKPT --experiment DIR --update.",
    ),
    GateCheck(
        "tokens",
        "the recorded tokens come from it",
        True,
        "Tokens in 6-name2semantic.tsv are not made again when the pretrained model changes. Each is derived here once "
        "more from 4-cnhubert and compared. If they do not come from this generator, delete the tsv, extract again, "
        "and train s1 again. vqcheck tokens shows the items.",
    ),
    GateCheck(
        "freeze",
        "freeze_quantizer is on",
        True,
        "Without it every training step writes the codebook. Set model.freeze_quantizer to true in the s2 JSON.",
    ),
    GateCheck(
        "resume",
        "a checkpoint that training would resume from has the same VQ encoder",
        True,
        "The training script silently resumes from the latest G_*.pth in the experiment, whatever pretrained_s2G says: "
        "in logs_s2_<version>, for LoRA in logs_s2_<version>_lora_<rank>, trees before February 2025 in logs_s2. If an "
        "earlier run moved the codebook, move that folder away. vqcheck history shows when it happened.",
    ),
    GateCheck(
        "resume-elsewhere",
        "trees of another age would resume from the same VQ encoder, too",
        False,
        "Which folder training resumes from depends on the age of the tree, and for v3 and v4 on whether it trains "
        "LoRA or all. A checkpoint with another VQ encoder that this run does not read will be read by one that does. "
        "Move it away.",
    ),
    GateCheck(
        "s1",
        "the s1 checkpoint belongs to these tokens",
        True,
        "Stage 1 must have been trained on the tokens that stage 2 decodes. A lock made with --experiment and --s1 "
        "proves it by content; without one only the path in the s1 checkpoint can be compared, which proves nothing.",
    ),
    GateCheck(
        "extraction-version",
        "token extraction guesses the version right",
        False,
        "Upstream's token extraction guesses v1, v2 or v3 from the size of the file alone, whatever its version, and a "
        "file that was saved again can be taken for another one. Use the published file as it was downloaded.",
    ),
    GateCheck(
        "replay",
        "the code that will train keeps the codebook still",
        True,
        "Replays a few training steps of the code that will really train, and watches every write to the codebook.",
    ),
)


def find_check(code: str) -> GateCheck:
    """Return the check with this code.

    Raises:
        UsageError: there is none.

    """
    codes = [check.code for check in CHECKS]
    if code not in codes:
        near = difflib.get_close_matches(code, codes, 1)
        raise UsageError(
            f"no check {code!r}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(codes)}")
        )
    return CHECKS[codes.index(code)]
