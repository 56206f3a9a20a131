"""What a token audit comes to in words: its headline, which of two checkpoints decides, and what nobody could see."""

import os

from vqcheck.audit.token_audit_result import HALF_OF_THE_ITEMS, TokenAudit, TokenVerdict
from vqcheck.audit.token_decision import Decider, TokenDecision
from vqcheck.audit.token_power import percent, sentence
from vqcheck.language import sentences, tr
from vqcheck.report.views.words import clauses, listed, roughly, share, updates


def headline(decision: TokenDecision) -> str:
    """Return the verdict in one sentence, and of two checkpoints which explains the tokens better."""
    audit, other = decision.audit, decision.other
    said = _of_audit(audit)
    name = os.path.basename(audit.checkpoint)
    if decision.decided_by is Decider.LOCK and decision.lock and decision.verdict != audit.verdict:
        lock = os.path.basename(decision.lock.path)
        said = tr("Copies in {name} contradict the one that {lock} binds the tokens to.", name=name, lock=lock)
        if decision.verdict is TokenVerdict.INCONSISTENT:
            said = tr("The tokens are bound by {lock} to another VQ encoder than {name} holds.", lock=lock, name=name)
        if audit.verdict is TokenVerdict.CONSISTENT:
            return tr("{said} They agree with both: this data cannot tell the two apart.", said=said)
        return said
    if other is None:
        return said
    if decision.decided_by in (Decider.AGAINST, Decider.NOTHING):
        first, second = names_of_two(audit, other)
        if decision.decided_by is Decider.AGAINST:
            said = tr("The tokens agree with {other}, and {moved}.", other=second, moved=moved_by(decision, first))
            return sentences(said, against(audit, other))
        said = tr("The tokens agree with two VQ encoders that differ, and nothing shows which of the two made them.")
    return sentences(said, against(audit, other))


def moved_by(decision: TokenDecision, name: str) -> str:
    """Return in a clause how far the checkpoint, which is called by a name, has moved from the other one."""
    movement = decision.movement
    if movement is None or movement.steps is None:
        return tr("{name} has moved from it", name=name)
    return tr(
        "{name} has moved from it by {updates}", name=name, updates=roughly(updates(movement.steps), movement.precision)
    )


def unseen(decision: TokenDecision) -> str:
    """Return what tokens that agree could not have shown; empty where they do not agree."""
    found = decision.power
    if found is None:
        return ""
    movement, said = decision.movement, sentence(found)
    if movement is None or movement.steps is None:
        return said
    moved = movement.flips
    rate = tr(
        "{updates} flip {flipped} of {frames} frames",
        updates=updates(movement.steps),
        flipped=moved.flipped,
        frames=moved.frames,
    )
    unseen = (
        tr("about {updates} flip {percent}", updates=decision.updates, percent=percent(found.share))
        if decision.updates
        else ""
    )
    return clauses(said, listed((rate, unseen)))


def _of_audit(audit: TokenAudit) -> str:
    """Return whether the tokens agree with the checkpoint, in one sentence.

    A codebook that moved a little gives the same tokens on little data: that it made them is more than was seen.
    """
    name, total = os.path.basename(audit.checkpoint), audit.total
    lacking = tr("{lacking} of {rows} items have no features", lacking=audit.rows - audit.covered, rows=audit.rows)
    if audit.only_lengths:
        return _beside(
            tr(
                "{wrong_lengths} items have another number of tokens than their features give.",
                wrong_lengths=len(audit.wrong_lengths),
            ),
            audit,
        )
    if audit.verdict == TokenVerdict.INCONSISTENT:
        return _beside(tr("The tokens do not come from {name}.", name=name), audit)
    if audit.verdict == TokenVerdict.CONSISTENT and total.near_ties:
        return _beside(
            tr(
                "{explained} of {frames} tokens agree with {name}; the other {near_ties} differ by no "
                "more than rounding.",
                explained=total.explained,
                frames=total.frames,
                name=name,
                near_ties=total.near_ties,
            ),
            audit,
        )
    if audit.verdict == TokenVerdict.CONSISTENT:
        return _beside(tr("The tokens agree with {name}.", name=name), audit)
    if "overflow" in audit.gaps:
        return tr(
            "Half precision overflows on {share} of the frames.",
            share=share(total.undecided - total.coarse, total.frames),
        )
    if "coarse" in audit.gaps:
        return tr(
            "Half precision cannot tell the codes apart on {share} of the frames.",
            share=share(total.coarse, total.frames),
        )
    if "coverage" in audit.gaps:
        if audit.least_coverage != HALF_OF_THE_ITEMS:
            lacking = tr("{lacking} ({least:g} % must have them)", lacking=lacking, least=100 * audit.least_coverage)
        return tr(
            "Nothing contradicts {name}, but {lacking}: their tokens were not checked.", name=name, lacking=lacking
        )
    return tr("Nothing contradicts {name}, but not everything could be read.", name=name)


def _beside(said: str, audit: TokenAudit) -> str:
    """Return a sentence, and behind it how many items could not be checked."""
    if not audit.without_features:
        return said
    lacking = tr("{lacking} of {rows} items have no features", lacking=audit.rows - audit.covered, rows=audit.rows)
    return tr("{said} {lacking}, so their tokens were not checked.", said=said, lacking=lacking)


def against(audit: TokenAudit, other: TokenAudit) -> str:
    """Return which of two checkpoints explains the tokens better."""
    a, b = names_of_two(audit, other)
    mine, theirs = _explained(audit), _explained(other)
    better = audit.better_than(other)
    if better == "equal":
        said = tr("{a} and {b} explain equally many tokens ({mine}).", a=a, b=b, mine=mine)
        if audit.digests.vq_encoder is not None and audit.digests.vq_encoder == other.digests.vq_encoder:
            return tr("{said} They hold the same VQ encoder.", said=said)
        return tr("{said} This data cannot tell them apart.", said=said)
    first, second = ((a, mine), (b, theirs)) if better == "checkpoint" else ((b, theirs), (a, mine))
    winner = audit if better == "checkpoint" else other
    said = tr(
        "{better} explains the tokens better ({share}) than {other} ({other_share}).",
        better=first[0],
        share=first[1],
        other=second[0],
        other_share=second[1],
    )
    if winner.contradictions == ("lengths",):
        return tr("{said} But some features belong to other recordings.", said=said)
    return {
        TokenVerdict.CONSISTENT: said,
        TokenVerdict.INCONSISTENT: tr(
            "{said} But the tokens do not come from {better} either.", said=said, better=first[0]
        ),
    }.get(winner.verdict, tr("{said} But not everything could be checked.", said=said))


def names_of_two(audit: TokenAudit, other: TokenAudit) -> tuple[str, str]:
    """Return what two checkpoints are called: their files, with the folders where the files have one name."""
    names = os.path.basename(audit.checkpoint), os.path.basename(other.checkpoint)
    return names if names[0] != names[1] else (audit.checkpoint, other.checkpoint)


def _explained(audit: TokenAudit) -> str:
    undecided = tr("{undecided} undecided", undecided=audit.total.undecided) if audit.total.undecided else ""
    return listed((share(audit.total.explained, audit.total.frames), undecided))
