"""The exceptions of vqcheck.

VqcheckError                 could not check: exit status 2
├── CheckpointError          a file cannot be read, or not safely
├── NoCodebookError          a file was read, but holds no VQ encoder to judge
└── UsageError               the request itself makes no sense
"""


class VqcheckError(Exception):
    """Anything that keeps vqcheck from checking. Its text is one line, meant for the user."""


class CheckpointError(VqcheckError):
    """A checkpoint that cannot be read: names the file, the member inside it where known, and the reason."""


class NoCodebookError(VqcheckError):
    """A readable file without a VQ encoder to judge."""


class UsageError(VqcheckError):
    """A request that makes no sense: an option, a value or a path given by the user."""
