"""Judgements on what a planned s2 training run relies on: its generator, lock, tokens, freezing and s1 checkpoint.

An exception of vqcheck's own means that the question could not be answered.
"""

import os
from typing import Final

from vqcheck.audit.bound_files import file_digest, recorded_tsv, same_experiment, tokens_digest
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.judgement import Judgement, could_not_check, failed, not_applicable, outcome_of, passed
from vqcheck.audit.planned_run import PRETRAINED, PlannedRun, as_training_reads
from vqcheck.audit.token_audit import audit_tokens
from vqcheck.audit.token_power import summary
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.comparison import Scope, Verdict
from vqcheck.codebook.health import Condition
from vqcheck.experiment.name2semantic import MERGED
from vqcheck.language import listed, tr, word

_READ_AS: Final = {"v4": "v3", "v2Pro": "v2", "v2ProPlus": "v2"}
"""Versions that token extraction knows under another's name; their VQ encoder is the same function."""


def trained(run: PlannedRun) -> Judgement:
    """Whether the generator that training starts from has a VQ encoder that was trained."""
    found = run.inspection
    name = os.path.basename(found.path)
    if found.verdict == Condition.NO_CODEBOOK:
        return could_not_check(tr("{name} {why}", name=name, why=found.why_none))
    if found.verdict == Condition.NEVER_TRAINED:
        return failed(tr("the codebook of {name} was never trained, and a frozen run does not train it", name=name))
    if found.verdict == Condition.COLLAPSED:
        return failed(
            tr("the codebook of {name} has collapsed: nearly all frames go to a few codes", name=name), advisory=True
        )
    if found.verdict != Condition.HEALTHY:
        return failed(tr("the VQ encoder of {name} is {condition}", name=name, condition=word(found.verdict)))
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
                "{name} is an export with an overwritten header ({code}); training cannot load it",
                name=name,
                code=found.header_code,
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
                "{name} holds no {tensor}, the name by which training looks for it",
                name=name,
                tensor=run.not_found,
            )
        )
    if not found.model.version:
        return could_not_check(tr("{name}: its tensors do not show its version", name=name))
    if version is None:
        said = tr("{name} is {version}; the config names no version", name=name, version=_versions(found.model.version))
        return passed(_with_unread(said, run))
    if version not in found.model.version.split(" or "):
        return failed(
            tr(
                "{name} is {version}, the config says {configured}",
                name=name,
                version=_versions(found.model.version),
                configured=version,
            ),
            fix=tr(
                "Name the published base of {version} as {key}, or correct the version in {config}.",
                version=version,
                key=key,
                config=run.s2.config,
            ),
        )
    said = tr("{name} is {version}, as configured", name=name, version=_versions(found.model.version))
    return passed(_with_unread(said, run))


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
                version=_versions(found.model.version),
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
            version=_versions(found.model.version),
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
        return could_not_check(result.contradiction(tr("the one that was verified against {lock}", lock=path)))
    if result.verdict == Verdict.CHANGED:
        faults = [line.name for line in result.verdicts if line.judged and line.verdict in (Verdict.CHANGED, "missing")]
        return failed(tr("{lock} records something else: {parts}", lock=path, parts=listed(faults, last="")))
    name = os.path.basename(checkpoint.path)
    if record.tsv:
        return passed(tr("the VQ encoder of {name} and the recorded tokens agree with {lock}", name=name, lock=path))
    return passed(tr("the VQ encoder of {name} agrees with {lock}", name=name, lock=path))


def tokens(run: PlannedRun) -> Judgement:
    """Whether the recorded tokens come from the generator that training starts from."""
    with open_checkpoint(run.pretrained) as checkpoint:
        used = as_training_reads(checkpoint, PRETRAINED)
        audit = audit_tokens(used, run.experiment, sample=run.sample)
    return Judgement(
        outcome_of(audit.exit_code),
        tr("{name}: {text}", name=MERGED, text=summary(audit)),
    )


def freeze(run: PlannedRun) -> Judgement:
    """Whether the config freezes the quantizer."""
    flag, key = run.s2.freeze_quantizer, run.s2.key("subject", "freeze_quantizer")
    fix = tr("Set {key} to true in {config}.", key=key, config=run.s2.config)
    if flag is None:
        return failed(tr("{key} is not set, and upstream's default is not to freeze", key=key), fix=fix)
    if not flag:
        return failed(tr("{key} is false: training will move the codebook", key=key), fix=fix)
    return passed(tr("{key} is true", key=key))


def s1(run: PlannedRun) -> Judgement:
    """Whether the s1 checkpoint was trained on these tokens."""
    if run.s1 is None:
        return not_applicable(tr("no s1 checkpoint was named (--s1)"))
    name = os.path.basename(run.s1)
    record = run.lock
    if record is not None and record.s1 and record.tsv is not None:
        if not record.binds_s1(file_digest(run.s1)):
            return failed(
                tr(
                    "{name} is not the s1 checkpoint that {lock} is bound to ({bound})",
                    name=name,
                    lock=run.lock_path,
                    bound=listed([file.name for file in record.s1], last="or"),
                ),
                fix=tr(
                    "Name that s1 checkpoint. Or, was this one trained on the locked tokens, too? Then "
                    "bind every one: vqcheck lock CKPT --experiment DIR{options} --update.",
                    options=" --s1 S1" * (len(record.s1) + 1),
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
        return failed(tr("{name} was trained on {tokens}, which is another experiment's", name=name, tokens=trained_on))
    return could_not_check(
        tr(
            "{name} names this experiment's {tokens} by its path, which proves nothing (bind "
            "it: vqcheck lock --s1 --update)",
            name=name,
            tokens=os.path.basename(trained_on),
        ),
        advisory=True,
    )


def _versions(found: str) -> str:
    """Return a model's version for people, where its tensors do not say which of two it is: `v3 or v4`."""
    return listed(found.split(" or "), last="or")


def _with_unread(said: str, run: PlannedRun) -> str:
    """Return what was said of a generator, and which copies in it training does not load."""
    if not run.unread:
        return said
    return tr(
        "{said}; of its copies training reads '{copy}', not {others}",
        said=said,
        copy=PRETRAINED,
        others=listed(run.unread, last=""),
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
