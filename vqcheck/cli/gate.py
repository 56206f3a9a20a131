"""`vqcheck gate CONFIG`: says whether s2 training may start."""

from typing import TYPE_CHECKING, Final

import click

from vqcheck.cli.help import Command, complete_check
from vqcheck.cli.output import TEXT, Output, output_options
from vqcheck.cli.terminal import Waiting
from vqcheck.errors import UsageError

if TYPE_CHECKING:
    pass

_EXAMPLES: Final = """
\b
Examples:
  vqcheck gate TEMP/tmp_s2.json
  vqcheck gate s2.json --s1 me-e15.ckpt && python s2_train.py --config s2.json
  vqcheck gate s2.json --format junit > gate.xml
  vqcheck gate s2.json --format github
  vqcheck gate s2.json --skip tokens
  vqcheck gate --explain resume

Exit status: 0 training may start, 1 a required check failed, 2 a required check could not be carried out.
"""


@click.command("gate", cls=Command, epilog=_EXAMPLES)
@click.argument("config", required=False, type=click.Path(readable=False))
@click.option("--s1", type=click.Path(readable=False), help="The s1 (GPT) checkpoint that will speak to this s2.")
@click.option(
    "--lock", type=click.Path(readable=False), help="The lock to go by; default: vqcheck.lock in the experiment."
)
@click.option(
    "--root",
    type=click.Path(readable=False),
    help="Where relative paths in the config begin; default: here, as upstream.",
)
@click.option(
    "--sample", metavar="N", type=click.IntRange(min=1), help="Audit the tokens of this many items instead of all."
)
@click.option(
    "--only",
    multiple=True,
    metavar="CODE",
    shell_complete=complete_check,
    help="Carry out only this check; may be repeated.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="CODE",
    shell_complete=complete_check,
    help="Leave this check out, visibly; may be repeated.",
)
@click.option(
    "--explain",
    metavar="CODE",
    shell_complete=complete_check,
    help="Say what a check asks, why, and what to do when it fails.",
)
@output_options()
def command(
    config: str | None,
    s1: str | None,
    lock: str | None,
    root: str | None,
    sample: int | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    explain: str | None,
    output: Output,
) -> int:
    """Check everything that s2 training relies on, before it starts.

    CONFIG is GPT-SoVITS's s2 JSON as the training script gets it, or a vqcheck TOML.
    """
    from vqcheck.gate.checks import find_check
    from vqcheck.gate.run import run_gate

    if explain is not None:
        if output.format != TEXT:
            raise UsageError(f"--explain is for people; it has no format {output.format}")
        from vqcheck.report.views.gate import explanation

        return output.show(explanation(find_check(explain)))
    if config is None:
        raise click.UsageError("Missing argument 'CONFIG'", click.get_current_context())
    from vqcheck.audit.planned_run import PlannedRun
    from vqcheck.experiment.s2_run import read_s2_run
    from vqcheck.report.views.gate import view

    with Waiting("checking", quiet=output.quiet) as waiting:
        report = run_gate(PlannedRun(read_s2_run(config, root), lock, s1, sample), only, skip, waiting.step)
    return output.show(view(report))
