"""Says whether a checkpoint, and what belongs to it, agrees with a lock."""

from collections.abc import Iterable
from dataclasses import dataclass

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import health
from vqcheck.codebook.comparison import CHANGED, FAULTS, IDENTICAL, MISSING, NOT_STORED, ROUNDED, is_judged
from vqcheck.codebook.digest import F16V1, F32V1, Digest
from vqcheck.codebook.family import CODEBOOK_ROLES, OUTPUT_PROJ, Family
from vqcheck.codebook.find import find_vq_encoder
from vqcheck.codebook.token_relevant import feeds_a_lookup
from vqcheck.codebook.vq_encoder import VQEncoder
from vqcheck.errors import UsageError
from vqcheck.experiment.bound_files import OnBytes, file_digest, tokens_digest
from vqcheck.experiment.lock import HALVES, Lock, LockedFile, LockedTensor
from vqcheck.experiment.make_lock import record


@dataclass(frozen=True, slots=True)
class LockVerdict:
    """What became of one thing a lock records."""

    what: str
    """A tensor's label, `tsv` or `s1`."""
    verdict: str
    note: str
    judged: bool


@dataclass(frozen=True, slots=True)
class LockCheck:
    """A checkpoint, and what belongs to it, against a lock."""

    lock: str
    """The lock file's path."""
    path: str
    family: str
    never_trained: bool
    recorded: Digest | None
    found: Digest | None
    verdicts: tuple[LockVerdict, ...]

    @property
    def verdict(self) -> str:
        judged = {verdict.verdict for verdict in self.verdicts if verdict.judged}
        if judged & FAULTS:
            return CHANGED
        return ROUNDED if ROUNDED in judged else IDENTICAL

    @property
    def exit_code(self) -> int:
        return int(self.verdict == CHANGED)


def check_lock(
    lock: Lock,
    lock_path: str,
    checkpoint: Checkpoint,
    experiment: str | None,
    s1: str | None,
    scope: str,
    own: tuple[Family, ...] = (),
    on_bytes: OnBytes | None = None,
    copy: str = "",
) -> LockCheck:
    """Return whether a checkpoint, an experiment's tokens and an s1 checkpoint are what a lock records.

    Raises:
        NoCodebookError, CheckpointError: the checkpoint has no VQ encoder, or it cannot be read.
        UsageError: the tokens cannot be read, or the lock does not bind what is to be checked.

    """
    encoder = find_vq_encoder(checkpoint, own, copy)
    found, wholes = record(checkpoint, encoder)
    recorded = {tensor.label: tensor for tensor in lock.tensors}
    tensors = {encoder.label(tensor): tensor for tensor in encoder.tensors}
    verdicts = []
    in_both = _books(recorded, encoder) & _books(found, encoder)
    for label in [*recorded, *(label for label in found if label not in recorded)]:
        role = _role(label)
        whole_book = role in CODEBOOK_ROLES and _place(label) not in in_both
        verdict, note = _compare(recorded.get(label), found.get(label), encoder, may_lack=not whole_book)
        relevant = tensors[label].token_relevant if label in tensors else _decides(label, encoder)
        verdicts.append(LockVerdict(label, verdict, note, is_judged(role, scope, token_relevant=relevant)))
    if experiment:
        verdicts.append(_bound("tsv", lock.tsv, tokens_digest(experiment), f"{lock_path}: binds no tokens"))
    if s1:
        verdicts.append(_bound("s1", lock.s1, file_digest(s1, on_bytes), f"{lock_path}: binds no s1 checkpoint"))
    part = "vq_encoder" if lock.whole("vq_encoder", F32V1) and wholes[0].vq_encoder else "codebook"
    return LockCheck(
        lock=lock_path,
        path=checkpoint.path,
        family=encoder.family.name,
        never_trained=any(health.never_trained(checkpoint, codebook) for codebook in encoder.codebooks),
        recorded=lock.whole(part, F32V1),
        found=getattr(wholes[0], part),
        verdicts=tuple(verdicts),
    )


def _decides(label: str, encoder: VQEncoder) -> bool:
    """Say whether a tensor that the file lacks would decide tokens in it; in doubt it would."""
    if _role(label) != OUTPUT_PROJ or len(encoder.books) > len(encoder.family.books):
        return True
    place = encoder.lookup_at(_place(label))
    lookups = {tensor.place[:3] for tensor in encoder.tensors}
    return place is None or feeds_a_lookup(place, lookups, encoder.family.residual)


def _books(labels: Iterable[str], encoder: VQEncoder) -> set[str]:
    """Return the places that have a codebook."""
    return {_place(label) for label in labels if _role(label) == encoder.family.source_of_codes}


def _compare(
    recorded: LockedTensor | None, found: LockedTensor | None, encoder: VQEncoder, *, may_lack: bool
) -> tuple[str, str]:
    if recorded is None:
        assert found is not None
        family = encoder.family
        if may_lack and _role(found.label) in family.optional | family.optional_in_lora:
            return NOT_STORED, "the lock was made from a file without it"
        return MISSING, "not in the lock"
    if found is None:
        left_out = may_lack and encoder.may_lack(_role(recorded.label))
        return (NOT_STORED, "an export leaves it out") if left_out else (MISSING, "not in the file")
    if recorded.digest(F32V1) == found.digest(F32V1):
        return IDENTICAL, ""
    if recorded.digest(F16V1) is not None and recorded.digest(F16V1) == found.digest(F16V1):
        # Equal once rounded proves a rounding only if one of the two is rounded already.
        if found.precision in HALVES:
            return ROUNDED, "the file holds the locked values rounded to float16"
        if recorded.precision in HALVES:
            return ROUNDED, "the lock holds the file's values rounded to float16"
    return CHANGED, ""


def _place(label: str) -> str:
    return label.rpartition(" ")[0]


def _role(label: str) -> str:
    return label.rsplit(" ", maxsplit=1)[-1].split(".", maxsplit=1)[0]


def _bound(what: str, recorded: LockedFile | None, found: Digest, unbound: str) -> LockVerdict:
    if recorded is None:
        raise UsageError(f"{unbound}; make the lock again with it and --update")
    if recorded.digest == found:
        return LockVerdict(what, IDENTICAL, "", judged=True)
    return LockVerdict(what, CHANGED, f"its content is not that of the locked {recorded.name}", judged=True)
