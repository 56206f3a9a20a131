"""`vqcheck lock` for machines."""

from vqcheck.audit.lock import Lock
from vqcheck.audit.lock_result import LockCheck
from vqcheck.codebook.digest import F32V1
from vqcheck.report.json.copies import copies_object
from vqcheck.report.json.digests import digest_object
from vqcheck.report.json.document import dump


def written(lock: Lock, path: str, state: str) -> str:
    """Return the document of a lock that was `written`, or was there already (`unchanged`)."""
    return dump(
        "lock",
        state,
        0,
        lock=path,
        checkpoint=lock.checkpoint,
        kind=lock.record.kind.value,
        vq_encoder=digest_object(lock.whole("vq_encoder", F32V1)),
        codebook=digest_object(lock.whole("codebook", F32V1)),
        copies=[
            {
                "codec": copy.family,
                "name": copy.name,
                "vq_encoder": digest_object(copy.whole("vq_encoder", F32V1)),
                "codebook": digest_object(copy.whole("codebook", F32V1)),
            }
            for copy in lock.copies
        ],
    )


def checked(result: LockCheck) -> str:
    """Return the document of a verification."""
    return dump(
        "lock",
        result.verdict,
        result.exit_code,
        lock=result.lock,
        checkpoint=result.path,
        kind=result.kind.value,
        locked_kind=result.locked_kind.value,
        never_trained=result.never_trained,
        recorded=digest_object(result.recorded),
        found=digest_object(result.found),
        copies=copies_object(result),
        checks=[
            {"what": line.what, "verdict": line.verdict, "note": line.note, "judged": line.judged}
            for line in result.verdicts
        ],
    )
