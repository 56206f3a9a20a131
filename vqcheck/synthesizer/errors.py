"""The errors of this package.

It stands alone, so it has its own tree::

    SynthesizerError
    ├── InputError (ValueError)                            an argument has a wrong value or shape
    ├── StateDictMismatchError (ValueError, RuntimeError)  weights of another version or size
    └── UninitialisedCodebookError (RuntimeError)          a lookup in a codebook that was never filled
"""


class SynthesizerError(Exception):
    """Base of everything this package raises on purpose."""


class InputError(SynthesizerError, ValueError):
    """An argument has a wrong value or shape; the message names it, what was expected and what was given."""


class StateDictMismatchError(SynthesizerError, ValueError, RuntimeError):
    """A state dict does not fit the module.  Also a RuntimeError, because that is what torch itself raises."""


class UninitialisedCodebookError(SynthesizerError, RuntimeError):
    """A codebook whose `inited` flag is 0 was used for a lookup outside of training."""
