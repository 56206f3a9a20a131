"""The questions of `vqcheck check` about one voice, each answered from what was read of its files."""

import os
from dataclasses import replace
from functools import cached_property
from typing import Final

from vqcheck.audit.check_files import GeneratorFile, PlaceFiles, VoiceFiles
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.check_result import (
    Answer,
    BaseChoice,
    BaseReason,
    Missing,
    Question,
)
from vqcheck.audit.history_result import Drift, TrainingRun
from vqcheck.audit.judgement import CheckOutcome, outcome_of
from vqcheck.audit.lock import NAME, read_lock
from vqcheck.audit.planned_run import PlannedRun
from vqcheck.audit.resume import judge_resumed
from vqcheck.audit.s1_s2_consistency import compare_stages
from vqcheck.audit.token_audit_result import TokenAudit
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.diagnosis import flips
from vqcheck.codebook.diagnosis.result import TokenFlips
from vqcheck.codebook.health import Condition
from vqcheck.errors import UsageError, VqcheckError
from vqcheck.experiment.config_file import S2Run
from vqcheck.experiment.features import FeatureFolder
from vqcheck.experiment.place import FileOrigin
from vqcheck.experiment.resume_folders import Folder, latest, resume_folders
from vqcheck.language import listed, tr

_FEATURES: Final = "4-cnhubert"


class VoiceQuestions:
    """The questions about one voice."""

    def __init__(
        self,
        files: PlaceFiles,
        voice: VoiceFiles,
        experiment: str | None,
        base: BaseChoice | None,
        run: TrainingRun | None,
    ) -> None:
        self._files = files
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
        if not (newest and features and self._base and drift and drift.verdict == Verdict.CHANGED):
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
            return _not_asked(question, self._files.without_generator(self._voice))
        if self._base is None:
            return _not_asked(question, Missing.BASE)
        if self._base.reason is BaseReason.UNDECIDED:
            names = listed([os.path.basename(candidate.path) for candidate in self._base.candidates], last="")
            if len(self._base.candidates) > 1:
                said = tr(
                    "{names}: each may be the base, and their VQ encoders differ; name the base with --base",
                    names=names,
                )
            else:
                said = tr(
                    "{names}: may be the base, or a copy of a file that moved; name the base with --base", names=names
                )
            return Answer(question, CheckOutcome.COULD_NOT_CHECK, said)
        undecided = [row.name for row in self._run.rows if row.is_undecided]
        if undecided:
            return Answer(question, CheckOutcome.COULD_NOT_CHECK, files=tuple(undecided))
        moved = [row.name for row in self._run.rows if row.moved]
        if moved and self.made_again:
            # What agrees with the lock speaks the tokens of s1, wherever it began.
            locked = {each.stored.name for each in self._voice.found if self._agrees_with_lock(each)}
            moved = [name for name in moved if name not in locked]
            if not moved:
                return Answer(
                    question, CheckOutcome.PASSED, tr("Every file has the VQ encoder of the base or of the lock")
                )
        return Answer(question, CheckOutcome.FAILED if moved else CheckOutcome.PASSED, files=tuple(moved))

    @cached_property
    def made_again(self) -> bool:
        """Say whether the tokens were extracted again with the newest file, and s1 trained on them.

        The lock of the experiment says so: it binds these tokens and this s1 to the VQ encoder of the file. Tokens that
        contradict the file refute it.
        """
        path, s1, drift = self._lock_path(), self._s1(), self._drift
        if path is None or s1 is None or self._tsv is None or self._newest is None:
            return False
        if drift is None or drift.verdict != Verdict.CHANGED:
            return False
        try:
            lock = read_lock(path)
            with open_checkpoint(self._newest.file.path) as newest:
                found = check_lock(lock, path, newest, self._tsv, [s1], Scope.ALL)
            audit = self._files.audit(self._newest, self._tsv) if self._features else None
        except VqcheckError:
            return False
        bound = lock.tsv is not None and bool(lock.s1) and found.verdict not in (Verdict.CHANGED, Verdict.UNDECIDED)
        return bound and not (audit is not None and audit.contradictions)

    def _agrees_with_lock(self, generator: GeneratorFile) -> bool:
        path = self._lock_path()
        if path is None:
            return False
        try:
            with open_checkpoint(generator.file.path) as checkpoint:
                found = check_lock(read_lock(path), path, checkpoint, None, None, Scope.ALL)
        except VqcheckError:
            return False
        return found.verdict not in (Verdict.CHANGED, Verdict.UNDECIDED)

    def _tokens(self, question: Question) -> Answer:
        if self._tsv is None:
            return _not_asked(question, Missing.TOKENS)
        if self._features is None:
            return _not_asked(question, Missing.FEATURES)
        if self._base is None:
            return _not_asked(question, Missing.BASE)
        if self._newest is not None and self.made_again:
            return self._by_audit(question, self._newest, self._tsv)
        return _of_audit(question, self._files.audit(self._files.base(self._base), self._tsv))

    def _s1_s2(self, question: Question) -> Answer:
        s1 = self._s1()
        if s1 is None:
            return _not_asked(question, Missing.S1)
        if self._newest is None:
            return _not_asked(question, self._files.without_generator(self._voice))
        if self._tsv is None:
            return _not_asked(question, Missing.TOKENS)
        files = (s1, self._newest.file.path)
        lock = self._lock_path()
        if lock is not None:
            with open_checkpoint(self._newest.file.path) as newest:
                found = compare_stages(s1, newest, self._experiment, lock)
            return Answer(question, outcome_of(found.exit_code), files=files, stages=found)
        if self._features is None:
            return _not_asked(question, Missing.EVIDENCE)
        answer = self._s1_s2_by_tokens(question, self._tsv, self._newest)
        return replace(answer, files=files)

    def _s1_s2_by_tokens(self, question: Question, experiment: str, newest: GeneratorFile) -> Answer:
        """Return whether the tokens that s1 learns are those of the newest s2.

        Where a base is at hand it decides: on little data two VQ encoders give the same tokens, so that tokens which
        agree with both say nothing of the one that moved.
        """
        drift = self._drift
        if self._base is None or drift is None:
            return self._by_audit(question, newest, experiment)
        by_base = _of_audit(question, self._files.audit(self._files.base(self._base), experiment))
        if drift.verdict != Verdict.CHANGED or by_base.outcome is not CheckOutcome.PASSED:
            # A LoRA export stores no projection; where its codebook is the base's, the base stands for it.
            return by_base if drift.verdict != Verdict.CHANGED else self._by_audit(question, newest, experiment)
        return replace(by_base, outcome=CheckOutcome.FAILED)

    def _by_audit(self, question: Question, generator: GeneratorFile, experiment: str) -> Answer:
        if generator.stored.digest_of == "codebook":
            return _not_asked(question, Missing.PROJECTION)
        return _of_audit(question, self._files.audit(generator, experiment))

    @property
    def _drift(self) -> Drift | None:
        """How far the newest file is from the base."""
        return self._run.rows[-1].from_base if self._run and self._run.rows else None

    def _lock(self, question: Question) -> Answer:
        path = self._lock_path()
        if path is None:
            return _not_asked(question, Missing.LOCK)
        if self._newest is None:
            return _not_asked(question, self._files.without_generator(self._voice))
        lock = read_lock(path)
        experiment = self._tsv if lock.tsv else None
        with open_checkpoint(self._newest.file.path) as newest:
            found = check_lock(lock, path, newest, experiment, None, Scope.ALL)
        files = (path,) if found.verdict == Verdict.UNDECIDED else (path, self._newest.file.path)
        return Answer(question, outcome_of(found.exit_code), files=files)

    def _health(self, question: Question) -> Answer:
        stored = [*self._voice.stored, *([self._files.base(self._base).stored] if self._base else [])]
        if not stored:
            return _not_asked(question, self._files.without_generator(self._voice))
        ill = [each.name for each in stored if not each.trained or set(each.ailments) - {Condition.COLLAPSED}]
        if ill:
            return Answer(question, CheckOutcome.FAILED, files=tuple(dict.fromkeys(ill)))
        collapsed = [each.name for each in stored if each.ailments]
        # Whether a collapsed codebook is one is not settled by a number that no published base was measured for.
        return Answer(question, CheckOutcome.PASSED, Condition.COLLAPSED if collapsed else "", files=tuple(collapsed))

    def _resume(self, question: Question) -> Answer:
        """Return whether the next training would resume from another VQ encoder: as the gate asks it, and answers."""
        runs = tuple(dict.fromkeys(each.file.run for each in self._voice.found if each.file.run))
        if not runs or self._experiment is None:
            return _not_asked(question, Missing.TRAINING)
        if self._base is None:
            return _not_asked(question, Missing.BASE)
        config = self._files.config_of(self._voice)
        versions = self._voice.version.split(" or ")
        if config is not None and config.version in (None, *versions):
            run = replace(config, pretrained_s2G=self._base.path, exp_dir=self._experiment)
            folders = resume_folders(run, self._experiment, self._files.base(self._base).version).read
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
        config = self._files.config_of(self._voice)
        if config is None:
            return _not_asked(question, Missing.CONFIGURATION)
        frozen = config.freeze_quantizer is True
        return Answer(question, CheckOutcome.PASSED if frozen else CheckOutcome.FAILED, files=(config.config,))

    def _lock_path(self) -> str | None:
        """Return the lock that the gate goes by."""
        path = os.path.join(self._experiment, NAME) if self._experiment else ""
        return path if path in self._files.place.contents.locks else None

    def _s1(self) -> str | None:
        """Return the newest s1 file of this voice; s1 of all versions from v2 on is of one layout."""
        files = [file for file in self._files.place.contents.s1 if file.voice == self._voice.name]
        of_version = [file for file in files if file.version in self._voice.version.split(" or ")]
        exported = [file for file in of_version or files if file.source is FileOrigin.EXPORT] or of_version or files
        return exported[-1].path if exported else None


def _has_discriminator(voice: VoiceFiles) -> bool:
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
