"""What `vqcheck check` found in a place, voice by voice. Plain data, which reports read."""

from collections.abc import Sequence
from dataclasses import dataclass

from vqcheck.audit.history_result import HistoryRow, TrainingRun
from vqcheck.audit.judgement import CheckOutcome, StageComparison
from vqcheck.audit.token_audit_result import TokenAudit
from vqcheck.codebook.diagnosis.result import TokenFlips
from vqcheck.experiment.place import PlaceKind
from vqcheck.word_enum import WordEnum


class Question(WordEnum):
    """What is asked of each voice, in the order in which the answers are of use."""

    BASE = "base"
    """Whether every training file and export has the VQ encoder of the base."""
    TOKENS = "tokens"
    """Whether the recorded tokens agree with the base."""
    S1_S2 = "s1-s2"
    """Whether the newest s1 and the newest s2 speak the same tokens."""
    LOCK = "lock"
    """Whether the newest s2 agrees with the lock of the experiment."""
    HEALTH = "health"
    """Whether the VQ encoders are trained, finite and in use."""
    RESUME = "resume"
    """Whether the next training would go on from a checkpoint that has drifted."""
    FREEZE = "freeze"
    """Whether the configuration freezes the quantizer."""


ADVICE = frozenset((Question.RESUME, Question.FREEZE))
"""What is about the next training, and says nothing of the voice as it is."""


class Missing(WordEnum):
    """What a question needs and the place lacks."""

    BASE = "base"
    GENERATOR = "generator"
    READABLE = "readable"
    """A file that can be read: those of the voice are there, and none can."""
    TOKENS = "tokens"
    FEATURES = "features"
    RECORDINGS = "recordings"
    """Features of the same recordings as the tokens: those that are here have other lengths."""
    PROJECTION = "projection"
    """The file leaves the projection in front of the codebook to its base, which is not here."""
    S1 = "s1"
    EVIDENCE = "evidence"
    """A lock, or tokens with their features."""
    LOCK = "lock"
    TRAINING = "training"
    """Training files to resume from."""
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one question."""

    question: Question
    outcome: CheckOutcome
    message: str = ""
    """One clause, where the facts beside it do not say it all."""
    missing: Missing | None = None
    """Why it was not asked; such an answer is `not applicable` and does not count."""
    files: tuple[str, ...] = ()
    """What it is about, where it is about single files."""
    audit: TokenAudit | None = None
    stages: StageComparison | None = None


class BaseReason(WordEnum):
    """Why a file is taken for the base of a voice."""

    OPTION = "option"
    """It was named, as the only one."""
    CONFIGURATION = "configuration"
    """The run's configuration names it."""
    VERSION = "version"
    """It is the only base of the voice's version that is here."""
    NEAREST = "nearest"
    """Of several it is the one to which the voice's VQ encoder is nearest."""
    UNDECIDED = "undecided"
    """It is the nearest, but may be a copy of a file that moved, or another that may be the base says that it moved."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """How a file that could be the base compares with the first file of a voice."""

    path: str
    verdict: str
    ema_steps: int | None
    """Updates between the two; None where they left no trace to count by."""
    precision: str


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """The file that a voice was trained from, as far as it is known."""

    path: str
    reason: BaseReason
    candidates: tuple[Candidate, ...] = ()
    """Those that were compared, the chosen one first; empty where there was nothing to choose."""


@dataclass(frozen=True, slots=True)
class VoiceCheck:
    """One voice of one version."""

    name: str
    version: str
    """As its tensors say; empty where they do not."""
    rank: str
    """Of LoRA training; empty for other."""
    experiment: str | None
    base: BaseChoice | None
    run: TrainingRun | None
    """Its files against the base and each other; None where none could be read."""
    answers: tuple[Answer, ...]
    """One for each question, in their order."""
    flips: TokenFlips | None = None
    """What the drift of the newest file does to the tokens of this experiment's features; None where not measured."""
    exported: str | None = None
    """The weights exported at the step of the newest file, where that is a training file and they are there."""
    made_again: bool = False
    """The newest file drifted, and the tokens and s1 were made again with it, as the lock of the experiment says."""

    def answer(self, question: Question) -> Answer:
        return next(each for each in self.answers if each.question is question)

    @property
    def newest(self) -> HistoryRow | None:
        """The last file of the run that is not the base itself."""
        rows = self.run.rows if self.run else ()
        return rows[-1] if rows else None

    @property
    def compared(self) -> bool:
        """Whether a base was compared with one of its files."""
        return self.run is not None and any(row.from_base for row in self.run.rows)

    @property
    def exit_code(self) -> int:
        """2 where a file that is there could not be read or judged, 1 where a question failed, else 0."""
        found = {each.outcome for each in self.answers if each.question not in ADVICE}
        if CheckOutcome.COULD_NOT_CHECK in found:
            return 2
        return int(CheckOutcome.FAILED in found)


class PlaceVerdict(WordEnum):
    FINE = "fine"
    AFFECTED = "affected"
    COULD_NOT_CHECK = "could not check"


@dataclass(frozen=True, slots=True)
class PlaceCheck:
    """Everything that was asked of a place."""

    path: str
    kind: PlaceKind
    root: str
    bases: tuple[str, ...]
    """The bases that were found or given."""
    voices: tuple[VoiceCheck, ...]
    skipped: tuple[tuple[str, str], ...]
    """(file, what it is): files without a codebook where a generator was looked for."""
    unreadable: tuple[tuple[str, str], ...]
    """(file, why)."""
    own_compared: bool = True
    """Whether a file of the place itself was compared, where it holds s2 files and others are only brought along."""

    @property
    def compared(self) -> bool:
        """Whether a base was compared with a file that the place is about."""
        return self.own_compared and any(voice.compared for voice in self.voices)

    @property
    def exit_code(self) -> int:
        """2 beats 1 beats 0; 2 where no base was compared with anything."""
        codes = [voice.exit_code for voice in self.voices]
        if self.unreadable or 2 in codes or not self.compared:
            return 2
        return max(codes, default=0)

    @property
    def verdict(self) -> PlaceVerdict:
        return (PlaceVerdict.FINE, PlaceVerdict.AFFECTED, PlaceVerdict.COULD_NOT_CHECK)[self.exit_code]

    @property
    def affected(self) -> Sequence[VoiceCheck]:
        return [voice for voice in self.voices if voice.exit_code == 1]
