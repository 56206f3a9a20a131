"""`vqcheck lock` for people: what was recorded, or whether a file agrees with the record."""

from vqcheck.audit.lock import Lock
from vqcheck.audit.lock_result import LockCheck, LockVerdict
from vqcheck.codebook.comparison import CHANGED, NOT_STORED, UNDECIDED
from vqcheck.codebook.digest import F32V1
from vqcheck.report.text.page import Page, Style, verdict
from vqcheck.report.views import copies


def written(lock: Lock, path: str, state: str, style: Style) -> str:
    """Return one line on a lock that was written, or was there already."""
    whole = lock.whole("vq_encoder", F32V1) or lock.whole("codebook", F32V1)
    bound = [f"{kind} {file.name}" for kind, file in (("tokens", lock.tsv), ("s1", lock.s1)) if file]
    which = f", {lock.names[0]}" if lock.chosen else ""
    if lock.others:
        which = f" and {len(lock.others)} more ({', '.join(copy.name for copy in lock.copies)})"
    with_files = f", bound to {' and '.join(bound)}" if bound else ""
    short = f"{whole.algorithm} {whole.short}" if whole else ""
    page = Page(style)
    what = "VQ encoder" if lock.whole("vq_encoder", F32V1) else "codebook alone"
    page.line(f"{state}  {path}: {what} of {lock.checkpoint} {short}{which}{with_files}", indent=len(state) + 2)
    return page.text()


def checked(result: LockCheck, style: Style) -> str:
    """Return whether a checkpoint agrees with a lock; where it does not, what differs."""
    page = Page(style)
    if result.never_trained:
        page.line(("WARNING: the codebook of this file was never trained", "bold yellow"))
    agrees = result.verdict not in (CHANGED, UNDECIDED)
    what = {CHANGED: "does not agree with", UNDECIDED: "does not wholly answer to"}.get(result.verdict, "agrees with")
    page.line(verdict(result.verdict), f"  {result.path} {what} {result.lock}", indent=2)
    if result.verdict == UNDECIDED:
        page.line(f"  {copies.undecided(result, copies.LOCK)}", indent=2)
    for line in copies.told(result, copies.LOCK):
        page.line(f"  {line}", indent=2)
    if agrees and not style.verbose:
        notes = sorted({_note(line) for line in result.verdicts if line.note})
        for note in notes:
            page.line(f"  {note}", indent=2)
        return page.text()
    page.blank()
    if result.recorded and result.found:
        page.line(f"  locked  {result.recorded.algorithm} {result.recorded.short}")
        page.line(f"  found   {result.found.algorithm} {result.found.short}")
        page.blank()
    width = max(len(line.what) for line in result.verdicts)
    for each in result.verdicts:
        judged = "" if each.judged else " (not judged)"
        page.line(f"  {each.what:<{width}}  ", verdict(each.verdict, 11), f"  {each.note}{judged}", indent=4)
    return page.text()


def _note(line: LockVerdict) -> str:
    """Return a note; on something that is not in the file or the lock with what it is."""
    role = line.what.rpartition(" ")[2].partition(".")[0]
    return f"{role}: {line.note}" if line.verdict == NOT_STORED else line.note
