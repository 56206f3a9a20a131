"""Decides which modules must be in eval mode so that none of them writes the codebook."""

from collections import Counter

from torch import nn

from vqcheck.runtime.live import LiveEncoder, stored_tensors


def spanned_modules(encoder: LiveEncoder) -> tuple[str, ...]:
    """Return the names of the outermost modules that hold nothing but a VQ encoder, in the module's order.

    The module that has a codebook as its attribute is often not the one that writes it: the update stands in a class
    around it (Jukebox's Bottleneck, taming's EMAVectorQuantizer, a ResidualVQ with a shared codebook).  So from each
    tensor the way goes outwards, as far as everything stored below belongs to a VQ encoder.  Containers and wrappers of
    torch itself have no mode of their own; there it goes on, but does not end.
    """
    ours = {tensor.name for tensor in (*encoder.tensors, *encoder.behind)}
    stored = Counter(path for name in stored_tensors(encoder.module) for path in _ways_out(name))
    belonging = Counter(path for name in ours for path in _ways_out(name))
    modules = dict(encoder.module.named_modules())
    tops = set()
    for tensor in encoder.tensors:
        top, *outwards = _ways_out(tensor.name)
        for path in outwards:
            if belonging[path] < stored[path]:
                break
            if not _is_of_torch(modules[path]):
                top = path
        tops.add(top)
    return tuple(path for path in modules if path in tops and tops.isdisjoint(_ways_out(path)))


def _ways_out(name: str) -> list[str]:
    """Return the names of all modules around a name, the innermost first and `""`, the whole, last."""
    if not name:
        return []
    parts = name.split(".")[:-1]
    return [".".join(parts[:length]) for length in range(len(parts), -1, -1)]


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "torch"
