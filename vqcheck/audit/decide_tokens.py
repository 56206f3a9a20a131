"""Looks for what decides beside the tokens whether they come from a checkpoint: a lock, and another checkpoint."""

import os
from collections.abc import Callable
from dataclasses import replace

from vqcheck.audit.bound_files import tokens_digest
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.lock import NAME, read_lock
from vqcheck.audit.token_audit_result import TokenAudit, TokenVerdict
from vqcheck.audit.token_decision import Decider, LockSays, Movement, TokenDecision
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import file_record
from vqcheck.codebook.compare import compare
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.diagnosis import flips
from vqcheck.codebook.diagnosis.evidence import EmaUpdates, UpdateOrder
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.file_record import Order
from vqcheck.errors import UsageError, VqcheckError
from vqcheck.experiment.features import FeatureFolder
from vqcheck.experiment.run_base import named_base
from vqcheck.language import tr


def lock_of(experiment: str, checkpoint: Checkpoint, given: str | None = None, copy: str = "") -> LockSays | None:
    """Return what the lock of an experiment says of an open checkpoint; None where there is none that binds tokens.

    `given` is the lock that the user names; without it the one in the directory counts.

    Raises:
        UsageError, CheckpointError: the lock is damaged or cannot be compared, or the one named binds other tokens.

    """
    path = given or os.path.join(experiment, NAME)
    if given is None and not os.path.exists(path):
        return None
    lock = read_lock(path)
    if lock.tsv is None or not _are_tokens(lock.tsv.digest, experiment):
        if given is not None:
            raise UsageError(
                tr("binds no tokens, so it says nothing of them")
                if lock.tsv is None
                else tr(
                    "binds other tokens than those of {experiment}, so it says nothing of them", experiment=experiment
                ),
                path,
            )
        return LockSays(path, binds=False) if lock.tsv is not None else None
    return LockSays(
        path, binds=True, verdict=check_lock(lock, path, checkpoint, None, None, Scope.ALL, copy=copy).verdict
    )


def _are_tokens(digest: Digest, experiment: str) -> bool:
    try:
        return tokens_digest(experiment) == digest
    except UsageError:
        return False  # lines without tokens, which no locked tsv has; the audit tells them


def movement_between(
    other: Checkpoint, checkpoint: Checkpoint, experiment: str, copies: tuple[str, ...]
) -> Movement | None:
    """Return how the VQ encoder of an open checkpoint differs from another one's; None where it does not.

    `copies` names the copy to take of each, the other one's first.

    Raises:
        NoCodebookError, CheckpointError, UsageError: one of them derives no tokens, or cannot be read.

    """
    order = file_record.order(file_record.record(other), file_record.record(checkpoint))
    comparison = compare(other, checkpoint, Scope.ALL, copies=copies, order=order)
    if comparison.verdict not in (Verdict.CHANGED, Verdict.UNDECIDED):
        return None
    cause = comparison.diagnosis.of("ema-updates") if comparison.diagnosis else None
    found = cause.evidence if cause and isinstance(cause.evidence, EmaUpdates) else None
    if order is Order.UNKNOWN and found is not None:
        order = {UpdateOrder.A_TO_B: Order.A_FIRST, UpdateOrder.B_TO_A: Order.B_FIRST}.get(found.order, order)
    recordings = FeatureFolder(experiment)
    return Movement(
        Order.UNKNOWN if comparison.verdict == Verdict.UNDECIDED else order,
        found.steps if found else None,
        found.precision if found else "",
        flips.measure(other, checkpoint, recordings.path, recordings, copies=copies),
    )


def with_base(
    decision: TokenDecision,
    checkpoint: Checkpoint,
    experiment: str,
    audit: Callable[[Checkpoint], TokenAudit],
    copy: str = "",
) -> TokenDecision:
    """Return a decision beside the base that the experiment's configuration names, where that explains the tokens, too.

    Nobody asked about it: one that cannot be compared, or that did not make the tokens, changes nothing. `audit`
    audits the tokens by another open checkpoint. `copy` names the copy of the checkpoint that is judged.
    """
    decided = decision.decided_by is Decider.LOCK or decision.verdict is not TokenVerdict.CONSISTENT
    base = None if decided else named_base(experiment, "", [checkpoint.information.get("config")]).path
    if base is None or os.path.realpath(base) == os.path.realpath(checkpoint.path):
        return decision
    try:
        with open_checkpoint(base) as opened:
            movement = movement_between(opened, checkpoint, experiment, (copy,) if copy else ())
            other = audit(opened) if movement else None
    except VqcheckError:
        return decision
    if other is None or other.verdict is not TokenVerdict.CONSISTENT:
        return decision
    return replace(decision, other=other, movement=movement, other_is_configured=True)
