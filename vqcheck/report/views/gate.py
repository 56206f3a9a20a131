"""`vqcheck gate`: whether s2 training may start, what each check found, and what to do about it."""

from typing import Final

from vqcheck.gate.checks import CheckResult, GateCheck, GateReport, find_check
from vqcheck.report.blocks import (
    Column,
    Fact,
    Facts,
    Kind,
    Paragraph,
    Section,
    Shown,
    Table,
    Tone,
    code,
    muted,
    path,
    strong,
    tag,
    verdict,
)
from vqcheck.report.document import Case, CaseOutcome, Document, Figure, Remedy, Rule, Status, Weight

_TONES: Final = {
    CaseOutcome.PASSED: Tone.GOOD,
    CaseOutcome.FAILED: Tone.BAD,
    CaseOutcome.COULD_NOT_CHECK: Tone.WARNING,
    CaseOutcome.NOT_APPLICABLE: Tone.MUTED,
    CaseOutcome.SKIPPED: Tone.MUTED,
}
_NOTHING: Final = Rule(
    "gate/nothing-checked",
    "at least one required check is carried out",
    "Every required check was skipped or does not apply, so the gate knows nothing of this run. Skip fewer checks.",
)


def view(report: GateReport) -> Document:
    """Return the document of a gate; whoever reads only its headline learns that checks were left out."""
    ran = [result for result in report.outcomes if _outcome(result) is not CaseOutcome.SKIPPED]
    partly = f"{len(ran)} of {len(report.outcomes)} checks ran" if len(ran) < len(report.outcomes) else ""
    said = headline(report)
    decisive = _decisive(report)
    return Document(
        command="gate",
        status=Status(report.exit_code),
        verdict=report.verdict.value,
        headline=f"{said} ({partly})" if partly else said,
        subject=report.config,
        cases=_cases(report),
        data={
            "config": report.config,
            "checks": [
                {
                    "code": result.code,
                    "title": result.title,
                    "required": result.required,
                    "outcome": _outcome(result).value,
                    "message": result.finding.message,
                }
                for result in report.outcomes
            ],
        },
        figures=_figures(report),
        blocks=(
            Section("What was checked", (_facts(report),), heading=Shown.PAGE),
            Section("Checks", (_checks(report),), heading=Shown.PAGE),
            Section(
                "What each check is for",
                tuple(map(_explanation, (*decisive, *(each for each in report.outcomes if each not in decisive)))),
                shown=Shown.PAGE,
            ),
        ),
        remedies=_remedies(report),
    )


def explanation(check: GateCheck) -> Document:
    """Return what a check asks, why, and what to do when it fails, as the document of `gate --explain`."""
    weight = "required" if check.required else "advisory"
    return Document(
        command="gate",
        status=Status.CONSISTENT,
        verdict=check.code,
        headline=f"({weight}) {check.title}",
        subject=check.code,
        cases=(),
        data={},
        tone=Tone.NEUTRAL,
        blocks=(Paragraph(check.why),),
        remedies=(Remedy(check.fix),),
    )


def headline(report: GateReport) -> str:
    """Return whether training may start, in words without a full stop."""
    return {
        0: "s2 training may start",
        1: "do not start s2 training",
    }.get(report.exit_code, "could not decide whether s2 training may start")


def _outcome(result: CheckResult) -> CaseOutcome:
    return CaseOutcome(result.finding.outcome)


def _decisive(report: GateReport) -> list[CheckResult]:
    """Return the required checks that keep the gate from opening, failed ones first."""
    return [
        result
        for kind in (CaseOutcome.FAILED, CaseOutcome.COULD_NOT_CHECK)
        for result in report.outcomes
        if result.required and _outcome(result) is kind
    ]


def _remedies(report: GateReport) -> tuple[Remedy, ...]:
    """Return what to do about each check that decided; where none did, nothing was checked."""
    decisive = _decisive(report)
    if report.exit_code == 2 and not decisive:
        return (Remedy("Skip fewer checks: at least one required check must run."),)
    return tuple(map(_remedy, decisive))


def _remedy(result: CheckResult) -> Remedy:
    if _outcome(result) is CaseOutcome.FAILED:
        return Remedy(f"{result.code}: {find_check(result.code).fix}")
    return Remedy(f"{result.code}: this check could not run. Solve what its message names, then run the gate again.")


def _figures(report: GateReport) -> tuple[Figure, ...]:
    found = [_outcome(result) for result in report.outcomes]
    return tuple(
        Figure(kind.value.capitalize(), str(found.count(kind)), tone) for kind, tone in _TONES.items() if kind in found
    )


def _facts(report: GateReport) -> Facts:
    decisive = ", ".join(result.code for result in _decisive(report))
    return Facts((Fact("Config", path(report.config)), Fact("Decided by", decisive)))


def _checks(report: GateReport) -> Table:
    rows = []
    for result in report.outcomes:
        outcome = _outcome(result)
        message = result.finding.message
        found = message if result.required else (message, muted(" (advisory)"))
        rows.append((code(result.code), verdict(outcome.value, _TONES[outcome]), found))
    columns = (Column("Check"), Column("Outcome"), Column("What was found", Kind.PROSE))
    return Table("A required check decides the gate. An advisory one is only shown.", columns, rows)


def _explanation(result: CheckResult) -> Section:
    check = find_check(result.code)
    is_key = "_" in result.title.partition(" ")[0]
    title = result.title if is_key else result.title[:1].upper() + result.title[1:]
    return Section(title, (Paragraph((check.why, " ", strong(check.fix))),), notes=(tag(result.code),))


def _cases(report: GateReport) -> tuple[Case, ...]:
    cases = [_case(result, report.config) for result in report.outcomes]
    if report.exit_code == 2 and not _decisive(report):
        message = "no required check was carried out"
        cases.append(Case(_NOTHING, "nothing checked", CaseOutcome.COULD_NOT_CHECK, message, report.config))
    return tuple(cases)


def _case(result: CheckResult, config: str) -> Case:
    check = find_check(result.code)
    rule = Rule(f"gate/{result.code}", result.title, f"{check.why} {check.fix}")
    weight = Weight.REQUIRED if result.required else Weight.ADVICE
    outcome = _outcome(result)
    fix = check.fix if outcome is CaseOutcome.FAILED else ""
    return Case(rule, result.code, outcome, result.finding.message, config, weight=weight, fix=fix)
