"""What machines get of a replay, never translated: its checks, its JSON and its CSV.

There is a check for each tensor of an arm, or one for a control, which must drift.
"""

from collections.abc import Sequence
from typing import Any, Final

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.replay.trace import Arm, ArmVerdict, FirstWrite, Replay, ReplayVerdict, TensorStep
from vqcheck.report.document import Case, CaseOutcome, Rule, Sheet
from vqcheck.report.views.json_objects import digests_object, named
from vqcheck.report.views.replay_words import digests, first_write, meets, parameters, steps
from vqcheck.report.views.words import clauses

_DRIFTED: Final = Rule(
    "replay/drifted",
    "training leaves the tensor as it is",
    "The named line writes the VQ encoder while s2 trains, so tokens change their meaning. Call eval() on the "
    "quantizer in every forward, or hold it with vqcheck.freeze.",
)
_CONTROL: Final = Rule(
    "replay/control-did-not-drift",
    "the control arm drifts",
    "A control trains without a real freeze. If it does not drift, the replayed step never writes the codebook, and "
    "the other arms prove nothing.",
)
_UNUSED: Final = Rule(
    "replay/codebook-unused",
    "the training step uses the codebook",
    "No operator used a tensor of the VQ encoder. That it did not change proves nothing. Replay the step that really "
    "looks codes up.",
)
_RANKS: Final = Rule(
    "replay/ranks-differ",
    "every process holds the same VQ encoder",
    "Processes that train together hold different codebooks. Only one of them is saved. Freeze the quantizer.",
)
_HELD: Final = Rule(
    "replay/held-parameters",
    "what learns nothing holds still",
    "LoRA trains the adapters, bridge and wns1. A parameter without a gradient moved all the same, so something else "
    "than the optimizer writes to it. The files of such a run do not hold it, and their base no longer fits them.",
)
_INCOMPLETE: Final = Rule(
    "replay/incomplete",
    "the replay runs to its end",
    "It was interrupted or it failed. Nothing is known of the rest. Run it again, with fewer --steps if it takes too "
    "long.",
)


def cases(replay: Replay) -> tuple[Case, ...]:
    """Return every check of a replay, each at the line that wrote first."""
    found = [case for arm in replay.arms for case in _arm(arm, replay)]
    if replay.verdict == ReplayVerdict.INCOMPLETE and not any(case.rule is _INCOMPLETE for case in found):
        message = replay.failure or "the replay did not run to its end"
        found.append(Case(_INCOMPLETE, "replay", CaseOutcome.COULD_NOT_CHECK, message))
    return tuple(found)


def _arm(arm: Arm, replay: Replay) -> list[Case]:
    if arm.verdict == ArmVerdict.NOT_MEASURED:
        return [Case(_INCOMPLETE, arm.strategy, CaseOutcome.COULD_NOT_CHECK, meets(arm))]
    cases = [_control(arm, replay)] if arm.is_control else _tensors(arm)
    if arm.parameters:
        moved = arm.moved_though_held
        outcome = CaseOutcome.FAILED if moved else CaseOutcome.PASSED
        cases.append(Case(_HELD, arm.strategy, outcome, clauses(*parameters(arm))))
    if replay.setting.processes > 1 or arm.rank_differences:
        said = f"after {arm.rank_differences} of {arm.steps_run} steps they do not"
        outcome = CaseOutcome.FAILED if arm.rank_differences and not arm.is_control else CaseOutcome.PASSED
        cases.append(Case(_RANKS, arm.strategy, outcome, said if arm.rank_differences else "the same bits"))
    if replay.verdict == ReplayVerdict.INCONCLUSIVE and any(each is arm for each in _proving_nothing(replay)):
        rule, message = (
            (_CONTROL, "no arm was expected to drift")
            if replay.lacks_control
            else (_UNUSED, "no operator used a tensor of the VQ encoder")
        )
        cases.append(Case(rule, arm.strategy, CaseOutcome.COULD_NOT_CHECK, message))
    return cases


def _proving_nothing(replay: Replay) -> list[Arm]:
    """Return the arms of which nothing shows that they could have moved; where there are controls, those tell."""
    if any(arm.is_control for arm in replay.arms):
        return []
    return [arm for arm in replay.arms if not arm.uses_codebook and arm.verdict != ArmVerdict.DRIFTED]


def _control(arm: Arm, replay: Replay) -> Case:
    if arm.verdict == ArmVerdict.DRIFTED:
        write = next((write for write in arm.first_writes if write.file), None)
        where = f"first write: {_written(write)}" if write else ""
        said = clauses(f"drifted, as it must: {digests(arm)}", where)
        return Case(_CONTROL, arm.strategy, CaseOutcome.PASSED, said)
    outcome = CaseOutcome.COULD_NOT_CHECK if replay.verdict == ReplayVerdict.INCONCLUSIVE else CaseOutcome.FAILED
    return Case(_CONTROL, arm.strategy, outcome, f"did not drift: {digests(arm)}")


def _tensors(arm: Arm) -> list[Case]:
    writes = {write.label: write for write in arm.first_writes}
    seen = [tensor.label for step in arm.steps[-1:] for tensor in step.tensors]
    return [_tensor(arm, label, writes.get(label)) for label in dict.fromkeys((*seen, *writes))]


def _tensor(arm: Arm, label: str, write: FirstWrite | None) -> Case:
    name = f"{arm.strategy}: {label}"
    if write is None:
        return Case(_DRIFTED, name, CaseOutcome.PASSED, f"bit-identical after {steps(arm.steps_run)}")
    last = next((each for step in arm.steps[-1:] for each in step.tensors if each.label == label), None)
    rows = f"{last.rows_changed} of {last.rows} rows differ from the start" if last else ""
    if last and last.problem:
        rows = f"it {last.problem}"
    own = write.called_from or write
    written = f"written in step {write.first_changed_step}, {_written(write)}"
    message = clauses(written, rows, f"VQ encoder {digests(arm)}")
    return Case(_DRIFTED, name, CaseOutcome.FAILED, message, own.file, own.line)


def _written(write: FirstWrite) -> str:
    operator, where = first_write(write)
    if not operator:
        return "by a write that was not attributed"
    return f"by {operator} at {where}" if write.file else f"by {operator} in {where}"


_STEP: Final = (
    "step epoch commit_loss commit_loss_state shadow_commit_loss losses gradient_norms flipped_tokens learning_rate "
    "seconds differing_across_ranks optimizer_step_skipped"
)
_SETTING: Final = "subject code weights data steps batch_size seed device precision processes torch probe_tokens notes"


def data(replay: Replay) -> dict[str, Any]:
    """Return the JSON of a replay; a figure that is not finite is null."""
    return {
        "complete": replay.complete,
        "failure": replay.failure,
        "setting": named(replay.setting, _SETTING),
        "arms": [_arm_object(arm) for arm in replay.arms],
    }


def _arm_object(arm: Arm) -> dict[str, Any]:
    return {
        "strategy": arm.strategy,
        "stops": arm.stops,
        "verdict": arm.verdict.value,
        "expected": arm.expected.value,
        "control": arm.is_control,
        **named(arm, "uses_codebook complete steps_run kept_every"),
        "commit_loss": named(arm.commit_loss, "low high"),
        "shadow_commit_loss": named(arm.shadow_commit_loss, "low high"),
        "first_writes": [_write_object(write) for write in arm.first_writes],
        "parameters": [named(each, "part learning learning_moved held held_moved") for each in arm.parameters],
        "digests": {
            "start": digests_object(arm.digest_at_start),
            "first_change": _digests_object(arm.digest_at_first_change),
            "end": digests_object(arm.digest_at_end),
        },
        "optimizer_steps_skipped": arm.skipped_steps,
        "steps_with_rank_differences": arm.rank_differences,
        "median_step_seconds": arm.median_seconds,
        "median_tracing_seconds": arm.tracing_seconds,
        "checkpoint": arm.checkpoint,
        "steps": [
            named(step, _STEP) | {"tensors": [_tensor_object(tensor) for tensor in step.tensors]} for step in arm.steps
        ],
    }


def _tensor_object(tensor: TensorStep) -> dict[str, Any]:
    found = named(tensor, "label changed written rows_changed rows l2 max_abs")
    return found | {"problem": tensor.problem or None}


def _write_object(write: FirstWrite) -> dict[str, Any]:
    own = write.called_from
    return {
        **named(write, "label first_changed_step"),
        "attributed": write.traced_step is not None,
        "traced_step": write.traced_step,
        "operator": write.operator or None,
        "file": write.file or None,
        "line": write.line or None,
        "function": write.function or None,
        "called_from": named(own, "file line function") if own else None,
    }


def _digests_object(digests: EncoderDigests | None) -> dict[str, Any] | None:
    return digests_object(digests) if digests else None


_SHEET: Final = (
    "step epoch commit_loss commit_loss_state shadow_commit_loss flipped_tokens learning_rate seconds "
    "optimizer_step_skipped"
)
_SHEET_TENSOR: Final = ("changed", "written", "rows_changed", "l2", "max_abs")


def sheet(arms: Sequence[Arm]) -> Sheet:
    """Return every kept step of the arms, of none the head alone; each loss and each tensor has columns of its own.

    Times of steps that attribution slowed down are empty.
    """
    labels = list(dict.fromkeys(tensor.label for arm in arms for step in arm.steps[:1] for tensor in step.tensors))
    losses = list(dict.fromkeys(name for arm in arms for step in arm.steps for name in step.losses))
    rows: list[Sequence[object]] = []
    for arm in arms:
        for step in arm.steps:
            tensors = {tensor.label: tensor for tensor in step.tensors}
            rows.append(
                (
                    arm.strategy,
                    *(getattr(step, name) for name in _SHEET.split()),
                    *(step.losses.get(name) for name in losses),
                    *(getattr(tensors[label], figure) for label in labels for figure in _SHEET_TENSOR),
                )
            )
    of_tensors = (f"{label}.{figure}" for label in labels for figure in _SHEET_TENSOR)
    return Sheet(("strategy", *_SHEET.split(), *losses, *of_tensors), rows)
