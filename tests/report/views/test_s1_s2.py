"""What `vqcheck diff` says of an s1 checkpoint and an s2 generator: the verdict, and on what evidence."""

from pathlib import Path

import pytest

from vqcheck.audit.judgement import StageComparison, StageVerdict
from vqcheck.audit.token_audit_result import FrameCounts, ItemAudit, TokenAudit, TokenPrecision
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import json, text
from vqcheck.report.views.s1_s2 import view

GOLDEN = Path(__file__).parent / "golden" / "s1_s2.txt"
S1, S2, LOCK = "GPT/me-e15.ckpt", "logs/me/G_400.pth", "logs/me/vqcheck.lock"
TOGETHER = StageComparison(S1, S2, StageVerdict.CONSISTENT, lock=LOCK, binds_s1=True)
APART = StageComparison(S1, S2, StageVerdict.INCONSISTENT, lock=LOCK, binds_s1=True)


def by_tokens(verdict, undecided=0, wrong=0):
    whole = Digest(F32V1, "a" * 64)
    counts = FrameCounts(50, 50 - undecided - wrong, 0, wrong, undecided, TokenPrecision.FLOAT32)
    audit = TokenAudit(
        S2, "gpt-sovits", EncoderDigests((("codes", whole),), whole, whole, whole), "logs/me", ("tokens.tsv",), 1,
        (ItemAudit("0.wav", "tokens.tsv:2", 50, 50, counts),), False, "any", (0, 0), (), (), (), (), (), False, (),
    )  # fmt: skip
    return StageComparison(S1, S2, verdict, tokens=audit)


UNKNOWN = by_tokens(StageVerdict.COULD_NOT_CHECK, undecided=9)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [(TOGETHER, CaseOutcome.PASSED), (APART, CaseOutcome.FAILED), (UNKNOWN, CaseOutcome.COULD_NOT_CHECK)],
)
def test_each_verdict_is_an_outcome(valid, found, outcome):
    """One check; there is something to do unless it passed; JSON is one of `vqcheck diff`."""
    document = view(found)
    (case,) = document.cases
    assert (case.outcome, case.path) == (outcome, S2)
    assert bool(document.remedies) == (found.exit_code > 0)
    parsed = valid(json.render(document))
    assert (parsed["schema"], parsed["verdict"], parsed["exit_code"]) == (
        "vqcheck/diff/1",
        found.verdict,
        found.exit_code,
    )
    assert (parsed["evidence"], parsed["message"]) == (found.evidence, case.message)


def test_only_a_lock_shows_that_two_stages_share_a_vq_encoder():
    """Equal tokens do not prove it, and a path proves nothing."""
    assert "share one VQ encoder" in view(TOGETHER).headline
    by_them = view(by_tokens(StageVerdict.CONSISTENT))
    assert "share" not in by_them.headline
    assert "agree" in by_them.headline
    assert "proves nothing" in by_them.cases[0].message
    assert "proves nothing" not in view(TOGETHER).cases[0].message
    unbound = StageComparison(S1, S2, StageVerdict.CONSISTENT, lock=LOCK)
    assert "proves nothing" in view(unbound).cases[0].message


def test_another_s1_is_no_proof_of_another_vq_encoder():
    """A later epoch of the same s1 training is not the locked file, and that is all that is known."""
    other = view(StageComparison(S1, S2, StageVerdict.INCONSISTENT, lock=LOCK, binds_s1=True, other_s1=True))
    assert "is not the one that the lock is bound to" in other.headline
    assert "something else" not in other.headline
    (remedy,) = other.remedies
    assert "vqcheck lock --s1 --update" in remedy.text
    assert "something else" in view(APART).headline


def test_the_report_reads_as_it_should():
    """For the eye: rewrite the file where the new text is the better one."""
    assert text.render(view(APART), text.Style(width=80)) == GOLDEN.read_text("utf-8")
