"""Makes a lock: records the VQ encoder of a checkpoint, and binds tokens and s1 checkpoints to it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from vqcheck.audit.bound_files import OnBytes, file_digest, recorded_tsv, same_experiment, tokens_digest
from vqcheck.audit.lock import Lock, LockedFile, in_order
from vqcheck.audit.locked_encoder import PARTS, LockedEncoder, record
from vqcheck.audit.token_audit_result import TokenAudit, TokenVerdict
from vqcheck.audit.token_power import summary
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import file_record, health
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.copies import Copies, Copy
from vqcheck.codebook.copy_verdict import relation
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.family import Family, Role
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.model import base_model
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.errors import UsageError, VqcheckError
from vqcheck.experiment.name2semantic import MERGED
from vqcheck.language import listed, tr, word


def make_lock(
    checkpoint: Checkpoint,
    experiment: str | None,
    s1: Sequence[str] | None,
    own: tuple[Family, ...] = (),
    on_step: OnBytes | None = None,
    copy: str = "",
    on_unchecked: Callable[[str], None] | None = None,
    on_contested: Callable[[str], None] | None = None,
) -> Lock:
    """Return the lock of a checkpoint's VQ encoder, bound to an experiment's tokens and to s1 checkpoints where given.

    Every copy and every codec of the file is recorded, or the one that `copy` names. Where it cannot be checked whether
    the tokens come from it, they are bound all the same, and `on_unchecked` gets the reason. Where they agree with the
    base, too, which came first, they are bound only to a checkpoint that the user insists on: `on_contested` gets the
    reason.

    Raises:
        NoCodebookError, CheckpointError: the checkpoint has no VQ encoder, or it cannot be read.
        UsageError: the tokens cannot be read, or come from another VQ encoder; a VQ encoder is not whole or not fit for
            use; there is no copy of that name; an s1 file is not an s1 checkpoint or was trained on other tokens.

    """
    copies = find_copies(checkpoint, own, copy)
    names = listed(copies.names, last="")
    for each in copies.unreadable:
        raise UsageError(
            tr(
                "{why}; to lock another copy than '{name}': --copy NAME ({names})",
                why=each.why,
                name=each.name,
                names=names,
            )
        )
    several = len(copies.sound) > 1
    for each_copy in copies.sound:
        try:
            _require_fit(checkpoint, each_copy.encoder)
        except UsageError as error:
            if not several:
                raise
            raise UsageError(
                tr(
                    "{reason} (that is its copy '{copy}'; --copy NAME locks one of {names})",
                    reason=str(error),
                    copy=each_copy.name,
                    names=names,
                )
            ) from None
    for path in s1 or ():
        recorded_tsv(path)  # which is an s1 checkpoint's alone
    tsv = LockedFile(MERGED, tokens_digest(experiment)) if experiment else None
    if experiment:
        contested = _require_made_by(copies, checkpoint, experiment, on_unchecked, on_step)
        if contested and on_contested is None:
            raise UsageError(
                tr(
                    "{reason}; lock the base, or repeat this with --update where the tokens were extracted with {file}",
                    reason=contested,
                    file=os.path.basename(checkpoint.path),
                ),
                experiment,
            )
        if contested and on_contested:
            on_contested(contested)
    return Lock(
        checkpoint=os.path.basename(checkpoint.path),
        copies=tuple(_locked(each, copies, named=several or bool(copy)) for each in copies.sound),
        record=file_record.record(checkpoint),
        tsv=tsv,
        s1=_locked_s1(s1 or (), on_step),
    )


def _locked_s1(paths: Sequence[str], on_step: OnBytes | None) -> tuple[LockedFile, ...]:
    """Return s1 checkpoints as a lock has them; of files with the same content the first."""
    files: dict[Digest, LockedFile] = {}
    for path in paths:
        found = file_digest(path, on_step)
        files.setdefault(found, LockedFile(os.path.basename(path), found))
    return in_order(files.values())


def _require_fit(checkpoint: Checkpoint, encoder: VQEncoder) -> None:
    """Raise UsageError where a lock of this VQ encoder would accept what it should not."""
    if encoder.family.projects and not any(_is_weight(tensor) for tensor in encoder.projection):
        raise UsageError(
            tr(
                "{reason}; lock {base} instead",
                reason=_without_projection(checkpoint, encoder),
                base=base_model(checkpoint),
            )
        )
    ailments = health.ailments(checkpoint, encoder)
    if health.Condition.NEVER_TRAINED in ailments:
        raise UsageError(tr("its codebook was never trained, so a lock of it would prove nothing"), checkpoint.path)
    if unfit := [ailment for ailment in ailments if ailment in (health.Condition.NOT_FINITE, health.Condition.BROKEN)]:
        raise UsageError(
            tr("its VQ encoder is {ailment}; lock a file whose VQ encoder is fit for use", ailment=word(unfit[0])),
            checkpoint.path,
        )


def _require_made_by(
    copies: Copies,
    checkpoint: Checkpoint,
    experiment: str,
    on_unchecked: Callable[[str], None] | None,
    on_item: OnBytes | None,
) -> str:
    """Return why the base decides against a checkpoint that the tokens agree with, too; empty where it does not.

    Raises:
        UsageError: the tokens contradict every copy that derives any.

    """
    from vqcheck.audit.token_audit import audit_tokens

    refuted = unchecked = contested = ""
    for copy in copies.sound:
        try:
            audit = audit_tokens(checkpoint, experiment, copy=copy.name, on_item=on_item)
        except VqcheckError as error:
            unchecked = unchecked or str(error)
            continue
        if audit.verdict is TokenVerdict.CONSISTENT:
            contested = _contested(audit, checkpoint, experiment, copy.name)
            if contested:
                continue
            return ""
        if audit.verdict is TokenVerdict.INCONCLUSIVE:
            refuted, unchecked = "", summary(audit)
            break
        refuted = refuted or summary(audit)
    if contested and not unchecked:
        return contested
    if refuted:
        raise UsageError(
            tr(
                "its tokens do not agree with {path}: {reason}; lock the checkpoint that they were "
                "extracted with, or extract them again (vqcheck tokens shows the items)",
                path=checkpoint.path,
                reason=refuted,
            ),
            experiment,
        )
    if on_unchecked:
        on_unchecked(unchecked)
    return ""


def _contested(audit: TokenAudit, checkpoint: Checkpoint, experiment: str, copy: str) -> str:
    """Return why tokens that agree with a copy are not taken for its own, as `vqcheck tokens` decides it."""
    from vqcheck.audit.decide_tokens import lock_of, with_base
    from vqcheck.audit.token_audit import audit_tokens
    from vqcheck.audit.token_decision import TokenDecision

    said = lock_of(experiment, checkpoint, copy=copy)
    if said is not None and said.binds and said.verdict not in (Verdict.CHANGED, Verdict.UNDECIDED):
        return ""  # recorded before
    decision = with_base(
        TokenDecision(audit), checkpoint, experiment, lambda base: audit_tokens(base, experiment), copy
    )
    if decision.verdict is TokenVerdict.CONSISTENT or decision.other is None:
        return ""
    base, name = os.path.basename(decision.other.checkpoint), os.path.basename(checkpoint.path)
    return tr(
        "the tokens agree with {base}, too, the base that the configuration names, from which {name} has moved; "
        "this data cannot tell the two apart",
        base=base,
        name=name,
    )


def _locked(copy: Copy, copies: Copies, *, named: bool) -> LockedEncoder:
    tensors, wholes = record(copy.file, copy.encoder)
    first = next(each for each in copies.sound if each.encoder.family is copy.encoder.family)
    return LockedEncoder(
        family=copy.encoder.family.name,
        tensors=tuple(tensors.values()),
        wholes=tuple(
            (part, whole) for digests in wholes for part in PARTS if (whole := getattr(digests, part)) is not None
        ),
        names=copy.names if named else (),
        is_noise=copy is not first and relation(first, copy) == Verdict.NOISE,
    )


def keep_bindings(old: Lock, new: Lock) -> Lock:
    """Return a new lock with the bindings of an old one that are still valid and were not given again.

    Tokens stay bound while the VQ encoder is the same, and s1 checkpoints while the tokens are, too.
    """
    before, after = ([(copy.name, set(copy.wholes)) for copy in lock.copies] for lock in (old, new))
    if before != after:
        return new
    tsv = new.tsv or old.tsv
    s1 = new.s1 or (old.s1 if tsv == old.tsv else ())
    return replace(new, tsv=tsv, s1=s1)


def _is_weight(tensor: RoleTensor) -> bool:
    return tensor.role == Role.INPUT_PROJ and not tensor.part.endswith("bias")


def _without_projection(checkpoint: Checkpoint, encoder: VQEncoder) -> str:
    if encoder.is_lora:
        return tr(
            "{file}: is a LoRA export without the projection in front of the lookup, so a lock of it would accept any",
            file=checkpoint.path,
        )
    return tr(
        "{file}: is a file without the projection in front of the lookup, so a lock of it would accept any",
        file=checkpoint.path,
    )


def renamed_from(s1: Sequence[str], experiment: str | None) -> tuple[tuple[str, str], ...]:
    """Return (s1 checkpoint, the tokens that it names) where these are of another folder than the experiment's.

    It may have been renamed: the user, who named both, is believed, and is shown the name that is recorded.
    """
    named = [(path, recorded_tsv(path)) for path in s1 if experiment]
    return tuple(
        (path, tsv) for path, tsv in named if tsv and not same_experiment(tsv, os.path.join(experiment or "", MERGED))
    )
