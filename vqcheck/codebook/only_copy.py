"""The one copy of a VQ encoder that a command needs which derives tokens or writes: several of them must agree."""

from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.comparison import IDENTICAL, NOISE, TOKENS, WITHIN_ULPS
from vqcheck.codebook.copies import Copy
from vqcheck.codebook.copy_verdict import relation
from vqcheck.codebook.family import Family
from vqcheck.codebook.find import find_copies
from vqcheck.errors import UsageError


def only_copy(checkpoint: Checkpoint, own: tuple[Family, ...] = (), chosen: str = "") -> Copy:
    """Return the copy of the codec that is judged first; `chosen` names one.

    Raises:
        NoCodebookError, CheckpointError: the file holds none, or none can be read.
        UsageError: it holds several that do not decide the same tokens, or none of that name.

    """
    copies = find_copies(checkpoint, own, chosen)
    first, *others = copies.sound
    which = f"name the one to use with --copy ({', '.join(copies.names)})"
    for each in copies.unreadable:
        raise UsageError(f"{copies.path}: its copy '{each.name}' cannot be read ({each.why}); {which}")
    for other in others:
        same_codec = other.encoder.family is first.encoder.family
        if same_codec and relation(first, other, TOKENS) not in (IDENTICAL, WITHIN_ULPS, NOISE):
            raise UsageError(f"{copies.path}: its copies '{first.name}' and '{other.name}' are not the same; {which}")
    return first
