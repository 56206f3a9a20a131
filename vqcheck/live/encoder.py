"""The VQ encoders of a live module: found by the same family table and names as those of its checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vqcheck.codebook.canonical_shape import MisshapenError
from vqcheck.codebook.family import BOOKKEEPING, CODEBOOK_ROLES, Derivation, Family, Role
from vqcheck.codebook.match import match
from vqcheck.codebook.matched_tensors import Match
from vqcheck.codebook.vq_encoder import BookPlace, PlaceNames, lacks_projection
from vqcheck.errors import NoCodebookError, UsageError
from vqcheck.language import tr


@dataclass(frozen=True)
class LiveTensor:
    """A parameter or buffer of a live module, and the part it plays in a VQ encoder."""

    name: str
    """Where it stands in the module, wrappers included: `module.quantizer.vq.layers.0._codebook.embed`."""
    label: str
    """What reports call it, the same as for a checkpoint of the module: `codes`, `acoustic.3 codes`."""
    role: str
    part: str
    place: BookPlace
    """Book, group and layer."""
    family: Family
    shape: tuple[int, ...]
    """Canonical shape: codes and sums `[heads, codes, dim]`, counts `[heads, codes]`, the flag `[]` or `[heads]`."""
    stored_shape: tuple[int, ...]
    """The shape that it has in the module."""
    axes: tuple[int, ...]
    """Which stored axis each axis of the canonical shape is, where that is not the order in the module."""
    counts: bool
    """Whether a lookup depends on it, or it shows that the codebook is updated."""

    @property
    def book(self) -> int:
        return self.place[0]

    @property
    def holds_codes(self) -> bool:
        """Whether the vectors of a lookup stand in it, or are calculated from it."""
        return self.role == (Role.EMA_SUM if self.family.derivation == Derivation.SUM_OVER_COUNT else Role.CODES)

    def canonical(self, stored: Tensor) -> Tensor:
        """Return a tensor that is stored as this one in its canonical shape, however the codec lays it out."""
        return (stored.permute(self.axes) if self.axes else stored).reshape(self.shape)

    def rows(self, stored: Tensor) -> Tensor:
        """Return `[rows, values]`: a row is a code of one head where there are codes, else of the first axis."""
        if self.role in (Role.CODES, Role.EMA_SUM):
            return self.canonical(stored).flatten(0, 1)
        if self.role in (Role.EMA_COUNT, Role.INIT_FLAG) or stored.dim() < 2:
            return stored.reshape(-1, 1)
        return stored.flatten(1)


@dataclass(frozen=True)
class LiveEncoder:
    """Every VQ encoder of a live module."""

    module: nn.Module
    tensors: tuple[LiveTensor, ...]
    """Those that count for the verdict: codebooks, and the projections that some lookup depends on."""
    behind: tuple[LiveTensor, ...]
    """Projections behind the last lookup, which may learn."""
    families: tuple[Family, ...]
    in_front_is_known: bool
    """Whether nothing but these tensors can stand between features and a lookup."""

    def now(self) -> dict[str, Tensor]:
        """Return name -> tensor as it stands now, detached, of those that count and are still there.

        Names are followed at every call, so a tensor that was replaced by another one is seen too.
        """
        return {name: tensor.detach() for name, tensor in self.current().items()}

    def current(self) -> dict[str, Tensor]:
        """Return the same as `now`, the tensors themselves: not one operator runs."""
        found: dict[str, Tensor] = {}
        for place, leaves in self._leaves.items():
            try:
                holder = attrgetter(place)(self.module) if place else self.module
            except AttributeError:
                continue
            for leaf, name in leaves:
                value = getattr(holder, leaf, None)
                if isinstance(value, Tensor) and not is_lazy(value):
                    found[name] = value
        return found

    @cached_property
    def _leaves(self) -> dict[str, list[tuple[str, str]]]:
        """Where tensors stand -> (attribute, name) of each there: a path is followed once for all at its end."""
        leaves: dict[str, list[tuple[str, str]]] = {}
        for each in self.tensors:
            place, _, leaf = each.name.rpartition(".")
            leaves.setdefault(place, []).append((leaf, each.name))
        return leaves

    def require_whole(self) -> None:
        """Raise UsageError if a tensor is sharded over processes, as FSDP2 does: no process has it to compare."""
        for name, tensor in self.now().items():
            if is_sharded(tensor):
                raise UsageError(
                    tr(
                        "{tensor} is sharded over processes (DTensor, as by fully_shard), which cannot be watched: "
                        "leave the VQ encoder out of sharding (fully_shard's ignored_params)",
                        tensor=name,
                    )
                )

    def require_trained(self) -> None:
        """Raise UsageError if a codebook still waits for its first batch, which would fill it even in eval mode."""
        tensors = self.now()
        on_meta = next((name for name, tensor in tensors.items() if tensor.is_meta), None)
        if on_meta:
            raise UsageError(
                tr("{tensor} is on the meta device and has no values yet: load the weights first", tensor=on_meta)
            )
        for each in self.tensors:
            is_set = tensors[each.name] != 0
            if (each.holds_codes and not bool(is_set.any())) or (
                each.role == Role.INIT_FLAG and not bool(is_set.all())
            ):
                raise UsageError(
                    tr(
                        "{tensor} is all zero: this codebook was never trained, and the first batch would fill it; "
                        "load its weights first",
                        tensor=each.name,
                    )
                )


def is_sharded(tensor: Tensor) -> bool:
    """Tell whether a tensor is spread over processes. By the type's name: where it stands differs between torches."""
    return any(kind.__name__ == "DTensor" for kind in type(tensor).__mro__)


def find(module: nn.Module) -> LiveEncoder:
    """Return every VQ encoder of a module except in a moving average of the whole model, which is meant to move.

    Raises:
        NoCodebookError: there is none, or only one of impossible shapes.
        UsageError: this is no module.

    """
    if not isinstance(module, nn.Module):
        raise UsageError(f"expected a torch.nn.Module, given {type(module).__name__}")
    tensors = stored_tensors(module)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        matches = match(shapes)
    except MisshapenError as error:
        raise NoCodebookError(tr("{name}: {text}", name=type(module).__name__, text=str(error))) from None
    if not matches:
        raise NoCodebookError(
            tr(
                "{module}: none of its {tensors} parameters and persistent buffers is known as part of a VQ encoder; "
                "pass the whole model, under the names that its checkpoint has",
                module=type(module).__name__,
                tensors=len(tensors),
            )
        )
    in_use = [each for each in matches if not each.is_shadow] or matches
    lacking = next((each for each in in_use if lacks_projection(each.family, each.found)), None)
    if lacking:
        raise NoCodebookError(
            tr(
                "{module}: holds the codebook of {family} ({tensor}), but not the projection in front of it, which "
                "decides tokens as much; pass the whole model",
                module=type(module).__name__,
                family=lacking.family.title,
                tensor=lacking.found[0].name,
            )
        )
    reused = _in_several_layers(module, tensors)
    live = _labelled_once([each for one in in_use for each in _live_tensors(one, shapes, reused, len(in_use) > 1)])
    return LiveEncoder(
        module,
        tuple(tensor for tensor in live if tensor.counts),
        tuple(tensor for tensor in live if not tensor.counts),
        tuple(one.family for one in in_use),
        not any(one.unplaced or one.family.structural for one in in_use),
    )


def _live_tensors(
    one: Match, shapes: Mapping[str, tuple[int, ...]], reused: set[str], one_of_several: bool
) -> list[LiveTensor]:
    names = PlaceNames.of((each.order[:3] for each in one.found), one.books)
    prefix = f"{one.prefix.rstrip('.')} " if one_of_several and one.prefix else ""
    return [
        LiveTensor(
            name=each.name,
            label=prefix + names.label(each.order[:3], each.role, each.part),
            role=each.role,
            part=each.part,
            place=each.order[:3],
            family=one.family,
            shape=each.shape,
            stored_shape=shapes[each.name],
            axes=each.axes,
            counts=each.token_relevant or each.role in BOOKKEEPING or each.name in reused,
        )
        # codebooks first, as for files
        for each in sorted(one.found, key=lambda each: each.role not in CODEBOOK_ROLES)
    ]


def _labelled_once(tensors: list[LiveTensor]) -> list[LiveTensor]:
    """Return the tensors, those that would share a label under their names."""
    taken = Counter(tensor.label for tensor in tensors)
    return [replace(tensor, label=tensor.name) if taken[tensor.label] > 1 else tensor for tensor in tensors]


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return name -> tensor of what a state dict would hold; a module that stands in several places counts once."""
    tensors = {}
    for path, each in module.named_modules():
        prefix = f"{path}." if path else ""
        left_out = each._non_persistent_buffers_set  # noqa: SLF001 - torch keeps it nowhere else
        for name, parameter in each.named_parameters(recurse=False):
            if not is_lazy(parameter):
                tensors[prefix + name] = parameter.detach()
        for name, buffer in each.named_buffers(recurse=False):
            if name not in left_out:
                tensors[prefix + name] = buffer
    return tensors


def _in_several_layers(module: nn.Module, tensors: Mapping[str, Tensor]) -> set[str]:
    """Return the tensors, by their first names, of modules that stand in several numbered places, such as all layers.

    A lookup in one of them depends on what the others left, also where the place that counts once is the last.
    """
    names: dict[int, list[str]] = {}
    for path, each in module.named_modules(remove_duplicate=False):
        names.setdefault(id(each), []).append(path)
    reused = {paths[0] for paths in names.values() if len(paths) > len(set(map(_pattern, paths)))}
    return {name for name in tensors if name.rpartition(".")[0] in reused}


def _pattern(path: str) -> str:
    return ".".join("#" if part.isdecimal() else part for part in path.split("."))
