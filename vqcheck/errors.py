"""The exceptions of vqcheck.

VqcheckError                 could not check: exit status 2
├── CheckpointError          a file cannot be read, or not safely
├── NoCodebookError          a file was read, but holds no VQ encoder to judge
└── UsageError               the request itself makes no sense

CodebookChanged              checked, and it changed: what a guard raises in a training process
"""

from typing import Any, Final

from vqcheck.printable import printable

_LONGEST: Final = 2_000


class VqcheckError(Exception):
    """Anything that keeps vqcheck from checking. Its text is one line, meant for the user.

    Whatever of a file stands in it is escaped, and shortened in the middle, so that it cannot steer a terminal.
    """

    def __init__(self, text: str) -> None:
        text = printable(text)
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
        super().__init__(text)


class CheckpointError(VqcheckError):
    """A checkpoint that cannot be read: names the file, the member inside it where known, and the reason."""


class NoCodebookError(VqcheckError):
    """A readable file without a VQ encoder to judge."""


class UsageError(VqcheckError):
    """A request that makes no sense: an option, a value or a path given by the user."""


class CodebookChanged(Exception):  # noqa: N818 - a finding, not a failure to check
    """The VQ encoder of a live model is not what it was.

    `finding`, a `vqcheck.live.tensor_change.GuardFinding`, has the step, tensors, rows and writing lines.
    """

    def __init__(self, text: str, finding: Any) -> None:
        super().__init__(text, finding)
        self.finding = finding

    def __str__(self) -> str:
        return str(self.args[0])
