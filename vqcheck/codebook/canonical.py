"""The one shape that each role has, however a codec stores it: codes and sums `[heads, codes, dim]`.

Counts are `[heads, codes]` and the init flag `[]`; everything else keeps the shape it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from vqcheck.codebook.family import (
    CODEBOOK_ROLES,
    CODES,
    CODES_DIM,
    CODES_HEADS_DIM,
    DIM_CODES,
    EMA_COUNT,
    EMA_SUM,
    IMPLICIT,
    INIT_FLAG,
    VALUES,
    Family,
)

Shape = tuple[int, ...]

_AS_STORED: Shape = ()


class MisshapenError(ValueError):
    """Tensors under a VQ encoder's names, but of impossible shapes."""


class UnclearError(MisshapenError):
    """Names of which it cannot be told whether, or to which VQ encoder, they belong."""


def axes_of_codes(family_axes: str, codes: Mapping[str, Shape], count: tuple[str, Shape] | None) -> str:
    """Return how the codes of one codebook lie in the file: the axis as long as the count is the codes' axis.

    Where both axes are as long, or nothing is counted, the family says it.

    Raises:
        MisshapenError: shapes that do not fit together.

    """
    if len(set(codes.values())) > 1:
        (name, shape), (other, expected) = list(codes.items())[:2]
        raise MisshapenError(f"{name}: has the shape {list(shape)}, which does not fit {other} of {list(expected)}")
    if count is None or not codes:
        return family_axes
    name, shape = next(iter(codes.items()))
    count_name, count_shape = count
    misfit = MisshapenError(
        f"{count_name}: has the shape {list(count_shape)}, which does not fit codes of shape {list(shape)}"
    )
    if len(shape) == 2 and len(count_shape) == 1:
        fits = {CODES_DIM: shape[0] == count_shape[0], DIM_CODES: shape[1] == count_shape[0]}
        if not any(fits.values()):
            raise misfit
        if fits.get(family_axes, False):
            return family_axes
        return CODES_DIM if fits[CODES_DIM] else DIM_CODES
    if len(shape) == 3 and shape[:2] != count_shape:
        raise misfit
    if len(shape) == 2:
        raise misfit
    return family_axes


def require_codes(family: Family, roles: set[str], name: str) -> None:
    """Raise MisshapenError when part of a codebook is there, but nothing to get its codes from."""
    if roles & CODEBOOK_ROLES and family.derivation != IMPLICIT and family.source_of_codes not in roles:
        raise MisshapenError(f"{name}: its codebook has no code vectors")


def canonical(role: str, name: str, shape: Shape, axes: str) -> tuple[Shape, Shape]:
    """Return (canonical shape, which stored axis each of its axes is, empty where the file has that order).

    Raises:
        MisshapenError: a role that no tensor of this shape can play.

    """
    if role in (CODES, EMA_SUM):
        if axes == VALUES and len(shape) == 1:
            return (1, shape[0], 1), _AS_STORED
        if axes == CODES_HEADS_DIM and len(shape) == 3:
            return (shape[1], shape[0], shape[2]), (1, 0, 2)
        if len(shape) == 2 and axes == DIM_CODES:
            return (1, shape[1], shape[0]), (1, 0)
        if len(shape) == 2:
            return (1, *shape), _AS_STORED
        if len(shape) == 3:
            return shape, _AS_STORED
    elif role == EMA_COUNT and len(shape) in (1, 2):
        return ((1, *shape) if len(shape) == 1 else shape), _AS_STORED
    elif role == INIT_FLAG and prod(shape) == 1:
        return (), _AS_STORED
    elif role not in (EMA_COUNT, INIT_FLAG):
        return shape, _AS_STORED
    raise MisshapenError(f"{name}: no {role} has the shape {list(shape)}")
