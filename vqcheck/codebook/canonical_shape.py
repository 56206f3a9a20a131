"""The one shape that each role has, however a codec stores it: codes and sums `[heads, codes, dim]`.

Counts are `[heads, codes]` and the init flag `[]`, or `[heads]` where each head has its own; everything else keeps the
shape it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from vqcheck.codebook.family import CODEBOOK_ROLES, Axes, Derivation, Family, Role
from vqcheck.errors import WrongValueError
from vqcheck.language import tr

Shape = tuple[int, ...]

_AS_STORED: Shape = ()


class MisshapenError(WrongValueError):
    """Tensors under a VQ encoder's names, but of impossible shapes: `member` names the tensor."""

    def __init__(self, reason: str, member: str = "") -> None:
        super().__init__(reason)
        self.member = member

    def __str__(self) -> str:
        return tr("{name}: {text}", name=self.member, text=self.reason) if self.member else self.reason


class UnclearError(MisshapenError):
    """Names that may belong to a VQ encoder, or to several: it is not clear which."""


def axes_of_codes(family_axes: Axes, codes: Mapping[str, Shape], count: tuple[str, Shape] | None) -> Axes:
    """Return how the codes of one codebook lie in the file: the axis as long as the count is the codes' axis.

    Where both axes are as long, or nothing is counted, the family says it.

    Raises:
        MisshapenError: shapes that do not fit together.

    """
    if len(set(codes.values())) > 1:
        (name, shape), (other, expected) = list(codes.items())[:2]
        raise MisshapenError(
            tr(
                "has the shape {shape}, which does not fit {other} of {expected}",
                shape=list(shape),
                other=other,
                expected=list(expected),
            ),
            name,
        )
    if count is None or not codes:
        return family_axes
    name, shape = next(iter(codes.items()))
    count_name, count_shape = count
    misfit = MisshapenError(
        tr(
            "has the shape {shape}, which does not fit codes of shape {expected}",
            shape=list(count_shape),
            expected=list(shape),
        ),
        count_name,
    )
    if len(shape) == 2 and len(count_shape) == 1:
        fits = {Axes.CODES_DIM: shape[0] == count_shape[0], Axes.DIM_CODES: shape[1] == count_shape[0]}
        if not any(fits.values()):
            raise misfit
        if fits.get(family_axes, False):
            return family_axes
        return Axes.CODES_DIM if fits[Axes.CODES_DIM] else Axes.DIM_CODES
    if len(shape) == 3 and shape[:2] != count_shape:
        raise misfit
    if len(shape) == 2:
        raise misfit
    return family_axes


def require_codes(family: Family, roles: set[Role], name: str) -> None:
    """Raise MisshapenError when part of a codebook is there, but nothing to get its codes from."""
    if roles & CODEBOOK_ROLES and family.derivation != Derivation.IMPLICIT and family.source_of_codes not in roles:
        raise MisshapenError(tr("its codebook has no code vectors"), name)


def canonical(role: Role, name: str, shape: Shape, axes: Axes) -> tuple[Shape, Shape]:
    """Return (canonical shape, which stored axis each of its axes is, empty where the file has that order).

    Raises:
        MisshapenError: a role that no tensor of this shape can play.

    """
    if role in (Role.CODES, Role.EMA_SUM):
        if axes == Axes.VALUES and len(shape) == 1:
            return (1, shape[0], 1), _AS_STORED
        if axes == Axes.CODES_HEADS_DIM and len(shape) == 3:
            return (shape[1], shape[0], shape[2]), (1, 0, 2)
        if len(shape) == 2 and axes == Axes.DIM_CODES:
            return (1, shape[1], shape[0]), (1, 0)
        if len(shape) == 2:
            return (1, *shape), _AS_STORED
        if len(shape) == 3:
            return shape, _AS_STORED
    elif role == Role.EMA_COUNT and len(shape) in (1, 2):
        return ((1, *shape) if len(shape) == 1 else shape), _AS_STORED
    elif role == Role.INIT_FLAG and prod(shape) == 1:
        return (), _AS_STORED
    elif role == Role.INIT_FLAG and len(shape) == 2 and shape[1] == 1:
        return shape[:1], _AS_STORED
    elif role not in (Role.EMA_COUNT, Role.INIT_FLAG):
        return shape, _AS_STORED
    raise MisshapenError(tr("no {role} has the shape {shape}", role=role, shape=list(shape)), name)
