"""Asks of every voice in a place whether its VQ encoder is still the one that its tokens were made with."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from vqcheck.audit.check_questions import GeneratorFile, VoiceFiles, VoiceQuestions
from vqcheck.audit.check_result import (
    BaseChoice,
    BaseReason,
    Candidate,
    Missing,
    PlaceCheck,
    Question,
    VoiceCheck,
)
from vqcheck.audit.history import in_training_order, rows_of
from vqcheck.audit.history_result import Base, BaseSource, HistoryRow, TrainingRun
from vqcheck.audit.run_checkpoints import Comparer, RunCheckpoint, read_checkpoint
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_audit_result import TokenAudit
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import model
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.diagnosis.evidence import StepPrecision
from vqcheck.errors import NoCodebookError, UsageError, VqcheckError
from vqcheck.experiment.config_file import S2Run, read_s2_run
from vqcheck.experiment.place import ModelFile, Place, Source, exported_weights
from vqcheck.experiment.run_base import named_base

OnStep = Callable[[int, int], None]
"""Called as (files read, files in all)."""

_CALLED_BASE: Final = re.compile(r"s2G|base|pretrain", flags=re.IGNORECASE)


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
        self._comparer = Comparer(Scope.ALL, ())
        self._skipped: list[tuple[str, str]] = []
        self._unreadable: list[tuple[str, str]] = []
        self._bases: dict[str, GeneratorFile] = {}
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
        checked += [self._check(VoiceFiles(name, "", "")) for name in others]
        return PlaceCheck(
            self._place.path,
            self._place.kind,
            self._place.root,
            tuple(self._bases),
            tuple(checked),
            tuple(self._skipped),
            tuple(self._unreadable),
            self._own_compared(voices, checked),
        )

    def _own_compared(self, voices: Sequence[VoiceFiles], checked: Sequence[VoiceCheck]) -> bool:
        """Say whether a file in the place itself was compared; those that were brought along do not answer for it."""
        place = os.path.abspath(self._place.path)
        within = os.path.join(place, "")
        own = {
            number
            for number, voice in enumerate(voices)
            for each in voice.found
            if (path := os.path.abspath(each.file.path)) == place or path.startswith(within)
        }
        return not own or any(checked[number].compared for number in own)

    def _read_bases(self) -> None:
        if self._given:
            for path in self._given:
                # One that the user named must be readable.
                self._bases[path] = _read_generator(ModelFile(path, "", Source.LOOSE))
            return
        for each in self._read([ModelFile(path, "", Source.LOOSE) for path in self._place.contents.bases]):
            if each is not None:
                self._bases[each.file.path] = each

    def _read(self, files: Sequence[ModelFile]) -> list[GeneratorFile | None]:
        """Return what each file holds; None for those that were skipped or could not be read, which are noted."""
        found: list[GeneratorFile | None] = []
        with ThreadPoolExecutor(max(1, min(self._jobs, len(files)))) as pool:
            for done, (file, result) in enumerate(zip(files, pool.map(_try_generator, files), strict=True), start=1):
                self._on_step(done, len(files))
                if isinstance(result, GeneratorFile):
                    found.append(result)
                    continue
                found.append(None)
                reason = str(result).removeprefix(f"{file.path}: ")
                (self._skipped if isinstance(result, NoCodebookError) else self._unreadable).append((file.path, reason))
        return found

    def _voices(self, found: Iterable[GeneratorFile]) -> list[VoiceFiles]:
        """Return the voices with their files in training order."""
        voices: dict[tuple[str, str, str], VoiceFiles] = {}
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
            voices.setdefault(key, VoiceFiles(*key)).found.append(each)
        for voice in voices.values():
            order = [stored.path for stored in in_training_order(voice.stored)]
            voice.found.sort(key=lambda each: order.index(each.stored.path))
        return [voices[key] for key in sorted(voices)]

    def _check(self, voice: VoiceFiles) -> VoiceCheck:
        experiment = self._place.experiment(voice.name)
        base = self._base_of(voice) if voice.found else self._base_of_tokens(experiment)
        run = self._run(voice, base)
        asked = VoiceQuestions(self, voice, experiment, base, run)
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
            asked.made_again,
        )

    def _run(self, voice: VoiceFiles, base: BaseChoice | None) -> TrainingRun | None:
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

    def _base_of(self, voice: VoiceFiles) -> BaseChoice | None:
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
        disagree = len({candidate.verdict == Verdict.CHANGED for candidate in candidates}) > 1
        undecided = disagree and nearest.path in self._guessed
        reason = BaseReason.UNDECIDED if undecided else BaseReason.NEAREST
        return BaseChoice(nearest.path, reason, tuple(candidates))

    def _may_be_copy(self, guess: GeneratorFile, first: GeneratorFile) -> bool:
        """Say whether a file that says nothing of training may have been saved from one of the voice itself.

        Values that training moved do not fit float16: where one of the two stores the other's values in another type,
        nothing moved.
        """
        verdict = self._candidate(guess.file.path, first).verdict
        if _CALLED_BASE.search(os.path.basename(guess.file.path)) or verdict == Verdict.CHANGED:
            return False
        ours, others = guess.stored.tensors, first.stored.tensors
        return verdict != Verdict.IDENTICAL or all(
            ours[label][0] == others[label][0] for label in ours.keys() & others.keys()
        )

    def _configured(self, voice: VoiceFiles) -> str | None:
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

    def config_of(self, voice: VoiceFiles) -> S2Run | None:
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

    def _candidate(self, path: str, first: GeneratorFile) -> Candidate:
        try:
            drift = self._comparer.with_base(self._bases[path].stored, first.stored)
        except NoCodebookError:
            return Candidate(path, Verdict.CHANGED, None, "", related=False)
        still = drift.verdict != Verdict.CHANGED
        return Candidate(path, drift.verdict, drift.ema_steps, drift.precision, still or drift.ema_steps is not None)

    def _base_of_tokens(self, experiment: str | None) -> BaseChoice | None:
        """Return the base that the configuration names, else the only one, for an experiment without a model."""
        if experiment is not None and not self._given:
            named = named_base(experiment, "", ()).path
            if named is not None and (path := self._known(named)):
                return BaseChoice(path, BaseReason.CONFIGURATION)
        if experiment is None or len(self._bases) != 1:
            return None
        reason = BaseReason.OPTION if self._given else BaseReason.VERSION
        return BaseChoice(next(iter(self._bases)), reason)

    def audit(self, generator: GeneratorFile, experiment: str) -> TokenAudit:
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

    def base(self, choice: BaseChoice) -> GeneratorFile:
        return self._bases[choice.path]

    def without_generator(self, voice: VoiceFiles) -> Missing:
        """Return what a voice without a model lacks: a file, or one that can be read."""
        faulty = {path for path, _ in self._unreadable}
        there = any(file.voice == voice.name and file.path in faulty for file in self._place.contents.generators)
        return Missing.READABLE if there else Missing.GENERATOR

    @property
    def place(self) -> Place:
        return self._place


def _nearest(candidate: Candidate) -> tuple[int, int, str]:
    """Sort key: equal first, then few updates, those that are known exactly before others, then other codebooks."""
    if candidate.verdict != Verdict.CHANGED:
        return (0, int(candidate.verdict != Verdict.IDENTICAL), candidate.path)
    if candidate.ema_steps is not None:
        return (1 + int(candidate.precision != StepPrecision.EXACT), candidate.ema_steps, candidate.path)
    return (3, 0, candidate.path)


def _versions(named: str) -> set[str]:
    """Return each version that a file may be of: v3 and v4 have the same tensors."""
    return set(named.split(" or ")) - {""}


def _try_generator(file: ModelFile) -> "GeneratorFile | VqcheckError":
    try:
        return _read_generator(file)
    except VqcheckError as error:
        return error


def _read_generator(file: ModelFile) -> GeneratorFile:
    stored = read_checkpoint(file.path)
    with open_checkpoint(file.path) as checkpoint:
        version = model.identify(checkpoint).version
    if " or " in version and file.version in version.split(" or "):
        version = file.version  # v3 and v4 have the same tensors
    return GeneratorFile(file, stored, version)
