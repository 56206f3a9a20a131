"""A replay as checks: for each arm one a tensor, or one for a control, which must drift."""

from typing import Final

from vqcheck.replay.trace import DRIFTED, INCOMPLETE, INCONCLUSIVE, NOT_MEASURED, Arm, FirstWrite, Replay
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, PASSED, Case, Rule, Run
from vqcheck.report.words.replay import circumstances, digests, first_write, headline, meets

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
    "No operator took a tensor of the VQ encoder, so that it stayed as it was proves nothing. Replay the step that "
    "really quantises.",
)
_RANKS: Final = Rule(
    "replay/ranks-differ",
    "every process holds the same VQ encoder",
    "Processes that train together hold different codebooks, and only one of them is saved. Freeze the quantizer.",
)
_INCOMPLETE: Final = Rule(
    "replay/incomplete",
    "the replay runs to its end",
    "It was interrupted or failed, so the rest is not known. Run it again, with fewer --steps if it takes too long.",
)


def run(replay: Replay) -> Run:
    """Return a replay as cases, each at the line that wrote first."""
    cases = [case for arm in replay.arms for case in _arm(arm, replay)]
    if replay.verdict == INCOMPLETE and not any(case.rule is _INCOMPLETE for case in cases):
        message = replay.failure or "the replay did not run to its end"
        cases.append(Case(_INCOMPLETE, "replay", COULD_NOT_CHECK, message))
    subject = circumstances(replay.setting)[0]
    return Run("replay", subject, replay.verdict, replay.exit_code, headline(replay), tuple(cases))


def _arm(arm: Arm, replay: Replay) -> list[Case]:
    if arm.verdict == NOT_MEASURED:
        return [Case(_INCOMPLETE, arm.strategy, COULD_NOT_CHECK, meets(arm))]
    cases = [_control(arm, replay)] if arm.is_control else _tensors(arm)
    if replay.setting.processes > 1 or arm.rank_differences:
        differ = f"after {arm.rank_differences} of {arm.steps_run} steps they do not"
        outcome = FAILED if arm.rank_differences and not arm.is_control else PASSED
        cases.append(Case(_RANKS, arm.strategy, outcome, differ if arm.rank_differences else "the same bits"))
    if replay.verdict == INCONCLUSIVE and any(each is arm for each in _proving_nothing(replay)):
        rule, message = (
            (_CONTROL, "no arm was to drift")
            if replay.lacks_control
            else (_UNUSED, "no operator took a tensor of the VQ encoder")
        )
        cases.append(Case(rule, arm.strategy, COULD_NOT_CHECK, message))
    return cases


def _proving_nothing(replay: Replay) -> list[Arm]:
    """Return the arms of which nothing shows that they could have moved; where there are controls, those tell."""
    if any(arm.is_control for arm in replay.arms):
        return []
    return [arm for arm in replay.arms if not arm.uses_codebook and arm.verdict != DRIFTED]


def _control(arm: Arm, replay: Replay) -> Case:
    if arm.verdict == DRIFTED:
        write = next((write for write in arm.first_writes if write.file), None)
        where = f"; first write: {_written(write)}" if write else ""
        return Case(_CONTROL, arm.strategy, PASSED, f"drifted, as it must: {digests(arm)}{where}")
    outcome = COULD_NOT_CHECK if replay.verdict == INCONCLUSIVE else FAILED
    return Case(_CONTROL, arm.strategy, outcome, f"did not drift: {digests(arm)}")


def _tensors(arm: Arm) -> list[Case]:
    writes = {write.label: write for write in arm.first_writes}
    seen = [tensor.label for step in arm.steps[-1:] for tensor in step.tensors]
    return [_tensor(arm, label, writes.get(label)) for label in dict.fromkeys((*seen, *writes))]


def _tensor(arm: Arm, label: str, write: FirstWrite | None) -> Case:
    name = f"{arm.strategy}: {label}"
    if write is None:
        return Case(_DRIFTED, name, PASSED, f"bit-identical after {arm.steps_run} step{'s' * (arm.steps_run != 1)}")
    last = next((each for step in arm.steps[-1:] for each in step.tensors if each.label == label), None)
    rows = f"; {last.rows_changed} of {last.rows} rows differ from the start" if last else ""
    own = write.called_from or write
    message = f"written in step {write.first_changed_step}, {_written(write)}{rows}; VQ encoder {digests(arm)}"
    return Case(_DRIFTED, name, FAILED, message, own.file, own.line)


def _written(write: FirstWrite) -> str:
    operator, where = first_write(write)
    return f"by {operator} at {where}" if operator else "by a write that was not attributed"
