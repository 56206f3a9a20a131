"""Says whether a checkpoint, and what belongs to it, agrees with a lock."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vqcheck.audit.bound_files import OnBytes, file_digest, tokens_digest
from vqcheck.audit.check_copy import check_copy, makes_codes
from vqcheck.audit.lock import Lock, LockedFile
from vqcheck.audit.lock_result import S1, TSV, LockCheck, LockReason, LockVerdict
from vqcheck.audit.locked_encoder import LockedEncoder, record
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import file_record
from vqcheck.codebook.comparison import CopyPair, EqualCopies, LoneCopy, Scope, Verdict, titles
from vqcheck.codebook.copies import Copies, Copy, Partners, pair_up
from vqcheck.codebook.copy_verdict import DigestsOfCopies, lone_copies
from vqcheck.codebook.digest import F32V1, Digest
from vqcheck.codebook.families import FAMILIES
from vqcheck.codebook.family import BOOKKEEPING, Family
from vqcheck.codebook.file_record import FileOrder, FileRecord, Order
from vqcheck.codebook.find import find_copies
from vqcheck.errors import UsageError
from vqcheck.language import listed, tr


def check_lock(
    lock: Lock,
    lock_path: str,
    checkpoint: Checkpoint,
    experiment: str | None,
    s1: Sequence[str] | None,
    scope: str,
    own: tuple[Family, ...] = (),
    on_bytes: OnBytes | None = None,
    copy: str = "",
    bound: tuple[LockVerdict, ...] | None = None,
) -> LockCheck:
    """Return whether a checkpoint, an experiment's tokens and s1 checkpoints are what a lock records.

    Copies are paired as those of two files are, see `pair_up`; `copy` names the one to verify. `bound` is what
    `check_bound` said of tokens and s1, where that is known already.

    Raises:
        NoCodebookError, CheckpointError: the checkpoint has no VQ encoder, or it cannot be read.
        UsageError: the tokens cannot be read, the lock does not bind what is to be checked, or there is no copy of
            that name.

    """
    held = find_copies(checkpoint, own)
    locked, held = _chosen(lock, lock_path, held, copy)
    partners = pair_up([each.label for each in locked], [each.label for each in held.sound])
    partners = partners or [Partners(0, 0, guessed=len(locked) > 1 or len(held.sound) > 1)]
    files = FileOrder(lock.record, file_record.record(checkpoint), _order(lock.record, file_record.record(checkpoint)))
    by_diff = tr("not comparable by digest: vqcheck diff {locked} {path}", locked=lock.checkpoint, path=checkpoint.path)
    checks = [check_copy(locked[each.a], lock_path, held.sound[each.b], files, scope, by_diff) for each in partners]
    pairs = tuple(
        CopyPair(locked[each.a].family, locked[each.a].name, held.sound[each.b].name, check.verdict, each.guessed)
        for each, check in zip(partners, checks, strict=True)
    )
    if bound is None:
        bound = check_bound(lock, lock_path, experiment, s1, on_bytes)
    paired = [held.sound[each.b] for each in partners]
    first = checks[0]
    return LockCheck(
        lock=lock_path,
        path=checkpoint.path,
        family=held.sound[partners[0].b].encoder.family.name,
        in_front=held.sound[partners[0].b].encoder.in_front,
        kind=files.b.kind,
        locked_kind=files.a.kind,
        never_trained=any(check.never_trained for check in checks),
        recorded=first.recorded,
        found=first.found,
        verdicts=(
            *(
                replace(line, copy=title)
                for title, check in zip(titles(pairs), checks, strict=True)
                for line in check.verdicts
            ),
            *bound,
        ),
        pairs=pairs,
        lone=(
            *_lone(locked, [each.a for each in partners], scope),
            *lone_copies("B", held, paired, scope, DigestsOfCopies()),
        ),
        equal=_equal(locked, held, partners) if any(each.guessed for each in partners) else (),
        binds_tokens=lock.tsv is not None,
        binds_s1=bool(lock.s1),
    )


def check_bound(
    lock: Lock,
    lock_path: str,
    experiment: str | None,
    s1: Sequence[str] | None,
    on_bytes: OnBytes | None = None,
) -> tuple[LockVerdict, ...]:
    """Return whether the tokens of an experiment and s1 checkpoints, where they are given, are the locked ones.

    Raises:
        UsageError: they cannot be read, or the lock does not bind them.

    """
    bound = []
    if experiment:
        recorded = [lock.tsv] if lock.tsv else []
        bound.append(_bound(TSV, recorded, tokens_digest(experiment), tr("{lock}: binds no tokens", lock=lock_path)))
    for path in s1 or ():
        found = _bound(S1, lock.s1, file_digest(path, on_bytes), tr("{lock}: binds no s1 checkpoint", lock=lock_path))
        bound.append(replace(found, copy=path) if s1 and len(s1) > 1 else found)
    return tuple(bound)


def _chosen(lock: Lock, path: str, held: Copies, copy: str) -> tuple[tuple[LockedEncoder, ...], Copies]:
    """Return which recorded copies to verify, and against which of the file."""
    recorded = lock.copies
    if copy:
        named = tuple(each for each in recorded if any(str(name) == copy for name in each.names))
        if not named and len(recorded) > 1:
            names = listed([each.name for each in recorded], last="")
            raise UsageError(tr("records no copy named '{copy}'; it records {names}", copy=copy, names=names), path)
        one_only = len(held.names) == 1 and not held.holds(copy) and bool(named)
        return named or recorded, held if one_only else held.choose(copy)
    if lock.chosen and held.holds(lock.chosen):
        return recorded, held.choose(lock.chosen)
    return recorded, held


def _lone(locked: tuple[LockedEncoder, ...], paired: list[int], scope: str) -> Iterable[LoneCopy]:
    """Yield the recorded copies to which none of the file answers."""
    for number, copy in enumerate(locked):
        if number in paired:
            continue
        judged = next((locked[each] for each in paired if locked[each].family == copy.family), None)
        verdict = Verdict.NO_PARTNER
        if judged is not None:
            first = next(each for each in locked if each.family == copy.family)
            verdict = Verdict.NOISE if copy.is_noise and judged is first else _relation(judged, copy, scope)
        yield LoneCopy("A", copy.family, copy.name, judged.name if judged else "", verdict)


def _relation(judged: LockedEncoder, copy: LockedEncoder, scope: str) -> Verdict:
    one, other = (
        {
            tensor.label: tensor.digest(F32V1)
            for tensor in each.tensors
            if scope != Scope.TOKENS or not _is_bookkeeping(tensor.label, each.family)
        }
        for each in (judged, copy)
    )
    return Verdict.IDENTICAL if one == other else Verdict.CHANGED


def _is_bookkeeping(label: str, family: str) -> bool:
    """Say whether a recorded tensor decides no token; rows of the user's are not at hand, so in doubt it does."""
    role = label.rpartition(" ")[2]
    rows = [row for row in FAMILIES if row.name == family]
    return role in BOOKKEEPING and bool(rows) and not any(makes_codes(role, row) for row in rows)


def _equal(locked: tuple[LockedEncoder, ...], held: Copies, partners: list[Partners]) -> tuple[EqualCopies, ...]:
    compared = {(each.a, each.b) for each in partners}
    return tuple(
        EqualCopies(one.name, other.name)
        for a, one in enumerate(locked)
        for b, other in enumerate(held.sound)
        if (a, b) not in compared and _is_whole(one, other)
    )


def _is_whole(one: LockedEncoder, other: Copy) -> bool:
    """Say whether a copy of the file has the digest that is recorded."""
    _, (digests, *_) = record(other.file, other.encoder)
    part = "vq_encoder" if digests.vq_encoder else "codebook"
    return getattr(digests, part) is not None and getattr(digests, part) == one.whole(part, F32V1)


def _order(locked: FileRecord, file: FileRecord) -> Order:
    """Return which came first; where nothing says it the lock's file did, as a lock is made before what it judges."""
    found = file_record.order(locked, file)
    return Order.A_FIRST if found is Order.UNKNOWN else found


def _bound(what: str, recorded: Sequence[LockedFile], found: Digest, unbound: str) -> LockVerdict:
    if not recorded:
        raise UsageError(tr("{unbound}; make the lock again with it and --update", unbound=unbound))
    if any(file.digest == found for file in recorded):
        return LockVerdict(what, what, Verdict.IDENTICAL, judged=True)
    names = ", ".join(file.name for file in recorded)
    return LockVerdict(what, what, Verdict.CHANGED, judged=True, why=LockReason.OTHER_CONTENT, recorded=names)
