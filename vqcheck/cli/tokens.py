"""`vqcheck tokens CKPT EXPERIMENT`: do the recorded tokens come from this checkpoint."""

import os
from typing import Final

import click

from vqcheck.audit.token_audit_result import TokenAudit
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.help import Command
from vqcheck.cli.options import copies_option
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.terminal import Waiting
from vqcheck.errors import UsageError
from vqcheck.report.views.tokens import view

_EXAMPLES: Final = """
\b
Examples:
  vqcheck tokens s2G2333k.pth logs/me
  vqcheck tokens s2G2333k.pth logs/me --sample 100
  vqcheck tokens logs/me/logs_s2_v2/G_400.pth logs/me --against s2G2333k.pth
  vqcheck tokens s2G2333k.pth logs/me --format junit > tokens.xml

Exit status: 0 the tokens agree with CKPT, 1 they do not, 2 could not check (nothing in common, features that cannot be
read, half precision overflows). A proven contradiction is 1 although other items could not be checked.
"""


@click.command("tokens", cls=Command, epilog=_EXAMPLES)
@click.argument("checkpoint", metavar="CKPT", type=click.Path(readable=False))
@click.argument("experiment", metavar="EXPERIMENT", type=click.Path(readable=False))
@click.option(
    "--against",
    metavar="OTHER",
    type=click.Path(readable=False),
    help="Say which of the two explains the tokens better.",
)
@click.option("--sample", metavar="N", type=click.IntRange(min=1), help="Check N items only, the same ones each time.")
@copies_option
@output_options(verbose="Show every item and every count.")
def command(
    checkpoint: str, experiment: str, against: str | None, sample: int | None, copies: tuple[str, ...], output: Output
) -> int:
    """Compute the tokens of an experiment again and compare them with its 6-name2semantic.tsv.

    EXPERIMENT is a directory logs/NAME with the features in 4-cnhubert. The token of every frame is computed in
    float32, and in half precision as a GPU does it.
    """
    if os.path.isfile(experiment):
        if os.path.isdir(checkpoint):
            raise UsageError("the checkpoint comes first, then the experiment directory", experiment)
        raise UsageError("is a file; name the experiment directory (logs/<name>)", experiment)
    audit = _audit(checkpoint, experiment, sample, copies[0] if copies else "", output)
    other = (
        _audit(against, experiment, sample, copies[1] if len(copies) > 1 else "", output)
        if against is not None
        else None
    )
    return output.show(view(audit, other))


def _audit(checkpoint: str, experiment: str, sample: int | None, copy: str, output: Output) -> TokenAudit:
    from vqcheck.audit.token_audit import audit_tokens

    with open_checkpoint(checkpoint) as opened, Waiting("computing tokens", quiet=output.quiet) as waiting:
        return audit_tokens(opened, experiment, sample=sample, copy=copy, on_item=waiting.step)
