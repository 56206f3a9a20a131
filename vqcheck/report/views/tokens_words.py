"""What a token audit comes to in words: its headline, what was found, which of two checkpoints decides."""

import os

from vqcheck.audit.device_tokens import DeviceTokens
from vqcheck.audit.token_audit_result import HALF_OF_THE_ITEMS, RISK, TokenAudit, TokenPrecision, TokenVerdict
from vqcheck.audit.token_decision import Decider, TokenDecision
from vqcheck.audit.token_power import percent, sentence
from vqcheck.language import sentences, tr
from vqcheck.report.views.tokens_data import NAMED
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


def on_device(found: DeviceTokens) -> str:
    """Return how much of the recorded tokens a device gives, and whether the emulation explains what it gives."""
    own = found.audit.total
    said = tr(
        "{device} gives the recorded token in {tokens} of {frames} frames.",
        device=found.device,
        tokens=found.as_recorded,
        frames=found.frames,
    )
    if not found.agrees:
        return sentences(said, tr("The emulation of half precision does not agree with it."))
    agrees = tr(
        "The emulation of half precision agrees with it: it gives {tokens} of {frames} of its own tokens as they are, "
        "the rest within rounding.",
        tokens=own.explained,
        frames=own.frames,
    )
    return sentences(said, agrees)


def disagreement(found: DeviceTokens) -> str:
    """Return what a device does that the emulation of half precision, on which the verdict rests, does not explain."""
    own, total = found.audit, found.audit.total
    if own.verdict is not TokenVerdict.INCONSISTENT:
        return tr(
            "Whether {device} agrees with the emulation of half precision could not be decided: {why}.",
            device=found.device,
            why=tr("it overflows there") if "overflow" in own.gaps else tr("not everything could be compared"),
        )
    what = (
        tr("{tokens} of {frames} tokens are out of its reach", tokens=total.mismatches, frames=total.frames)
        if total.mismatches
        else tr(
            "{tokens} of {frames} tokens differ, where at most {limit} are to be expected",
            tokens=total.near_ties,
            frames=total.frames,
            limit=own.limit,
        )
    )
    return tr(
        "{device} derives tokens in half precision that the emulation does not explain: {what}. The verdict rests on "
        "the emulation. On this device {tokens} of {frames} tokens are the recorded ones.",
        device=found.device,
        what=what,
        tokens=found.as_recorded,
        frames=found.frames,
    )


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


def findings(audit: TokenAudit) -> list[str]:
    """Return what speaks against the checkpoint, or keeps the audit from a verdict."""
    total, found = audit.total, []
    if total.mismatches:
        found.append(
            tr(
                "{mismatches} of {frames} tokens name a code that is not the nearest one. No rounding "
                "in float32, TF32 or float16 explains such a distance.",
                mismatches=total.mismatches,
                frames=total.frames,
            )
        )
    for group in audit.groups:
        if group.surplus:
            count, limit = group.exceeded
            rounding = tr("float32 rounding") if group.precision == TokenPrecision.FLOAT32 else tr("rounding")
            found.append(
                tr(
                    "{count} tokens name a code that is nearly the nearest one. That is too many: "
                    "{rounding} gives at most {limit} on these features (binomial limit; a right file "
                    "exceeds it with a probability of {risk:g}). The codebook or the projection has "
                    "drifted, before or after the tokens were extracted.",
                    count=count,
                    rounding=rounding,
                    limit=limit,
                    risk=RISK,
                )
            )
    if audit.wrong_lengths:
        names = listed([item.item for item in audit.wrong_lengths], NAMED)
        found.append(
            tr(
                "{wrong_lengths} items have at least two tokens more or fewer than their features "
                "give. Their features belong to other recordings: {names}.",
                wrong_lengths=len(audit.wrong_lengths),
                names=names,
            )
        )
    if "overflow" in audit.gaps:
        found.append(
            tr(
                "On {overflowing} of {frames} frames the half-precision distances exceed 65504. What a GPU "
                "makes of them does not depend on the codebook. {next}",
                overflowing=total.undecided - total.coarse,
                frames=total.frames,
                next=_float_tokens(),
            )
        )
    if "coarse" in audit.gaps:
        found.append(
            tr(
                "On {coarse} of {frames} frames half precision cannot tell apart more than a tenth of "
                "the codes. A GPU may choose any of them. {next}",
                coarse=total.coarse,
                frames=total.frames,
                next=_float_tokens(),
            )
        )
    return found


def _float_tokens() -> str:
    return tr("Tokens extracted in float32 (is_half=False) can be checked.")


def precision(audit: TokenAudit) -> str:
    """Return which precision the tokens fit."""
    found = audit.total.precision
    words = {
        TokenPrecision.HALF: tr("half precision fits the tokens best"),
        TokenPrecision.FLOAT32: tr("float32 fits the tokens best"),
        TokenPrecision.MIXED: tr("half precision fits some items best, float32 fits others best"),
    }.get(found, tr("float32 and half precision give the same tokens"))
    tf32 = found in (TokenPrecision.FLOAT32, TokenPrecision.MIXED) and audit.float_arithmetic != TokenPrecision.FLOAT32
    return tr("{words} ({arithmetic})", words=words, arithmetic=audit.float_arithmetic) if tf32 else words
