"""What a replay and each of its arms come to in words, which its page and its checks both say."""

import os
from collections.abc import Iterable

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.language import tr, trn, word
from vqcheck.replay.trace import AS_IS, Arm, ArmVerdict, FirstWrite, Replay, ReplayVerdict
from vqcheck.report.views.words import listed


def headline(replay: Replay) -> str:
    """Return what the replay came to, in one sentence without its full stop."""
    if replay.verdict == ReplayVerdict.INCOMPLETE:
        if replay.failure:
            return tr("the replay failed ({failure}); what was measured is shown", failure=replay.failure)
        if replay.complete:
            lone = next(arm for arm in replay.arms if arm.verdict == ArmVerdict.NOT_MEASURED)
            if not lone.never_learned:
                return tr(
                    "{parts} never moved under {strategy}, so it did not really train",
                    parts=listed(lone.idle_parts),
                    strategy=lone.strategy,
                )
            return tr(
                "the gradient scaler skipped every optimizer step of {strategy}, so nothing was learned",
                strategy=lone.strategy,
            )
        last = replay.arms[-1]
        where = tr(
            "{strategy}, step {step} of {steps}",
            strategy=last.strategy,
            step=last.steps_run,
            steps=replay.setting.steps,
        )
        return tr("the replay was interrupted ({where}); what was measured is shown", where=where)
    if replay.verdict == ReplayVerdict.INCONCLUSIVE:
        if any(arm.is_control for arm in replay.arms):
            return tr("no control arm drifted, so the replay proves nothing about the others")
        if replay.lacks_control:
            return tr("no arm was expected to drift and none did, so the replay proves nothing")
        return tr("the step never used the codebook, so the replay proves nothing")
    leaking = _leaking(replay)
    if leaking:
        place = _own_line(leaking)
        return (
            tr("this code, as it is, writes the codebook, in {place}", place=place)
            if place
            else tr("this code, as it is, writes the codebook")
        )
    wrong = listed(arm.strategy for arm in replay.arms if not arm.as_expected)
    if wrong:
        return tr("{strategies} did not do what was expected", strategies=wrong)
    controls = listed(arm.strategy for arm in replay.arms if arm.is_control)
    frozen = listed(arm.strategy for arm in replay.arms if not arm.is_control)
    if controls and frozen:
        return tr(
            "the codebook drifts under {controls}; it is bit-identical under {frozen}", controls=controls, frozen=frozen
        )
    return (
        tr("the codebook drifts under {controls}", controls=controls)
        if controls
        else tr("the codebook is bit-identical under {frozen}", frozen=frozen)
    )


def _leaking(replay: Replay) -> Arm | None:
    """Return the arm of the user's own code if it writes the codebook and should not."""
    found = next((arm for arm in replay.arms if arm.strategy == AS_IS and not arm.as_expected), None)
    return found if found and found.verdict == ArmVerdict.DRIFTED else None


def _own_line(arm: Arm) -> str:
    """Return the user's line that wrote first; empty where it is not known."""
    write = next((write for write in arm.first_writes if write.file), None)
    own = (write.called_from or write) if write else None
    return f"{shorter(own.file)}:{own.line}" if own else ""


def remedies(replay: Replay) -> Iterable[str]:
    leaking = _leaking(replay)
    if leaking:
        place = _own_line(leaking)
        if place:
            yield tr("Call eval() on the quantizer in every forward, before {place}.", place=place)
        else:
            yield tr("Call eval() on the quantizer in every forward.")
        yield tr("Or hold the codebook from outside: vqcheck.freeze(net_g).")
    elif replay.verdict == ReplayVerdict.INCONCLUSIVE:
        if any(arm.is_control for arm in replay.arms):
            yield tr("Replay a step that really trains the codebook: a control arm must drift.")
        elif replay.lacks_control:
            yield tr("Add a control: --strategy none.")
        else:
            yield tr("Replay the step that really looks codes up in the codebook.")
    elif replay.verdict == ReplayVerdict.INCOMPLETE:
        if replay.complete and not any(arm.never_learned for arm in replay.arms):
            yield tr("Replay a step that trains the adapters, bridge and wns1, as LoRA training does.")
        elif replay.complete:
            yield tr("Run it again with --precision fp32. Then no optimizer step is skipped.")
        else:
            yield tr("Run it again. Give fewer --steps if it takes too long.")
    else:
        if any(arm.moved_though_held for arm in replay.arms):
            yield tr("Find what writes the parameters that have no gradient: the optimizer does not.")
        drifted = listed(
            arm.strategy for arm in replay.arms if arm.verdict == ArmVerdict.DRIFTED and not arm.as_expected
        )
        still = listed(arm.strategy for arm in replay.arms if arm.verdict == ArmVerdict.FROZEN and not arm.as_expected)
        if drifted:
            yield tr("Look at the first write of {drifted}: this line writes the codebook.", drifted=drifted)
            yield tr("Call eval() on the quantizer in every forward, or hold it with vqcheck.freeze.")
        if still:
            yield tr("Do not take {still} for a control: it did not write the codebook.", still=still)


def meets(arm: Arm) -> str:
    """Return how the verdict on an arm compares with what is expected of it."""
    if arm.verdict == ArmVerdict.NOT_MEASURED:
        if arm.complete and arm.never_learned:
            return tr("the gradient scaler skipped all {steps}", steps=steps(arm.steps_run))
        if arm.complete and arm.idle_parts:
            return tr("{parts} never moved", parts=listed(arm.idle_parts))
        return tr("ended early, after step {step}", step=arm.steps_run)
    return tr("as expected") if arm.as_expected else tr("expected {verdict}", verdict=word(arm.expected))


def digests(arm: Arm) -> str:
    """Return the digests of the VQ encoder at the start, at the first change and at the end."""
    start, end = arm.digest_at_start.widest, _digest(arm.digest_at_end)
    if arm.verdict != ArmVerdict.DRIFTED:
        return tr(
            "{digest}, bit-identical after {steps}",
            digest=f"{start.algorithm} {start.short}",
            steps=steps(arm.steps_run),
        )
    seen = [f"{start.algorithm} {start.short}"]
    if arm.digest_at_first_change and arm.first_writes:
        first, step = _digest(arm.digest_at_first_change), arm.first_writes[0].first_changed_step
        seen += [_at_step(first, step)] if step != arm.steps_run else []
    return _one_after_the_other(*seen, _at_step(end, arm.steps_run))


def _at_step(digest: str, step: int) -> str:
    return tr("{digest} (step {step})", digest=digest, step=step)


def _one_after_the_other(first: str, *later: str) -> str:
    return tr("{earlier} > {later}", earlier=first, later=_one_after_the_other(*later)) if later else first


def _digest(found: EncoderDigests) -> str:
    whole = found.vq_encoder or found.codebook or found.projection
    return whole.short if whole else tr("no digest: tensors are missing")


def parameters(arm: Arm) -> tuple[str, ...]:
    """Return which parameters of the generator moved and which held still, in words; nothing where unwatched."""
    if not arm.parameters:
        return ()
    learning = listed(
        tr(
            "{part} {moved} of {all}",
            part=each.part,
            moved=each.learning_moved,
            all=each.learning,
        )
        for each in arm.parameters
        if each.learning
    )
    held = sum(each.held for each in arm.parameters)
    moved = listed(
        tr("{part} {moved} of {all}", part=each.part, moved=each.held_moved, all=each.held)
        for each in arm.parameters
        if each.held_moved
    )
    said = tr("moved: {parts}", parts=learning)
    if moved:
        return said, tr("{held} without a gradient, but {moved} moved", held=held, moved=moved)
    return said, tr("{held} without a gradient, all still", held=held)


def first_write(write: FirstWrite) -> tuple[str, str]:
    """Return (aten operator, where it was called), both empty where the write was not attributed."""
    if write.traced_step is None:
        return "", ""
    where = write.function or tr("no line of Python")
    if write.file:
        where = tr("{file}:{line} in {function}", file=shorter(write.file), line=write.line, function=write.function)
    if own := write.called_from:
        where = tr(
            "{where}, called from {file}:{line} in {function}",
            where=where,
            file=shorter(own.file),
            line=own.line,
            function=own.function,
        )
    if write.traced_step != write.first_changed_step:
        where = tr("{where} (seen in step {step})", where=where, step=write.traced_step)
    return ".".join(write.operator.split(".")[:2]), where


def steps(count: int) -> str:
    return trn("{number} step", "{number} steps", count)


def shorter(path: str) -> str:
    """Return a path as seen from the working directory, where it lies below it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith("..") else relative
