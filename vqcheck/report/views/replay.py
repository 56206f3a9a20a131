"""`vqcheck replay`: what each strategy did to the codebook, which line wrote it, and how the losses went."""

from collections.abc import Sequence

from vqcheck.codebook.family import Role
from vqcheck.language import sentences, tr, word
from vqcheck.replay.trace import Arm, ArmVerdict, FirstWrite, Replay, Setting
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views import replay_words as words
from vqcheck.report.views.replay_charts import charts, numbers, reported, shadow
from vqcheck.report.views.replay_data import cases, data, sheet
from vqcheck.report.views.words import clauses, described, listed, of_all


def view(replay: Replay) -> Document:
    """Return the document of a replay."""
    circumstances = _circumstances(replay.setting)
    return Document(
        command="replay",
        status=Status(replay.exit_code),
        verdict=replay.verdict.value,
        headline=words.headline(replay),
        subject=circumstances[0],
        cases=cases(replay),
        data=data(replay),
        sheet=sheet(replay.arms),
        figures=_figures(replay),
        blocks=(
            doc.Section("", tuple(doc.Paragraph((doc.muted(line),)) for line in circumstances), shown=Shown.TEXT),
            doc.Section(tr("Side by side"), _side_by_side(replay), heading=Shown.PAGE),
            doc.Section(tr("First write"), (_first_write_of_each(replay.arms),), shown=Shown.PAGE),
            *charts(replay.arms),
            doc.Section(tr("Arm by arm"), tuple(_arm(replay, arm) for arm in replay.arms)),
            doc.Section(tr("Setting"), (_setting(replay.setting),), shown=Shown.PAGE),
            doc.Section(tr("Notes"), (doc.Bullets(replay.setting.notes),)),
            doc.Section(tr("The charts in numbers"), numbers(replay.arms), shown=Shown.PAGE, folded=True),
        ),
        remedies=tuple(map(Remedy, words.remedies(replay))),
    )


def _figures(replay: Replay) -> tuple[Figure, ...]:
    right = sum(arm.as_expected for arm in replay.arms)
    tone = Tone.GOOD if right == len(replay.arms) else Tone.BAD
    drifted, frozen = (
        sum(arm.verdict is each for arm in replay.arms) for each in (ArmVerdict.DRIFTED, ArmVerdict.FROZEN)
    )
    return (
        Figure(tr("Arms as expected"), of_all(right, len(replay.arms)), tone),
        *(
            Figure(name, str(count), tone)
            for name, count, tone in ((tr("Drifted"), drifted, Tone.BAD), (tr("Frozen"), frozen, Tone.GOOD))
        ),
    )


def _circumstances(setting: Setting) -> tuple[str, str]:
    """Return what was replayed, and in what surroundings."""
    what = setting.subject if setting.batch_size is None else tr("{subject} synthesizer", subject=setting.subject)
    if setting.code:
        what = tr("{subject} of {code}", subject=what, code=words.shorter(setting.code))
    number = words.steps(setting.steps)
    return (
        tr("{subject}; weights: {weights}; data: {data}", subject=what, weights=setting.weights, data=setting.data),
        described(
            tr("{steps} of {items} items", steps=number, items=setting.batch_size) if setting.batch_size else number,
            tr("{processes} processes", processes=setting.processes) if setting.processes > 1 else "",
            tr("seed {seed}", seed=setting.seed),
            setting.device,
            setting.precision or "",
            tr("torch {torch}", torch=setting.torch),
        ),
    )


def _said(arm: Arm) -> doc.Word:
    """Return what an arm did, coloured by that alone: a codebook that drifted is never good news."""
    return doc.verdict(
        word(arm.verdict), {ArmVerdict.DRIFTED: Tone.BAD, ArmVerdict.FROZEN: Tone.GOOD}.get(arm.verdict, Tone.WARNING)
    )


def _meets(arm: Arm) -> doc.Word:
    """Return whether an arm did what was expected of it."""
    known = arm.verdict in (ArmVerdict.DRIFTED, ArmVerdict.FROZEN)
    return doc.Word(words.meets(arm), Tone.WARNING if not known else Tone.GOOD if arm.as_expected else Tone.BAD)


def _side_by_side(replay: Replay) -> tuple[doc.Table, doc.Paragraph]:
    probe = replay.setting.probe_tokens
    rows: list[Sequence[doc.Inline]] = []
    for arm in replay.arms:
        last = arm.steps[-1] if arm.steps else None
        rows.append(
            (
                arm.strategy,
                _said(arm),
                (_meets(arm), *((doc.muted(tr(" (control)")),) if arm.is_control else ())),
                reported(arm),
                shadow(arm),
                _moved_codes(arm),
                _projection(arm),
                f"{last.flipped_tokens}/{probe}" if last and probe else "-",
            )
        )
    captions = [tr("Every arm starts from the same weights, data and random state.")] if len(rows) > 1 else []
    if any(arm.is_control for arm in replay.arms):
        captions.append(tr("A control arm must drift, or the replay proves nothing about the others."))
    columns = (
        doc.Column(tr("Strategy")),
        doc.Column(tr("Verdict")),
        doc.Column(tr("As expected"), shown=Shown.DETAIL),
        *map(doc.Column, ("commit_loss", tr("Shadow loss"), tr("Codes"), tr("Projection"), tr("Flipped"))),
    )
    key = tr(
        "Codes: how many moved. Shadow loss: commit_loss, computed in every mode. Flipped: tokens of a fixed probe "
        "that changed."
    )
    return doc.Table(sentences(*captions), columns, rows), doc.Paragraph((doc.muted(key),))


def _moved_codes(arm: Arm) -> str:
    """Return how many codes of how many are not where they were at the start."""
    last = arm.steps[-1].tensors if arm.steps else ()
    codes = [tensor for tensor in last if tensor.holds_codes]
    return f"{sum(tensor.rows_changed for tensor in codes)}/{sum(tensor.rows for tensor in codes)}"


def _projection(arm: Arm) -> str:
    """Return whether the projection moved; it is not trained where no step was taken that could move it."""
    last = arm.steps[-1].tensors if arm.steps else ()
    parts = [tensor for tensor in last if tensor.role == Role.INPUT_PROJ]
    if not parts:
        return "-"
    if any(tensor.changed for tensor in parts):
        return tr("moved")
    return tr("not trained") if arm.never_learned else tr("still")


def _first_write_of_each(arms: Sequence[Arm]) -> doc.Table:
    caption = tr(
        "The first write of each arm that changed bits of the VQ encoder: the operator, and the line that ran it."
    )
    return doc.Table(
        caption,
        (doc.Column(tr("Strategy")), *_write_columns()),
        [(arm.strategy, *_write(write)) for arm in arms for write in arm.first_writes[:1]],
    )


def _write_columns() -> tuple[doc.Column, ...]:
    return (
        doc.Column(tr("First write to")),
        doc.Column(tr("Step"), Kind.NUMBER),
        doc.Column(tr("Operator")),
        doc.Column(tr("Where"), Kind.NAME),
    )


def _write(write: FirstWrite) -> tuple[doc.Inline, ...]:
    operator, where = words.first_write(write)
    if not operator:
        return doc.code(write.label), str(write.first_changed_step), doc.Word(tr("not attributed"), Tone.WARNING), ""
    return doc.code(write.label), str(write.first_changed_step), doc.code(operator), doc.path(where)


def _arm(replay: Replay, arm: Arm) -> doc.Section:
    writes = doc.Table(
        tr("{strategy}: the first write to each tensor.", strategy=arm.strategy),
        _write_columns(),
        [*map(_write, arm.first_writes)],
    )
    seconds = ""
    if arm.median_seconds is not None and arm.tracing_seconds is not None:
        seconds = tr(
            "{step}, and {tracing} for the tracing",
            step=_duration(arm.median_seconds),
            tracing=_duration(arm.tracing_seconds),
        )
    kept = tr("every {distance}th kept", distance=arm.kept_every) if arm.kept_every > 1 else ""
    facts = doc.Facts(
        (
            doc.Fact(tr("VQ encoder"), doc.code(words.digests(arm))),
            doc.Fact(
                tr("Steps"),
                listed((of_all(arm.steps_run, replay.setting.steps), kept)),
                Shown.DETAIL,
            ),
            doc.Fact(tr("Parameters"), clauses(*words.parameters(arm))),
            doc.Fact(tr("Optimizer"), _optimizer_steps(replay, arm)),
            doc.Fact(tr("Processes"), _processes(replay, arm)),
            doc.Fact(tr("Step time"), seconds),
            doc.Fact(tr("Saved as"), doc.path(arm.checkpoint) if arm.checkpoint else None),
        )
    )
    notes = (_said(arm), _meets(arm), *((doc.tag(tr("control")),) if arm.is_control else ()))
    # What went as it should is short on a page: the tables above name its first write.
    return doc.Section(arm.strategy, (doc.Paragraph(arm.stops), writes, facts), notes=notes, folded=arm.as_expected)


def _optimizer_steps(replay: Replay, arm: Arm) -> str:
    """Return how many optimizer steps the gradient scaler skipped; empty where none was, or where it is not known."""
    if not arm.skipped_steps:
        return ""
    if arm.never_learned:
        if arm.complete:
            return tr(
                "all {steps} skipped by the gradient scaler, the most that are tried: the projection was never trained",
                steps=words.steps(arm.steps_run),
            )
        return tr(
            "all {steps} skipped by the gradient scaler: the projection was never trained",
            steps=words.steps(arm.steps_run),
        )
    skipped = tr(
        "{skipped} of {steps} skipped by the gradient scaler",
        skipped=arm.skipped_steps,
        steps=words.steps(arm.steps_run),
    )
    if arm.steps_run > replay.setting.steps:
        return tr("{skipped}, so this arm ran to step {last}", skipped=skipped, last=arm.steps_run)
    return skipped


def _processes(replay: Replay, arm: Arm) -> str:
    """Return whether the processes held the same VQ encoder; empty where there was only one."""
    if replay.setting.processes < 2:
        return ""
    if arm.rank_differences:
        return tr(
            "NOT the same on every process after {differing} of {steps}",
            differing=arm.rank_differences,
            steps=words.steps(arm.steps_run),
        )
    return tr("the same bits on every process after every step")


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _setting(setting: Setting) -> doc.Facts:
    return doc.Facts(
        (
            doc.Fact(tr("Subject"), setting.subject),
            doc.Fact(tr("Code"), doc.path(setting.code) if setting.code else None),
            doc.Fact(tr("Weights"), doc.path(setting.weights)),
            doc.Fact(tr("Data"), doc.path(setting.data)),
            doc.Fact(tr("Steps"), str(setting.steps)),
            doc.Fact(tr("Batch"), tr("{items} items", items=setting.batch_size) if setting.batch_size else None),
            doc.Fact(tr("Seed"), str(setting.seed)),
            doc.Fact(tr("Device"), setting.device),
            doc.Fact(tr("Precision"), setting.precision),
            doc.Fact(tr("Processes"), str(setting.processes)),
            doc.Fact("torch", setting.torch),
            doc.Fact(tr("Probe"), tr("{tokens} tokens", tokens=setting.probe_tokens) if setting.probe_tokens else None),
        )
    )
