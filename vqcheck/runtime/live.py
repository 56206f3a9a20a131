"""The VQ encoders of a live module: found by the same family table and names as those of its checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vqcheck.codebook.canonical_shape import MisshapenError
from vqcheck.codebook.family import BOOKKEEPING, Family
from vqcheck.codebook.match import match
from vqcheck.codebook.vq_encoder import lacks_projection
from vqcheck.errors import NoCodebookError


@dataclass(frozen=True, slots=True)
class LiveTensor:
    """A parameter or buffer of a live module, and the part it plays in a VQ encoder."""

    name: str
    """Where it stands in the module, wrappers included: `module.quantizer.vq.layers.0._codebook.embed`."""
    role: str
    part: str
    family: Family
    shape: tuple[int, ...]
    """Canonical shape: codes and sums `[heads, codes, dim]`, counts `[heads, codes]`, the flag `[]`."""
    axes: tuple[int, ...]
    """Which stored axis each axis of the canonical shape is, where that is not the order in the module."""
    counts: bool
    """Whether a lookup depends on it, or it shows that the codebook is updated."""

    @property
    def owner(self) -> str:
        """The name of the module whose attribute it is."""
        return self.name.rpartition(".")[0]

    @property
    def attribute(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class LiveEncoder:
    """Every VQ encoder of a live module."""

    module: nn.Module
    tensors: tuple[LiveTensor, ...]
    """Those that count for the verdict: codebooks, and the projections that some lookup depends on."""
    behind: tuple[LiveTensor, ...]
    """Projections behind the last lookup, which may learn."""
    families: tuple[Family, ...]


def find_live_encoder(module: nn.Module) -> LiveEncoder:
    """Return every VQ encoder of a module except in a moving average of the whole model, which is meant to move.

    Raises:
        NoCodebookError: there is none, or only one of impossible shapes.

    """
    tensors = stored_tensors(module)
    try:
        matches = match({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except MisshapenError as error:
        raise NoCodebookError(f"{type(module).__name__}: {error}") from None
    if not matches:
        raise NoCodebookError(
            f"{type(module).__name__}: none of its {len(tensors)} parameters and persistent buffers is known as part "
            "of a VQ encoder; pass the whole model, under the names that its checkpoint has"
        )
    reused = _in_several_layers(module)
    in_use = [each for each in matches if not each.is_shadow] or matches
    lacking = next((each for each in in_use if lacks_projection(each.family, each.found)), None)
    if lacking:
        raise NoCodebookError(
            f"{type(module).__name__}: holds the codebook of {lacking.family.title} ({lacking.found[0].name}), but not "
            "the projection in front of it, which decides tokens as much; pass the whole model"
        )
    live = [
        LiveTensor(
            each.name,
            each.role,
            each.part,
            one.family,
            each.shape,
            each.axes,
            each.token_relevant or each.role in BOOKKEEPING or each.name in reused,
        )
        for one in in_use
        for each in one.found
    ]
    return LiveEncoder(
        module,
        tuple(tensor for tensor in live if tensor.counts),
        tuple(tensor for tensor in live if not tensor.counts),
        tuple(one.family for one in in_use),
    )


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


def _in_several_layers(module: nn.Module) -> set[str]:
    """Return the tensors, by their first names, of modules that stand in several numbered places, such as all layers.

    A lookup in one of them depends on what the others left, also where the place that counts once is the last.
    """
    names: dict[int, list[str]] = {}
    for path, each in module.named_modules(remove_duplicate=False):
        names.setdefault(id(each), []).append(path)
    reused = {paths[0] for paths in names.values() if len(paths) > len(set(map(_pattern, paths)))}
    return {name for name in stored_tensors(module) if name.rpartition(".")[0] in reused}


def _pattern(path: str) -> str:
    return ".".join("#" if part.isdecimal() else part for part in path.split("."))


class Names:
    """Finds tensors again by their names at every look, so that one that was replaced is seen too."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        self._module = module
        self._getters = {name: attrgetter(name) for name in names}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors as they stand now, detached; those are left out whose name leads to none any more."""
        found = {}
        for name, get in self._getters.items():
            tensor = _attempt(get, self._module)
            if isinstance(tensor, Tensor):
                found[name] = tensor.detach()
        return found


def _attempt(get: "attrgetter[object]", module: nn.Module) -> object:
    try:
        return get(module)
    except AttributeError:
        return None
