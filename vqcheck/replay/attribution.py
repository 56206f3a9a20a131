"""Which write first changed each tensor of the VQ encoder, over the steps of an arm."""

from collections.abc import Iterable, Mapping

from vqcheck.replay.trace import FirstWrite, SourceLine, TensorStep
from vqcheck.runtime.finding import Write


class Attribution:
    """Collects the writes that were caught, and says when the next step has to be traced."""

    def __init__(self) -> None:
        self._caught: dict[str, tuple[int, Write, Write | None]] = {}
        self.is_due = True
        """Whether the next step is to be traced, as the first one always is."""

    def note(
        self,
        number: int,
        writes: Mapping[str, Write],
        tensors: Iterable[TensorStep],
        seen: Mapping[str, int],
        callers: Mapping[str, Write] | None = None,
    ) -> bool:
        """Take in what a step wrote; return whether a tensor changed that is not among those `seen` to change before.

        `callers` are the lines of the user's own code that led to the writes, by label.
        """
        for label, write in writes.items():
            self._caught.setdefault(label, (number, write, (callers or {}).get(label)))
        new = {tensor.label for tensor in tensors if (tensor.written or tensor.changed) and tensor.label not in seen}
        # a first change that was not caught in the act is attributed to the write of the step that follows
        self.is_due = bool(new - self._caught.keys())
        return bool(new)

    def first_writes(self, first_changed: Mapping[str, int]) -> tuple[FirstWrite, ...]:
        """Return the first write to each tensor, given the step in which it changed first; in order of these steps."""
        writes = [self._first_write(label, step) for label, step in first_changed.items()]
        return tuple(sorted(writes, key=lambda write: write.first_changed_step))

    def _first_write(self, label: str, first_changed: int) -> FirstWrite:
        if label not in self._caught:
            return FirstWrite(label, first_changed, None)
        step, write, caller = self._caught[label]
        # what was put under the name between two operators is seen too late to know who called
        if caller and (write.operator == "rebinding" or not caller.file or caller.file == write.file):
            caller = None
        called_from = SourceLine(caller.file, caller.line, caller.function) if caller else None
        return FirstWrite(
            label, first_changed, step, write.operator, write.file, write.line, write.function, called_from
        )
