"""Which write first changed each tensor of the VQ encoder, over the steps of an arm."""

from collections.abc import Iterable, Mapping

from vqcheck.live.tensor_change import TensorStep, Write
from vqcheck.replay.trace import FirstWrite


class Attribution:
    """Collects the writes that were caught, and says when the next step has to be traced."""

    def __init__(self) -> None:
        self._caught: dict[str, tuple[int, Write]] = {}
        self.is_due = True
        """Whether the next step is to be traced, as the first one always is."""

    def note(
        self, number: int, writes: Mapping[str, Write], tensors: Iterable[TensorStep], seen: Mapping[str, int]
    ) -> bool:
        """Take in what a step wrote, by label; and say whether a tensor changed that `seen` does not have."""
        for label, write in writes.items():
            self._caught.setdefault(label, (number, write))
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
        step, write = self._caught[label]
        return FirstWrite(
            label, first_changed, step, write.operator, write.file, write.line, write.function, write.called_from
        )
