"""What decides whether tokens come from a checkpoint: a lock that binds them, a base beside it, or the tokens alone.

On little data two VQ encoders give the same tokens. So tokens that agree with a checkpoint do not show that it made
them where a lock or a base disagrees. Plain data, which reports read.
"""

from dataclasses import dataclass

from vqcheck.audit.device_tokens import DeviceTokens
from vqcheck.audit.token_audit_result import TokenAudit, TokenVerdict
from vqcheck.audit.token_power import Power, power, updates
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.diagnosis.evidence import StepPrecision
from vqcheck.codebook.diagnosis.result import TokenFlips
from vqcheck.codebook.file_record import Order
from vqcheck.word_enum import WordEnum


class Decider(WordEnum):
    """What the verdict rests on."""

    TOKENS = "tokens"
    LOCK = "lock"
    AGAINST = "against"
    """The other checkpoint, which came first: the tokens agree with it, too."""
    NOTHING = "nothing"
    """Two different VQ encoders both explain the tokens, and nothing says which came first."""


@dataclass(frozen=True, slots=True)
class Movement:
    """How one VQ encoder differs from another that the tokens agree with, too."""

    order: Order
    """`A first` where the other one came before the checkpoint that is judged"""
    steps: int | None
    """EMA updates between the two; None where they left no trace to count by"""
    precision: str
    """Of `steps`: whether it is exact; empty without"""
    flips: TokenFlips
    """Frames of this experiment that have another token with the one than with the other"""

    @property
    def is_exact(self) -> bool:
        return self.precision == StepPrecision.EXACT


@dataclass(frozen=True, slots=True)
class LockSays:
    """What a lock of the experiment says of a checkpoint."""

    path: str
    binds: bool
    """Whether the recorded tokens are those it was made with; else it says nothing of them"""
    verdict: str = ""
    """Of the checkpoint against it; empty where it binds other tokens"""


@dataclass(frozen=True, slots=True)
class TokenDecision:
    """Whether tokens come from a checkpoint, by everything that is at hand."""

    audit: TokenAudit
    other: TokenAudit | None = None
    """The audit of the checkpoint it is compared with"""
    lock: LockSays | None = None
    other_is_configured: bool = False
    """Nobody named the other one: the configuration of the experiment does, as what training starts from"""
    movement: Movement | None = None
    """None where the two checkpoints hold one VQ encoder, or where not both explain the tokens"""
    exported: str | None = None
    """The weights exported at the checkpoint's step, where it is a training file and somebody looked for them"""
    device: DeviceTokens | None = None
    """What a device derives, where one was asked: shown beside the verdict, which it does not change"""

    @property
    def decided_by(self) -> Decider:
        if self.audit.verdict is TokenVerdict.INCONSISTENT:
            return Decider.TOKENS
        if self.lock is not None and self.lock.binds:
            return Decider.LOCK
        if self.movement is None or self.audit.verdict is not TokenVerdict.CONSISTENT:
            return Decider.TOKENS
        if self.movement.order is Order.B_FIRST:
            return Decider.TOKENS
        # Tokens that agree better with the later one may have been extracted again with it.
        is_later = self.movement.order is Order.A_FIRST and not self._explains_more
        return Decider.AGAINST if is_later else Decider.NOTHING

    @property
    def verdict(self) -> TokenVerdict:
        if self.decided_by is Decider.LOCK and self.lock is not None:
            if self.lock.verdict == Verdict.CHANGED:
                return TokenVerdict.INCONSISTENT
            return TokenVerdict.INCONCLUSIVE if self.lock.verdict == Verdict.UNDECIDED else self.audit.verdict
        return {Decider.AGAINST: TokenVerdict.INCONSISTENT, Decider.NOTHING: TokenVerdict.INCONCLUSIVE}.get(
            self.decided_by, self.audit.verdict
        )

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code

    @property
    def power(self) -> Power | None:
        """What tokens that agree with the checkpoint could not have shown; None where they do not agree."""
        return power(self.audit)

    @property
    def updates(self) -> int | None:
        """About how many leaked updates stay below that, at the rate of those between the two checkpoints."""
        found, movement = self.power, self.movement
        if found is None or movement is None or movement.steps is None:
            return None
        return updates(found, movement.steps, movement.flips.flipped, movement.flips.frames)

    @property
    def _explains_more(self) -> bool:
        return self.other is not None and self.audit.better_than(self.other) == "checkpoint"
