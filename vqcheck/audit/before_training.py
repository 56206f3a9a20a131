"""Judgements on what a planned s2 training run relies on: its generator, lock, tokens, freezing and s1 checkpoint.

An exception of vqcheck's own means that the question could not be answered.
"""

import os
from typing import Final

from vqcheck.audit.bound_files import file_digest, recorded_tsv, same_experiment, tokens_digest
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.judgement import Judgement, could_not_check, failed, not_applicable, outcome_of, passed
from vqcheck.audit.planned_run import PRETRAINED, TEXT_EMBEDDING, PlannedRun, as_training_reads
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_power import summary
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.health import Condition
from vqcheck.experiment.name2semantic import MERGED
from vqcheck.experiment.symbols_code import count_symbols, symbols_file

_SYMBOLS_OF_V1: Final = 322
_SYMBOLS: Final = 732
"""Text symbols of every other version."""
_READ_AS: Final = {"v4": "v3", "v2Pro": "v2", "v2ProPlus": "v2"}
"""Versions that token extraction knows under another's name; their VQ encoder is the same function."""


def trained(run: PlannedRun) -> Judgement:
    """Whether the generator that training starts from has a VQ encoder that was trained."""
    found = run.inspection
    name = os.path.basename(found.path)
    if found.verdict == Condition.NO_CODEBOOK:
        return could_not_check(f"{name} {found.why_none}")
    if found.verdict == Condition.NEVER_TRAINED:
        return failed(f"the codebook of {name} was never trained, and a frozen run does not train it")
    if found.verdict == Condition.COLLAPSED:
        return failed(f"the codebook of {name} has collapsed: nearly all frames go to a few codes", advisory=True)
    if found.verdict != Condition.HEALTHY:
        return failed(f"the VQ encoder of {name} is {found.verdict}")
    books = found.vq_encoder.codebooks if found.vq_encoder else ()
    if any(book.many_unused for book in books):
        unused = sum(book.unused or 0 for book in books)
        return failed(f"{unused} of {_codes(run)} codes of {name} are not in use", advisory=True)
    return passed(f"{name} holds a trained VQ encoder ({_codes(run)} codes)")


def loader(run: PlannedRun) -> Judgement:
    """Whether upstream's own loader reads the generator as what it is."""
    found, version = run.inspection, run.s2.version
    name, key = os.path.basename(found.path), run.s2.key("subject", "pretrained_s2G")
    if found.header_code:
        return failed(
            f"{name} is an export with an overwritten header ({found.header_code}); training cannot load it",
        )
    if found.format not in ("torch zip", "torch legacy"):
        return failed(f"{name} is a {found.format} file; training loads torch files only")
    if found.container != PRETRAINED:
        return failed(
            f"{name} keeps its weights under {found.container!r}; training reads 'weight' and would not find it",
        )
    if run.not_found:
        return failed(f"{name} holds no {run.not_found}, the name by which training looks for it")
    if not found.model.version:
        return could_not_check(f"{name}: its tensors do not show its version")
    also = f"; of its copies training reads '{PRETRAINED}', not {', '.join(run.unread)}" if run.unread else ""
    if version is None:
        return passed(f"{name} is {found.model.version}; the config names no version{also}")
    if version not in found.model.version.split(" or "):
        return failed(
            f"{name} is {found.model.version}, the config says {version}",
            fix=f"Name the published base of {version} as {key}, or correct the version in {run.s2.config}.",
        )
    return passed(f"{name} is {found.model.version}, as configured{also}")


def extraction_version(run: PlannedRun) -> Judgement:
    """Whether token extraction, which guesses the version by file size, guesses right."""
    found = run.inspection
    guessed = _version_by_size(os.path.getsize(found.path))
    name = os.path.basename(found.path)
    read_as = {_READ_AS.get(version, version) for version in found.model.version.split(" or ")}
    if len(read_as) > 1 or "" in read_as:
        return could_not_check(f"{name}: its tensors do not show its version")
    if {guessed} != read_as:
        return failed(
            f"by its size upstream's token extraction takes {name} for {guessed}, but it is {found.model.version}",
        )
    if guessed == found.model.version:
        return passed(f"upstream's token extraction takes {name} for {guessed}, which it is")
    return passed(
        f"upstream's token extraction takes {name} for {guessed}; it is {found.model.version}, which derives tokens "
        "in the same way",
    )


def lock(run: PlannedRun) -> Judgement:
    """Whether the generator's VQ encoder, and the tokens, are the locked ones."""
    record, path = run.lock, run.lock_path
    if record is None or path is None:
        return not_applicable("there is no lock; make one right after token extraction: vqcheck lock")
    experiment = run.experiment if record.tsv else None
    with open_checkpoint(run.pretrained) as checkpoint:
        used = as_training_reads(checkpoint, PRETRAINED)
        copy = PRETRAINED if any(each.name == PRETRAINED for each in record.copies) else ""
        result = check_lock(record, path, used, experiment, None, Scope.ALL, copy=copy)
    if result.verdict == Verdict.UNDECIDED:
        return could_not_check(result.contradiction(f"the one that was verified against {path}"))
    if result.verdict == Verdict.CHANGED:
        faults = ", ".join(
            line.name for line in result.verdicts if line.judged and line.verdict in (Verdict.CHANGED, "missing")
        )
        return failed(f"{path} records something else: {faults}")
    bound = " and the recorded tokens" if record.tsv else ""
    return passed(f"the VQ encoder{bound} of {os.path.basename(checkpoint.path)} agree with {path}")


def tokens(run: PlannedRun) -> Judgement:
    """Whether the recorded tokens come from the generator that training starts from."""
    with open_checkpoint(run.pretrained) as checkpoint:
        used = as_training_reads(checkpoint, PRETRAINED)
        audit = audit_tokens(used, run.experiment, sample=run.sample)
    return Judgement(
        outcome_of(audit.exit_code),
        f"{MERGED}: {summary(audit)}",
    )


def freeze(run: PlannedRun) -> Judgement:
    """Whether the config freezes the quantizer."""
    flag, key = run.s2.freeze_quantizer, run.s2.key("subject", "freeze_quantizer")
    fix = f"Set {key} to true in {run.s2.config}."
    if flag is None:
        return failed(f"{key} is not set, and upstream's default is not to freeze", fix=fix)
    if not flag:
        return failed(f"{key} is false: training will move the codebook", fix=fix)
    return passed(f"{key} is true")


def symbols(run: PlannedRun) -> Judgement:
    """Whether the generator has an embedding for as many text symbols as the code that will train defines."""
    rows, name = run.symbols, os.path.basename(run.pretrained)
    version = run.s2.version or run.inspection.model.version.split(" or ")[0]
    expected = _SYMBOLS_OF_V1 if version == "v1" else _SYMBOLS
    if rows is None and run.not_found:
        return not_applicable(f"{name} has not the names that training reads (see loader)")
    if rows is None:
        return failed(f"{name} holds no {TEXT_EMBEDDING}, so training would start it from random values")
    if not version:
        return could_not_check(f"{name} has {rows} text symbols; its tensors do not show its version")
    path = symbols_file(run.s2.checkout, version) if run.s2.checkout else ""
    defined = count_symbols(path) if path else None
    if defined is not None:
        if defined != rows:
            changed = f" (GPT-SoVITS has {expected} for {version}, so it was changed)" if defined != expected else ""
            return failed(
                f"{path} defines {defined} text symbols{changed}, {name} has {rows}",
                fix=f"Start from a base that was trained with the symbols of {path}, or put that file back.",
            )
        return passed(f"{name} has {rows} text symbols, as {path} defines")
    if rows != expected:
        return failed(
            f"{name} has {rows} text symbols, {version} has {expected}",
            fix=f"Use a published base of {version}. Or, was symbols.py of your tree changed to {rows}? "
            "Then name the tree: --checkout.",
        )
    uncounted = f"; how many {path} defines could not be read off it" if path else ""
    return passed(f"{name} has {rows} text symbols, as {version} has{uncounted}")


def s1(run: PlannedRun) -> Judgement:
    """Whether the s1 checkpoint was trained on these tokens."""
    if run.s1 is None:
        return not_applicable("no s1 checkpoint was named (--s1)")
    name = os.path.basename(run.s1)
    record = run.lock
    if record is not None and record.s1 and record.tsv is not None:
        if not record.binds_s1(file_digest(run.s1)):
            bound = " or ".join(file.name for file in record.s1)
            return failed(
                f"{name} is not the s1 checkpoint that {run.lock_path} is bound to ({bound})",
                fix="Name that s1 checkpoint. Or, was this one trained on the locked tokens, too? Then bind every one: "
                f"vqcheck lock CKPT --experiment DIR{' --s1 S1' * (len(record.s1) + 1)} --update.",
            )
        if record.tsv.digest != tokens_digest(run.experiment):
            return failed(f"{name} is the locked s1 checkpoint, but the recorded tokens have changed since")
        return passed(f"{name} and the recorded tokens are the locked ones")
    trained_on = recorded_tsv(run.s1)
    if trained_on is None:
        return could_not_check(f"{name} does not say which tokens it was trained on, and no lock binds it")
    if not same_experiment(trained_on, os.path.join(run.experiment, MERGED)):
        return failed(f"{name} was trained on {trained_on}, which is another experiment's")
    return could_not_check(
        f"{name} names this experiment's {os.path.basename(trained_on)} by its path, which proves nothing "
        "(bind it: vqcheck lock --s1 --update)",
        advisory=True,
    )


def _codes(run: PlannedRun) -> int:
    encoder = run.inspection.vq_encoder
    return sum(book.codes for book in encoder.codebooks) if encoder else 0


def _version_by_size(size: int) -> str:
    """Return the version that upstream's token extraction guesses from a file's size, in its order of tests."""
    kib = size / 1024
    for limit, version in ((82978, "v1"), (100 * 1024, "v2"), (103520, "v1"), (700 * 1024, "v2")):
        if kib < limit:
            return version
    return "v3"
