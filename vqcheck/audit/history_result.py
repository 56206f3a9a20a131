"""What a history of checkpoints came to. Plain data, which reports read."""

from dataclasses import dataclass

from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.file_record import FileRecord
from vqcheck.codebook.vq_encoder import InFront
from vqcheck.experiment.run_base import UnusedBase
from vqcheck.word_enum import VerdictEnum, WordEnum


class HistoryVerdict(VerdictEnum):
    """What a run came to, the worst first: the verdicts on two files, and one more."""

    COULD_NOT_CHECK = "could not check", 2
    CHANGED = Verdict.CHANGED, 1
    ROUNDED = Verdict.ROUNDED, 0
    WITHIN_ULPS = Verdict.WITHIN_ULPS, 0
    IDENTICAL = Verdict.IDENTICAL, 0


class BaseSource(WordEnum):
    """What says which file a run started from."""

    OPTION = "option"
    CONFIGURATION = "configuration"
    """The run's s2 JSON."""
    FOLDER = "folder"
    """That a file there has no step."""


class ComparedWith(WordEnum):
    """What the checkpoints of a run were compared with."""

    BASE = "base"
    EACH_OTHER = "each other"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one checkpoint's VQ encoder is from what an earlier file, or several together, hold."""

    against: tuple[str, ...]
    """Names of the files; several where one leaves out what another stores, or stores it with less precision."""
    verdict: str
    rows_changed: int
    rows: int
    displacement: float | None
    """Median over the codes of distance moved, in half the distance to the nearest neighbour; None if not measured."""
    ema_steps: int | None
    """EMA updates that ran in between; None where they left no trace to count by."""
    precision: str
    """How `ema_steps` is to be read: `exact`, `about`, `at least`, or empty."""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One checkpoint of a run."""

    name: str
    record: FileRecord
    digest: Digest
    digest_of: str
    """What the digest covers: `vq_encoder`, or `codebook` or `projection` where the file stores that alone."""
    from_base: Drift | None
    """None for the base itself, and where no base is known."""
    from_first: Drift | None
    """Against the first checkpoint, where no base is known; None for the first."""
    from_previous: Drift | None
    """Against the checkpoints before it: each tensor against the last that stores it. None for the first."""
    in_front: InFront = InFront.STORED
    """What is known of the layers in front of the codebook."""

    @property
    def since_start(self) -> Drift | None:
        """Against the base or, where none is known, the first checkpoint; None for that itself."""
        return self.from_base or self.from_first

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """All that it was compared with."""
        return tuple(drift for drift in (self.from_base, self.from_first, self.from_previous) if drift)

    @property
    def is_undecided(self) -> bool:
        """Whether a copy contradicts the one that was judged."""
        return any(drift.verdict == Verdict.UNDECIDED for drift in self.drifts)

    @property
    def moved(self) -> bool:
        """Whether its VQ encoder is not that of the base, or not that of the checkpoints before it."""
        return any(drift.verdict == Verdict.CHANGED for drift in self.drifts)


@dataclass(frozen=True, slots=True)
class Base:
    """The file that a run started from."""

    path: str
    told_by: BaseSource


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file of the folder that was not compared."""

    name: str
    reason: str
    """Why it holds no codebook, as the error says it; empty where it holds one."""
    family: str = ""
    """The codec that it holds, where the run is of another one."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The checkpoints of one training run, in its order."""

    name: str
    """The voice, where the folder holds exports of several; else empty."""
    base: Base | None
    unused_base: UnusedBase | None
    """What a configuration names, where there is no base for all that."""
    rows: tuple[HistoryRow, ...]
    unreadable: tuple[tuple[str, str], ...]
    """(file, why it could not be read)."""
    family: str = ""
    """What the rows' VQ encoders are read as; empty where there is no row."""

    @property
    def first_moved(self) -> HistoryRow | None:
        """The first checkpoint whose VQ encoder is not that of the base, or of those before it."""
        return next((row for row in self.rows if row.moved), None)

    @property
    def compared_with(self) -> ComparedWith:
        """What the checkpoints were compared with: the base (and each other), each other, or nothing."""
        if any(row.from_base for row in self.rows):
            return ComparedWith.BASE
        return ComparedWith.EACH_OTHER if len(self.rows) > 1 else ComparedWith.NOTHING

    @property
    def verdict(self) -> HistoryVerdict:
        if self.unreadable or self.compared_with is ComparedWith.NOTHING:
            return HistoryVerdict.COULD_NOT_CHECK
        found = {drift.verdict for row in self.rows for drift in row.drifts}
        if Verdict.UNDECIDED in found:
            return HistoryVerdict.COULD_NOT_CHECK
        return next((each for each in HistoryVerdict if each.value in found), HistoryVerdict.IDENTICAL)

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code


@dataclass(frozen=True, slots=True)
class History:
    """A folder of checkpoints: one run, or exports of several voices."""

    folder: str
    scope: str
    runs: tuple[TrainingRun, ...]
    """At least one."""
    skipped: tuple[SkippedFile, ...]
    """Files without a codebook, such as discriminators, or of another codec."""
    never_trained: tuple[str, ...]
    """Files whose codebook still waits for its first batch."""
    ailing: tuple[tuple[str, str], ...] = ()
    """(file, what else ails its VQ encoder): not finite, broken, collapsed."""

    @property
    def worst(self) -> TrainingRun:
        """The run that decides the verdict: one that could not be checked before one that moved."""
        return min(self.runs, key=lambda run: tuple(HistoryVerdict).index(run.verdict))

    @property
    def verdict(self) -> HistoryVerdict:
        return self.worst.verdict

    @property
    def exit_code(self) -> int:
        return self.worst.exit_code
