"""`vqcheck diff` of an s1 checkpoint and an s2 generator: whether they share one VQ encoder, and on what evidence."""

import os
from typing import Final

from vqcheck.audit.judgement import StageComparison
from vqcheck.audit.token_decision import Decider
from vqcheck.audit.token_power import power, summary
from vqcheck.language import sentences, tr
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Shown
from vqcheck.report.document import Case, CaseOutcome, Document, Remedy, Rule, Status
from vqcheck.report.views.tokens_data import power_object
from vqcheck.report.views.tokens_words import moved_by
from vqcheck.report.views.words import extract_again, sentence

_SHARED: Final = Rule(
    "diff/other-stage",
    "s1 and s2 share one VQ encoder",
    "Stage 1 was trained on tokens of another codebook. They mean something else in stage 2. Train s1 again on tokens "
    "of this s2, or use the s2 that the tokens of s1 come from.",
)


def view(comparison: StageComparison) -> Document:
    """Return the document of two stages; it is one of `vqcheck diff`."""
    outcomes = {0: CaseOutcome.PASSED, 1: CaseOutcome.FAILED}
    outcome = outcomes.get(comparison.exit_code, CaseOutcome.COULD_NOT_CHECK)
    message = evidence(comparison)
    return Document(
        command="diff",
        status=Status(comparison.exit_code),
        verdict=comparison.verdict.value,
        headline=headline(comparison),
        subject=tr("{s1} and {s2}", s1=comparison.s1, s2=comparison.s2),
        cases=(Case(_SHARED, "s1 and s2", outcome, message, comparison.s2),),
        data={
            "s1": comparison.s1,
            "s2": comparison.s2,
            "evidence": comparison.evidence,
            "message": message,
            "named_tokens": comparison.named_tokens or None,
            "base": comparison.decision.other.checkpoint if comparison.decision and comparison.decision.other else None,
            "power": power_object(power(comparison.tokens)) if comparison.tokens else None,
        },
        blocks=(
            doc.facts(
                tr("What was compared"),
                doc.Fact(tr("s1 (GPT)"), doc.path(comparison.s1)),
                doc.Fact(tr("s2 (SoVITS)"), doc.path(comparison.s2)),
                doc.Fact(tr("Decided by"), _decided_by(comparison), Shown.PAGE),
                doc.Fact(tr("Evidence"), message),
            ),
        ),
        remedies=tuple(map(Remedy, _remedies(comparison))),
    )


def headline(comparison: StageComparison) -> str:
    """Return whether two stages belong together. Equal tokens do not prove an equal VQ encoder."""
    if comparison.exit_code == 0:
        if comparison.evidence == "lock":
            return tr("s1 and s2 share one VQ encoder")
        return tr("the tokens that s1 was trained on agree with the VQ encoder of s2")
    if comparison.exit_code == 1:
        if comparison.other_s1:
            return tr("this s1 checkpoint is not the one that the lock is bound to")
        if comparison.decision:
            moved = moved_by(comparison.decision, "s2")
            return tr("s1 and s2 do not share one VQ encoder: the tokens agree with the base, and {moved}", moved=moved)
        return tr("s1 and s2 do not share one VQ encoder: the tokens of s1 mean something else in s2")
    if comparison.tokens and comparison.tokens.contradictions:
        return tr("could not decide whether s1 and s2 share one VQ encoder: the features are of other recordings")
    if comparison.decision:
        return tr("could not decide whether s1 and s2 share one VQ encoder: the tokens agree with its base, too")
    return tr("could not decide whether s1 and s2 share one VQ encoder")


def evidence(comparison: StageComparison) -> str:
    """Return what the verdict rests on."""
    s1, s2, lock = os.path.basename(comparison.s1), os.path.basename(comparison.s2), comparison.lock
    by_hand = tr(
        "{s1} names {tokens}; the directory was named by hand, and what is in it decides.",
        s1=s1,
        tokens=comparison.named_tokens,
    )
    if comparison.tokens:
        by_path = tr("{s1} names these tokens by their path, which proves nothing.", s1=s1)
        named = by_hand if comparison.named_tokens else by_path
        return sentences(named, sentence(summary(comparison.tokens)), _beside(comparison))
    if comparison.other_s1:
        return tr("{lock} is bound to another s1 checkpoint than {s1}.", lock=lock, s1=s1)
    bound = tr("{s1} names the tokens of the locked experiment by their path, which proves nothing.", s1=s1)
    if comparison.binds_s1:
        bound = tr("The lock is bound to {s1}.", s1=s1)
    elif comparison.named_tokens:
        bound = by_hand
    if comparison.exit_code == 0:
        return tr("The VQ encoder of {s2} agrees with {lock}. {bound}", s2=s2, lock=lock, bound=bound)
    return tr("The VQ encoder of {s2} does not agree with {lock}. {bound}", s2=s2, lock=lock, bound=bound)


def _beside(comparison: StageComparison) -> str:
    """Return what the base says; empty where none explains the tokens, too."""
    decision = comparison.decision
    if decision is None or decision.other is None:
        return ""
    base = os.path.basename(decision.other.checkpoint)
    if decision.decided_by is Decider.AGAINST:
        return tr(
            "{base}, which the configuration names as the base, explains them, too: this data "
            "cannot tell the two apart, and the base decides.",
            base=base,
        )
    return tr(
        "{base}, which the configuration names as the base, explains them, too: this data cannot tell the two apart.",
        base=base,
    )


def _decided_by(comparison: StageComparison) -> str:
    return tr("a lock of the experiment") if comparison.lock else tr("the recorded tokens, compared with those of s2")


def _remedies(comparison: StageComparison) -> tuple[str, ...]:
    if comparison.other_s1:
        s1 = os.path.basename(comparison.s1)
        return (tr("If {s1} was trained on the locked tokens, bind it: vqcheck lock --s1 --update.", s1=s1),)
    if comparison.exit_code == 1:
        return extract_again(comparison.s2, comparison.exported), tr(
            "Or start s2 from the file that the tokens of s1 come from."
        )
    if comparison.exit_code == 2 and comparison.tokens and comparison.tokens.contradictions:
        return (tr("Extract the features and the tokens again, from the same recordings."),)
    if comparison.exit_code == 2 and comparison.tokens:
        folder = comparison.tokens.experiment
        return (tr("See what could not be checked: vqcheck tokens {s2} {folder}", s2=comparison.s2, folder=folder),)
    return ()
