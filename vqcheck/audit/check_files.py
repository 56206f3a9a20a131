"""Reads the files of a place for `vqcheck check`, each once, and sorts them into bases and voices."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from vqcheck.audit.check_result import BaseChoice, Missing
from vqcheck.audit.history import in_training_order
from vqcheck.audit.run_checkpoints import RunCheckpoint, read_checkpoint
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_audit_result import TokenAudit
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook import model
from vqcheck.errors import NoCodebookError, UsageError, VqcheckError
from vqcheck.experiment.config_file import S2Run, read_s2_run
from vqcheck.experiment.place import FileOrigin, ModelFile, Place

OnStep = Callable[[int, int], None]
"""Called as (files read, files in all)."""


@dataclass(frozen=True)
class GeneratorFile:
    """One file of a voice with what was read of it."""

    file: ModelFile
    stored: RunCheckpoint
    version: str


@dataclass
class VoiceFiles:
    """The files of one voice and version before they are judged."""

    name: str
    version: str
    rank: str
    found: list[GeneratorFile] = field(default_factory=list)

    @property
    def stored(self) -> list[RunCheckpoint]:
        return [each.stored for each in self.found]


class PlaceFiles:
    """What was read of a place."""

    def __init__(self, place: Place, given: Sequence[str], jobs: int, on_step: OnStep) -> None:
        self.place = place
        self.given = tuple(given)
        self.bases: dict[str, GeneratorFile] = {}
        """Those that were found or given, by the name by which they were read."""
        self.guessed: set[str] = set()
        """Bases that are taken for one because they say nothing of training."""
        self.skipped: list[tuple[str, str]] = []
        self.unreadable: list[tuple[str, str]] = []
        self._jobs = jobs
        self._on_step = on_step
        self._audits: dict[tuple[object, str], TokenAudit | VqcheckError] = {}

    def read_bases(self) -> None:
        """Read the bases that the user named, else those of the place.

        Raises:
            CheckpointError, NoCodebookError: one that the user named cannot be read, or holds no codebook.

        """
        if self.given:
            for path in self.given:
                # One that the user named must be readable.
                self.bases[path] = _read_generator(ModelFile(path, "", FileOrigin.LOOSE))
            return
        for each in self.read([ModelFile(path, "", FileOrigin.LOOSE) for path in self.place.contents.bases]):
            if each is not None:
                self.bases[each.file.path] = each

    def read(self, files: Sequence[ModelFile]) -> list[GeneratorFile | None]:
        """Return what each file holds; None for those that were skipped or could not be read, which are noted."""
        found: list[GeneratorFile | None] = []
        with ThreadPoolExecutor(max(1, min(self._jobs, len(files)))) as pool:
            for done, (file, result) in enumerate(zip(files, pool.map(_try_generator, files), strict=True), start=1):
                self._on_step(done, len(files))
                if isinstance(result, GeneratorFile):
                    found.append(result)
                    continue
                found.append(None)
                reason = result.what if result.path == file.path else str(result)
                (self.skipped if isinstance(result, NoCodebookError) else self.unreadable).append((file.path, reason))
        return found

    def voices(self, found: Iterable[GeneratorFile]) -> list[VoiceFiles]:
        """Return the voices with their files in training order."""
        voices: dict[tuple[str, str, str], VoiceFiles] = {}
        known = set().union(*(versions_of(base.version) for base in self.bases.values()))
        for each in found:
            if (
                each.file.source is FileOrigin.LOOSE
                and not each.stored.has_step
                and not self.given
                and not versions_of(each.version) & known
            ):
                # Beside files of a run, one that says nothing of training is what a run started from. Where a base of
                # its version lies where bases belong, it is a voice: a copy of a drifted file says nothing, too.
                self.bases.setdefault(each.file.path, each)
                self.guessed.add(each.file.path)
                continue
            name = each.file.voice or each.stored.voice or os.path.splitext(os.path.basename(each.file.path))[0]
            key = (name, each.version, each.file.rank)
            voices.setdefault(key, VoiceFiles(*key)).found.append(each)
        for voice in voices.values():
            order = [stored.path for stored in in_training_order(voice.stored)]
            voice.found.sort(key=lambda each: order.index(each.stored.path))
        return [voices[key] for key in sorted(voices)]

    def config_of(self, voice: VoiceFiles) -> S2Run | None:
        """Return the s2 configuration of a voice; one of another version counts where there is no other."""
        found = []
        for path in self.place.contents.configs:
            try:
                config = read_s2_run(path, self.place.root or None)
            except UsageError:
                continue  # another tool's JSON
            if config.voice == voice.name:
                found.append(config)
        versions = voice.version.split(" or ")
        return next((each for each in found if each.version in versions), found[0] if found else None)

    def known(self, path: str) -> str | None:
        """Return the name by which a base was read, reading it now where it was not; None where it cannot be."""
        for known in self.bases:
            if os.path.realpath(known) == os.path.realpath(path):
                return known
        (found,) = self.read([ModelFile(path, "", FileOrigin.LOOSE)])
        if found is None:
            return None
        self.bases[path] = found
        return path

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
        return self.bases[choice.path]

    def without_generator(self, voice: VoiceFiles) -> Missing:
        """Return what a voice without a model lacks: a file, or one that can be read."""
        faulty = {path for path, _ in self.unreadable}
        there = any(file.voice == voice.name and file.path in faulty for file in self.place.contents.generators)
        return Missing.READABLE if there else Missing.GENERATOR


def versions_of(named: str) -> set[str]:
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
