"""Judgements on checkpoints of an earlier run, which upstream's training resumes from silently."""

import os

from vqcheck.audit.judgement import Judgement, failed, not_applicable, passed
from vqcheck.audit.planned_run import PRETRAINED, RESUMED, PlannedRun, as_training_reads, not_found
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.compare import compare
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.file_record import Order
from vqcheck.errors import UsageError
from vqcheck.experiment.resume_folders import Folder, ResumeFolders, latest, resume_folders
from vqcheck.language import listed, tr


def resume(run: PlannedRun) -> Judgement:
    """Whether a checkpoint that this run would silently resume from has the pretrained generator's VQ encoder."""
    folders = _folders(run)
    alike: list[str] = []
    notes: list[str] = []
    rounded = False
    for folder in folders.read:
        found = latest(run.experiment, folder)
        if found.generators and not found.resumed:
            notes.append(
                tr("{file} is not resumed from: there is no D_*.pth beside it", file=_short(found.generators[0]))
            )
            continue
        for path in found.generators:
            fault, verdict = judge_resumed(run, path)
            if fault:
                said = (
                    tr("training may resume from {path}, {fault}", path=path, fault=fault)
                    if folders.doubt
                    else tr("training would resume from {path}, {fault}", path=path, fault=fault)
                )
                return failed(_with_folders(said, folders))
            alike.append(_short(path))
            rounded |= verdict == Verdict.ROUNDED
    if alike:
        notes.append(_resumed(alike, sure=not folders.doubt and len(alike) == 1, rounded=rounded))
    elif not notes:
        notes.append(tr("there is no checkpoint of an earlier run to resume from"))
    return passed(_with_folders(_clauses(notes), folders))


def _resumed(files: list[str], *, sure: bool, rounded: bool) -> str:
    """Return from which files, all with the same VQ encoder, training resumes."""
    names = listed(files, last="or")
    if rounded and len(files) > 1:
        return tr("training may resume from {files}, which have a rounding of the VQ encoder", files=names)
    if len(files) > 1:
        return tr("training may resume from {files}, which have the same VQ encoder", files=names)
    if rounded:
        return (
            tr("training will resume from {file}, which has a rounding of the VQ encoder", file=names)
            if sure
            else tr("training may resume from {file}, which has a rounding of the VQ encoder", file=names)
        )
    return (
        tr("training will resume from {file}, which has the same VQ encoder", file=names)
        if sure
        else tr("training may resume from {file}, which has the same VQ encoder", file=names)
    )


def _clauses(said: list[str]) -> str:
    """Return in one line what can be said by itself."""
    return tr("{clause}; {next}", clause=said[0], next=_clauses(said[1:])) if len(said) > 1 else said[0]


def resume_elsewhere(run: PlannedRun) -> Judgement:
    """Whether trees of another age, or another way to train, would resume from another VQ encoder."""
    folders = _folders(run)
    if folders.doubt:
        return not_applicable(tr("resume looked in every folder"))
    faults, without = [], False
    for folder in folders.others:
        found = latest(run.experiment, folder)
        without |= bool(found.generators) and not found.resumed
        if found.resumed:
            found_faults = [(path, judge_resumed(run, path)[0]) for path in found.generators]
            faults += [_elsewhere(folder, path, fault) for path, fault in found_faults if fault]
    if faults:
        return failed(_clauses(faults))
    names = listed([folder.name for folder in folders.others], last="") or tr("no other folder")
    # A generator without its discriminator is not compared.
    return passed(
        tr("looked in {folders}: no checkpoint to resume from with another VQ encoder", folders=names)
        if without
        else tr("looked in {folders}: no checkpoint with another VQ encoder", folders=names)
    )


def _folders(run: PlannedRun) -> ResumeFolders:
    base_version = "" if run.s2.version else run.inspection.model.version
    return resume_folders(run.s2, run.experiment, base_version)


def judge_resumed(run: PlannedRun, path: str) -> tuple[str, str]:
    """Return what is wrong with a checkpoint to resume from, empty where nothing is, and how it compares.

    Raises:
        VqcheckError: it cannot be told, as a file cannot be read or its copies contradict each other.

    """
    with open_checkpoint(run.pretrained) as base, open_checkpoint(path) as checkpoint:
        later = as_training_reads(checkpoint, RESUMED)
        if checkpoint.header_code or later.container != RESUMED:
            return tr("which is not a training checkpoint"), ""
        if name := not_found(later):
            return tr("which holds no {tensor}, the name by which training looks for it", tensor=name), ""
        # The pretrained generator was there first, whatever the files say: what merely rounds to it has moved.
        result = compare(as_training_reads(base, PRETRAINED), later, order=Order.A_FIRST)
    if result.verdict == Verdict.UNDECIDED:
        raise UsageError(result.contradiction(tr("the VQ encoder that training reads")), path)
    fault = tr("whose VQ encoder is not the pretrained one's") if result.verdict == Verdict.CHANGED else ""
    return fault, result.verdict


def _elsewhere(folder: Folder, path: str, fault: str) -> str:
    return tr("{reader} would resume from {path}, {fault}", reader=folder.reader, path=path, fault=fault)


def _with_folders(said: str, folders: ResumeFolders) -> str:
    """Return what was found, and where it was looked for."""
    names = listed([folder.name for folder in folders.read], last="")
    if folders.doubt:
        return tr(
            "{said}; could not decide which folder training resumes from ({doubt}), so all were looked at: {folders}",
            said=said,
            doubt=folders.doubt,
            folders=names,
        )
    return tr("{said} (looked in {folders})", said=said, folders=names)


def _short(path: str) -> str:
    return "/".join((os.path.basename(os.path.dirname(path)), os.path.basename(path)))
