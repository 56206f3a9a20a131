"""`vqcheck replay [CONFIG]`: the s2 training step under freezing strategies, with every write to the codebook."""

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from vqcheck.cli.help import Command, complete_device, complete_strategy
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.terminal import can_draw, is_first_process, wants_color
from vqcheck.errors import UsageError
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.experiment.config import Config
    from vqcheck.replay.trace import Replay

_EXAMPLES: Final = """
\b
Examples:
  vqcheck replay
  vqcheck replay --quick
  vqcheck replay --all --steps 10
  vqcheck replay logs/me/tmp_s2.json --steps 20 --save drift
  vqcheck replay replay.toml --strategy freeze --format json -o trace.json
  vqcheck replay --steps 20 --format html -o replay.html
  vqcheck replay --factory my_training.replay:vocoder --steps 5
  vqcheck replay --checkout ~/GPT-SoVITS --python ~/venv/bin/python --steps 5
  torchrun --nproc-per-node 2 --no-python vqcheck replay replay.toml
  torchrun --nproc-per-node 2 --no-python vqcheck replay --checkout ~/GPT-SoVITS

Exit status: 0 every arm did what was expected, 1 one did not, 2 inconclusive (no control arm drifted), interrupted or
could not start.
"""


_QUICK: Final = 5
"""Steps of a quick replay. A leak shows in the first one; the line that wrote is seen in the next."""


@click.command(
    "replay", cls=Command, epilog=_EXAMPLES, headings={"Code to replay": ("factory", "checkout", "python", "root")}
)
@click.argument("config", required=False, type=click.Path(readable=False))
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_strategy,
    help="Run this strategy; may be repeated.",
)
@click.option("--all", "every", is_flag=True, help="Run every strategy there is.")
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="Training steps of each arm.")
@click.option("--quick", is_flag=True, help=f"Train {_QUICK} steps only, in about a fifth of the time.")
@click.option("--batch-size", metavar="N", type=click.IntRange(min=1), help="Items in a batch of one process.")
@click.option(
    "--seed", metavar="N", type=click.IntRange(min=0, max=2**63 - 1), help="Of weights, data and random draws."
)
@click.option("--device", metavar="DEVICE", shell_complete=complete_device, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "fp16"]), help="auto follows the configuration.")
@click.option("--factory", metavar="MODULE:FUNCTION", help="Replay any training code: the function returns it.")
@click.option(
    "--checkout",
    metavar="DIRECTORY",
    type=click.Path(readable=False),
    help="Replay the networks of your own GPT-SoVITS checkout.",
)
@click.option(
    "--python",
    metavar="PROGRAM",
    type=click.Path(readable=False),
    help="The Python that has the checkout's packages; default: this one.",
)
@click.option("--root", type=click.Path(readable=False), help="Where relative paths in CONFIG begin.")
@click.option(
    "--save", type=click.Path(file_okay=False, readable=False), help="Save each arm's final checkpoint in this folder."
)
@output_options()
def command(
    config: str | None,
    strategies: tuple[str, ...],
    every: bool,
    quick: bool,
    root: str | None,
    save: str | None,
    factory: str | None,
    checkout: str | None,
    python: str | None,
    output: Output,
    **numbers: Any,
) -> int:
    """Run the s2 training step under freezing strategies; show commit_loss and every write to the codebook.

    CONFIG is a vqcheck TOML file or GPT-SoVITS's own s2 JSON; without it a tiny synthesizer is trained on generated
    data for a few seconds.
    """
    if quick:
        if numbers["steps"] is not None:
            raise UsageError(tr("--quick and --steps exclude each other"))
        numbers["steps"] = _QUICK
    subject = {"factory": factory, "checkout": checkout, "python": python}
    result = _run(_config(config, root, strategies, every, subject, numbers), save, output)
    if not is_first_process():
        # torchrun ends all of them when one fails, and the first has yet to report
        return result.exit_code if not result.complete else 0
    from vqcheck.report.views.replay import view

    return output.show(view(result))


def _config(
    path: str | None,
    root: str | None,
    strategies: tuple[str, ...],
    every: bool,
    subject: dict[str, str | None],
    numbers: dict[str, Any],
) -> "Config":
    try:
        from vqcheck.experiment.config import Config
        from vqcheck.experiment.read_config import read_config, with_subject
        from vqcheck.replay.strategies import known_strategies
    except ImportError as error:
        raise _not_installed(error) from None
    if every and strategies:
        raise UsageError(tr("--all and --strategy exclude each other"))
    config = Config() if path is None else read_config(path, root)
    config = with_subject(config, **subject)
    config = config.changed("training", batch_size=numbers.pop("batch_size"))
    chosen = list(known_strategies(config)) if every else list(strategies) or None
    return config.changed("replay", strategies=chosen, **numbers)


def _run(config: "Config", save: str | None, output: Output) -> "Replay":
    try:
        from vqcheck.replay.run import planned, replay
    except ImportError as error:
        raise _not_installed(error) from None
    if output.quiet or not is_first_process():
        return replay(config, save=save)
    from vqcheck.report.render.live_view import LiveView, ProgressLines

    if not can_draw(sys.stderr):
        return replay(config, ProgressLines(sys.stderr), save)
    with LiveView(sys.stderr, planned(config), config.replay.steps, color=wants_color()) as view:
        return replay(config, view, save)


def _not_installed(error: ImportError) -> UsageError:
    return UsageError(tr("a replay needs {name}: pip install 'vqcheck[replay]'", name=error.name))
