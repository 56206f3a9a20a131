"""What `vqcheck tokens` says: its checks agree with the exit status, and no more is said than is known."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from vqcheck.audit.token_audit_result import FrameCounts, ItemAudit, TokenAudit, TokenPrecision
from vqcheck.audit.token_decision import TokenDecision
from vqcheck.audit.token_power import summary
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.report.blocks import Section, Shown, Table
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import html, json, text
from vqcheck.report.views.tokens import view
from vqcheck.report.views.tokens_words import against

GOLDEN = Path(__file__).parent / "golden" / "tokens.txt"
WHOLE = Digest(F32V1, "a" * 64)
DIGESTS = EncoderDigests((("codes", WHOLE),), WHOLE, WHOLE, WHOLE)
TSV = "6-name2semantic.tsv"


def item(number, *, ties=0, wrong=0, undecided=0, coarse=0, extra=0, precision=TokenPrecision.FLOAT32):
    counts = FrameCounts(50, 50 - ties - wrong - undecided, ties, wrong, undecided, precision, coarse)
    return ItemAudit(f"{number}.wav", f"{TSV}:{number + 2}", 50 + extra, 50, counts)


def audit(*items, checkpoint="pretrained/s2G.pth", **more):
    found = {
        "family": "gpt-sovits",
        "digests": DIGESTS,
        "experiment": "logs/me",
        "files": (TSV,),
        "rows": len(items),
        "sampled": False,
        "arithmetic": "any",
        "predicted": (0, 0),
        "without_tokens": (),
        "without_features": (),
        "repeated": (),
        "unreadable": (),
        "malformed": (),
        "headless": False,
        "leftover_parts": (),
    }
    return TokenAudit(checkpoint=checkpoint, items=items, **(found | more))


RIGHT = audit(*map(item, range(4)))
WRONG = audit(item(0), item(1, wrong=1), item(2), item(3, wrong=7))


def section(document, title):
    """Return the section of this title; None where there is none with anything in it."""
    found = [each for each in document.blocks if isinstance(each, Section) and each.title == title]
    return next((each for each in found if any(_content(block) for block in each.blocks)), None)


def _content(block):
    return getattr(block, "rows", None) or getattr(block, "items", None) or getattr(block, "text", None)


def names(table):
    return [row[0].text for row in table.rows]


def test_an_audit_agrees_with_its_items():
    """Over every combination of contradiction and gap, the checks that count give the exit status."""
    for mismatch, ties, length, overflow, coarse, unreadable, malformed, coverage, notes in product(
        (False, True), repeat=9
    ):
        undecided = 20 * overflow + 20 * coarse
        counts = FrameCounts(400, 300 - mismatch, 90 * ties, int(mismatch), undecided, TokenPrecision.HALF, 20 * coarse)
        found = audit(
            ItemAudit("1.wav", f"{TSV}:2", 400 + 5 * length, 400, counts),
            rows=4,
            without_tokens=("7.wav",) * notes,
            without_features=("8.wav", "9.wav", "10.wav") if coverage else ("8.wav",) * notes,
            repeated=("1.wav",) * notes,
            unreadable=(("2.wav", "is damaged"),) * unreadable,
            malformed=((f"{TSV}:3", "holds no tokens"),) * malformed,
            headless=notes,
            leftover_parts=("6-name2semantic-0.tsv",) * notes,
        )
        document = view(TokenDecision(found, found if notes else None))
        counted = {case.outcome for case in document.cases if not case.is_advice}
        assert (CaseOutcome.COULD_NOT_CHECK in counted) >= (document.exit_code == 2)
        assert (CaseOutcome.FAILED in counted) == (document.exit_code == 1)
        assert document.exit_code or CaseOutcome.COULD_NOT_CHECK not in counted
        identities = [(case.rule.id, case.name) for case in document.cases]
        assert len(set(identities)) == len(identities)
        assert all(case.message for case in document.cases)
        assert bool(document.remedies) == (document.exit_code > 0)
        case = next(case for case in document.cases if case.name.startswith("1.wav"))
        assert case.path.replace("\\", "/") == f"logs/me/{TSV}"
        assert (case.line, case.outcome is CaseOutcome.FAILED) == (2, mismatch or length)


def test_tokens_agree_with_a_checkpoint_and_are_not_said_to_be_its():
    """A codebook that moved a little gives the same tokens on little data."""
    assert view(TokenDecision(RIGHT)).headline == "The tokens agree with s2G.pth."
    tied = audit(item(0, ties=2, precision=TokenPrecision.HALF), *map(item, range(1, 4)), predicted=(0, 9))
    headline = view(TokenDecision(tied)).headline
    assert all(fact in headline for fact in ("198 of 200", "agree with s2G.pth", "other 2"))
    lacking = replace(RIGHT, rows=5, without_features=("4.wav",))
    assert "1 of 5 items have no features" in view(TokenDecision(lacking)).headline


def test_what_speaks_against_a_checkpoint_is_said():
    """Mismatches are counted, the items that have some are named worst first, and there is something to do."""
    document = view(TokenDecision(WRONG))
    assert "8 of 200 tokens" in section(document, "What was found").blocks[0].text
    least = section(document, "Items that agree least")
    assert names(least.blocks[0]) == ["3.wav", "1.wav"]
    assert Shown.BRIEF in least.shown
    assert "s2G.pth" in document.remedies[0].text
    every = section(document, "Items")
    assert (len(every.blocks[0].rows), every.shown) == (4, Shown.VERBOSE)


def test_nothing_speaks_against_a_checkpoint_that_agrees():
    document = view(TokenDecision(RIGHT))
    assert section(document, "What was found") is section(document, "Items that agree least") is None
    assert document.remedies == ()


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (audit(item(0, undecided=9)), "overflows"),
        (audit(item(0, undecided=9, coarse=9)), "cannot tell the codes apart"),
    ],
)
def test_half_precision_that_proves_nothing_is_told_by_its_kind(found, word):
    """Status 2, and the way out: tokens extracted in float32."""
    document = view(TokenDecision(found))
    assert (document.exit_code, word in document.headline) == (2, True)
    assert "float32" in document.remedies[0].text


@pytest.mark.parametrize("name", ["G_400.pth", "me_e8_s400.pth"])
def test_a_training_file_is_exported_before_tokens_are_extracted(name):
    """Upstream extracts tokens with exported weights."""
    (first, *_) = view(TokenDecision(replace(WRONG, checkpoint=f"logs/{name}"))).remedies
    assert ("exported" in first.text) == name.startswith("G_")


def test_the_better_of_two_checkpoints_is_named():
    other = replace(WRONG, checkpoint="drifted.pth")
    for better, worse in ((RIGHT, other), (other, RIGHT)):
        assert against(better, worse).startswith("s2G.pth explains the tokens better (100 %) than drifted.pth (96 %)")
    assert "cannot tell them apart" not in view(TokenDecision(RIGHT, other)).headline
    same = against(RIGHT, replace(RIGHT, checkpoint="copy.pth"))
    assert "the same VQ encoder" in same
    moved = replace(RIGHT, checkpoint="moved.pth", digests=replace(DIGESTS, vq_encoder=Digest(F32V1, "b" * 64)))
    assert "cannot tell them apart" in against(RIGHT, moved)


def test_long_lists_name_a_few_and_all_where_all_are_wanted():
    """Text names five, a page twenty, and -v every one."""
    found = replace(RIGHT, rows=44, without_features=tuple(f"gone_{number}.wav" for number in range(40)))
    for style, count in ((text.Style(), 5), (text.Style(verbose=True), 40)):
        assert text.render(view(TokenDecision(found)), style).count("gone_") == count
    assert html.render(view(TokenDecision(found))).count("gone_") == 20


def test_json_keeps_its_contract(valid):
    """Every audit there is makes a valid document, and its numbers are those of the audit."""
    for found, other in ((RIGHT, None), (WRONG, RIGHT), (audit(item(0, undecided=9)), WRONG)):
        parsed = valid(json.render(view(TokenDecision(found, other))))
        assert (parsed["verdict"], parsed["exit_code"]) == (found.verdict, found.exit_code)
        assert parsed["audit"]["total"]["mismatches"] == found.total.mismatches
        assert [each["item"] for each in parsed["audit"]["items"]] == [each.item for each in found.items]
        assert (parsed["against"] is None) == (other is None)


def test_two_checkpoints_stand_side_by_side():
    (table,) = (
        block for block in section(view(TokenDecision(WRONG, RIGHT)), "Frames").blocks if isinstance(block, Table)
    )
    assert [column.title for column in table.columns[1:-1]] == ["s2G.pth", "Share"] * 2
    assert [row[1] for row in table.rows] == ["192", "0", "8", "0"]
    assert [row[3] for row in table.rows] == ["200", "0", "0", "0"]


def test_the_report_reads_as_it_should():
    """For the eye: rewrite the file where the new text is the better one."""
    found = replace(WRONG, headless=True, without_tokens=("9.wav",))
    shown = text.render(view(TokenDecision(found, replace(RIGHT, checkpoint="other.pth"))), text.Style(width=80))
    assert shown.replace("\\", "/") == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize(("items", "accused"), [({"extra": 3}, False), ({"extra": 3, "wrong": 1}, True)])
def test_lengths_alone_accuse_no_checkpoint(items, accused):
    """Features of other recordings fail the audit, but only tokens say that another VQ encoder made them."""
    found = audit(item(0), item(1), item(2, **items))
    document = view(TokenDecision(found))
    assert found.exit_code == 1
    said = " ".join([document.headline, summary(found), *(remedy.text for remedy in document.remedies)])
    assert ("come from" in said) == accused
    assert ("come from" in against(found, audit(item(0, wrong=50), item(1, wrong=50)))) == accused
