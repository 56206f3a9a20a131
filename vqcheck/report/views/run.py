"""`vqcheck run`: what became of the codebooks of a training script."""

import os
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
        remedies=_remedies(run),
    )


def _remedies(run: WatchedRun) -> tuple[Remedy, ...]:
    if not run.changed or run.mode is RunMode.FREEZE:
        return ()
    return (Remedy(tr("Run it with vqcheck run --freeze, or call vqcheck.freeze in the script.")),)


def _headline(run: WatchedRun) -> str:
    if run.verdict is RunVerdict.COULD_NOT_CHECK:
        return clauses(run.why_not_checked, _first(run) if run.changed else "")
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
    return tr("no tensor of the VQ encoder changed: {counts}", counts=in_all)


def _first(run: WatchedRun) -> str:
    change = min(_all_changes(run), key=lambda change: change.step)
    by = tr("written by {line}", line=change.written_by) if change.written_by else ""
    return tr("the VQ encoder changed in step {step}: {what}", step=change.step, what=listed((change.name, by)))


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
    return [
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
    return f"{os.path.basename(process.script) or 'python'} ({process.pid})"
