"""Runs the gate: every check once; an error of vqcheck's own means that the check could not be carried out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from vqcheck.audit import before_training, resume, text_symbols
from vqcheck.audit.judgement import CheckOutcome, Judgement, could_not_check, failed, not_applicable, passed
from vqcheck.audit.planned_run import PlannedRun
from vqcheck.errors import UsageError, VqcheckError
from vqcheck.experiment.config_file import S2Run
from vqcheck.gate.checks import CHECKS, CheckResult, GateReport, find_check
from vqcheck.language import listed, tr
from vqcheck.live.tensor_change import OPTIMIZER_STEP

_STEPS: Final = 3
"""Steps of each arm where the config does not say: the moving average writes at each of them."""


def run_gate(
    run: PlannedRun,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    on_check: Callable[[int, int], None] | None = None,
) -> GateReport:
    """Return what every check found. Checks left out by `only` or `skip` are listed as skipped.

    Raises:
        UsageError: a code in `only` or `skip` is none of ours.

    """
    for code in (*only, *skip):
        find_check(code)
    results = []
    for done, check in enumerate(CHECKS, start=1):
        left_out = check.code in skip or (bool(only) and check.code not in only)
        found = (
            Judgement(CheckOutcome.SKIPPED, tr("left out by --only or --skip")) if left_out else _judge(check.code, run)
        )
        results.append(CheckResult(check.code, check.title, check.required and not found.advisory, found))
        if on_check:
            on_check(done, len(CHECKS))
    return GateReport(run.s2.config, tuple(results))


def replay(run: PlannedRun) -> Judgement:
    """Whether the code that will train keeps the codebook still."""
    if not run.s2.trains_code:
        if run.tree is None:
            return not_applicable(tr("no training code named (--checkout names a GPT-SoVITS folder)"))
        return not_applicable(
            tr("no training code named; {tree} is a GPT-SoVITS folder", tree=run.tree),
            fix=tr('Try the code that will train, too: --checkout "{tree}".', tree=run.tree),
        )
    return replay_training_code(run.s2)


def replay_training_code(run: S2Run) -> Judgement:
    """Whether the code that the config names leaves the codebook as it is, bit by bit.

    Raises:
        UsageError: the code cannot be replayed, or torch or pydantic is not installed.

    """
    try:
        from vqcheck.experiment.read_config import read_config
        from vqcheck.replay.run import replay
        from vqcheck.replay.trace import AS_IS, ArmVerdict, ReplayVerdict
    except ImportError as error:
        raise UsageError(tr("a replay needs {name}: pip install 'vqcheck[replay]'", name=error.name)) from None
    config = read_config(run.config, run.root, checkout=run.checkout, python=run.python)
    if "steps" not in config.replay.model_fields_set:
        config = config.changed("replay", steps=_STEPS)
    result = replay(config)
    code = result.setting.code
    arm = next(arm for arm in result.arms if arm.strategy == AS_IS)
    if arm.verdict == ArmVerdict.DRIFTED:
        where = next((write.called_from or write for write in arm.first_writes if write.file), None)
        if where is None and any(write.function == OPTIMIZER_STEP for write in arm.first_writes):
            written = listed([write.label for write in arm.first_writes], last="")
            return failed(
                tr(
                    "{function} trains what stands before the tokens of {code}: {tensors}",
                    function=OPTIMIZER_STEP,
                    code=code,
                    tensors=written,
                )
            )
        if where is None:
            return failed(tr("{code} writes the codebook while it trains", code=code))
        return failed(
            tr(
                "{code} writes the codebook while it trains at {file}:{line}",
                code=code,
                file=where.file,
                line=where.line,
            )
        )
    if result.verdict == ReplayVerdict.INCOMPLETE:
        return could_not_check(
            tr("the replay of {code} is incomplete: {why}", code=code, why=result.failure or tr("interrupted"))
        )
    if result.verdict == ReplayVerdict.INCONCLUSIVE:
        return could_not_check(
            tr("the replay of {code} is inconclusive: nothing wrote the codebook in any arm", code=code)
        )
    return passed(tr("{code} leaves the codebook bit-identical over {steps} steps", code=code, steps=arm.steps_run))


_JUDGES: Final[Mapping[str, Callable[[PlannedRun], Judgement]]] = {
    "codebook-trained": before_training.trained,
    "loader": before_training.loader,
    "symbols": text_symbols.symbols,
    "lock": before_training.lock,
    "tokens": before_training.tokens,
    "freeze": before_training.freeze,
    "resume": resume.resume,
    "resume-elsewhere": resume.resume_elsewhere,
    "s1": before_training.s1,
    "extraction-version": before_training.extraction_version,
    "replay": replay,
}
"""Code of a check -> who answers it."""


def _judge(code: str, run: PlannedRun) -> Judgement:
    try:
        return _JUDGES[code](run)
    except VqcheckError as error:
        return could_not_check(str(error))
