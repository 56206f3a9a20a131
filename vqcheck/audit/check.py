"""Asks of every voice in a place whether its VQ encoder is still the one that its tokens were made with."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.check_result import (
    Answer,
    BaseChoice,
    BaseReason,
    Candidate,
    Missing,
    PlaceCheck,
    Question,
    VoiceCheck,
)
from vqcheck.audit.history import in_training_order, rows_of
from vqcheck.audit.history_result import Base, BaseSource, Drift, HistoryRow, TrainingRun
from vqcheck.audit.judgement import CheckOutcome
from vqcheck.audit.lock import NAME, read_lock
from vqcheck.audit.planned_run import PlannedRun
from vqcheck.audit.resume import judge_resumed
from vqcheck.audit.run_checkpoints import Comparer, RunCheckpoint, read_checkpoint
from vqcheck.audit.s1_s2_consistency import compare_stages
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_audit_result import TokenAudit
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.comparison import ALL, CHANGED, IDENTICAL, UNDECIDED
from vqcheck.codebook.diagnosis import flips
from vqcheck.codebook.diagnosis.evidence import StepPrecision
from vqcheck.codebook.diagnosis.result import TokenFlips
from vqcheck.codebook.health import COLLAPSED
from vqcheck.errors import NoCodebookError, UsageError, VqcheckError
from vqcheck.experiment.config_file import S2Run, read_s2_run
from vqcheck.experiment.features import FeatureFolder
from vqcheck.experiment.place import ModelFile, Place, Source, exported_weights
from vqcheck.experiment.resume_folders import Folder, latest, resume_folders
from vqcheck.experiment.run_base import named_base

OnStep = Callable[[int, int], None]
"""Called as (files read, files in all)."""

_FEATURES: Final = "4-cnhubert"
_CALLED_BASE: Final = re.compile(r"s2G|base|pretrain", flags=re.IGNORECASE)
_OUTCOME: Final = {0: CheckOutcome.PASSED, 1: CheckOutcome.FAILED}


@dataclass(frozen=True)
class _Generator:
    """One file of a voice with what was read of it."""

    file: ModelFile
    stored: RunCheckpoint
    version: str


@dataclass
class _Voice:
    """The files of one voice and version before they are judged."""

    name: str
    version: str
    rank: str
    found: list[_Generator] = field(default_factory=list)

    @property
    def stored(self) -> list[RunCheckpoint]:
        return [each.stored for each in self.found]


def check_place(
    place: Place, bases: Sequence[str] = (), jobs: int | None = None, on_step: OnStep | None = None
) -> PlaceCheck:
    """Return the answer to every question about every voice of a place.

    `bases` are the files that training started from, as the user names them; else those of the place count. Each file
    is read once, `jobs` of them at the same time (default: one a processor).

    Raises:
        UsageError: the place holds no model of any voice.
        CheckpointError, NoCodebookError: a base that the user named cannot be read, or holds no codebook.

    """
    return _Check(place, bases, jobs or os.cpu_count() or 1, on_step).result()


class _Check:
    """One run: what was read, so that nothing is read twice."""

    def __init__(self, place: Place, given: Sequence[str], jobs: int, on_step: OnStep | None) -> None:
        self._place = place
        self._given = tuple(given)
        self._jobs = jobs
        self._on_step = on_step or (lambda _done, _total: None)
        self._comparer = Comparer(ALL, ())
        self._skipped: list[tuple[str, str]] = []
        self._unreadable: list[tuple[str, str]] = []
        self._bases: dict[str, _Generator] = {}
        self._guessed: set[str] = set()
        """Bases that are taken for one because they say nothing of training."""
        self._audits: dict[tuple[object, str], TokenAudit | VqcheckError] = {}

    def result(self) -> PlaceCheck:
        contents = self._place.contents
        self._read_bases()
        own = {os.path.realpath(path) for path in self._bases}
        files = [file for file in contents.generators if os.path.realpath(file.path) not in own]
        if not files and not contents.experiments:
            raise UsageError(
                f"{self._place.path}: holds no checkpoint of a voice; name an experiment (logs/NAME), a "
                "weights folder, a GPT-SoVITS folder or a file"
            )
        voices = self._voices([each for each in self._read(files) if each is not None])
        checked = [self._check(voice) for voice in voices]
        named = {voice.name for voice in voices}
        # An experiment without a model of its own has tokens to ask about all the same.
        others = [name for folder in contents.experiments if (name := os.path.basename(folder)) not in named]
        checked += [self._check(_Voice(name, "", "")) for name in others]
        return PlaceCheck(
            self._place.path,
            self._place.kind,
            self._place.root,
            tuple(self._bases),
            tuple(checked),
            tuple(self._skipped),
            tuple(self._unreadable),
        )

    def _read_bases(self) -> None:
        if self._given:
            for path in self._given:
                # One that the user named must be readable.
                self._bases[path] = _read_generator(ModelFile(path, "", Source.LOOSE))
            return
        for each in self._read([ModelFile(path, "", Source.LOOSE) for path in self._place.contents.bases]):
            if each is not None:
                self._bases[each.file.path] = each

    def _read(self, files: Sequence[ModelFile]) -> list[_Generator | None]:
        """Return what each file holds; None for those that were skipped or could not be read, which are noted."""
        found: list[_Generator | None] = []
        with ThreadPoolExecutor(max(1, min(self._jobs, len(files)))) as pool:
            for done, (file, result) in enumerate(zip(files, pool.map(_try_generator, files), strict=True), start=1):
                self._on_step(done, len(files))
                if isinstance(result, _Generator):
                    found.append(result)
                    continue
                found.append(None)
                reason = str(result).removeprefix(f"{file.path}: ")
                (self._skipped if isinstance(result, NoCodebookError) else self._unreadable).append((file.path, reason))
        return found

    def _voices(self, found: Iterable[_Generator]) -> list[_Voice]:
        """Return the voices with their files in training order."""
        voices: dict[tuple[str, str, str], _Voice] = {}
        known = set().union(*(_versions(base.version) for base in self._bases.values()))
        for each in found:
            if (
                each.file.source is Source.LOOSE
                and not each.stored.has_step
                and not self._given
                and not _versions(each.version) & known
            ):
                # Beside files of a run, one that says nothing of training is what a run started from. Where a base of
                # its version lies where bases belong, it is a voice: a copy of a drifted file says nothing, too.
                self._bases.setdefault(each.file.path, each)
                self._guessed.add(each.file.path)
                continue
            name = each.file.voice or each.stored.voice or os.path.splitext(os.path.basename(each.file.path))[0]
            key = (name, each.version, each.file.rank)
            voices.setdefault(key, _Voice(*key)).found.append(each)
        for voice in voices.values():
            order = [stored.path for stored in in_training_order(voice.stored)]
            voice.found.sort(key=lambda each: order.index(each.stored.path))
        return [voices[key] for key in sorted(voices)]

    def _check(self, voice: _Voice) -> VoiceCheck:
        experiment = self._place.experiment(voice.name)
        base = self._base_of(voice) if voice.found else self._base_of_tokens(experiment)
        run = self._run(voice, base)
        asked = _Asked(self, voice, experiment, base, run)
        return VoiceCheck(
            voice.name,
            voice.version,
            voice.rank,
            experiment,
            base,
            run,
            tuple(asked.answer(question) for question in Question),
            asked.flips(),
            exported_weights(voice.found[-1].file.path) if voice.found else None,
        )

    def _run(self, voice: _Voice, base: BaseChoice | None) -> TrainingRun | None:
        if not voice.found:
            return None
        found = voice.stored
        if base is None:
            rows = tuple(rows_of(found, None, self._comparer))
            return TrainingRun(voice.name, None, None, rows, (), found[0].family)
        told_by = BaseSource.CONFIGURATION if base.reason is BaseReason.CONFIGURATION else BaseSource.OPTION
        rows = tuple(self._rows(found, self._bases[base.path].stored))
        return TrainingRun(voice.name, Base(base.path, told_by), None, rows, (), found[0].family)

    def _rows(self, found: Sequence[RunCheckpoint], base: RunCheckpoint) -> Iterator[HistoryRow]:
        """Yield what each file is beside the base; how far it moved is measured of the last."""
        for number, each in enumerate(found, start=1):
            brief = self._comparer.surely_changed(base, each) if number < len(found) else None
            drift = brief or self._comparer.with_base(base, each)
            yield HistoryRow(each.name, each.record, each.digest, each.digest_of, drift, None, None)

    def _base_of(self, voice: _Voice) -> BaseChoice | None:
        """Return the base of a voice: the one that was named, that its configuration names, or that is nearest."""
        if not self._given and (named := self._configured(voice)) and (path := self._known(named)):
            return BaseChoice(path, BaseReason.CONFIGURATION)
        versions = _versions(voice.version)
        fitting = [
            path
            for path, base in self._bases.items()
            if self._given or not versions or versions & _versions(base.version) or not base.version
        ]
        if not fitting:
            return None
        first = voice.found[0]
        if len(fitting) == 1:
            (path,) = fitting
            if path in self._guessed and self._may_be_copy(self._bases[path], first):
                return BaseChoice(path, BaseReason.UNDECIDED, (self._candidate(path, first),))
            return BaseChoice(path, BaseReason.OPTION if self._given else BaseReason.VERSION)
        candidates = sorted((self._candidate(path, first) for path in fitting), key=_nearest)
        nearest = candidates[0]
        # One of several guesses may be a copy of a file that moved, and nothing has moved beside that.
        disagree = len({candidate.verdict == CHANGED for candidate in candidates}) > 1
        undecided = disagree and nearest.path in self._guessed
        reason = BaseReason.UNDECIDED if undecided else BaseReason.NEAREST
        return BaseChoice(nearest.path, reason, tuple(candidates))

    def _may_be_copy(self, guess: _Generator, first: _Generator) -> bool:
        """Say whether a file that says nothing of training may have been saved from one of the voice itself.

        Values that training moved do not fit float16: where one of the two stores the other's values in another type,
        nothing moved.
        """
        verdict = self._candidate(guess.file.path, first).verdict
        if _CALLED_BASE.search(os.path.basename(guess.file.path)) or verdict == CHANGED:
            return False
        ours, others = guess.stored.tensors, first.stored.tensors
        return verdict != IDENTICAL or all(ours[label][0] == others[label][0] for label in ours.keys() & others.keys())

    def _configured(self, voice: _Voice) -> str | None:
        """Return the base that the configuration of a voice names, where the file is there."""
        folder = next((each.file.run for each in voice.found if each.file.run), "")
        folder = folder or os.path.dirname(os.path.abspath(voice.found[0].file.path))
        beside = named_base(folder, voice.name, [each.stored.config for each in voice.found]).path
        if beside is not None:
            return beside
        config = self.config_of(voice)
        # One of another version names another base.
        fits = config is not None and (config.version is None or config.version in voice.version.split(" or "))
        named = config.pretrained_s2G if config and fits else None
        return named if named and os.path.isfile(named) else None

    def config_of(self, voice: _Voice) -> S2Run | None:
        """Return the s2 configuration of a voice; one of another version counts where there is no other."""
        found = []
        for path in self._place.contents.configs:
            try:
                config = read_s2_run(path, self._place.root or None)
            except UsageError:
                continue  # another tool's JSON
            if config.voice == voice.name:
                found.append(config)
        versions = voice.version.split(" or ")
        return next((each for each in found if each.version in versions), found[0] if found else None)

    def _known(self, path: str) -> str | None:
        """Return the name by which a base was read, reading it now where it was not; None where it cannot be."""
        for known in self._bases:
            if os.path.realpath(known) == os.path.realpath(path):
                return known
        (found,) = self._read([ModelFile(path, "", Source.LOOSE)])
        if found is None:
            return None
        self._bases[path] = found
        return path

    def _candidate(self, path: str, first: _Generator) -> Candidate:
        try:
            drift = self._comparer.with_base(self._bases[path].stored, first.stored)
        except NoCodebookError:
            return Candidate(path, CHANGED, None, "", related=False)
        still = drift.verdict != CHANGED
        return Candidate(path, drift.verdict, drift.ema_steps, drift.precision, still or drift.ema_steps is not None)

    def _base_of_tokens(self, experiment: str | None) -> BaseChoice | None:
        """Return the only base there is, for an experiment without a model of its own."""
        if experiment is None or len(self._bases) != 1:
            return None
        reason = BaseReason.OPTION if self._given else BaseReason.VERSION
        return BaseChoice(next(iter(self._bases)), reason)

    def audit(self, generator: _Generator, experiment: str) -> TokenAudit:
        """Return the audit of an experiment's tokens by a generator; files of one content are asked once.

        Raises:
            VqcheckError: there is nothing to audit.

        """
        key = (generator.stored.digest, experiment)
        if key not in self._audits:
            try:
                with open_checkpoint(generator.file.path) as checkpoint:
                    self._audits[key] = audit_tokens(checkpoint, experiment)
            except VqcheckError as error:
                self._audits[key] = error
        found = self._audits[key]
        if isinstance(found, VqcheckError):
            raise found
        return found

    def base(self, choice: BaseChoice) -> _Generator:
        return self._bases[choice.path]

    @property
    def place(self) -> Place:
        return self._place


class _Asked:
    """The questions about one voice."""

    def __init__(
        self,
        check: _Check,
        voice: _Voice,
        experiment: str | None,
        base: BaseChoice | None,
        run: TrainingRun | None,
    ) -> None:
        self._check = check
        self._voice = voice
        self._experiment = experiment
        self._base = base
        self._run = run
        self._newest = voice.found[-1] if voice.found else None

    def answer(self, question: Question) -> Answer:
        """Return the answer to one question; an error of vqcheck's own means that it could not be answered."""
        ask = {
            Question.BASE: self._base_question,
            Question.TOKENS: self._tokens,
            Question.S1_S2: self._s1_s2,
            Question.LOCK: self._lock,
            Question.HEALTH: self._health,
            Question.RESUME: self._resume,
            Question.FREEZE: self._freeze,
        }[question]
        try:
            return ask(question)
        except VqcheckError as error:
            return Answer(question, CheckOutcome.COULD_NOT_CHECK, str(error))

    def flips(self) -> TokenFlips | None:
        """Return how many frames of the experiment get another token from the newest file than from the base."""
        newest, features, drift = self._newest, self._features, self._drift
        if not (newest and features and self._base and drift and drift.verdict == CHANGED):
            return None
        recordings = FeatureFolder(features)
        try:
            with open_checkpoint(self._base.path) as base, open_checkpoint(newest.file.path) as last:
                return flips.measure(base, last, recordings.path, recordings)
        except UsageError:
            return None  # nothing to derive tokens with: the drift itself is reported

    @property
    def _features(self) -> str | None:
        folder = os.path.join(self._experiment, _FEATURES) if self._experiment else ""
        return folder if os.path.isdir(folder) else None

    @property
    def _tsv(self) -> str | None:
        """The experiment, where it holds tokens."""
        there = self._experiment and any(
            name.startswith("6-name2semantic") and name.endswith(".tsv") for name in os.listdir(self._experiment)
        )
        return self._experiment if there else None

    def _base_question(self, question: Question) -> Answer:
        if not self._run or not self._run.rows:
            return _not_asked(question, Missing.GENERATOR)
        if self._base is None:
            return _not_asked(question, Missing.BASE)
        if self._base.reason is BaseReason.UNDECIDED:
            names = ", ".join(os.path.basename(candidate.path) for candidate in self._base.candidates)
            one = "may be the base, or a copy of a file that moved"
            several = "each may be the base, and their VQ encoders differ"
            raise UsageError(
                f"{names}: {several if len(self._base.candidates) > 1 else one}; name the base with --base"
            )
        undecided = [row.name for row in self._run.rows if row.is_undecided]
        if undecided:
            return Answer(question, CheckOutcome.COULD_NOT_CHECK, files=tuple(undecided))
        moved = [row.name for row in self._run.rows if row.moved]
        return Answer(question, CheckOutcome.FAILED if moved else CheckOutcome.PASSED, files=tuple(moved))

    def _tokens(self, question: Question) -> Answer:
        if self._tsv is None:
            return _not_asked(question, Missing.TOKENS)
        if self._features is None:
            return _not_asked(question, Missing.FEATURES)
        if self._base is None:
            return _not_asked(question, Missing.BASE)
        return _of_audit(question, self._check.audit(self._check.base(self._base), self._tsv))

    def _s1_s2(self, question: Question) -> Answer:
        s1 = self._s1()
        if s1 is None:
            return _not_asked(question, Missing.S1)
        if self._newest is None:
            return _not_asked(question, Missing.GENERATOR)
        if self._tsv is None:
            return _not_asked(question, Missing.TOKENS)
        files = (s1, self._newest.file.path)
        lock = self._lock_path()
        if lock is not None:
            with open_checkpoint(self._newest.file.path) as newest:
                found = compare_stages(s1, newest, self._experiment, lock)
            outcome = _OUTCOME.get(found.exit_code, CheckOutcome.COULD_NOT_CHECK)
            return Answer(question, outcome, files=files, stages=found)
        if self._features is None:
            return _not_asked(question, Missing.EVIDENCE)
        answer = self._s1_s2_by_tokens(question, self._tsv, self._newest)
        return replace(answer, files=files)

    def _s1_s2_by_tokens(self, question: Question, experiment: str, newest: _Generator) -> Answer:
        """Return whether the tokens that s1 learns are those of the newest s2.

        Where a base is at hand it decides: on little data two VQ encoders give the same tokens, so that tokens which
        agree with both say nothing of the one that moved.
        """
        drift = self._drift
        if self._base is None or drift is None:
            return self._by_audit(question, newest, experiment)
        by_base = _of_audit(question, self._check.audit(self._check.base(self._base), experiment))
        if drift.verdict != CHANGED or by_base.outcome is not CheckOutcome.PASSED:
            # A LoRA export stores no projection; where its codebook is the base's, the base stands for it.
            return by_base if drift.verdict != CHANGED else self._by_audit(question, newest, experiment)
        return replace(by_base, outcome=CheckOutcome.FAILED)

    def _by_audit(self, question: Question, generator: _Generator, experiment: str) -> Answer:
        if generator.stored.digest_of == "codebook":
            return _not_asked(question, Missing.PROJECTION)
        return _of_audit(question, self._check.audit(generator, experiment))

    @property
    def _drift(self) -> Drift | None:
        """How far the newest file is from the base."""
        return self._run.rows[-1].from_base if self._run and self._run.rows else None

    def _lock(self, question: Question) -> Answer:
        path = self._lock_path()
        if path is None:
            return _not_asked(question, Missing.LOCK)
        if self._newest is None:
            return _not_asked(question, Missing.GENERATOR)
        lock = read_lock(path)
        experiment = self._tsv if lock.tsv else None
        with open_checkpoint(self._newest.file.path) as newest:
            found = check_lock(lock, path, newest, experiment, None, ALL)
        if found.verdict == UNDECIDED:
            return Answer(question, CheckOutcome.COULD_NOT_CHECK, files=(path,))
        outcome = CheckOutcome.FAILED if found.verdict == CHANGED else CheckOutcome.PASSED
        return Answer(question, outcome, files=(path, self._newest.file.path))

    def _health(self, question: Question) -> Answer:
        stored = [*self._voice.stored, *([self._check.base(self._base).stored] if self._base else [])]
        if not stored:
            return _not_asked(question, Missing.GENERATOR)
        ill = [each.name for each in stored if not each.trained or set(each.ailments) - {COLLAPSED}]
        if ill:
            return Answer(question, CheckOutcome.FAILED, files=tuple(dict.fromkeys(ill)))
        collapsed = [each.name for each in stored if each.ailments]
        # Whether a collapsed codebook is one is not settled by a number that no published base was measured for.
        return Answer(question, CheckOutcome.PASSED, COLLAPSED if collapsed else "", files=tuple(collapsed))

    def _resume(self, question: Question) -> Answer:
        """Return whether the next training would resume from another VQ encoder: as the gate asks it, and answers."""
        runs = tuple(dict.fromkeys(each.file.run for each in self._voice.found if each.file.run))
        if not runs or self._experiment is None:
            return _not_asked(question, Missing.TRAINING)
        if self._base is None:
            return _not_asked(question, Missing.BASE)
        config = self._check.config_of(self._voice)
        versions = self._voice.version.split(" or ")
        if config is not None and config.version in (None, *versions):
            run = replace(config, pretrained_s2G=self._base.path, exp_dir=self._experiment)
            folders = resume_folders(run, self._experiment, self._check.base(self._base).version).read
        else:
            # Nothing says which folder the next training reads, so those that are there count.
            run = S2Run(self._base.path, self._base.path, self._experiment, None, None, trains_code=False)
            folders = tuple(Folder(os.path.basename(each), "", _has_discriminator(self._voice)) for each in runs)
        planned, faulty = PlannedRun(run, None, None, None), {}
        for folder in folders:
            found = latest(self._experiment, folder)
            for path in found.generators if found.resumed else ():
                if fault := judge_resumed(planned, path)[0]:
                    faulty[path] = fault
        outcome = CheckOutcome.FAILED if faulty else CheckOutcome.PASSED
        return Answer(question, outcome, next(iter(faulty.values()), ""), files=tuple(faulty))

    def _freeze(self, question: Question) -> Answer:
        config = self._check.config_of(self._voice)
        if config is None:
            return _not_asked(question, Missing.CONFIGURATION)
        frozen = config.freeze_quantizer is True
        return Answer(question, CheckOutcome.PASSED if frozen else CheckOutcome.FAILED, files=(config.config,))

    def _lock_path(self) -> str | None:
        """Return the lock that the gate goes by."""
        path = os.path.join(self._experiment, NAME) if self._experiment else ""
        return path if path in self._check.place.contents.locks else None

    def _s1(self) -> str | None:
        """Return the newest s1 file of this voice; s1 of all versions from v2 on is of one layout."""
        files = [file for file in self._check.place.contents.s1 if file.voice == self._voice.name]
        of_version = [file for file in files if file.version in self._voice.version.split(" or ")]
        exported = [file for file in of_version or files if file.source is Source.EXPORT] or of_version or files
        return exported[-1].path if exported else None


def _has_discriminator(voice: _Voice) -> bool:
    return not voice.rank and "v3" not in voice.version and "v4" not in voice.version


def _not_asked(question: Question, missing: Missing) -> Answer:
    return Answer(question, CheckOutcome.NOT_APPLICABLE, missing=missing)


def _of_audit(question: Question, audit: TokenAudit) -> Answer:
    if question is Question.S1_S2 and audit.only_lengths:
        # The tokens question tells it; of the VQ encoder it says nothing.
        return Answer(question, CheckOutcome.NOT_APPLICABLE, missing=Missing.RECORDINGS, audit=audit)
    if audit.contradictions:
        return Answer(question, CheckOutcome.FAILED, audit=audit)
    if audit.unreadable or audit.malformed:
        return Answer(question, CheckOutcome.COULD_NOT_CHECK, audit=audit)
    if audit.gaps:
        # Too few features, or features that half precision overflows on: nothing that is there is broken.
        return Answer(question, CheckOutcome.NOT_APPLICABLE, missing=Missing.FEATURES, audit=audit)
    return Answer(question, CheckOutcome.PASSED, audit=audit)


def _nearest(candidate: Candidate) -> tuple[int, int, str]:
    """Sort key: equal first, then few updates, those that are known exactly before others, then other codebooks."""
    if candidate.verdict != CHANGED:
        return (0, int(candidate.verdict != IDENTICAL), candidate.path)
    if candidate.ema_steps is not None:
        return (1 + int(candidate.precision != StepPrecision.EXACT), candidate.ema_steps, candidate.path)
    return (3, 0, candidate.path)


def _versions(named: str) -> set[str]:
    """Return each version that a file may be of: v3 and v4 have the same tensors."""
    return set(named.split(" or ")) - {""}


def _try_generator(file: ModelFile) -> "_Generator | VqcheckError":
    try:
        return _read_generator(file)
    except VqcheckError as error:
        return error


def _read_generator(file: ModelFile) -> _Generator:
    stored = read_checkpoint(file.path)
    with open_checkpoint(file.path) as checkpoint:
        version = model.identify(checkpoint).version
    if " or " in version and file.version in version.split(" or "):
        version = file.version  # v3 and v4 have the same tensors
    return _Generator(file, stored, version)
