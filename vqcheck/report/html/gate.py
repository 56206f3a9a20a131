"""`vqcheck gate` as a page: the verdict, every check, and what each is for."""

from typing import Final

from vqcheck.audit.judgement import CheckOutcome
from vqcheck.gate.checks import CHECKS
from vqcheck.gate.result import CheckResult, GateReport
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.page import page
from vqcheck.report.html.parts import code, facts, path, pill, section, table, tag
from vqcheck.report.words import gate as words

_TONES: Final = {
    CheckOutcome.PASSED: "good",
    CheckOutcome.FAILED: "bad",
    CheckOutcome.COULD_NOT_CHECK: "open",
    CheckOutcome.NOT_APPLICABLE: "quiet",
    CheckOutcome.SKIPPED: "quiet",
}
_WHY: Final = {check.code: check.why for check in CHECKS}


def document(report: GateReport) -> str:
    """Return the report of a gate as one page."""
    decisive = words.decisive(report)
    kept = f"Decided by: {', '.join(decisive)}." if decisive else ""
    return page(
        "gate",
        report.exit_code,
        report.verdict,
        words.headline(report),
        section(
            "What was checked",
            facts(("Configuration", path(report.config)), ("Scope", words.partly(report)), *_counts(report)),
            _checks(report),
        ),
        _explanations(report),
        lead=element("p", kept) if kept else None,
    )


def _counts(report: GateReport) -> list[tuple[str, Node]]:
    found = [outcome.finding.outcome for outcome in report.outcomes]
    counted = [f"{found.count(word)} {word}" for word in _TONES if word in found]
    return [("Outcomes", ", ".join(counted))]


def _checks(report: GateReport) -> Element:
    return table(
        "checks",
        "A required check decides the gate; an advisory one is only shown.",
        ("Check", "Outcome", "Weight", "What was found"),
        [
            (
                code(outcome.code),
                pill(outcome.finding.outcome, _TONES[outcome.finding.outcome]),
                "required" if outcome.required else "advisory",
                outcome.finding.message,
            )
            for outcome in report.outcomes
        ],
        ("k", "k", "k", "w"),
        left_out="checks are",
        most=24_000,
    )


def _explanations(report: GateReport) -> Element:
    """Explain every check that found fault first, then the others."""
    order = sorted(
        report.outcomes,
        key=lambda outcome: outcome.finding.outcome not in (CheckOutcome.FAILED, CheckOutcome.COULD_NOT_CHECK),
    )
    return section("What each check is for", *(part for each in order for part in _explanation(each)))


def _explanation(outcome: CheckResult) -> tuple[Node, ...]:
    why = _WHY.get(outcome.code)
    if why is None:
        return ()
    title = outcome.title[:1].upper() + outcome.title[1:]
    return element("h3", title, tag(outcome.code)), element("p", why)
