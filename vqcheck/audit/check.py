"""Asks of every voice in a place whether its VQ encoder is still the one that its tokens were made with."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Final

from vqcheck.audit.check_files import GeneratorFile, OnStep, PlaceFiles, VoiceFiles, versions_of
from vqcheck.audit.check_questions import VoiceQuestions
from vqcheck.audit.check_result import (
    BaseChoice,
    BaseReason,
    Candidate,
    PlaceCheck,
    Question,
    VoiceCheck,
)
from vqcheck.audit.history import rows_of
from vqcheck.audit.history_result import Base, BaseSource, HistoryRow, TrainingRun
from vqcheck.audit.run_checkpoints import Comparer, RunCheckpoint
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.diagnosis.evidence import StepPrecision
from vqcheck.errors import NoCodebookError, UsageError
from vqcheck.experiment.place import Place, exported_weights
from vqcheck.experiment.run_base import named_base
from vqcheck.language import tr

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
    files = PlaceFiles(place, bases, jobs or os.cpu_count() or 1, on_step or (lambda _done, _total: None))
    return _Check(files).result()


class _Check:
    """One run: which base each voice started from, and what its files are beside it."""

    def __init__(self, files: PlaceFiles) -> None:
        self._files = files
        self._comparer = Comparer(Scope.ALL, ())

    def result(self) -> PlaceCheck:
        contents = self._files.place.contents
        self._files.read_bases()
        own = {os.path.realpath(path) for path in self._files.bases}
        files = [file for file in contents.generators if os.path.realpath(file.path) not in own]
        if not files and not contents.experiments:
            raise UsageError(
                tr(
                    "{path}: holds no checkpoint of a voice; name an experiment (logs/NAME), a weights "
                    "folder, a GPT-SoVITS folder or a file",
                    path=self._files.place.path,
                )
            )
        voices = self._files.voices([each for each in self._files.read(files) if each is not None])
        checked = [self._check(voice) for voice in voices]
        named = {voice.name for voice in voices}
        # An experiment without a model of its own has tokens to ask about all the same.
        others = [name for folder in contents.experiments if (name := os.path.basename(folder)) not in named]
        checked += [self._check(VoiceFiles(name, "", "")) for name in others]
        return PlaceCheck(
            self._files.place.path,
            self._files.place.kind,
            self._files.place.root,
            tuple(self._files.bases),
            tuple(checked),
            tuple(self._files.skipped),
            tuple(self._files.unreadable),
            self._own_compared(voices, checked),
        )

    def _own_compared(self, voices: Sequence[VoiceFiles], checked: Sequence[VoiceCheck]) -> bool:
        """Say whether a file in the place itself was compared; those that were brought along do not answer for it."""
        place = os.path.abspath(self._files.place.path)
        within = os.path.join(place, "")
        own = {
            number
            for number, voice in enumerate(voices)
            for each in voice.found
            if (path := os.path.abspath(each.file.path)) == place or path.startswith(within)
        }
        return not own or any(checked[number].compared for number in own)

    def _check(self, voice: VoiceFiles) -> VoiceCheck:
        experiment = self._files.place.experiment(voice.name)
        base = self._base_of(voice) if voice.found else self._base_of_tokens(experiment)
        run = self._run(voice, base)
        asked = VoiceQuestions(self._files, voice, experiment, base, run)
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
        rows = tuple(self._rows(found, self._files.bases[base.path].stored))
        return TrainingRun(voice.name, Base(base.path, told_by), None, rows, (), found[0].family)

    def _rows(self, found: Sequence[RunCheckpoint], base: RunCheckpoint) -> Iterator[HistoryRow]:
        """Yield what each file is beside the base; how far it moved is measured of the last."""
        for number, each in enumerate(found, start=1):
            brief = self._comparer.surely_changed(base, each) if number < len(found) else None
            drift = brief or self._comparer.with_base(base, each)
            yield HistoryRow(each.name, each.record, each.digest, each.digest_of, drift, None, None)

    def _base_of(self, voice: VoiceFiles) -> BaseChoice | None:
        """Return the base of a voice: the one that was named, that its configuration names, or that is nearest."""
        if not self._files.given and (named := self._configured(voice)) and (path := self._files.known(named)):
            return BaseChoice(path, BaseReason.CONFIGURATION)
        versions = versions_of(voice.version)
        fitting = [
            path
            for path, base in self._files.bases.items()
            if self._files.given or not versions or versions & versions_of(base.version) or not base.version
        ]
        if not fitting:
            return None
        first = voice.found[0]
        if len(fitting) == 1:
            (path,) = fitting
            if path in self._files.guessed and self._may_be_copy(self._files.bases[path], first):
                return BaseChoice(path, BaseReason.UNDECIDED, (self._candidate(path, first),))
            return BaseChoice(path, BaseReason.OPTION if self._files.given else BaseReason.VERSION)
        candidates = sorted((self._candidate(path, first) for path in fitting), key=_nearest)
        nearest = candidates[0]
        # One of several guesses may be a copy of a file that moved, and nothing has moved beside that.
        disagree = len({candidate.verdict == Verdict.CHANGED for candidate in candidates}) > 1
        undecided = disagree and nearest.path in self._files.guessed
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
        config = self._files.config_of(voice)
        # One of another version names another base.
        fits = config is not None and (config.version is None or config.version in voice.version.split(" or "))
        named = config.pretrained_s2G if config and fits else None
        return named if named and os.path.isfile(named) else None

    def _candidate(self, path: str, first: GeneratorFile) -> Candidate:
        try:
            drift = self._comparer.with_base(self._files.bases[path].stored, first.stored)
        except NoCodebookError:
            return Candidate(path, Verdict.CHANGED, None, "")
        return Candidate(path, drift.verdict, drift.ema_steps, drift.precision)

    def _base_of_tokens(self, experiment: str | None) -> BaseChoice | None:
        """Return the base that the configuration names, else the only one, for an experiment without a model."""
        if experiment is not None and not self._files.given:
            named = named_base(experiment, "", ()).path
            if named is not None and (path := self._files.known(named)):
                return BaseChoice(path, BaseReason.CONFIGURATION)
        if experiment is None or len(self._files.bases) != 1:
            return None
        reason = BaseReason.OPTION if self._files.given else BaseReason.VERSION
        return BaseChoice(next(iter(self._files.bases)), reason)


def _nearest(candidate: Candidate) -> tuple[int, int, str]:
    """Sort key: equal first, then few updates, those that are known exactly before others, then other codebooks."""
    if candidate.verdict != Verdict.CHANGED:
        return (0, int(candidate.verdict != Verdict.IDENTICAL), candidate.path)
    if candidate.ema_steps is not None:
        return (1 + int(candidate.precision != StepPrecision.EXACT), candidate.ema_steps, candidate.path)
    return (3, 0, candidate.path)
