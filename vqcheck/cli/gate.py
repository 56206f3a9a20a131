"""`vqcheck gate CONFIG`: says whether s2 training may start."""

import os
from dataclasses import replace
from typing import Final

import click

from vqcheck.cli.help import Command, complete_check
from vqcheck.cli.output import TEXT, Output, output_options
from vqcheck.cli.terminal import Waiting
from vqcheck.errors import UsageError
from vqcheck.language import tr

_EXAMPLES: Final = """
\b
Examples:
  vqcheck gate TEMP/tmp_s2.json
  vqcheck gate s2.json --s1 me-e15.ckpt && python s2_train.py --config s2.json
  vqcheck gate logs/me
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
    "--checkout",
    metavar="DIRECTORY",
    type=click.Path(exists=True, file_okay=False, readable=False),
    help="The GPT-SoVITS folder whose code will train: it is replayed, and asked where it resumes from.",
)
@click.option(
    "--python",
    metavar="PROGRAM",
    type=click.Path(readable=False),
    help="The Python that has its packages; default: this one.",
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
    checkout: str | None,
    python: str | None,
    sample: int | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    explain: str | None,
    output: Output,
) -> int:
    """Check everything that s2 training relies on, before it starts.

    CONFIG is GPT-SoVITS's s2 JSON as the training script gets it, or a vqcheck TOML. Of a folder, an experiment or a
    whole GPT-SoVITS folder, it is the one s2 JSON in it.
    """
    from vqcheck.gate.checks import find_check
    from vqcheck.gate.run import run_gate

    if explain is not None:
        if output.format != TEXT:
            raise UsageError(tr("--explain is for people; it has no format {format}", format=output.format))
        from vqcheck.report.views.gate import explanation

        return output.show(explanation(find_check(explain)))
    if config is None:
        raise click.MissingParameter(ctx=click.get_current_context(), param_hint="'CONFIG'", param_type="argument")
    from vqcheck.audit.planned_run import PlannedRun
    from vqcheck.experiment.config_file import read_s2_run
    from vqcheck.experiment.s2_configs import the_s2_config
    from vqcheck.report.views.gate import view

    with Waiting(tr("checking"), quiet=output.quiet) as waiting:
        run = the_s2_config(config, root) if os.path.isdir(config) else read_s2_run(config, root)
        if python is not None and not (checkout or run.checkout):
            raise UsageError(tr("--python goes with --checkout"))
        run = replace(run, python=python)
        if checkout is not None:
            run = replace(run, checkout=os.path.abspath(checkout), trains_code=True)
        report = run_gate(PlannedRun(run, lock, s1, sample), only, skip, waiting.step)
    return output.show(view(report))
