"""`vqcheck replay` as a page: the verdict, the first writes, charts of every arm, and what happened in each."""

from collections.abc import Iterable
from typing import Final

from vqcheck.replay.trace import DRIFTED, FROZEN, Arm, FirstWrite, Replay, Setting
from vqcheck.report.html import replay_charts
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.page import page
from vqcheck.report.html.parts import bullets, code, facts, fitting, path, pill, section, short, table, tag
from vqcheck.report.words import replay as words

_NAME: Final = 24
_ARMS: Final = 19_000
"""The most bytes that the arms may take in words."""


def document(replay: Replay) -> str:
    """Return the report on a replay as one page."""
    return page(
        "replay",
        replay.exit_code,
        replay.verdict,
        words.headline(replay),
        section("Side by side", _side_by_side(replay)),
        _first_writes(replay.arms),
        *replay_charts.sections(replay.arms),
        _arms(replay),
        _setting(replay.setting),
        *replay_charts.numbers(replay.arms),
    )


def verdict(arm: Arm) -> Element:
    """Return the verdict on an arm: good or bad by whether it was expected."""
    known = arm.verdict in (DRIFTED, FROZEN)
    return pill(arm.verdict, "open" if not known else "good" if arm.as_expected else "bad")


def _side_by_side(replay: Replay) -> Element:
    probe = replay.setting.probe_tokens
    rows = []
    for arm in replay.arms:
        last = arm.steps[-1] if arm.steps else None
        name = element("span", short(arm.strategy, _NAME), " ", tag("control") if arm.is_control else None)
        flipped = f"{last.flipped_tokens} of {probe}" if last and probe else "-"
        rows.append(
            (
                name,
                verdict(arm),
                arm.expected,
                words.commit_loss(arm),
                words.shadow(arm),
                words.moved_codes(last).replace("/", " of "),
                words.projection(arm),
                flipped,
            )
        )
    same = "Every arm started from the same weights, data and random numbers. "
    control = "A control arm has to drift: else the replay proves nothing about the others. "
    key = (
        "The tick or cross says whether the verdict is the expected one. On the side: commit_loss computed whatever "
        "the mode. Tokens flipped: those of a fixed probe."
    )
    return table(
        "arms",
        "".join(
            (same if len(replay.arms) > 1 else "", control if any(arm.is_control for arm in replay.arms) else "", key)
        ),
        (
            "Strategy",
            "Verdict",
            "Expected",
            "commit_loss reported",
            "on the side",
            "Codes moved",
            "Projection",
            "Tokens flipped",
        ),
        rows,
        ("k", "k", "k", "n", "n", "n", "k", "n"),
        left_out="arms are",
    )


def _first_writes(arms: Iterable[Arm]) -> Node:
    """Return the first write of every arm that drifted, or nothing where none did."""
    rows = [
        (short(arm.strategy, _NAME), str(write.first_changed_step), code(write.label), *_write(write))
        for arm in arms
        for write in arm.first_writes[:1]
    ]
    if not rows:
        return None
    caption = "The first write in each arm that changed bits of the VQ encoder: the operator, and the line that ran it."
    return section(
        "First write",
        table(
            "first-writes",
            caption,
            ("Strategy", "Step", "Tensor", "Operator", "Where"),
            rows,
            ("k", "n", "k", "k", "w"),
            left_out="arms are",
        ),
    )


def _write(write: FirstWrite) -> tuple[Node, Node]:
    operator, where = words.first_write(write)
    if not where:
        return "not attributed", "a write that was over before it could be watched"
    return code(operator), path(where)


def _arms(replay: Replay) -> Element:
    kept, left = fitting([*enumerate(replay.arms)], lambda numbered: _arm(replay, *numbered), _ARMS)
    rest = element("p", f"{left} arms are not shown here.", class_="more") if left else None
    return section("Arm by arm", *(part for arm in kept for part in arm.children), rest)


def _arm(replay: Replay, number: int, arm: Arm) -> Element:
    control = tag("control") if arm.is_control else None
    meets = element("span", words.meets(arm), class_="quiet")
    writes = None
    if arm.first_writes:
        writes = table(
            f"writes-{number}",
            f"{short(arm.strategy, _NAME)}: the first write to each tensor",
            ("Tensor", "Step", "Operator", "Where"),
            [(code(write.label), str(write.first_changed_step), *_write(write)) for write in arm.first_writes],
            ("k", "n", "k", "w"),
            left_out="tensors are",
            most=3_000,
        )
    return element(
        "div",
        element("h3", short(arm.strategy, _NAME), verdict(arm), meets, control),
        element("p", short(arm.stops, 300)),
        writes,
        facts(
            ("VQ encoder", path(words.digests(arm))),
            ("Steps", _steps(replay, arm)),
            ("Optimizer steps", words.optimizer_steps(replay, arm)),
            ("Processes", words.processes(replay, arm)),
            ("Step time", words.step_time(arm)),
            ("Saved as", path(arm.checkpoint) if arm.checkpoint else None),
        ),
    )


def _steps(replay: Replay, arm: Arm) -> str:
    kept = f", every {arm.kept_every}th kept" if arm.kept_every > 1 else ""
    return f"{arm.steps_run} of {replay.setting.steps}{kept}"


def _setting(setting: Setting) -> Element:
    notes = bullets(setting.notes, "more notes", most=3_000) if setting.notes else None
    return section(
        "Setting",
        facts(
            ("Subject", short(setting.subject, 60)),
            ("Code", path(setting.code) if setting.code else None),
            ("Weights", path(setting.weights)),
            ("Data", path(setting.data)),
            ("Steps", str(setting.steps)),
            ("Batch", f"{setting.batch_size} items" if setting.batch_size else None),
            ("Seed", str(setting.seed)),
            ("Device", short(setting.device, 60)),
            ("Precision", setting.precision),
            ("Processes", str(setting.processes)),
            ("torch", setting.torch),
            ("Probe", f"{setting.probe_tokens} tokens" if setting.probe_tokens else None),
        ),
        notes,
    )
