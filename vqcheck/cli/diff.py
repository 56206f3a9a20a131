"""`vqcheck diff A B...`: is the VQ encoder the same; if not, what changed, why, and what it does to the tokens."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from vqcheck.checkpoint.open import open_as_stored
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.cli.help import Command
from vqcheck.cli.near_names import with_near_names
from vqcheck.cli.options import (
    ThatExists,
    copies_option,
    details_option,
    expanded,
    family_option,
    name_unused,
    report_unread,
    scope_option,
)
from vqcheck.cli.output import Output, output_options
from vqcheck.cli.remote import CheckpointPath, remote_option
from vqcheck.cli.terminal import Waiting
from vqcheck.codebook.compare import OnTensor, compare
from vqcheck.codebook.comparison import Comparison, Verdict
from vqcheck.codebook.family import Family
from vqcheck.errors import NoCodebookError, UsageError, VqcheckError
from vqcheck.language import tr
from vqcheck.quick_dataclass import quick_dataclass
from vqcheck.report.document import Document
from vqcheck.report.views import diff as diff_view
from vqcheck.report.views.diff_words import line

if TYPE_CHECKING:
    from vqcheck.audit.judgement import StageComparison

_EXAMPLES: Final = """
\b
Examples:
  vqcheck diff s2G2333k.pth logs/me/logs_s2_v2/G_400.pth
  vqcheck diff s2G2333k.pth SoVITS_weights_v2/*.pth
  vqcheck diff base.pth exported.pth --scope tokens
  vqcheck diff a.pth b.safetensors -o diff.json
  vqcheck diff s2G2333k.pth G_400.pth -o diff.html
  vqcheck diff s2G2333k.pth G_400.pth --features logs/me/4-cnhubert
  vqcheck diff GPT_weights_v2/me-e15.ckpt G_400.pth --experiment logs/me
  vqcheck diff me-e15.ckpt G_400.pth --lock voices.lock --format junit
  vqcheck diff before/ after/ --family my_codec.toml
  vqcheck diff step_400/rank*.pth

Exit status: 0 the same, 1 changed, 2 could not check, or a copy in one of the files contradicts the one judged.
"""

_AS_A: Final = "as A"
"""Stands for the content of files that agree with A."""


@click.command("diff", cls=Command, epilog=_EXAMPLES, headings={"s1 against s2": ("experiment", "lock")})
@click.argument("a", type=CheckpointPath())
@click.argument("others", metavar="B...", nargs=-1, required=True, type=CheckpointPath())
@scope_option
@click.option(
    "--features",
    type=ThatExists(exists=True, file_okay=False, readable=False),
    help="Measure on the features in this folder (4-cnhubert) how many frames get another token.",
)
@click.option(
    "--experiment",
    type=ThatExists(exists=True, file_okay=False, readable=False),
    help="The directory of the tokens that s1 was trained on.",
)
@click.option(
    "--lock",
    type=click.Path(readable=False),
    help="The lock to go by; default: vqcheck.lock in the experiment.",
)
@copies_option
@details_option
@family_option
@output_options(verbose="Show more: full digests, the table of an equal pair, every code and recording measured.")
@remote_option
def command(
    a: str,
    others: tuple[str, ...],
    scope: str,
    features: str | None,
    experiment: str | None,
    lock: str | None,
    copies: tuple[str, ...],
    details: bool,
    own: tuple[Family, ...],
    output: Output,
) -> int:
    """Compare the VQ encoders of checkpoints with that of the first one, bit by bit.

    Reads torch checkpoints of every age, GPT-SoVITS exports and training files, and safetensors. Nothing in a file
    is executed, and only the VQ encoder's bytes are read. Of several B each gets a line, and those that differ their
    details; of files that the ranks of one step wrote (rank0, rank1, ...) it is said which differ from which.

    An s1 checkpoint holds no codebook; against an s2 generator, a lock or the features of its experiment decide.
    """
    asked = _Asked(scope, features, experiment, lock, copies, own, details, output)
    paths = expanded(others)
    if len(paths) > 1:
        return _many(a, paths, asked)
    with open_as_stored(a) as first, Waiting(tr("comparing"), quiet=output.quiet) as waiting:
        document, _, families, _ = _compare(first, paths[0], asked, waiting.step)
    status = output.show(document)
    name_unused(own, families)
    return status


@quick_dataclass(frozen=True)
class _Asked:
    """What the user wants to know of each pair."""

    scope: str
    features: str | None
    experiment: str | None
    lock: str | None
    copies: tuple[str, ...]
    own: tuple[Family, ...]
    details: bool
    output: Output


def _many(a: str, paths: Sequence[str], asked: _Asked) -> int:
    """Compare several files with one, which is read once; one that cannot be judged keeps no other from it."""
    from vqcheck.experiment.rank_files import ranks_of_one_step
    from vqcheck.report.views.many_files import JudgedFile, could_not_check, view
    from vqcheck.report.views.rank_files import with_ranks

    judged: list[JudgedFile] = []
    used: set[str] = set()
    contents = {a: _AS_A}
    with open_as_stored(a) as first, Waiting(tr("comparing"), quiet=asked.output.quiet) as waiting:
        first.keep_what_is_read()
        for done, path in enumerate(paths, start=1):
            try:
                document, said, families, content = _compare(first, path, asked)
                judged.append(JudgedFile(path, said, document))
                used.update(families)
                contents[path] = content if document.exit_code else _AS_A
            except VqcheckError as error:
                judged.append(could_not_check("diff", path, with_near_names(str(error), error.path)))
            waiting.step(done, len(paths))
    document = view("diff", a, "base", judged, details=asked.details)
    status = asked.output.show(with_ranks(document, ranks_of_one_step([a, *paths]), contents))
    report_unread(judged)
    name_unused(asked.own, used)
    return status


def _compare(
    first: Checkpoint, path: str, asked: _Asked, on_tensor: OnTensor | None = None
) -> tuple[Document, str, tuple[str, ...], str]:
    """Return the document of one pair, what it comes to in a clause, as what codecs they were read, and B's digest."""
    with open_as_stored(path, beside=first) as second:
        try:
            comparison = compare(first, second, asked.scope, on_tensor, asked.own, asked.copies)
        except NoCodebookError:
            stages = _stages(first, second, asked.experiment, asked.lock, asked.copies)
            if stages is None:
                raise
            from vqcheck.report.views import s1_s2

            document = s1_s2.view(stages)
            return document, document.headline, (), path
        if asked.experiment is not None or asked.lock is not None:
            raise UsageError(
                tr(
                    "--experiment and --lock are for an s1 checkpoint against an s2 generator; these two hold a "
                    "codebook each ('vqcheck lock --check' verifies one against a lock)"
                ),
                first.path,
            )
        if comparison.diagnosis is not None:
            comparison = _with_exported(comparison)
        if asked.features is not None and comparison.verdict != Verdict.IDENTICAL:
            comparison = _with_flips(comparison, first, second, asked.features, asked.own, asked.copies, asked.output)
    families = comparison.a.family, comparison.b.family
    digests = comparison.b.digests
    content = str(digests.vq_encoder or digests.codebook or digests.projection or path)
    return diff_view.view(comparison, details=asked.details), line(comparison), families, content


def _with_exported(comparison: Comparison) -> Comparison:
    """Return a comparison that knows the weights exported at the step of each training file: extraction reads those."""
    from vqcheck.experiment.place import exported_weights

    a, b = (replace(side, exported=exported_weights(side.path)) for side in (comparison.a, comparison.b))
    return replace(comparison, a=a, b=b)


def _stages(
    a: Checkpoint, b: Checkpoint, experiment: str | None, lock: str | None, copies: tuple[str, ...]
) -> "StageComparison | None":
    """Return s1 against s2 where one file is an s1 checkpoint and the other is not."""
    from vqcheck.audit.s1_s2_consistency import compare_stages
    from vqcheck.codebook import model
    from vqcheck.experiment.place import exported_weights

    s1 = [file for file in (a, b) if model.identify(file).kind == "s1 GPT"]
    if len(s1) != 1:
        return None
    if len(copies) > 1:
        raise UsageError(tr("an s1 checkpoint holds no copies to choose from; give --copy once"), s1[0].path)
    s2 = b if s1[0] is a else a
    stages = compare_stages(s1[0].path, s2, experiment, lock, "".join(copies))
    return replace(stages, exported=exported_weights(s2.path))


def _with_flips(
    comparison: Comparison,
    a: Checkpoint,
    b: Checkpoint,
    folder: str,
    own: tuple[Family, ...],
    copies: tuple[str, ...],
    output: Output,
) -> Comparison:
    from vqcheck.codebook.diagnosis import flips
    from vqcheck.codebook.diagnosis.diagnose import with_flips
    from vqcheck.experiment.features import FeatureFolder

    recordings = FeatureFolder(folder)
    with Waiting(tr("deriving tokens"), quiet=output.quiet) as waiting:
        found = flips.measure(
            a, b, recordings.path, recordings, lambda done: waiting.step(done, len(recordings)), own, copies
        )
    return with_flips(comparison, found)
