"""Says whether one copy of a VQ encoder in a file agrees with what a lock records of it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from vqcheck.audit.lock_result import FAMILY, NOT_COMPARABLE, CopyCheck, LockReason, LockVerdict
from vqcheck.audit.locked_encoder import PARTS, LockedEncoder, LockedTensor, record
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook import file_record, health
from vqcheck.codebook.comparison import FAULTS, Verdict, is_judged
from vqcheck.codebook.copies import Copy
from vqcheck.codebook.digest import ALGORITHMS, BF16V1, F16V1, F32V1, combine
from vqcheck.codebook.family import BOOKKEEPING, CODEBOOK_ROLES, Derivation, Family, Role
from vqcheck.codebook.file_record import FileKind, FileOrder, RoundingReading
from vqcheck.codebook.matched_tensors import feeds_a_lookup
from vqcheck.codebook.vq_encoder import RoleTensor, VQEncoder
from vqcheck.errors import UsageError
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.codebook.rounding import Rounded


def check_copy(
    locked: LockedEncoder, lock_path: str, copy: Copy, files: FileOrder, scope: str, by_diff: str
) -> CopyCheck:
    """Return whether a copy agrees with what is recorded; `by_diff` says how to compare what digests do not.

    Raises:
        CheckpointError: it cannot be read.
        UsageError: digests do not decide it, or the lock is damaged.

    """
    checkpoint, encoder = copy.file, copy.encoder
    found, wholes = record(checkpoint, encoder)
    recorded = {tensor.label: tensor for tensor in locked.tensors}
    _require_comparable(locked, lock_path, checkpoint, encoder, found, by_diff)
    _require_consistent(locked, lock_path, encoder)
    tensors = {encoder.label(tensor): tensor for tensor in encoder.tensors}
    verdicts = []
    rounded_to = _types_of_file(recorded.values()), _types_of_file(found.values())
    in_both = _books(recorded, encoder) & _books(found, encoder)
    for label in [*recorded, *(label for label in found if label not in recorded)]:
        role = _role(label)
        whole_book = role in CODEBOOK_ROLES and _place(label) not in in_both
        relevant = tensors[label].token_relevant if label in tensors else _decides(label, encoder)
        judged = is_judged(role, scope, token_relevant=relevant) or makes_codes(role, encoder.family)
        line = LockVerdict(label, role, Verdict.IDENTICAL, judged)
        line = _compare(
            line, recorded.get(label), found.get(label), encoder.family, files, rounded_to, may_lack=not whole_book
        )
        if line.verdict == Verdict.CHANGED and label in tensors and tensors[label].tensor.dtype.startswith("float8"):
            # There is no digest of an 8-bit rounding, so a change looks like one.
            line = replace(line, verdict=NOT_COMPARABLE)
        verdicts.append(line)
    verdicts = [*_without_lost_codes(_without_lost_projections(verdicts, checkpoint, tensors), checkpoint, encoder)]
    if locked.family != encoder.family.name:
        other = LockVerdict(FAMILY, FAMILY, Verdict.IDENTICAL, judged=False, why=LockReason.OTHER_FAMILY)
        verdicts.append(replace(other, recorded=locked.family, found=encoder.family.name))
    found_of = {line.verdict for line in verdicts if line.judged}
    if NOT_COMPARABLE in found_of and not found_of & FAULTS:
        labels = ", ".join(line.what for line in verdicts if line.judged and line.verdict == NOT_COMPARABLE)
        raise UsageError(
            tr(
                "rounded to another narrow type than {lock} has digests of; {instead}",
                lock=lock_path,
                instead=by_diff,
            ),
            checkpoint.path,
            labels,
        )
    part = "vq_encoder" if locked.whole("vq_encoder", F32V1) and wholes[0].vq_encoder else "codebook"
    return CopyCheck(
        tuple(verdicts),
        locked.whole(part, F32V1),
        getattr(wholes[0], part),
        any(health.never_trained(checkpoint, codebook) for codebook in encoder.codebooks),
    )


def makes_codes(role: str, family: Family) -> bool:
    """Say whether codes are calculated from what plays this role, so that it decides tokens in every scope."""
    return role in BOOKKEEPING and family.derivation == Derivation.SUM_OVER_COUNT


def _decides(label: str, encoder: VQEncoder) -> bool:
    """Say whether a tensor that the file lacks would decide tokens in it; in doubt it would."""
    if _role(label) != Role.OUTPUT_PROJ or len(encoder.books) > len(encoder.family.books):
        return True
    place = encoder.lookup_at(_place(label))
    lookups = {tensor.place[:3] for tensor in encoder.tensors}
    return place is None or feeds_a_lookup(place, lookups, encoder.family.residual)


def _books(labels: Iterable[str], encoder: VQEncoder) -> set[str]:
    """Return the places that have a codebook."""
    return {_place(label) for label in labels if _role(label) == encoder.family.source_of_codes}


def _require_comparable(
    lock: LockedEncoder,
    path: str,
    checkpoint: Checkpoint,
    encoder: VQEncoder,
    found: dict[str, LockedTensor],
    by_diff: str,
) -> None:
    """Raise UsageError where lock and file store the same in another form, or are not the same codec's at all."""
    forms: list[dict[tuple[str, str, str], set[str]]] = [{}, {}]
    for form, labels in zip(forms, ([tensor.label for tensor in lock.tensors], found), strict=True):
        for label in labels:
            part = label.rsplit(" ", maxsplit=1)[-1].partition(".")[2]
            stem, _, last = part.rpartition(".")
            if last in ("weight", "g", "v"):
                form.setdefault((_place(label), _role(label), stem), set()).add(last)
    for key in forms[0].keys() & forms[1].keys():
        if {"weight" in form[key] for form in forms} == {True, False}:
            raise UsageError(
                tr(
                    "{tensor} is weight-normed in one of file and {lock}, and not in the other; {instead}",
                    tensor=f"{key[0]} {key[1]}".strip(),
                    lock=path,
                    instead=by_diff,
                ),
                checkpoint.path,
            )
    if lock.family != encoder.family.name and {tensor.label for tensor in lock.tensors} != found.keys():
        raise UsageError(
            tr(
                "holds a {family} codec, {lock} records one of {recorded}; {instead}",
                family=encoder.family.name,
                lock=path,
                recorded=lock.family,
                instead=by_diff,
            ),
            checkpoint.path,
        )


def _require_consistent(lock: LockedEncoder, path: str, encoder: VQEncoder) -> None:
    """Raise UsageError where combined digests of a lock are not those of its tensors, put together as in the file."""
    recorded = {tensor.label: tensor for tensor in lock.tensors}
    tensors = {encoder.label(tensor): tensor for tensor in encoder.tensors}
    if recorded.keys() != tensors.keys() or lock.family != encoder.family.name:
        return
    for algorithm in ALGORITHMS:
        digests = {tensors[label]: locked.digest(algorithm) for label, locked in recorded.items()}
        known = {tensor: found for tensor, found in digests.items() if found is not None}
        whole = combine(encoder, known, algorithm) if len(known) == len(digests) else None
        if whole is None or any(getattr(whole, part) != lock.whole(part, algorithm) for part in PARTS):
            raise UsageError(tr("is damaged: its combined digests are not those of its tensors"), path)


def _types_of_file(tensors: Iterable[LockedTensor]) -> frozenset[str]:
    """Return the types to which all tensors of one file were rounded: one alone may hold but zeros or whole numbers."""
    from vqcheck.codebook.rounding import EIGHT_BITS

    precisions = {tensor.precision for tensor in tensors} - {"flag"}
    return frozenset(dtype for dtype in ("bfloat16", "float16") if precisions <= {*EIGHT_BITS, dtype})


def _compare(
    line: LockVerdict,
    recorded: LockedTensor | None,
    found: LockedTensor | None,
    family: Family,
    files: FileOrder,
    rounded_to: tuple[frozenset[str], frozenset[str]],
    *,
    may_lack: bool,
) -> LockVerdict:
    """Return what became of one tensor, given a line that has everything but the verdict and the reason for it."""
    if recorded is None:
        left_out = may_lack and files.a.kind is FileKind.EXPORT and line.role in family.optional
        why = LockReason.LOCK_OF_EXPORT if left_out else LockReason.NOT_IN_LOCK
        return replace(line, verdict=Verdict.NOT_STORED if left_out else Verdict.MISSING, why=why)
    if found is None:
        left_out = may_lack and file_record.may_leave_out(files.b, family, line.role)
        lora = LockReason.LEFT_OUT_BY_LORA if files.b.is_lora else LockReason.LEFT_OUT_BY_EXPORT
        why = lora if left_out else LockReason.NOT_IN_FILE
        return replace(line, verdict=Verdict.NOT_STORED if left_out else Verdict.MISSING, why=why)
    if recorded.digest(F32V1) == found.digest(F32V1):
        return line
    rounded = _rounded(recorded, found, rounded_to)
    if rounded is None:
        both = {recorded.precision, found.precision}
        return replace(line, verdict=NOT_COMPARABLE if both == {"float16", "bfloat16"} else Verdict.CHANGED)
    trained = files.reading(rounded) is RoundingReading.TRAINED
    return replace(
        line,
        verdict=Verdict.CHANGED if trained else Verdict.ROUNDED,
        why=LockReason.FILE_ROUNDED if rounded.narrower == "B" else LockReason.LOCK_ROUNDED,
        rounded_to=rounded.dtypes[0],
        trained=trained,
    )


def _rounded(
    recorded: LockedTensor, found: LockedTensor, rounded_to: tuple[frozenset[str], frozenset[str]]
) -> "Rounded | None":
    """Return how one is the other's rounding: equal once rounded proves it only where one of the two is rounded."""
    from vqcheck.codebook.rounding import NARROW, Rounded

    for narrower, one, other, types in (("B", found, recorded, rounded_to[1]), ("A", recorded, found, rounded_to[0])):
        if one.precision == other.precision:
            continue
        for dtype, algorithm in (("bfloat16", BF16V1), ("float16", F16V1)):
            if dtype in types and recorded.digest(algorithm) == found.digest(algorithm):
                return Rounded(narrower, (dtype,), other.precision in NARROW)
    return None


def _without_lost_projections(
    verdicts: list[LockVerdict], checkpoint: Checkpoint, tensors: dict[str, RoleTensor]
) -> list[LockVerdict]:
    """Return the verdicts; a rounded projection that is infinite, or nothing but zeros, in the file is changed."""
    return [
        _unless_lost(line, checkpoint, tensors[line.what]) if line.verdict == Verdict.ROUNDED else line
        for line in verdicts
    ]


def _unless_lost(line: LockVerdict, checkpoint: Checkpoint, tensor: RoleTensor) -> LockVerdict:
    """Return the verdict on one rounded tensor; `changed` where rounding took from a projection what makes it one."""
    if tensor.role in CODEBOOK_ROLES:
        return line
    import numpy as np

    from vqcheck.codebook.values import as_array

    values = as_array(tensor, checkpoint.read(tensor.tensor))
    if broken := int(np.count_nonzero(~np.isfinite(values))):
        return replace(line, verdict=Verdict.CHANGED, infinite=broken)
    is_layer = tensor.part.rpartition(".")[2] != "bias"
    return replace(line, verdict=Verdict.CHANGED, only_zeros=True) if is_layer and not values.any() else line


def _without_lost_codes(
    verdicts: list[LockVerdict], checkpoint: Checkpoint, encoder: VQEncoder
) -> Iterator[LockVerdict]:
    """Yield the verdicts; rounded codes of which some in use are spoilt in the file are changed.

    Digests do not show what the locked values were, so what the file shows must do.
    """
    rounded = {line.what for line in verdicts if line.verdict == Verdict.ROUNDED}
    spoilt: dict[str, int] = {}
    for codebook in encoder.codebooks:
        labels: dict[str, str] = {tensor.role: encoder.label(tensor) for tensor in codebook.tensors}
        if rounded.intersection(labels.values()):
            from vqcheck.codebook.rounding_loss import spoilt_in_use

            label = labels.get(Role.CODES) or labels[Role.EMA_SUM]
            spoilt[label] = spoilt_in_use(checkpoint, encoder.family, codebook)
    for line in verdicts:
        count = spoilt.get(line.what, 0)
        if count and line.verdict in (Verdict.ROUNDED, Verdict.IDENTICAL):
            yield replace(line, verdict=Verdict.CHANGED, spoilt=count)
        else:
            yield line


def _place(label: str) -> str:
    return label.rpartition(" ")[0]


def _role(label: str) -> str:
    return label.rsplit(" ", maxsplit=1)[-1].split(".", maxsplit=1)[0]
