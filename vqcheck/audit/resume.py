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
from vqcheck.language import tr


def resume(run: PlannedRun) -> Judgement:
    """Whether a checkpoint that this run would silently resume from has the pretrained generator's VQ encoder."""
    folders = _folders(run)
    would = "may" if folders.doubt else "would"
    alike, notes, rounded = [], [], False
    for folder in folders.read:
        found = latest(run.experiment, folder)
        if found.generators and not found.resumed:
            notes.append(f"{_short(found.generators[0])} is not resumed from: there is no D_*.pth beside it")
            continue
        for path in found.generators:
            fault, verdict = judge_resumed(run, path)
            if fault:
                return failed(
                    tr(
                        "training {would} resume from {path}, {fault}{looked_at}",
                        would=would,
                        path=path,
                        fault=fault,
                        looked_at=_looked_at(folders),
                    )
                )
            alike.append(_short(path))
            rounded |= verdict == Verdict.ROUNDED
    if alike:
        will = "may" if folders.doubt or len(alike) > 1 else "will"
        have = "which has" if len(alike) == 1 else "which have"
        which = "a rounding of the" if rounded else "the same"
        notes.append(f"training {will} resume from {' or '.join(alike)}, {have} {which} VQ encoder")
    elif not notes:
        notes.append("there is no checkpoint of an earlier run to resume from")
    return passed(f"{'; '.join(notes)}{_looked_at(folders)}")


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
    names = ", ".join(folder.name for folder in folders.others) or "no other folder"
    if faults:
        return failed("; ".join(faults))
    # A generator without its discriminator is not compared.
    which = "checkpoint to resume from" if without else "checkpoint"
    return passed(tr("looked in {names}: no {which} with another VQ encoder", names=names, which=which))


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
            return "which is not a training checkpoint", ""
        if name := not_found(later):
            return f"which holds no {name}, the name by which training looks for it", ""
        # The pretrained generator was there first, whatever the files say: what merely rounds to it has moved.
        result = compare(as_training_reads(base, PRETRAINED), later, order=Order.A_FIRST)
    if result.verdict == Verdict.UNDECIDED:
        raise UsageError(result.contradiction("the VQ encoder that training reads"), path)
    return "whose VQ encoder is not the pretrained one's" if result.verdict == Verdict.CHANGED else "", result.verdict


def _elsewhere(folder: Folder, path: str, fault: str) -> str:
    return f"{folder.reader} would resume from {path}, {fault}"


def _looked_at(folders: ResumeFolders) -> str:
    names = ", ".join(folder.name for folder in folders.read)
    if folders.doubt:
        doubt = f"could not decide which folder training resumes from ({folders.doubt})"
        return f"; {doubt}, so all were looked at: {names}"
    return f" (looked in {names})"


def _short(path: str) -> str:
    return "/".join((os.path.basename(os.path.dirname(path)), os.path.basename(path)))
