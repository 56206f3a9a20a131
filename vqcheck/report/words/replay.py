"""What a replay measured, in words and short figures."""

import math
import os

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.codebook.family import INPUT_PROJ
from vqcheck.replay.trace import (
    AS_IS,
    DRIFTED,
    INCOMPLETE,
    INCONCLUSIVE,
    NOT_MEASURED,
    NOT_REPORTED,
    OFF,
    Arm,
    FirstWrite,
    LossRange,
    Replay,
    Setting,
    StepTrace,
)


def headline(replay: Replay) -> str:
    """Return what the replay came to, in one sentence without its full stop."""
    if replay.verdict == INCOMPLETE:
        if replay.failure:
            return f"the replay failed ({replay.failure}); what was measured is shown"
        last = replay.arms[-1]
        if replay.complete:
            lone = next(arm for arm in replay.arms if arm.verdict == NOT_MEASURED)
            return f"the gradient scaler skipped every optimizer step of {lone.strategy}, so nothing was learned"
        where = f"{last.strategy}, step {last.steps_run} of {replay.setting.steps}"
        return f"the replay was interrupted ({where}); what was measured is shown"
    if replay.verdict == INCONCLUSIVE:
        if any(arm.is_control for arm in replay.arms):
            return "no control arm drifted, so the replay proves nothing about the others"
        if replay.lacks_control:
            return "no arm was to drift and none did, so the replay proves nothing"
        return "the step never used the codebook, so the replay proves nothing"
    leaking = next((arm for arm in replay.arms if arm.strategy == AS_IS and not arm.as_expected), None)
    if leaking and leaking.verdict == DRIFTED:
        return f"this code, as it is, writes the codebook{_where_first(leaking)}"
    wrong = [arm.strategy for arm in replay.arms if not arm.as_expected]
    if wrong:
        return f"{', '.join(wrong)} did not do what was expected"
    controls = [arm.strategy for arm in replay.arms if arm.is_control]
    frozen = [arm.strategy for arm in replay.arms if not arm.is_control]
    if not controls:
        return f"the codebook is bit-identical under {', '.join(frozen)}"
    if not frozen:
        return f"the codebook drifts under {', '.join(controls)}"
    return f"the codebook drifts under {', '.join(controls)}; it is bit-identical under {', '.join(frozen)}"


def _where_first(arm: Arm) -> str:
    write = next((write for write in arm.first_writes if write.file), None)
    if write is None:
        return ""
    own = write.called_from or write
    return f", in {shorter(own.file)}:{own.line}"


def circumstances(setting: Setting) -> list[str]:
    """Return what was replayed, and in what surroundings."""
    processes = f", {setting.processes} processes" if setting.processes > 1 else ""
    items = f" of {setting.batch_size} items" if setting.batch_size else ""
    precision = f"{setting.precision}, " if setting.precision else ""
    numbers = f"{_steps(setting.steps)}{items}{processes}, seed {setting.seed}"
    whose = f" of {shorter(setting.code)}" if setting.code else ""
    what = "" if setting.batch_size is None else " synthesizer"
    return [
        f"{setting.subject}{what}{whose}; weights: {setting.weights}; data: {setting.data}",
        f"{numbers}, {setting.device}, {precision}torch {setting.torch}",
    ]


def _steps(number: int) -> str:
    return f"{number} step{'s' * (number != 1)}"


def moved_codes(step: StepTrace | None) -> str:
    """Return how many codes of how many are not where they were at the start."""
    codes = [tensor for tensor in step.tensors if tensor.holds_codes] if step else []
    return f"{sum(tensor.rows_changed for tensor in codes)}/{sum(tensor.rows for tensor in codes)}"


def projection(arm: Arm) -> str:
    """Return whether the projection moved; that it did not tells nothing where no step was taken that could move it."""
    step = arm.steps[-1] if arm.steps else None
    parts = [tensor for tensor in step.tensors if tensor.role == INPUT_PROJ] if step else []
    if not parts:
        return "-"
    if any(tensor.changed for tensor in parts):
        return "moved"
    return "not trained" if arm.never_learned else "still"


def optimizer_steps(replay: Replay, arm: Arm) -> str:
    """Return how many optimizer steps the gradient scaler skipped; empty where none was, or where it is not known."""
    if not arm.skipped_steps:
        return ""
    if not arm.never_learned:
        run_on = f", so that it was run on to step {arm.steps_run}" if arm.steps_run > replay.setting.steps else ""
        return f"{arm.skipped_steps} of {_steps(arm.steps_run)} skipped by the gradient scaler{run_on}"
    bound = ", the most that are tried" if arm.complete else ""
    return f"all {_steps(arm.steps_run)} skipped by the gradient scaler{bound}: the projection was never trained"


def shadow(arm: Arm) -> str:
    """Return the range of the loss computed on the side, or a dash where it is not known."""
    known = arm.uses_codebook is None or math.isfinite(arm.shadow_commit_loss.high)
    return extent(arm.shadow_commit_loss) if known else "-"


def reports_none(arm: Arm) -> bool:
    """Say whether the code reports no commit_loss at all."""
    return all(step.commit_loss_state == NOT_REPORTED for step in arm.steps)


def commit_loss(arm: Arm) -> str:
    """Return the range of the reported commit_loss, and whether it was off."""
    if reports_none(arm):
        return "-"
    if arm.steps and all(step.commit_loss_state == OFF for step in arm.steps):
        return f"{number(arm.commit_loss.high)} (off)"
    return extent(arm.commit_loss)


def shorter(path: str) -> str:
    """Return a path as seen from the working directory, where it lies below it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith("..") else relative


def digests(arm: Arm) -> str:
    """Return the digests of the VQ encoder at the start, at the first change and at the end."""
    start, end = arm.digest_at_start.widest, _digest(arm.digest_at_end)
    if arm.verdict != DRIFTED:
        return f"{start.algorithm} {start.short}, bit-identical after {_steps(arm.steps_run)}"
    middle = ""
    if arm.digest_at_first_change and arm.first_writes:
        first, step = _digest(arm.digest_at_first_change), arm.first_writes[0].first_changed_step
        if step != arm.steps_run:
            middle = f" > {first} (step {step})"
    return f"{start.algorithm} {start.short}{middle} > {end} (step {arm.steps_run})"


def _digest(digests: EncoderDigests) -> str:
    whole = digests.vq_encoder or digests.codebook or digests.projection
    return whole.short if whole else "no digest: tensors are missing"


def extent(extent: LossRange) -> str:
    low, high = number(extent.low), number(extent.high)
    return low if low == high else f"{low}..{high}"


def number(value: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    return f"{value:.3f}" if 0.001 <= value < 100 else f"{value:.3g}"


def seconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def meets(arm: Arm) -> str:
    """Return how the verdict on an arm compares with what is expected of it."""
    if arm.verdict == NOT_MEASURED:
        if arm.complete and arm.never_learned:
            return f"the gradient scaler skipped all {_steps(arm.steps_run)}"
        return f"ended early, after step {arm.steps_run}"
    return "as expected" if arm.as_expected else f"expected {arm.expected}"


def first_write(write: FirstWrite) -> tuple[str, str]:
    """Return (aten operator, where it was called), both empty where the write was not attributed."""
    if write.traced_step is None:
        return "", ""
    later = f" (seen in step {write.traced_step})" if write.traced_step != write.first_changed_step else ""
    where = f"{shorter(write.file)}:{write.line} in {write.function}" if write.file else "no line of Python"
    own = write.called_from
    called = f", called from {shorter(own.file)}:{own.line} in {own.function}" if own else ""
    return ".".join(write.operator.split(".")[:2]), f"{where}{called}{later}"


def processes(replay: Replay, arm: Arm) -> str:
    """Return whether the processes held the same VQ encoder; empty where there was only one."""
    if replay.setting.processes < 2:
        return ""
    if arm.rank_differences:
        return f"NOT the same on every process after {arm.rank_differences} of {_steps(arm.steps_run)}"
    return "the same bits on every process after every step"


def step_time(arm: Arm) -> str:
    """Return how long a step took, with and without the tracing; empty where no step was timed."""
    if arm.median_seconds is None or arm.tracing_seconds is None:
        return ""
    return f"{seconds(arm.median_seconds)}, and {seconds(arm.tracing_seconds)} for the tracing"
