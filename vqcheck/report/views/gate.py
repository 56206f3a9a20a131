"""`vqcheck gate`: whether s2 training may start, what each check found, and what to do about it."""

from collections.abc import Sequence
from typing import Final

from vqcheck.gate.checks import CheckResult, GateCheck, GateReport, GateVerdict, find_check
from vqcheck.language import capitalized, tr, trc, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Case, CaseOutcome, Document, Figure, Remedy, Rule, Status, Weight
from vqcheck.report.views.words import listed

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
    left_out = len(ran) < len(report.outcomes) and report.verdict is not GateVerdict.PARTLY
    partly = tr("{ran} of {outcomes} checks ran", ran=len(ran), outcomes=len(report.outcomes)) if left_out else ""
    said = headline(report)
    decisive = _decisive(report)
    passed = [result for result in report.outcomes if _outcome(result) is CaseOutcome.PASSED]
    others = [result for result in report.outcomes if result not in decisive and result not in passed]
    ordered = [*decisive, *sorted(others, key=lambda result: not result.is_advice), *passed]
    return Document(
        command="gate",
        status=Status(report.exit_code),
        verdict=report.verdict.value,
        headline=tr("{said} ({partly})", said=said, partly=partly) if partly else said,
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
                    "fix": result.fix or None,
                }
                for result in report.outcomes
            ],
        },
        figures=_figures(report),
        blocks=(
            doc.Section(tr("What was checked"), (_facts(report),), heading=Shown.PAGE),
            doc.Section(
                tr("Checks"), (_checks(report.outcomes, with_fix=False),), shown=Shown.TEXT, heading=Shown.PAGE
            ),
            doc.Section(
                tr("Checks"), (_checks(ordered[: len(ordered) - len(passed)], with_fix=True),), shown=Shown.PAGE
            ),
            doc.Section(
                tr("Passed ({passed})", passed=len(passed)),
                (_checks(passed, with_fix=False),),
                shown=Shown.PAGE,
                folded=True,
            ),
            doc.Section(tr("What each check is for"), tuple(map(_explanation, ordered)), shown=Shown.PAGE, folded=True),
        ),
        remedies=_remedies(report),
    )


def explanation(check: GateCheck) -> Document:
    """Return what a check asks, why, and what to do when it fails, as the document of `gate --explain`."""
    return Document(
        command="gate",
        status=Status.CONSISTENT,
        verdict=check.code,
        headline=tr("(required) {title}", title=check.title)
        if check.required
        else tr("(advisory) {title}", title=check.title),
        subject=check.code,
        cases=(),
        data={},
        tone=Tone.NEUTRAL,
        blocks=(doc.Paragraph(check.why),),
        remedies=(Remedy(check.fix),),
    )


def headline(report: GateReport) -> str:
    """Return whether training may start, in words without a full stop; where checks were left out, what passed."""
    if report.verdict is GateVerdict.PARTLY:
        ran = [each.code for each in report.outcomes if each.required and _outcome(each) is CaseOutcome.PASSED]
        return tr("passed: {passed}; left out: {left_out}", passed=listed(ran), left_out=listed(report.left_out))
    return {
        0: tr("s2 training may start"),
        1: tr("do not start s2 training"),
    }.get(report.exit_code, tr("could not decide whether s2 training may start"))


def _outcome(result: CheckResult) -> CaseOutcome:
    return CaseOutcome(result.finding.outcome)


def _decisive(report: GateReport) -> list[CheckResult]:
    """Return the required checks that keep the gate from opening, failed ones first."""
    decisive = [result for result in report.outcomes if result.decides]
    return sorted(decisive, key=lambda result: _outcome(result) is not CaseOutcome.FAILED)


def _remedies(report: GateReport) -> tuple[Remedy, ...]:
    """Return what to do: about each check that decided, then about what did not apply and could have.

    Checks that one thing keeps from running share a line.
    """
    decisive = _decisive(report)
    if report.exit_code == 2 and not decisive:
        return (Remedy(tr("Skip fewer checks: at least one required check must run.")),)
    codes: dict[str, list[str]] = {}
    for result in decisive:
        codes.setdefault(_remedy(result), []).append(result.code)
    for result in report.outcomes:
        if _outcome(result) is CaseOutcome.NOT_APPLICABLE and result.fix:
            codes.setdefault(result.fix, []).append(result.code)
    return tuple(Remedy(trc("heading", "{name}: {text}", name=listed(each), text=text)) for text, each in codes.items())


def _remedy(result: CheckResult) -> str:
    if result.fix:
        return result.fix
    # The message says in one sentence what is wrong and how to set it right.
    return tr("could not run: {message}. Solve that, then run the gate again.", message=result.finding.message)


def _word(result: CheckResult) -> tuple[str, Tone]:
    """Return what became of a check, in a word: advice never looks like what keeps training from starting."""
    if result.is_advice:
        return (tr("advice"), Tone.NEUTRAL) if _outcome(result) is CaseOutcome.FAILED else (tr("not known"), Tone.MUTED)
    outcome = _outcome(result)
    return word(outcome), _TONES[outcome]


def _figures(report: GateReport) -> tuple[Figure, ...]:
    words = [_word(result) for result in report.outcomes]
    order = [*((word(kind), tone) for kind, tone in _TONES.items()), (tr("advice"), Tone.NEUTRAL)]
    order += [each for each in dict.fromkeys(words) if each not in order]
    return tuple(
        Figure(capitalized(said), str(words.count((said, tone))), tone) for said, tone in order if (said, tone) in words
    )


def _facts(report: GateReport) -> doc.Facts:
    decisive = listed(result.code for result in _decisive(report))
    return doc.Facts((doc.Fact(tr("Config"), doc.path(report.config)), doc.Fact(tr("Decided by"), decisive)))


def _checks(results: Sequence[CheckResult], *, with_fix: bool) -> doc.Table:
    """Return what each check found; with what to do in the same row, or without it."""
    rows = []
    for result in results:
        message = result.finding.message
        found = message if result.required else (message, doc.muted(tr(" (advisory)")))
        rows.append((doc.code(result.code), doc.verdict(*_word(result)), found, result.fix if with_fix else ""))
    columns = [doc.Column(tr("Check")), doc.Column(tr("Outcome")), doc.Column(tr("What was found"), Kind.PROSE)]
    columns.append(doc.Column(tr("What to do"), Kind.PROSE, Shown.PAGE if with_fix else Shown(0)))
    return doc.Table(tr("A required check decides the gate. An advisory one is only shown."), columns, rows)


def _explanation(result: CheckResult) -> doc.Section:
    check = find_check(result.code)
    return doc.Section(
        capitalized(result.title),
        (doc.Paragraph((check.why, " ", doc.strong(check.fix))),),
        notes=(doc.tag(result.code),),
    )


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
    return Case(rule, result.code, outcome, result.finding.message, config, weight=weight, fix=result.fix)
