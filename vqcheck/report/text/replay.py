"""`vqcheck replay` for people: the arms side by side, then what happened in each."""

import math
import os

from vqcheck.replay.trace import (
    AS_EXPECTED,
    AS_IS,
    DRIFTED,
    INCOMPLETE,
    INCONCLUSIVE,
    NOT_MEASURED,
    NOT_REPORTED,
    OFF,
    Arm,
    Extent,
    FirstWrite,
    Replay,
    Setting,
    StepTrace,
)
from vqcheck.report.text.page import Page, Span, Style
from vqcheck.report.text.sparkline import BARS, sparkline

_STYLES = {"drifted": "bold red", "frozen": "green", AS_EXPECTED: "bold green", NOT_MEASURED: "yellow"}
_LABEL = 13


def summary(replay: Replay, style: Style, bars: str = BARS) -> str:
    """Return the report on a replay."""
    page = Page(style)
    word = replay.verdict
    page.line((word, _STYLES.get(word, "bold red")), "  ", _headline(replay), indent=2)
    for line in _circumstances(replay.setting):
        page.line("  ", (line, "dim"), indent=4)
    page.blank()
    _side_by_side(page, replay)
    for arm in replay.arms:
        page.blank()
        _arm(page, replay, arm, style, bars)
    for note in replay.setting.notes:
        page.blank()
        page.line("note: ", note, indent=6)
    return page.text()


def _headline(replay: Replay) -> str:
    if replay.verdict == INCOMPLETE:
        last = replay.arms[-1]
        where = f"{last.strategy}, step {last.steps_run} of {replay.setting.steps}"
        return f"the replay was interrupted ({where}); what was measured is shown"
    if replay.verdict == INCONCLUSIVE:
        if any(arm.is_control for arm in replay.arms):
            return "no control arm drifted, so the replay proves nothing about the others"
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


def _circumstances(setting: Setting) -> list[str]:
    processes = f", {setting.processes} processes" if setting.processes > 1 else ""
    items = f" of {setting.batch_size} items" if setting.batch_size else ""
    precision = f"{setting.precision}, " if setting.precision else ""
    numbers = f"{setting.steps} steps{items}{processes}, seed {setting.seed}"
    whose = f" of {shorter(setting.code)}" if setting.code else ""
    what = "" if setting.batch_size is None else " synthesizer"
    return [
        f"{setting.subject}{what}{whose}; weights: {setting.weights}; data: {setting.data}",
        f"{numbers}, {setting.device}, {precision}torch {setting.torch}",
    ]


def _side_by_side(page: Page, replay: Replay) -> None:
    wide = max(len("strategy"), *(len(arm.strategy) for arm in replay.arms))
    titles = f"{'verdict':<7} {'commit_loss':<12} {'on the side':<12} {'codes':<9} {'projection':<10} flipped"
    page.line((f"  {'strategy':<{wide}} {titles}", "bold"), indent=4)
    for arm in replay.arms:
        last = arm.steps[-1] if arm.steps else None
        probe = replay.setting.probe_tokens
        flipped = f"{last.flipped_tokens}/{probe}" if last and probe else "-"
        page.line(
            f"  {arm.strategy:<{wide}} ",
            (f"{arm.verdict:<7}", _STYLES.get(arm.verdict, "")),
            f" {_commit_loss(arm):<12} {_shadow(arm):<12} ",
            f"{_moved_codes(last):<9} {_projection(last):<10} {flipped}",
            indent=4,
        )
    page.line(
        (
            "  codes: those that moved; on the side: the loss computed whatever the mode; flipped: tokens of a probe",
            "dim",
        ),
        indent=2,
    )


def _moved_codes(step: StepTrace | None) -> str:
    codes = [tensor for tensor in step.tensors if tensor.label.endswith("codes")] if step else []
    return f"{sum(tensor.rows_changed for tensor in codes)}/{sum(tensor.rows for tensor in codes)}"


def _projection(step: StepTrace | None) -> str:
    parts = [tensor for tensor in step.tensors if tensor.label.startswith("input_proj")] if step else []
    if not parts:
        return "-"
    return "moved" if any(tensor.changed for tensor in parts) else "still"


def _arm(page: Page, replay: Replay, arm: Arm, style: Style, bars: str) -> None:
    meets = "as expected" if arm.as_expected else f"expected {arm.expected}"
    if arm.verdict == NOT_MEASURED:
        meets = f"interrupted after step {arm.steps_run}"
    page.line((arm.strategy, "bold"), "  ", (arm.verdict, _STYLES.get(arm.verdict, "")), f", {meets}", indent=2)
    page.line(f"  {arm.stops}", indent=2)
    width = min(40, (style.width or 80) - _LABEL - 26)
    rows: list[tuple[Span, ...]] = []
    if not _reports_none(arm):
        rows.append(("commit_loss", _commit_loss_in_words(arm, width, bars)))
    if arm.verdict == DRIFTED:
        drift = [step.drift for step in arm.steps]
        rows.append(("drift", f"{sparkline(drift, width, low=0.0, bars=bars)}  {_number(drift[-1])} from the start"))
    rows += [(("first write", "")[bool(i)], *_write(write, arm)) for i, write in enumerate(arm.first_writes)]
    rows.append(("VQ encoder", _digests(arm)))
    if replay.setting.processes > 1:
        same = "the same bits on every process after every step"
        differ = f"NOT the same on every process after {arm.rank_differences} of {arm.steps_run} steps"
        rows.append(("processes", differ if arm.rank_differences else same))
    if arm.median_seconds is not None and arm.tracing_seconds is not None:
        rows.append(
            ("step time", f"{_seconds(arm.median_seconds)}, and {_seconds(arm.tracing_seconds)} for the tracing")
        )
    if arm.checkpoint:
        rows.append(("saved as", arm.checkpoint))
    for label, *spans in rows:
        page.line((f"  {label!s:<{_LABEL}}", "dim"), *spans, indent=min(2 + _LABEL, (style.width or 80) // 4))


def _shadow(arm: Arm) -> str:
    known = arm.uses_codebook is None or math.isfinite(arm.shadow_commit_loss.high)
    return _range(arm.shadow_commit_loss) if known else "-"


def _reports_none(arm: Arm) -> bool:
    return all(step.commit_loss_state == NOT_REPORTED for step in arm.steps)


def _commit_loss(arm: Arm) -> str:
    if _reports_none(arm):
        return "-"
    if arm.steps and all(step.commit_loss_state == OFF for step in arm.steps):
        return f"{_number(arm.commit_loss.high)} (off)"
    return _range(arm.commit_loss)


def _commit_loss_in_words(arm: Arm, width: int, bars: str) -> str:
    if arm.steps and all(step.commit_loss_state == OFF for step in arm.steps):
        return f"{_number(arm.commit_loss.high)}, because it is not computed in eval mode"
    line = sparkline([step.commit_loss for step in arm.steps], width, bars=bars)
    return f"{line}  {_range(arm.commit_loss)}"


def _write(write: FirstWrite, arm: Arm) -> tuple[Span, ...]:
    wide = max(len(each.label) for each in arm.first_writes)
    head = f"step {write.first_changed_step}  {write.label:<{wide}}  "
    if write.traced_step is None:
        return (head, ("not attributed", "yellow"))
    operator = ".".join(write.operator.split(".")[:2])
    later = f" (seen in step {write.traced_step})" if write.traced_step != write.first_changed_step else ""
    where = f"{shorter(write.file)}:{write.line} in {write.function}" if write.file else "no line of Python"
    own = write.called_from
    called = f", called from {shorter(own.file)}:{own.line} in {own.function}" if own else ""
    return (head, (operator, "cyan"), f"  {where}{called}{later}")


def shorter(path: str) -> str:
    """Return a path as seen from the working directory, where it lies below it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith("..") else relative


def _digests(arm: Arm) -> str:
    start, end = (digests.widest for digests in (arm.digest_at_start, arm.digest_at_end))
    if arm.verdict != DRIFTED:
        return f"{start.algorithm} {start.short}, bit-identical after {arm.steps_run} steps"
    middle = ""
    if arm.digest_at_first_change and arm.first_writes:
        first = arm.digest_at_first_change.widest
        middle = f" > {first.short} (step {arm.first_writes[0].first_changed_step})"
    return f"{start.algorithm} {start.short}{middle} > {end.short} (step {arm.steps_run})"


def _range(extent: Extent) -> str:
    low, high = _number(extent.low), _number(extent.high)
    return low if low == high else f"{low}..{high}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    return f"{value:.3f}" if 0.001 <= value < 100 else f"{value:.3g}"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
