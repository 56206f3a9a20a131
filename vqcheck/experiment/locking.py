"""Makes a lock from a checkpoint, and says whether another checkpoint agrees with a lock."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from vqcheck.checkpoint.file import PositionedFile
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import digest, health
from vqcheck.codebook.comparison import CHANGED, FAULTS, IDENTICAL, MISSING, NOT_STORED, ROUNDED, TOKENS
from vqcheck.codebook.digest import F16V1, F32V1, Digest, EncoderDigests
from vqcheck.codebook.family import BOOKKEEPING, CODEBOOK_ROLES, INIT_FLAG, OUTPUT_PROJ, Family
from vqcheck.codebook.find import find_vq_encoder
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.errors import UsageError
from vqcheck.experiment.lock import Lock, LockedFile, LockedTensor
from vqcheck.experiment.name2semantic import MERGED, read_name2semantic
from vqcheck.experiment.s1_tokens import recorded_tsv, same_experiment

_PIECE: Final = 8 << 20
_NARROW: Final = ("bfloat16", "float16")

OnBytes = Callable[[int, int], None]
"""Called as (bytes digested, bytes in all) while the s1 checkpoint is read, which is the long part."""


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


def make_lock(
    checkpoint: Checkpoint,
    experiment: str | None,
    s1: str | None,
    own: tuple[Family, ...] = (),
    on_bytes: OnBytes | None = None,
) -> Lock:
    """Return the lock of a checkpoint's VQ encoder, bound to an experiment's tokens and an s1 checkpoint where given.

    Raises:
        NoCodebookError, CheckpointError: the checkpoint has no VQ encoder, or it cannot be read.
        UsageError: the tokens cannot be read, the codebook was never trained, or the s1 file is no s1 checkpoint or
            was trained on other tokens.

    """
    encoder = find_vq_encoder(checkpoint, own)
    if any(health.never_trained(checkpoint, codebook) for codebook in encoder.codebooks):
        raise UsageError(f"{checkpoint.path}: its codebook was never trained, so a lock of it would prove nothing")
    if s1:
        _check_s1(s1, experiment)
    tensors, wholes = _record(checkpoint, encoder)
    return Lock(
        checkpoint=os.path.basename(checkpoint.path),
        family=encoder.family.name,
        tensors=tuple(tensors.values()),
        wholes=tuple(
            (part, whole)
            for digests in wholes
            for part in ("codebook", "projection", "vq_encoder")
            if (whole := getattr(digests, part)) is not None
        ),
        tsv=LockedFile(MERGED, tokens_digest(experiment)) if experiment else None,
        s1=LockedFile(os.path.basename(s1), file_digest(s1, on_bytes)) if s1 else None,
    )


def keep_bindings(old: Lock, new: Lock) -> Lock:
    """Return a new lock with the bindings of an old one that are still valid and were not given again.

    Tokens stay bound while the VQ encoder is the same, and the s1 checkpoint while the tokens are, too.
    """
    if set(old.wholes) != set(new.wholes):
        return new
    tsv = new.tsv or old.tsv
    s1 = new.s1 or (old.s1 if tsv == old.tsv else None)
    return replace(new, tsv=tsv, s1=s1)


def check_lock(
    lock: Lock,
    lock_path: str,
    checkpoint: Checkpoint,
    experiment: str | None,
    s1: str | None,
    scope: str,
    own: tuple[Family, ...] = (),
    on_bytes: OnBytes | None = None,
) -> LockCheck:
    """Return whether a checkpoint, an experiment's tokens and an s1 checkpoint are what a lock records.

    Raises:
        NoCodebookError, CheckpointError: the checkpoint has no VQ encoder, or it cannot be read.
        UsageError: the tokens cannot be read, or the lock does not bind what is to be checked.

    """
    encoder = find_vq_encoder(checkpoint, own)
    found, wholes = _record(checkpoint, encoder)
    recorded = {tensor.label: tensor for tensor in lock.tensors}
    roles = {encoder.label(tensor): tensor.role for tensor in encoder.tensors}
    verdicts = []
    in_both = _books(recorded, encoder) & _books(found, encoder)
    for label in [*recorded, *(label for label in found if label not in recorded)]:
        role = roles.get(label, _role(label))
        whole_book = role in CODEBOOK_ROLES and _place(label) not in in_both
        verdict, note = _compare(recorded.get(label), found.get(label), encoder, may_lack=not whole_book)
        judged = role != OUTPUT_PROJ and not (scope == TOKENS and role in BOOKKEEPING)
        verdicts.append(LockVerdict(label, verdict, note, judged))
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


def tokens_digest(experiment: str) -> Digest:
    r"""Return the digest `sha256-tokens-v1` of an experiment's recorded tokens.

    It is the SHA-256 of one UTF-8 line `item<TAB>t0 t1 ...\n` for each row, the lines sorted, so that neither the order
    of rows nor header, line ends or parts are in it.

    Raises:
        UsageError: the tokens cannot be read, or a line holds none.

    """
    table = read_name2semantic(experiment)
    for where, what in table.malformed:
        raise UsageError(f"{os.path.join(experiment, where)}: {what}")
    state = hashlib.sha256()
    # UTF-8 sorts as the characters do.
    for line in sorted(f"{row.item}\t{' '.join(map(str, row.tokens))}\n".encode() for row in table.rows):
        state.update(line)
    return Digest("sha256-tokens-v1", state.hexdigest())


def file_digest(path: str, on_bytes: OnBytes | None = None) -> Digest:
    """Return the SHA-256 of a file's bytes.

    Raises:
        CheckpointError: the file cannot be read, or changes meanwhile.

    """
    state = hashlib.sha256()
    with PositionedFile(path) as file:
        for start in range(0, file.size, _PIECE):
            state.update(file.read(start, min(_PIECE, file.size - start), "content"))
            if on_bytes:
                on_bytes(start, file.size)
        file.check_unchanged()
    return Digest("sha256", state.hexdigest())


def _record(checkpoint: Checkpoint, encoder: VQEncoder) -> tuple[dict[str, LockedTensor], tuple[EncoderDigests, ...]]:
    """Return (label -> locked tensor, combined digests by f32v1 and f16v1)."""
    locked: dict[str, LockedTensor] = {}
    digests: dict[str, dict[RoleTensor, Digest]] = {F32V1: {}, F16V1: {}}
    for tensor in encoder.tensors:
        data = checkpoint.read(tensor.tensor)
        for algorithm, found in digests.items():
            found[tensor] = digest.tensor_digest(tensor, data, algorithm)
        label = encoder.label(tensor)
        locked[label] = LockedTensor(label, _precision(tensor, data), tuple(d[tensor] for d in digests.values()))
    checkpoint.check_unchanged()
    return locked, tuple(digest.combine(encoder, found, algorithm) for algorithm, found in digests.items())


def _precision(tensor: RoleTensor, data: bytes | bytearray) -> str:
    """Return the narrowest type that holds every value: what the tensor was last rounded to."""
    if tensor.role == INIT_FLAG:
        return "flag"
    from vqcheck.codebook.change import same_bits
    from vqcheck.codebook.values import as_array, round_to

    values = as_array(tensor, data)
    return next((dtype for dtype in _NARROW if same_bits(round_to(values, dtype), values)), str(values.dtype))


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
        if found.precision in _NARROW:
            return ROUNDED, "the file holds the locked values rounded to float16"
        if recorded.precision in _NARROW:
            return ROUNDED, "the lock holds the file's values rounded to float16"
    return CHANGED, ""


def _place(label: str) -> str:
    return label.rpartition(" ")[0]


def _role(label: str) -> str:
    return label.rsplit(" ", maxsplit=1)[-1].split(".", maxsplit=1)[0]


def _check_s1(path: str, experiment: str | None) -> None:
    named = recorded_tsv(path)
    if experiment and named and not same_experiment(named, os.path.join(experiment, MERGED)):
        raise UsageError(f"{path}: was trained on {named}, not on the tokens of {experiment}")


def _bound(what: str, recorded: LockedFile | None, found: Digest, unbound: str) -> LockVerdict:
    if recorded is None:
        raise UsageError(f"{unbound}; make the lock again with it and --update")
    if recorded.digest == found:
        return LockVerdict(what, IDENTICAL, "", judged=True)
    return LockVerdict(what, CHANGED, f"its content is not that of the locked {recorded.name}", judged=True)
