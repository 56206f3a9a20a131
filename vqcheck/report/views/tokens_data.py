"""What machines get of a token audit, never translated: its checks and its JSON.

There is a check for each recorded item, and one for each thing that only shows over all of them.
"""

import os
from collections.abc import Iterable
from typing import Any, Final

from vqcheck.audit.token_audit_result import RISK, TokenAudit
from vqcheck.audit.token_decision import Decider, TokenDecision
from vqcheck.audit.token_power import CONFIDENCE, Power, power
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.file_record import Order
from vqcheck.report.document import Case, CaseOutcome, Rule, Weight
from vqcheck.report.views.json_objects import digests_object, named, plain_object
from vqcheck.report.views.words import clauses, listed

NAMED: Final = 5
"""Items that are named of a long list."""
_ITEM: Final = Rule(
    "tokens/item",
    "the recorded tokens of the item come from the checkpoint",
    "The checkpoint gives other tokens than the recorded ones. Extract the tokens again with this checkpoint, or with "
    "the weights exported at its step where it is a G_*.pth, and train s1 again on them. Or start s2 from the "
    "checkpoint that the tokens come from.",
)
_NEAR_TIES: Final = Rule(
    "tokens/near-ties",
    "no more tokens are near-ties than rounding explains",
    "One near-tie can be rounding. So many cannot: the codebook has moved a little. Extract the tokens again with this "
    "checkpoint, or with the weights exported at its step where it is a G_*.pth, and train s1 again on them. Or start "
    "s2 from the checkpoint that the tokens come from.",
)
_OVERFLOW: Final = Rule(
    "tokens/overflow",
    "half precision does not overflow",
    "Where distances exceed 65504, the tokens of a GPU do not depend on the codebook. They prove nothing. "
    "Tokens extracted in float32 (is_half=False) can be checked.",
)
_COARSE: Final = Rule(
    "tokens/coarse",
    "half precision tells the codes apart",
    "Where it does not, a GPU may choose any of them. Such tokens prove nothing. Tokens extracted in float32 "
    "(is_half=False) can be checked.",
)
_COVERAGE: Final = Rule(
    "tokens/coverage",
    "most items have features to check them by",
    "A verdict must not rest on a small part of the tokens. Extract the features again, or keep 4-cnhubert.",
)
_LOCK: Final = Rule(
    "tokens/lock",
    "the lock that binds the tokens records the VQ encoder of the checkpoint",
    "The tokens were extracted with another VQ encoder, even where this data does not show it. Extract the tokens "
    "again with this checkpoint and train s1 again on them. Or start s2 from the checkpoint that is locked.",
)
_OTHER: Final = Rule(
    "tokens/against",
    "no earlier VQ encoder explains the tokens, too",
    "On little data two VQ encoders give the same tokens. Go by the earlier one, by a lock, or by more recordings.",
)
_FEATURES: Final = Rule(
    "tokens/unreadable-features",
    "the features of the item can be read",
    "The tokens of the item could not be checked. Extract its features again.",
)
_LINE: Final = Rule(
    "tokens/malformed-line",
    "each line of the tsv holds tokens",
    "The line could not be checked, and s1 may fail on it. Extract the tokens again.",
)
_TSV: Final = Rule(
    "tokens/tsv",
    "the tsv holds what s1 expects",
    "Stage 1 loses or repeats items of such a file. Extract the tokens again.",
)


def cases(decision: TokenDecision) -> tuple[Case, ...]:
    """Return every check of an audit, and what a lock and another checkpoint say."""
    audit = decision.audit
    return (*_items(audit), *_near_ties(audit), *_gaps(audit), *_beside(decision), *_advice(audit))


def tsv(audit: TokenAudit) -> str:
    """Return the path of the recorded tokens, of several parts the first."""
    return os.path.join(audit.experiment, audit.files[0])


def _items(audit: TokenAudit) -> Iterable[Case]:
    for item in audit.items:
        counts = item.counts
        frames = (
            f"{counts.explained} of {counts.frames} tokens agree",
            f"{counts.mismatches} cannot come from this VQ encoder" if counts.mismatches else "",
            f"{counts.near_ties} within rounding" if counts.near_ties else "",
            f"{counts.undecided} undecided" if counts.undecided else "",
        )
        length = f"{item.recorded} tokens are recorded, the features give {item.derived}" if item.wrong_length else ""
        message = clauses(listed(frames), length)
        failed = counts.mismatches or item.wrong_length
        name = f"{item.item} ({item.line})" if item.item in audit.repeated else item.item
        yield Case(
            _ITEM, name, CaseOutcome.FAILED if failed else CaseOutcome.PASSED, message, *_place(audit, item.line)
        )
    for name in audit.without_features:
        why = "there are no features to check its tokens by"
        yield Case(_ITEM, name, CaseOutcome.NOT_APPLICABLE, why, audit.experiment)


def _near_ties(audit: TokenAudit) -> Iterable[Case]:
    for group in audit.groups:
        count, limit = group.exceeded
        message = f"{count} of {group.frames} tokens, where rounding explains at most {limit}"
        outcome = CaseOutcome.FAILED if group.surplus else CaseOutcome.PASSED
        yield Case(_NEAR_TIES, f"near-ties in {group.precision}", outcome, message, tsv(audit))


def _beside(decision: TokenDecision) -> Iterable[Case]:
    audit, lock = decision.audit, decision.lock
    if lock is not None and lock.binds:
        outcome, message = CaseOutcome.PASSED, f"{lock.path} binds the tokens to this VQ encoder"
        if lock.verdict == Verdict.CHANGED:
            outcome = CaseOutcome.FAILED
            message = f"{lock.path} binds the tokens; the checkpoint holds another VQ encoder"
        elif lock.verdict == Verdict.UNDECIDED:
            outcome = CaseOutcome.COULD_NOT_CHECK
            message = f"{lock.path} binds the tokens; the checkpoint holds copies that contradict each other"
        yield Case(_LOCK, "lock", outcome, message, lock.path)
    if decision.movement is None or decision.other is None or decision.decided_by is Decider.LOCK:
        return
    outcome = {Decider.AGAINST: CaseOutcome.FAILED, Decider.NOTHING: CaseOutcome.COULD_NOT_CHECK}.get(
        decision.decided_by, CaseOutcome.PASSED
    )
    message = f"the tokens agree with {decision.other.checkpoint}, too, which holds another VQ encoder"
    yield Case(_OTHER, "against", outcome, message, audit.checkpoint)


def _gaps(audit: TokenAudit) -> Iterable[Case]:
    counts = audit.total
    for rule, name, message in (
        (
            _COVERAGE,
            "coverage",
            f"{audit.rows - audit.covered} of {audit.rows} items have no features",
        ),
        (
            _OVERFLOW,
            "overflow",
            f"{counts.undecided - counts.coarse} of {counts.frames} frames overflow",
        ),
        (
            _COARSE,
            "coarse",
            f"{counts.coarse} of {counts.frames} frames have too many codes within rounding",
        ),
    ):
        outcome = CaseOutcome.COULD_NOT_CHECK if name in audit.gaps else CaseOutcome.PASSED
        yield Case(rule, name, outcome, message, tsv(audit))
    for item, why in audit.unreadable:
        yield Case(_FEATURES, item, CaseOutcome.COULD_NOT_CHECK, why, audit.experiment)
    for line, why in audit.malformed:
        yield Case(_LINE, line, CaseOutcome.COULD_NOT_CHECK, why, *_place(audit, line))


def _advice(audit: TokenAudit) -> Iterable[Case]:
    parts, repeated, lacking = (
        listed(names, NAMED) for names in (audit.leftover_parts, audit.repeated, audit.without_tokens)
    )
    for name, found, message in (
        (
            "header",
            audit.headless,
            "the tsv has no header line: s1 reads its first item as the header and loses it",
        ),
        ("parts", parts, f"nothing reads the parts beside the merged tsv: {parts}"),
        ("repeated", repeated, f"items with several rows: {repeated}"),
        (
            "without tokens",
            lacking,
            f"items with features but no tokens, which s1 never sees: {lacking}",
        ),
    ):
        if found:
            yield Case(_TSV, name, CaseOutcome.FAILED, message, tsv(audit), weight=Weight.ADVICE)


def _place(audit: TokenAudit, line: str) -> tuple[str, int]:
    """Return path and number of a line given as `file:number`."""
    file, _, number = line.rpartition(":")
    return os.path.join(audit.experiment, file), int(number)


def data(decision: TokenDecision) -> dict[str, Any]:
    """Return the JSON of an audit, of the one it is compared with, and of what decided."""
    audit, other, lock, movement = decision.audit, decision.other, decision.lock, decision.movement
    return {
        "experiment": audit.experiment,
        "tsv": {
            "files": list(audit.files),
            "rows": audit.rows,
            "headless": audit.headless,
            "leftover_parts": list(audit.leftover_parts),
            "malformed": [{"line": line, "problem": problem} for line, problem in audit.malformed],
            "repeated": list(audit.repeated),
        },
        **named(audit, "without_tokens without_features"),
        "unreadable": [{"item": item, "problem": problem} for item, problem in audit.unreadable],
        "sampled": audit.sampled,
        "audit": _audit_object(audit),
        "against": _audit_object(other) if other else None,
        "better": audit.better_than(other) if other else None,
        "decided_by": decision.decided_by.value,
        "lock": {"path": lock.path, "binds": lock.binds, "verdict": lock.verdict or None} if lock else None,
        "movement": {
            "order": {Order.A_FIRST: "against", Order.B_FIRST: "checkpoint"}.get(movement.order),
            "ema_steps": movement.steps,
            "precision": movement.precision or None,
            "frames": movement.flips.frames,
            "flipped": movement.flips.flipped,
        }
        if movement
        else None,
        "covered": audit.covered,
        "least_coverage": audit.least_coverage,
        "updates_unseen": decision.updates,
    }


def power_object(found: Power | None) -> dict[str, Any] | None:
    """Return the JSON of what a passed audit could not have seen."""
    return {"confidence": CONFIDENCE, **plain_object(found)} if found else None


def _audit_object(audit: TokenAudit) -> dict[str, Any]:
    return {
        "checkpoint": audit.checkpoint,
        "family": audit.family,
        "digests": digests_object(audit.digests),
        "verdict": audit.verdict.value,
        "contradictions": list(audit.contradictions),
        "gaps": list(audit.gaps),
        "total": plain_object(audit.total),
        "power": power_object(power(audit)),
        **named(audit, "arithmetic float_arithmetic"),
        "risk": RISK,
        "groups": [plain_object(group) for group in audit.groups],
        "items": [named(item, "item line recorded derived") | plain_object(item.counts) for item in audit.items],
    }
