"""An s1 checkpoint against an s2 generator: whether the two stages speak the same tokens.

An s1 checkpoint holds no codebook, but it names the tokens it was trained on. A lock of that experiment, or its
features and tokens, say which VQ encoder those came from.
"""

import os
from dataclasses import replace

from vqcheck.audit.bound_files import file_digest, recorded_tsv, same_experiment, tokens_digest
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.decide_tokens import with_base
from vqcheck.audit.judgement import StageComparison, StageVerdict
from vqcheck.audit.lock import NAME, read_lock
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_decision import TokenDecision
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.errors import NoCodebookError, UsageError
from vqcheck.experiment.name2semantic import MERGED
from vqcheck.language import tr


def compare_stages(
    s1: str, s2: Checkpoint, experiment: str | None, lock: str | None = None, copy: str = ""
) -> StageComparison:
    """Return whether an s1 checkpoint and an open s2 generator share one VQ encoder.

    `experiment` is the directory of the tokens that s1 was trained on, whatever it was called then; without it the one
    that s1 names is used, if it is there. `lock` is the lock to go by; without it the one in that directory. A lock
    that is bound to the s1 checkpoint needs no directory. `copy` names the copy of the generator to judge.

    Raises:
        NoCodebookError: nothing at hand says which VQ encoder s1 was trained with; the text says what would.
        CheckpointError, UsageError: a file is damaged.

    """
    if lock is not None and read_lock(lock).s1:
        return _by_lock(s1, s2, lock, os.path.dirname(lock), copy)
    folder, elsewhere = _experiment_of(s1, experiment, lock)
    lock_path = lock or os.path.join(folder, NAME)
    if lock is not None or os.path.exists(lock_path):
        return replace(_by_lock(s1, s2, lock_path, folder, copy), named_tokens=elsewhere)
    if os.path.isdir(os.path.join(folder, "4-cnhubert")):
        return replace(_by_tokens(s1, s2, folder, copy), named_tokens=elsewhere)
    raise NoCodebookError(
        tr(
            "is an s1 (GPT) checkpoint and holds no codebook; {name} was trained on the tokens of {folder}, where "
            "there is neither a {lock} nor 4-cnhubert to derive them from; either would settle it",
            name=os.path.basename(s1),
            folder=folder,
            lock=NAME,
        ),
        s1,
    )


def _experiment_of(s1: str, given: str | None, unbound: str | None) -> tuple[str, str]:
    """Return the directory of the tokens that an s1 checkpoint was trained on; `unbound` is a lock that binds none.

    A directory that is given is believed, since directories are moved and renamed. Then the path that s1 names is
    returned, too, where it is of another name; else it is empty.
    """
    named = recorded_tsv(s1)
    folder = given or (os.path.dirname(named) if named else None)
    if given is not None and not os.path.isdir(given):
        raise UsageError(tr("is not an experiment directory (logs/<name>)"), given)
    if folder is None:
        raise NoCodebookError(
            tr(
                "is an s1 (GPT) checkpoint and holds no codebook; {name} names no tokens it was trained on; give "
                "--experiment ({lock} binds no s1 checkpoint)",
                name=os.path.basename(s1),
                lock=unbound,
            )
            if unbound
            else tr(
                "is an s1 (GPT) checkpoint and holds no codebook; {name} names no tokens it was trained on; give "
                "--experiment, or the lock that is bound to it",
                name=os.path.basename(s1),
            ),
            s1,
        )
    if not os.path.isdir(folder):
        raise NoCodebookError(
            tr(
                "is an s1 (GPT) checkpoint and holds no codebook; {name} was trained on {tokens}, which is not here; "
                "name its directory with --experiment ({lock} binds no s1 checkpoint)",
                name=os.path.basename(s1),
                tokens=named,
                lock=unbound,
            )
            if unbound
            else tr(
                "is an s1 (GPT) checkpoint and holds no codebook; {name} was trained on {tokens}, which is not here; "
                "name its directory with --experiment, or the lock that is bound to it with --lock",
                name=os.path.basename(s1),
                tokens=named,
            ),
            s1,
        )
    elsewhere = named if named and not same_experiment(named, os.path.join(folder, MERGED)) else ""
    return folder, elsewhere


def _by_lock(s1: str, s2: Checkpoint, path: str, folder: str, copy: str) -> StageComparison:
    lock = read_lock(path)
    if lock.s1 and not lock.binds_s1(file_digest(s1)):
        return StageComparison(s1, s2.path, StageVerdict.INCONSISTENT, lock=path, binds_s1=True, other_s1=True)
    if lock.tsv is None:
        raise UsageError(
            tr("binds no tokens, so it says nothing of s1; make it again with --experiment --update"), path
        )
    if not lock.s1 and tokens_digest(folder) != lock.tsv.digest:
        raise UsageError(
            tr("the tokens of {folder} are not the locked ones any more, and it binds no s1 checkpoint", folder=folder),
            path,
        )
    result = check_lock(lock, path, s2, None, None, Scope.ALL, copy=copy)
    if result.verdict == Verdict.UNDECIDED:
        why = result.contradiction(tr("the one that was verified against {lock}", lock=path))
        raise UsageError(tr("{why}; --copy NAME chooses", why=why), s2.path)
    verdict = StageVerdict.INCONSISTENT if result.verdict == Verdict.CHANGED else StageVerdict.CONSISTENT
    return StageComparison(s1, s2.path, verdict, lock=path, binds_s1=bool(lock.s1))


def _by_tokens(s1: str, s2: Checkpoint, folder: str, copy: str) -> StageComparison:
    audit = audit_tokens(s2, folder, copy=copy)
    decision = with_base(TokenDecision(audit), s2, folder, lambda base: audit_tokens(base, folder))
    verdict = next(each for each in StageVerdict if each.exit_code == decision.exit_code)
    if audit.only_lengths:
        # The features are of other recordings than the tokens: that says nothing of the VQ encoder.
        verdict = StageVerdict.COULD_NOT_CHECK
    return StageComparison(s1, s2.path, verdict, tokens=audit, decision=decision if decision.movement else None)
