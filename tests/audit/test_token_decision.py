"""Over every combination of tokens, lock and another checkpoint no verdict is greener than what is known."""

from itertools import product

import pytest

from vqcheck.audit.token_audit_result import FrameCounts, ItemAudit, TokenAudit, TokenPrecision, TokenVerdict
from vqcheck.audit.token_decision import Decider, LockSays, Movement, TokenDecision
from vqcheck.codebook.comparison import Verdict
from vqcheck.codebook.diagnosis.result import TokenFlips
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.codebook.file_record import Order
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import json
from vqcheck.report.views.tokens import view

WHOLE = Digest(F32V1, "a" * 64)
DIGESTS = EncoderDigests((("codes", WHOLE),), WHOLE, WHOLE, WHOLE)
FLIPS = TokenFlips("features", 1, 200, 1, (), (), (), "")
TSV = "6-name2semantic.tsv"


def audit(verdict, ties=0, name="s2G.pth"):
    wrong = 5 if verdict is TokenVerdict.INCONSISTENT else 0
    counts = FrameCounts(
        200, 200 - wrong - ties, ties, wrong, 0, TokenPrecision.FLOAT32, 0, 0, wrong + ties, wrong + ties
    )
    unreadable = (("2.wav", "is damaged"),) if verdict is TokenVerdict.INCONCLUSIVE else ()
    item = ItemAudit("1.wav", f"{TSV}:2", 200, 200, counts)
    found = TokenAudit(
        checkpoint=name,
        family="gpt-sovits",
        digests=DIGESTS,
        experiment="logs/me",
        files=(TSV,),
        rows=1,
        items=(item,),
        sampled=False,
        arithmetic="any",
        predicted=(9, 9),
        without_tokens=(),
        without_features=(),
        repeated=(),
        unreadable=unreadable,
        malformed=(),
        headless=False,
        leftover_parts=(),
    )
    assert found.verdict is verdict
    return found


SAYS = [
    LockSays("vqcheck.lock", binds=True, verdict=each)
    for each in (Verdict.IDENTICAL, Verdict.ROUNDED, Verdict.CHANGED, Verdict.UNDECIDED)
]
LOCKS = (None, LockSays("vqcheck.lock", binds=False), *SAYS)
ORDERS = (None, *Order)


@pytest.mark.parametrize(("lock", "order", "ties"), [*product(LOCKS, ORDERS, (0, 2))])
def test_no_verdict_is_greener_than_what_is_known(lock, order, ties, valid):
    """`ties`: near-ties that the other one has more; the document's checks agree with the status throughout."""
    for verdict in TokenVerdict:
        # Whether another one explains the tokens, too, is asked only where the checkpoint does.
        moved = order is not None and verdict is TokenVerdict.CONSISTENT
        movement = Movement(order, 37, "exact", FLIPS) if moved else None
        other = audit(TokenVerdict.CONSISTENT, ties, "other.pth") if order is not None else None
        decision = TokenDecision(audit(verdict), other, lock, movement=movement)
        bound = lock.verdict if lock and lock.binds else None
        expected = verdict
        if verdict is not TokenVerdict.INCONSISTENT and bound is not None:
            expected = {Verdict.CHANGED: TokenVerdict.INCONSISTENT, Verdict.UNDECIDED: TokenVerdict.INCONCLUSIVE}.get(
                bound, verdict
            )
        elif moved and order is Order.UNKNOWN:
            expected = TokenVerdict.INCONCLUSIVE
        elif moved and order is Order.A_FIRST:
            expected = TokenVerdict.INCONCLUSIVE if ties else TokenVerdict.INCONSISTENT
        assert decision.verdict is expected
        document = view(decision)
        counted = {case.outcome for case in document.cases if not case.is_advice}
        assert (CaseOutcome.FAILED in counted) == (document.exit_code == 1)
        assert (CaseOutcome.COULD_NOT_CHECK in counted) >= (document.exit_code == 2)
        assert bool(document.remedies) == (document.exit_code > 0)
        assert (decision.power is None) == (verdict is not TokenVerdict.CONSISTENT)
        assert valid(json.render(document))["decided_by"] == decision.decided_by.value


@pytest.mark.parametrize("lock", LOCKS)
def test_tokens_that_are_refuted_are_refuted_by_themselves(lock):
    """No lock and no base makes them agree."""
    assert TokenDecision(audit(TokenVerdict.INCONSISTENT), lock=lock).decided_by is Decider.TOKENS
