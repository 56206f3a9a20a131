"""`vqcheck tokens CKPT EXPERIMENT`: do the recorded tokens come from this checkpoint."""

import os
from dataclasses import dataclass, replace
from typing import Final

import click

from vqcheck.audit.device_tokens import DeviceTokens
from vqcheck.audit.token_audit_result import HALF_OF_THE_ITEMS, TokenAudit, TokenVerdict
from vqcheck.audit.token_decision import TokenDecision
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.cli.help import Command, complete_device
from vqcheck.cli.options import copies_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.terminal import Waiting
from vqcheck.errors import UsageError
from vqcheck.experiment.place import exported_weights
from vqcheck.language import tr
from vqcheck.report.views.tokens import view

_EXAMPLES: Final = """
\b
Examples:
  vqcheck tokens s2G2333k.pth logs/me
  vqcheck tokens s2G2333k.pth logs/me --sample 100
  vqcheck tokens logs/me/logs_s2_v2/G_400.pth logs/me --against s2G2333k.pth
  vqcheck tokens s2G2333k.pth logs/me --coverage 100
  vqcheck tokens s2G2333k.pth logs/me --format junit > tokens.xml

Exit status: 0 the tokens agree with CKPT, 1 they do not, or a lock or the base says that another VQ encoder made them,
2 could not check (nothing in common, too few features, half precision overflows, two VQ encoders explain the tokens).
A proven contradiction is 1 although other items could not be checked.
"""


@click.command("tokens", cls=Command, epilog=_EXAMPLES)
@click.argument("checkpoint", metavar="CKPT", type=CheckpointPath())
@click.argument("experiment", metavar="EXPERIMENT", type=click.Path(readable=False))
@click.option(
    "--against",
    metavar="OTHER",
    type=CheckpointPath(),
    help="Say which of the two explains the tokens better. A base that explains them, too, decides.",
)
@click.option(
    "--lock",
    metavar="LOCK",
    type=click.Path(readable=False),
    help="The lock to go by; default: vqcheck.lock in the experiment, where it binds these tokens.",
)
@click.option(
    "--coverage",
    metavar="PERCENT",
    type=click.FloatRange(0, 100),
    default=100 * HALF_OF_THE_ITEMS,
    show_default=True,
    help="Items that must have features; with fewer the status is 2.",
)
@click.option("--sample", metavar="N", type=click.IntRange(min=1), help="Check N items only, the same ones each time.")
@click.option(
    "--device",
    metavar="DEVICE",
    shell_complete=complete_device,
    help="Derive the tokens on this device (cuda), too, and say whether the emulation of half precision agrees.",
)
@copies_option
@output_options(verbose="Show every item and every count.")
@remote_option
def command(
    checkpoint: str,
    experiment: str,
    against: str | None,
    lock: str | None,
    coverage: float,
    sample: int | None,
    device: str | None,
    copies: tuple[str, ...],
    output: Output,
) -> int:
    """Compute the tokens of an experiment again and compare them with its 6-name2semantic.tsv.

    EXPERIMENT is a directory logs/NAME with the features in 4-cnhubert. The token of every frame is computed in
    float32, and in half precision as a GPU does it. The verdict rests on this emulation, on every machine alike; what
    a GPU of your own derives (--device) is shown beside it.
    """
    if os.path.isfile(experiment):
        if os.path.isdir(checkpoint):
            raise UsageError(tr("the checkpoint comes first, then the experiment directory"), experiment)
        raise UsageError(tr("is a file; name the experiment directory (logs/<name>)"), experiment)
    from vqcheck.audit.decide_tokens import lock_of, movement_between, with_base

    of_first, of_second = (copies[0], copies[-1]) if copies else ("", "")
    asked = _TokenQuestion(experiment, sample, coverage / 100, output)
    with open_checkpoint(checkpoint) as opened:
        audit = asked.audit(opened, of_first)
        # What the tokens refute no lock makes right, and one that cannot be compared is not to hide it.
        is_asked = lock is not None or audit.verdict is not TokenVerdict.INCONSISTENT
        decision = TokenDecision(audit, lock=lock_of(experiment, opened, lock, of_first) if is_asked else None)
        if against is None:
            decision = with_base(decision, opened, experiment, asked.audit)
        else:
            with open_checkpoint(against) as second:
                other = asked.audit(second, of_second)
                both = audit.verdict is other.verdict is TokenVerdict.CONSISTENT
                named = (of_second, of_first) if copies else ()
                movement = movement_between(second, opened, experiment, named) if both else None
            decision = replace(decision, other=other, movement=movement)
        if device is not None:
            decision = replace(decision, device=asked.on_device(opened, device, of_first))
    decision = replace(decision, exported=exported_weights(checkpoint))
    # Not before the file was seen to be the same still.
    return output.show(view(decision))


@dataclass(frozen=True)
class _TokenQuestion:
    """What is the same for both checkpoints."""

    experiment: str
    sample: int | None
    least_coverage: float
    output: Output

    def audit(self, checkpoint: Checkpoint, copy: str = "") -> TokenAudit:
        from vqcheck.audit.token_audit import audit_tokens

        with Waiting(tr("computing tokens"), quiet=self.output.quiet) as waiting:
            return audit_tokens(
                checkpoint,
                self.experiment,
                sample=self.sample,
                copy=copy,
                least_coverage=self.least_coverage,
                on_item=waiting.step,
            )

    def on_device(self, checkpoint: Checkpoint, device: str, copy: str) -> DeviceTokens:
        try:
            from vqcheck.replay.device_tokens import derive_on_device
        except ImportError as error:
            raise UsageError(tr("--device needs {name}: pip install 'vqcheck[replay]'", name=error.name)) from None
        with Waiting("deriving tokens on the device", quiet=self.output.quiet) as waiting:
            return derive_on_device(
                checkpoint, self.experiment, device, sample=self.sample, copy=copy, on_item=waiting.step
            )
