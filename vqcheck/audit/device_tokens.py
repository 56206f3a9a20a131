"""What a device derives in half precision of its own, beside the emulation that the verdict rests on. Plain data."""

from dataclasses import dataclass

from vqcheck.audit.token_audit_result import TokenAudit, TokenVerdict


@dataclass(frozen=True, slots=True)
class DeviceTokens:
    """The tokens that one device derives from the features of the items that were checked.

    They are evidence, and decide nothing: another device sums up in another order, and a verdict must not depend on
    the machine that it was reached on.
    """

    device: str
    """What people call it"""
    frames: int
    """Those that have a recorded token, too"""
    as_recorded: int
    """Frames in which the device gives the recorded token"""
    audit: TokenAudit
    """Of the device's tokens, as if they had been recorded: whether the emulation explains them"""

    @property
    def agrees(self) -> bool:
        """Whether the emulation explains what the device does. Where half precision overflows nobody can say so."""
        return self.audit.verdict is TokenVerdict.CONSISTENT
