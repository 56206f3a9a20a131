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
from vqcheck.language import tr

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
        return failed(tr("the codebook of {name} was never trained, and a frozen run does not train it", name=name))
    if found.verdict == Condition.COLLAPSED:
        return failed(
            tr("the codebook of {name} has collapsed: nearly all frames go to a few codes", name=name), advisory=True
        )
    if found.verdict != Condition.HEALTHY:
        return failed(tr("the VQ encoder of {name} is {verdict}", name=name, verdict=found.verdict))
    books = found.vq_encoder.codebooks if found.vq_encoder else ()
    if any(book.many_unused for book in books):
        unused = sum(book.unused or 0 for book in books)
        return failed(
            tr("{unused} of {codes} codes of {name} are not in use", unused=unused, codes=_codes(run), name=name),
            advisory=True,
        )
    return passed(tr("{name} holds a trained VQ encoder ({codes} codes)", name=name, codes=_codes(run)))


def loader(run: PlannedRun) -> Judgement:
    """Whether upstream's own loader reads the generator as what it is."""
    found, version = run.inspection, run.s2.version
    name, key = os.path.basename(found.path), run.s2.key("subject", "pretrained_s2G")
    if found.header_code:
        return failed(
            tr(
                "{name} is an export with an overwritten header ({header_code}); training cannot load it",
                name=name,
                header_code=found.header_code,
            ),
        )
    if found.format not in ("torch zip", "torch legacy"):
        return failed(tr("{name} is a {format} file; training loads torch files only", name=name, format=found.format))
    if found.container != PRETRAINED:
        return failed(
            tr(
                "{name} keeps its weights under {container!r}; training reads 'weight' and would not find it",
                name=name,
                container=found.container,
            ),
        )
    if run.not_found:
        return failed(
            tr(
                "{name} holds no {not_found}, the name by which training looks for it",
                name=name,
                not_found=run.not_found,
            )
        )
    if not found.model.version:
        return could_not_check(tr("{name}: its tensors do not show its version", name=name))
    also = f"; of its copies training reads '{PRETRAINED}', not {', '.join(run.unread)}" if run.unread else ""
    if version is None:
        return passed(
            tr(
                "{name} is {version}; the config names no version{also}",
                name=name,
                version=found.model.version,
                also=also,
            )
        )
    if version not in found.model.version.split(" or "):
        return failed(
            tr(
                "{name} is {version}, the config says {version2}",
                name=name,
                version=found.model.version,
                version2=version,
            ),
            fix=tr(
                "Name the published base of {version} as {key}, or correct the version in {config}.",
                version=version,
                key=key,
                config=run.s2.config,
            ),
        )
    return passed(tr("{name} is {version}, as configured{also}", name=name, version=found.model.version, also=also))


def extraction_version(run: PlannedRun) -> Judgement:
    """Whether token extraction, which guesses the version by file size, guesses right."""
    found = run.inspection
    guessed = _version_by_size(os.path.getsize(found.path))
    name = os.path.basename(found.path)
    read_as = {_READ_AS.get(version, version) for version in found.model.version.split(" or ")}
    if len(read_as) > 1 or "" in read_as:
        return could_not_check(tr("{name}: its tensors do not show its version", name=name))
    if {guessed} != read_as:
        return failed(
            tr(
                "by its size upstream's token extraction takes {name} for {guessed}, but it is {version}",
                name=name,
                guessed=guessed,
                version=found.model.version,
            ),
        )
    if guessed == found.model.version:
        return passed(
            tr("upstream's token extraction takes {name} for {guessed}, which it is", name=name, guessed=guessed)
        )
    return passed(
        tr(
            "upstream's token extraction takes {name} for {guessed}; it is {version}, which "
            "derives tokens in the same way",
            name=name,
            guessed=guessed,
            version=found.model.version,
        ),
    )


def lock(run: PlannedRun) -> Judgement:
    """Whether the generator's VQ encoder, and the tokens, are the locked ones."""
    record, path = run.lock, run.lock_path
    if record is None or path is None:
        return not_applicable(tr("there is no lock; make one right after token extraction: vqcheck lock"))
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
        return failed(tr("{path} records something else: {faults}", path=path, faults=faults))
    bound = " and the recorded tokens" if record.tsv else ""
    return passed(
        tr(
            "the VQ encoder{bound} of {basename} agree with {path}",
            bound=bound,
            basename=os.path.basename(checkpoint.path),
            path=path,
        )
    )


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
        return failed(tr("{key} is not set, and upstream's default is not to freeze", key=key), fix=fix)
    if not flag:
        return failed(tr("{key} is false: training will move the codebook", key=key), fix=fix)
    return passed(tr("{key} is true", key=key))


def symbols(run: PlannedRun) -> Judgement:
    """Whether the generator has an embedding for as many text symbols as the code that will train defines."""
    rows, name = run.symbols, os.path.basename(run.pretrained)
    version = run.s2.version or run.inspection.model.version.split(" or ")[0]
    expected = _SYMBOLS_OF_V1 if version == "v1" else _SYMBOLS
    if rows is None and run.not_found:
        return not_applicable(tr("{name} has not the names that training reads (see loader)", name=name))
    if rows is None:
        return failed(
            tr(
                "{name} holds no {text_embedding}, so training would start it from random values",
                name=name,
                text_embedding=TEXT_EMBEDDING,
            )
        )
    if not version:
        return could_not_check(
            tr("{name} has {rows} text symbols; its tensors do not show its version", name=name, rows=rows)
        )
    path = symbols_file(run.s2.checkout, version) if run.s2.checkout else ""
    defined = count_symbols(path) if path else None
    if defined is not None:
        if defined != rows:
            changed = f" (GPT-SoVITS has {expected} for {version}, so it was changed)" if defined != expected else ""
            return failed(
                tr(
                    "{path} defines {defined} text symbols{changed}, {name} has {rows}",
                    path=path,
                    defined=defined,
                    changed=changed,
                    name=name,
                    rows=rows,
                ),
                fix=tr(
                    "Start from a base that was trained with the symbols of {path}, or put that file back.", path=path
                ),
            )
        return passed(tr("{name} has {rows} text symbols, as {path} defines", name=name, rows=rows, path=path))
    if rows != expected:
        return failed(
            tr(
                "{name} has {rows} text symbols, {version} has {expected}",
                name=name,
                rows=rows,
                version=version,
                expected=expected,
            ),
            fix=tr(
                "Use a published base of {version}. Or, was symbols.py of your tree changed to "
                "{rows}? Then name the tree: --checkout.",
                version=version,
                rows=rows,
            ),
        )
    uncounted = f"; how many {path} defines could not be read off it" if path else ""
    return passed(
        tr(
            "{name} has {rows} text symbols, as {version} has{uncounted}",
            name=name,
            rows=rows,
            version=version,
            uncounted=uncounted,
        )
    )


def s1(run: PlannedRun) -> Judgement:
    """Whether the s1 checkpoint was trained on these tokens."""
    if run.s1 is None:
        return not_applicable(tr("no s1 checkpoint was named (--s1)"))
    name = os.path.basename(run.s1)
    record = run.lock
    if record is not None and record.s1 and record.tsv is not None:
        if not record.binds_s1(file_digest(run.s1)):
            bound = " or ".join(file.name for file in record.s1)
            return failed(
                tr(
                    "{name} is not the s1 checkpoint that {lock_path} is bound to ({bound})",
                    name=name,
                    lock_path=run.lock_path,
                    bound=bound,
                ),
                fix=tr(
                    "Name that s1 checkpoint. Or, was this one trained on the locked tokens, too? Then "
                    "bind every one: vqcheck lock CKPT --experiment DIR{value} --update.",
                    value=" --s1 S1" * (len(record.s1) + 1),
                ),
            )
        if record.tsv.digest != tokens_digest(run.experiment):
            return failed(
                tr("{name} is the locked s1 checkpoint, but the recorded tokens have changed since", name=name)
            )
        return passed(tr("{name} and the recorded tokens are the locked ones", name=name))
    trained_on = recorded_tsv(run.s1)
    if trained_on is None:
        return could_not_check(
            tr("{name} does not say which tokens it was trained on, and no lock binds it", name=name)
        )
    if not same_experiment(trained_on, os.path.join(run.experiment, MERGED)):
        return failed(
            tr("{name} was trained on {trained_on}, which is another experiment's", name=name, trained_on=trained_on)
        )
    return could_not_check(
        tr(
            "{name} names this experiment's {basename} by its path, which proves nothing (bind "
            "it: vqcheck lock --s1 --update)",
            name=name,
            basename=os.path.basename(trained_on),
        ),
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
