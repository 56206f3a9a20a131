"""The VQ encoder of one checkpoint: which stored tensors play which role."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vqcheck.checkpoint.tensor import StoredTensor
from vqcheck.codebook.family import CODES, Family

Place = tuple[int, int, int, str, str]
"""Book, group, layer, role and part."""


@dataclass(frozen=True, slots=True)
class RoleTensor:
    """A stored tensor and the part it plays."""

    role: str
    part: str
    book: int
    group: int
    layer: int
    tensor: StoredTensor
    shape: tuple[int, ...]
    """Canonical shape: codes and sums `[heads, codes, dim]`, counts `[heads, codes]`, the flag `[]`."""

    @property
    def place(self) -> Place:
        """What identifies the tensor in any file of any spelling."""
        return self.book, self.group, self.layer, self.role, self.part


@dataclass(frozen=True, slots=True)
class Codebook:
    """The tensors of one codebook."""

    tensors: tuple[RoleTensor, ...]

    @property
    def codes(self) -> RoleTensor:
        """The vectors that the lookup compares with, `[heads, codes, dim]`."""
        return next(tensor for tensor in self.tensors if tensor.role == CODES)

    def of_role(self, role: str) -> RoleTensor | None:
        """Return the tensor that plays this role, if the file has it."""
        return next((tensor for tensor in self.tensors if tensor.role == role), None)


@dataclass(frozen=True, slots=True)
class VQEncoder:
    """Everything that turns features into tokens: projection and codebooks, in the family's order."""

    family: Family
    prefix: str
    """Wrapper prefix in front of every name, such as `module.`; empty when there is none."""
    codebooks: tuple[Codebook, ...]
    projection: tuple[RoleTensor, ...]
    is_lora: bool
    """The file is a LoRA export, which may lack what stays in its base model."""
    also_found: tuple[str, ...] = ()
    """Prefixes of further VQ encoders in the same file, which are not judged."""

    @property
    def tensors(self) -> Iterator[RoleTensor]:
        """Every tensor, codebooks first."""
        for codebook in self.codebooks:
            yield from codebook.tensors
        yield from self.projection

    def label(self, tensor: RoleTensor) -> str:
        """Return a short name such as `codes`, `input_proj.weight` or, with several codebooks, `0.0.3 codes`."""
        name = f"{tensor.role}.{tensor.part}" if tensor.part else tensor.role
        if len(self.codebooks) == 1 or tensor in self.projection:
            return name
        return f"{tensor.book}.{tensor.group}.{tensor.layer} {name}"

    def may_lack(self, role: str) -> bool:
        """Say whether this file may leave the role out and still be whole."""
        return role in self.family.optional or (self.is_lora and role in self.family.optional_in_lora)


def is_lora(names: Iterable[str]) -> bool:
    """Say whether tensors of these names make up a LoRA export, which leaves out what it did not train."""
    return any(".lora_A." in name for name in names)
