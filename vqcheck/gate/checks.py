"""The gate's checks: what each is called, whether it decides, what to do when it fails; and what they came to.

Plain data, which reports read.
"""

import difflib
from dataclasses import dataclass
from typing import Final

from vqcheck.audit.judgement import CheckOutcome, Judgement
from vqcheck.errors import UsageError
from vqcheck.language import listed, tr
from vqcheck.word_enum import WordEnum


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One question the gate asks."""

    code: str
    title: str
    required: bool
    why: str
    """What goes wrong without it."""
    fix: str
    """What to do when it fails."""


CHECKS: Final = (
    GateCheck(
        "codebook-trained",
        tr("the pretrained generator has a trained VQ encoder"),
        True,
        tr(
            "A codebook that was never trained gives meaningless tokens. Freezing does not help: zeros stay zeros, "
            "and a codebook whose init flag is 0 is filled from the first batch."
        ),
        tr("Use a published s2G base model. Or train from scratch with freeze_quantizer off, and train s1 after that."),
    ),
    GateCheck(
        "loader",
        tr("the training script can load the pretrained generator"),
        True,
        tr(
            "The training script loads the state dict under 'weight' of an ordinary torch file. It keeps its random "
            "values for tensors that are not there. A tensor of another shape ends it. Exports of Pro versions and "
            "LoRA have an overwritten header. A G_*.pth keeps its weights elsewhere. A file of another version fits "
            "in part or not at all."
        ),
        tr(
            "Name the published base of your version: train.pretrained_s2G in a JSON, subject.pretrained_s2G in a TOML."
        ),
    ),
    GateCheck(
        "symbols",
        tr("the pretrained generator fits the text symbols"),
        True,
        tr(
            "The text embedding has one row for each text symbol: 322 for v1, 732 for every other version. Where the "
            "code defines another number, training cannot load the generator, or reads every text wrongly."
        ),
        tr("Name the published base of your version, or put the tree's GPT_SoVITS/text/symbols.py back."),
    ),
    GateCheck(
        "lock",
        tr("the VQ encoder and the tokens are the locked ones"),
        True,
        tr(
            "The lock was made from the checkpoint that the tokens were extracted with. If the generator differs from "
            "it, the tokens of s1 mean something else in s2."
        ),
        tr(
            "Put the locked base back. Or extract the tokens again, train s1 again and update the lock: "
            "vqcheck lock CKPT --experiment DIR --update."
        ),
    ),
    GateCheck(
        "tokens",
        tr("the recorded tokens come from the pretrained generator"),
        True,
        tr(
            "The tokens in 6-name2semantic.tsv are not made again when the pretrained model changes. This check "
            "computes each one again from 4-cnhubert and compares."
        ),
        tr("Delete the tsv, extract the tokens again and train s1 again. vqcheck tokens shows the items."),
    ),
    GateCheck(
        "freeze",
        tr("freeze_quantizer is on"),
        True,
        tr("Without it every training step writes the codebook."),
        tr("Set it to true: model.freeze_quantizer in a JSON, subject.freeze_quantizer in a TOML."),
    ),
    GateCheck(
        "resume",
        tr("a checkpoint that training would resume from has the same VQ encoder"),
        True,
        tr(
            "The training script silently resumes from the latest G_*.pth in the experiment, whatever pretrained_s2G "
            "says. It looks in logs_s2_<version>, for LoRA in logs_s2_<version>_lora_<rank>, before February 2025 in "
            "logs_s2."
        ),
        tr("If an earlier run moved the codebook, move that folder away. vqcheck history shows when it moved."),
    ),
    GateCheck(
        "resume-elsewhere",
        tr("an older or newer training script would resume from the same VQ encoder, too"),
        False,
        tr(
            "Which folder training resumes from depends on the age of the training script. For v3 and v4 it also "
            "depends on LoRA. This run does not read the other folders, but another run will."
        ),
        tr("Move a folder away whose checkpoint has another VQ encoder."),
    ),
    GateCheck(
        "s1",
        tr("the s1 checkpoint belongs to these tokens"),
        True,
        tr(
            "Stage 1 must have been trained on the tokens that stage 2 decodes. A lock made with --experiment and --s1 "
            "proves it by content. Without a lock only the path in the s1 checkpoint can be compared. A path proves "
            "nothing."
        ),
        tr("Train s1 on these tokens. Then bind it: vqcheck lock CKPT --experiment DIR --s1 S1 --update."),
    ),
    GateCheck(
        "extraction-version",
        tr("token extraction guesses the version right"),
        False,
        tr(
            "Upstream's token extraction guesses v1, v2 or v3 from the size of the file alone. It can take a file "
            "that was saved again for another version."
        ),
        tr("Use the published file as it was downloaded."),
    ),
    GateCheck(
        "replay",
        tr("the code that will train keeps the codebook still"),
        True,
        tr(
            "This check replays a few training steps of the code that will really train. It watches every write to the "
            "codebook."
        ),
        tr(
            "Call eval() on the quantizer in every forward of that code, or hold it with vqcheck.freeze. vqcheck "
            "replay shows the line that writes."
        ),
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
            tr("no check '{code}'; did you mean {near}?", code=code, near=near[0])
            if near
            else tr("no check '{code}'; known: {codes}", code=code, codes=listed(codes, last=""))
        )
    return CHECKS[codes.index(code)]


class GateVerdict(WordEnum):
    OPEN = "open"
    PARTLY = "partly checked"
    """The checks that ran passed, but required ones were left out."""
    CLOSED = "closed"
    COULD_NOT_CHECK = "could not check"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of the gate and what it found."""

    code: str
    title: str
    required: bool
    """A required check decides the gate; an advisory one is only shown."""
    finding: Judgement

    @property
    def decides(self) -> bool:
        """Whether it keeps the gate from opening."""
        return self.required and self.finding.outcome in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK)

    @property
    def is_advice(self) -> bool:
        """Whether it found something that keeps nothing from starting."""
        return not self.required and self.finding.outcome in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK)

    @property
    def fix(self) -> str:
        """What to do about it; empty where there is nothing to do, or only its message says it."""
        if self.finding.outcome is CheckOutcome.FAILED:
            return self.finding.fix or find_check(self.code).fix
        return self.finding.fix


@dataclass(frozen=True, slots=True)
class GateReport:
    """All checks of one run of the gate."""

    config: str
    outcomes: tuple[CheckResult, ...]

    @property
    def exit_code(self) -> int:
        """2 beats 1 beats 0, over the required checks; 2 when none of them was carried out."""
        found = {check.finding.outcome for check in self.outcomes if check.required}
        if CheckOutcome.COULD_NOT_CHECK in found or not found & {CheckOutcome.PASSED, CheckOutcome.FAILED}:
            return 2
        return int(CheckOutcome.FAILED in found)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Codes of required checks that the user left out."""
        return tuple(
            check.code for check in self.outcomes if check.required and check.finding.outcome is CheckOutcome.SKIPPED
        )

    @property
    def verdict(self) -> GateVerdict:
        if self.exit_code == 0 and self.left_out:
            return GateVerdict.PARTLY
        return (GateVerdict.OPEN, GateVerdict.CLOSED, GateVerdict.COULD_NOT_CHECK)[self.exit_code]
