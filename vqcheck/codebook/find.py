"""Finds the VQ encoder among the named tensors of a checkpoint."""

import re
from collections.abc import Iterable
from functools import cache
from math import prod
from typing import Final

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.checkpoint.tensor import StoredTensor
from vqcheck.codebook.families import FAMILIES
from vqcheck.codebook.family import (
    CODEBOOK_ROLES,
    CODES,
    EMA_COUNT,
    EMA_SUM,
    INIT_FLAG,
    ROLES,
    Family,
    Key,
)
from vqcheck.codebook.vq_encoder import Codebook, RoleTensor, VQEncoder, is_lora
from vqcheck.errors import CheckpointError, NoCodebookError

_WRAPPERS: Final = frozenset({"module", "_orig_mod", "ema_model", "model", "generator", "net_g"})
_SHADOWS: Final = frozenset({"ema_model"})
_PLACEHOLDER: Final = re.compile(r"\{(layer|group)\}")


def find_vq_encoder(checkpoint: Checkpoint) -> VQEncoder:
    """Return the VQ encoder of an open checkpoint; nothing but its index is read.

    Raises:
        NoCodebookError: the file holds none; the text says what it holds instead.
        CheckpointError: tensors under a VQ encoder's names, but of impossible shapes.

    """
    found: list[VQEncoder] = []
    for prefix, names in _by_prefix(checkpoint.tensors).items():
        found += _match_families(checkpoint, prefix, names)
    if not found:
        from vqcheck.codebook import model

        raise NoCodebookError(f"{checkpoint.path}: {model.why_no_codebook(checkpoint)}")
    found.sort(key=lambda encoder: (bool(_SHADOWS & set(encoder.prefix.split("."))), len(encoder.prefix)))
    chosen = found[0]
    others = tuple(encoder.prefix for encoder in found[1:])
    return VQEncoder(
        chosen.family, chosen.prefix, chosen.codebooks, chosen.projection, chosen.is_lora, also_found=others
    )


def _by_prefix(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return wrapper prefix -> {name without it: name}."""
    result: dict[str, dict[str, str]] = {}
    for name in names:
        rest = name
        while True:
            head, dot, tail = rest.partition(".")
            if not dot or head not in _WRAPPERS:
                break
            rest = tail
        result.setdefault(name[: len(name) - len(rest)], {})[rest] = name
    return result


@cache
def _keys_by_shape_of_name() -> dict[str, tuple[tuple[Family, Key], ...]]:
    """Return name with every number replaced -> the rows and keys that match it."""
    table: dict[str, tuple[tuple[Family, Key], ...]] = {}
    for family in FAMILIES:
        for key in family.keys:
            pattern = _numbers_out(_PLACEHOLDER.sub("0", key.template))[0]
            table[pattern] = (*table.get(pattern, ()), (family, key))
    return table


def _numbers_out(name: str) -> tuple[str, tuple[int, ...]]:
    numbers: list[int] = []
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part.isdecimal() and part.isascii() and len(part) < 9:
            numbers.append(int(part))
            parts[position] = "#"
    return ".".join(parts), tuple(numbers)


def _match_families(checkpoint: Checkpoint, prefix: str, names: dict[str, str]) -> list[VQEncoder]:
    table = _keys_by_shape_of_name()
    matches: dict[str, list[RoleTensor]] = {}
    families: dict[str, Family] = {}
    for rest, name in names.items():
        pattern, numbers = _numbers_out(rest)
        for family, key in table.get(pattern, ()):
            index = dict(zip(_PLACEHOLDER.findall(key.template), numbers, strict=False))
            tensor = checkpoint.tensors[name]
            matches.setdefault(family.name, []).append(
                RoleTensor(
                    key.role,
                    key.part,
                    key.book,
                    index.get("group", 0),
                    index.get("layer", 0),
                    tensor,
                    _canonical_shape(checkpoint, key.role, tensor),
                )
            )
            families[family.name] = family
    return [
        _assemble(checkpoint, families[name], prefix, tensors)
        for name, tensors in matches.items()
        if any(tensor.role == CODES for tensor in tensors) and _has_marker(families[name], names)
    ]


def _has_marker(family: Family, names: Iterable[str]) -> bool:
    return not family.markers or any(name.startswith(family.markers) for name in names)


def _canonical_shape(checkpoint: Checkpoint, role: str, tensor: StoredTensor) -> tuple[int, ...]:
    shape = tensor.shape
    if role in (CODES, EMA_SUM) and len(shape) in (2, 3):
        return (1, *shape) if len(shape) == 2 else shape
    if role == EMA_COUNT and len(shape) in (1, 2):
        return (1, *shape) if len(shape) == 1 else shape
    if role == INIT_FLAG and prod(shape) == 1:
        return ()
    if role in CODEBOOK_ROLES:
        raise CheckpointError(f"{checkpoint.path}: {tensor.name}: no {role} has the shape {list(shape)}")
    return shape


def _assemble(checkpoint: Checkpoint, family: Family, prefix: str, tensors: list[RoleTensor]) -> VQEncoder:
    tensors.sort(key=lambda t: (t.book, t.group, t.layer, ROLES.index(t.role), _part_order(t.part)))
    books: dict[tuple[int, int, int], list[RoleTensor]] = {}
    for tensor in tensors:
        if tensor.role in CODEBOOK_ROLES:
            books.setdefault((tensor.book, tensor.group, tensor.layer), []).append(tensor)
    codebooks = tuple(Codebook(tuple(book)) for book in books.values())
    for codebook in codebooks:
        _check_shapes(checkpoint, codebook)
    projection = tuple(tensor for tensor in tensors if tensor.role not in CODEBOOK_ROLES)
    return VQEncoder(family, prefix, codebooks, projection, is_lora(checkpoint.tensors))


def _part_order(part: str) -> tuple[int, str]:
    return ("", "weight", "g", "v", "bias").index(part) if part in ("", "weight", "g", "v", "bias") else 9, part


def _check_shapes(checkpoint: Checkpoint, codebook: Codebook) -> None:
    codes = next((tensor for tensor in codebook.tensors if tensor.role == CODES), None)
    if codes is None:
        name = codebook.tensors[0].tensor.name
        raise CheckpointError(f"{checkpoint.path}: {name}: its codebook has no code vectors")
    expected = {EMA_SUM: codes.shape, EMA_COUNT: codes.shape[:2]}
    for tensor in codebook.tensors:
        wanted = expected.get(tensor.role, tensor.shape)
        if tensor.shape != wanted:
            raise CheckpointError(
                f"{checkpoint.path}: {tensor.tensor.name}: has the shape {list(tensor.tensor.shape)}, "
                f"which does not fit codes of shape {list(codes.tensor.shape)}"
            )
