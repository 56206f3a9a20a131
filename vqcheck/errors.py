"""The exceptions of vqcheck.

VqcheckError                 could not check: exit status 2
├── CheckpointError          a file cannot be read, or not safely
├── NoCodebookError          a file was read, but holds no VQ encoder to judge
└── UsageError               the request itself makes no sense
    └── NotWritableError     a file cannot be written, or must not be

CodebookChanged              checked, and it changed: what a guard raises in a training process
CodebookCollapsed            measured, and few codes are used: what a monitor raises if asked
"""

from __future__ import annotations

import os
from typing import Any, Final

from vqcheck.language import Sentence, tr
from vqcheck.sanitize import sanitize, sanitize_name, without_credentials

_LONGEST: Final = 2_000


class VqcheckError(Exception):
    """Anything that keeps vqcheck from checking. As a text it is one line for the user: `path: member: reason`.

    Whatever of a file stands in it is sanitized, and shortened in the middle, so that it cannot steer a terminal.
    An address in it, be it one that was typed where none is taken, has no login and no query.

    Attributes:
        reason: what is wrong, and what to do about it.
        path: the file or folder that it concerns, as the user named it but for a login; empty where it concerns none.
        member: the tensor or other part of the file that it concerns; empty where it is the whole.

    """

    def __init__(self, reason: str, path: str | os.PathLike[str] = "", member: str = "") -> None:
        self.reason = reason
        self.path: str = without_credentials(os.fsdecode(path))
        self.member = member
        super().__init__(reason, self.path, member)

    def __str__(self) -> str:
        return without_credentials(_after(sanitize(self.path), self.what))

    @property
    def what(self) -> str:
        """The same without the path, for whoever names the file elsewhere."""
        reason = self.reason
        clean = reason.with_names(sanitize) if isinstance(reason, Sentence) else sanitize(reason)
        return without_credentials(_after(sanitize_name(self.member), clean))


def _after(name: str, text: str) -> str:
    """Return a text behind the name of what it is about, without its middle where nobody would read it to the end."""
    text = tr("{name}: {text}", name=name, text=text) if name and text else text or name
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


class CheckpointError(VqcheckError):
    """A checkpoint that cannot be read."""


class NoCodebookError(VqcheckError):
    """A readable file without a VQ encoder to judge."""


class WrongValueError(ValueError):
    """A value that is not as it should be, for whoever knows where it stands: as a text it is the words for people.

    Of another `ValueError` the text is a plain `str`, in which a sentence stays English.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class UsageError(VqcheckError):
    """A request that makes no sense: an option, a value or a path given by the user."""


class NotWritableError(UsageError):
    """A file that cannot be written, or must not be: it need not be there."""


class CodebookChanged(Exception):  # noqa: N818 - a finding, not a failure to check
    """The VQ encoder of a live model is not what it was.

    `finding`, a `vqcheck.live.tensor_change.GuardFinding`, has the step, tensors, rows and writing lines.
    """

    def __init__(self, text: str, finding: Any) -> None:
        super().__init__(text, finding)
        self.finding = finding

    def __str__(self) -> str:
        return str(self.args[0])


class CodebookCollapsed(Exception):  # noqa: N818 - a finding, not a failure to check
    """A codebook of a live model uses few of its codes.

    `record`, a `vqcheck.live.monitor_record.MonitorRecord`, has the step and what was measured of each codebook.
    """

    def __init__(self, text: str, record: Any) -> None:
        super().__init__(text, record)
        self.record = record

    def __str__(self) -> str:
        return str(self.args[0])
