"""`vqcheck run`: what became of the codebooks of a training script."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

from vqcheck.language import tr, trn, word
from vqcheck.replay.watched_run import RunMode, RunVerdict, SeenChange, WatchedModule, WatchedProcess, WatchedRun
from vqcheck.report import blocks as doc
from vqcheck.report.document import Case, CaseOutcome, Document, Remedy, Rule, Status
from vqcheck.report.views.words import clauses, listed

_CHANGED: Final = Rule(
    "run/codebook-changed",
    "training leaves the VQ encoder as it is",
    "The training wrote to the VQ encoder. Tokens that were made before mean something else from then on. Hold it "
    "still: vqcheck run --freeze, or vqcheck.freeze in the script.",
)
_SEEN: Final = Rule(
    "run/not-checked",
    "the codebooks of the script are seen until its end",
    "Nothing is sure of this run. Read the reason, and run the script again.",
)
_SAME: Final = Rule(
    "run/ranks-differ",
    "every rank has the same VQ encoder",
    "The ranks train with different codebooks. Load the same weights on each of them, before training begins.",
)


def view(run: WatchedRun) -> Document:
    """Return the document of a run."""
    return Document(
        command="run",
        status=Status(run.exit_code),
        verdict=run.verdict.value,
        headline=_headline(run),
        subject=" ".join(run.command),
        cases=tuple(_cases(run)),
        data={
            "command": list(run.command),
            "mode": run.mode.value,
            "warn": run.warn,
            "reason": run.why_not_checked,
            "processes": [asdict(each) for each in run.processes],
            "ranks": [asdict(each) for each in run.ranks],
        },
        warnings=tuple(_warnings(run)),
        blocks=(
            doc.facts(
                tr("What was run"),
                doc.Fact(tr("Command"), doc.code(" ".join(run.command))),
                doc.Fact(tr("Mode"), word(run.mode)),
            ),
            doc.Section(tr("What changed"), (_changes(run),)),
            doc.Section(tr("What was measured"), (_use(run),)),
        ),
        remedies=tuple(_remedies(run)),
    )


def _headline(run: WatchedRun) -> str:
    if run.verdict is RunVerdict.COULD_NOT_CHECK:
        return clauses(run.why_not_checked, _first(run) if run.is_broken else "")
    if run.verdict is RunVerdict.CHANGED:
        return _first(run)
    modules = [module for each in run.processes for module in each.modules]
    steps = max(each.steps for each in run.processes)
    in_all = listed(
        (
            trn("{number} module", "{number} modules", len(modules)),
            trn("{number} optimizer step", "{number} optimizer steps", steps),
        )
    )
    if run.verdict is RunVerdict.MEASURED:
        return tr("the codebooks were measured: {counts}", counts=in_all)
    return tr("no tensor of the VQ encoder changed: {counts}", counts=listed((in_all, _on_ranks(run))))


def _on_ranks(run: WatchedRun) -> str:
    """Return on which ranks it is the same; empty where none were compared."""
    if not run.ranks:
        return ""
    (first, *more) = run.ranks
    if more or len(first.ranks) == first.world_size:
        return tr("the same on all ranks")
    return tr("the same on {number} of {all} ranks", number=len(first.ranks), all=first.world_size)


def _remedies(run: WatchedRun) -> Iterator[Remedy]:
    if run.changed and run.mode is not RunMode.FREEZE:
        yield Remedy(tr("Run it with vqcheck run --freeze, or call vqcheck.freeze in the script."))
    if run.differing and run.is_broken:
        yield Remedy(tr("Load the same weights on every rank before training begins."))


def _first(run: WatchedRun) -> str:
    if not run.changed:
        return str(run.differing[0])
    change = min(_all_changes(run), key=lambda change: change.step)
    what = change.name
    if change.written_by:
        what = tr("{tensor}, written by {line}", tensor=change.name, line=change.written_by)
    return tr("the VQ encoder changed in step {step}: {what}", step=change.step, what=what)


def _all_changes(run: WatchedRun) -> list[SeenChange]:
    return [change for _, module in run.changed for change in module.changes]


def _cases(run: WatchedRun) -> list[Case]:
    cases = [
        Case(
            _CHANGED,
            f"{_name(process)} {module.name}: {change.name}",
            CaseOutcome.FAILED,
            clauses(change.what, f"written by {change.written_by}" if change.written_by else ""),
            change.file,
            change.line,
        )
        for process, module in run.changed
        for change in module.changes
    ]
    if run.mode is not RunMode.MONITOR:
        cases += [
            Case(_SAME, f"{each.module}: {each.names[0]}", CaseOutcome.FAILED, str(each)) for each in run.differing
        ]
    if run.why_not_checked:
        cases.append(Case(_SEEN, "the run", CaseOutcome.COULD_NOT_CHECK, run.why_not_checked))
    elif not cases:
        rule = _SEEN if run.mode is RunMode.MONITOR else _CHANGED
        cases = [
            Case(rule, f"{_name(process)} {module.name}", CaseOutcome.PASSED, _passed(module))
            for process in run.processes
            for module in process.modules
        ]
    return cases


def _passed(module: WatchedModule) -> str:
    return module.use or f"unchanged after {module.looked_at} steps"


def _warnings(run: WatchedRun) -> list[str]:
    differing = [tr("WARNING: {difference}", difference=each) for each in run.differing if run.mode is RunMode.MONITOR]
    return differing + [
        tr(
            "WARNING: {name}: {books} collapsed: few of the codes are used",
            name=module.name,
            books=listed(module.collapsed),
        )
        for process in run.processes
        for module in process.modules
        if module.collapsed
    ]


def _changes(run: WatchedRun) -> doc.Table:
    columns = (
        doc.Column(tr("process")),
        doc.Column(tr("tensor")),
        doc.Column(tr("step")),
        doc.Column(tr("change")),
        doc.Column(tr("written by")),
    )
    rows = [
        (_name(process), change.name, str(change.step), change.what, change.written_by)
        for process, module in run.changed
        for change in module.changes
    ]
    return doc.Table("", columns, tuple(rows))


def _use(run: WatchedRun) -> doc.Table:
    rows = [
        (_name(process), module.name, module.use)
        for process in run.processes
        for module in process.modules
        if module.use
    ]
    return doc.Table(
        "", (doc.Column(tr("process")), doc.Column(tr("module")), doc.Column(tr("last read"))), tuple(rows)
    )


def _name(process: WatchedProcess) -> str:
    script = os.path.basename(process.script) or "python"
    if process.rank is None:
        return f"{script} ({process.pid})"
    return tr("{script} ({pid}, rank {rank})", script=script, pid=process.pid, rank=process.rank)
