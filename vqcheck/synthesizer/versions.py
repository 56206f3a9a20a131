"""The model versions, and what tells them apart besides the numbers in their configs."""

from vqcheck.synthesizer.errors import InputError

VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus")
_PRO = ("v2Pro", "v2ProPlus")

_SYMBOLS_V1 = 322
_SYMBOLS = 732
_REFERENCE_BINS = 704


def check_version(version: str) -> None:
    """Raise InputError for a version that this package does not have."""
    if version not in VERSIONS:
        raise InputError(f"version: expected one of {', '.join(VERSIONS)}, given {version!r}")


def is_pro(version: str) -> bool:
    """Tell whether the version takes a speaker-verification vector beside the reference."""
    return version in _PRO


def symbol_count(version: str) -> int:
    """Return the size of the version's phoneme table."""
    return _SYMBOLS_V1 if version == "v1" else _SYMBOLS


def reference_bins(version: str, spec_channels: int) -> int:
    """Return how many of the spectrogram's lowest bins the reference encoder sees."""
    return spec_channels if version == "v1" else _REFERENCE_BINS
