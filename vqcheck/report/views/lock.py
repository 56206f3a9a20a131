"""`vqcheck lock`: what was recorded."""

import os
from typing import Any, Final

from vqcheck.audit.lock import Lock
from vqcheck.audit.locked_encoder import LockedEncoder
from vqcheck.codebook.digest import F32V1
from vqcheck.language import sentences, tr
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Shown
from vqcheck.report.document import Case, CaseOutcome, Document, Rule, Status, Weight
from vqcheck.report.views.json_objects import digest_object
from vqcheck.report.views.words import kind_of_file, listed
from vqcheck.word_enum import WordEnum

_RECORDED: Final = Rule(
    "lock/recorded",
    "the VQ encoder is recorded",
    "A lock records the VQ encoder that an experiment's tokens were made with.",
)


class WriteVerdict(WordEnum):
    """What became of a file that a command is there to write."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    """It was there, and says the same."""


_TOKENS: Final = Rule(
    "lock/tokens",
    "the recorded tokens agree with the checkpoint",
    "A lock of a checkpoint that did not make the tokens says that the two stages agree where they do not. Keep the "
    "features in 4-cnhubert until the lock is made.",
)


def written(
    lock: Lock,
    lock_path: str,
    state: WriteVerdict,
    unchecked: str = "",
    contested: str = "",
    renamed: tuple[tuple[str, str], ...] = (),
) -> Document:
    """Return the document of a lock that was `written`, or was there already (`unchanged`).

    `unchecked` is why the tokens could not be compared with the checkpoint, where that is so, and `contested` why they
    may come from another one. `renamed` are s1 checkpoints with the tokens that they name, where these are of another
    folder.
    """
    whole = lock.whole("vq_encoder", F32V1) or lock.whole("codebook", F32V1)
    digest = f"{whole.algorithm} {whole.short}" if whole else ""
    if lock.whole("vq_encoder", F32V1):
        headline = tr("the VQ encoder of {file} is recorded in {lock}", file=lock.checkpoint, lock=lock_path)
    else:
        headline = tr("the codebook alone of {file} is recorded in {lock}", file=lock.checkpoint, lock=lock_path)
    return Document(
        command="lock",
        status=Status.CONSISTENT,
        verdict=str(state),
        headline=headline,
        brief=tr("{said}: {digest}", said=headline, digest=digest) if digest else headline,
        subject=lock.checkpoint,
        cases=(
            *(_recorded(copy, lock_path) for copy in lock.copies),
            *(_unchecked(why, lock_path) for why in (unchecked, contested) if why),
        ),
        data=_written_data(lock, lock_path),
        warnings=(
            *(
                [
                    tr(
                        "The tokens could not be compared with {file}: {why}.",
                        file=lock.checkpoint,
                        why=unchecked,
                    )
                ]
                if unchecked
                else []
            ),
            *(
                [tr("{file} is locked as --update asks: {why}.", file=lock.checkpoint, why=contested)]
                if contested
                else []
            ),
            *(
                sentences(
                    tr("{s1} names {tokens}.", s1=os.path.basename(s1), tokens=tsv),
                    tr("It is bound to these tokens because you named both."),
                    tr("Make sure that the experiment was only renamed."),
                )
                for s1, tsv in renamed
            ),
        ),
        blocks=(
            doc.facts(
                tr("What was recorded"),
                doc.Fact(tr("Checkpoint"), doc.path(lock.checkpoint), Shown.DETAIL),
                doc.Fact(tr("Kind"), kind_of_file(lock.record.kind), Shown.DETAIL),
                doc.Fact(tr("Digest"), doc.code(str(whole)) if whole else None, Shown.DETAIL),
                doc.Fact(tr("Copies"), _listed_copies(lock)),
                doc.Fact(tr("Tokens"), doc.path(lock.tsv.name) if lock.tsv else None),
                *(doc.Fact("s1" if not number else "", doc.path(file.name)) for number, file in enumerate(lock.s1)),
            ),
        ),
    )


def _listed_copies(lock: Lock) -> str:
    return listed(copy.name for copy in lock.copies)


def _recorded(copy: LockedEncoder, lock_path: str) -> Case:
    whole = copy.whole("vq_encoder", F32V1) or copy.whole("codebook", F32V1)
    said = f"{whole.algorithm} {whole.short}" if whole else f"{len(copy.tensors)} tensors"
    return Case(_RECORDED, copy.name or "VQ encoder", CaseOutcome.PASSED, said, lock_path)


def _unchecked(why: str, lock_path: str) -> Case:
    return Case(_TOKENS, "tokens", CaseOutcome.COULD_NOT_CHECK, why, lock_path, weight=Weight.ADVICE)


def _written_data(lock: Lock, lock_path: str) -> dict[str, Any]:
    return {
        "lock": lock_path,
        "checkpoint": lock.checkpoint,
        "kind": lock.record.kind.value,
        "vq_encoder": digest_object(lock.whole("vq_encoder", F32V1)),
        "codebook": digest_object(lock.whole("codebook", F32V1)),
        "copies": [
            {
                "codec": copy.family,
                "name": copy.name,
                "vq_encoder": digest_object(copy.whole("vq_encoder", F32V1)),
                "codebook": digest_object(copy.whole("codebook", F32V1)),
            }
            for copy in lock.copies
        ],
    }
