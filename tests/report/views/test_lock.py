"""What `vqcheck lock` says: what was recorded, whether a file agrees with it, and what to do where it does not."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from vqcheck.audit.lock import Lock, LockedFile
from vqcheck.audit.lock_result import FAMILY, NOT_COMPARABLE, S1, TSV, LockCheck, LockReason, LockVerdict
from vqcheck.audit.locked_encoder import LockedEncoder, LockedTensor
from vqcheck.codebook.comparison import CopyPair, EqualCopies, LoneCopy, Verdict
from vqcheck.codebook.digest import F32V1, Digest
from vqcheck.codebook.file_record import FileKind, FileRecord
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import html, json, text
from vqcheck.report.views.lock import written
from vqcheck.report.views.lock_check import checked

GOLDEN = Path(__file__).parent / "golden" / "lock.txt"
A, B = Digest(F32V1, "a" * 64), Digest(F32V1, "b" * 64)
CODES = LockVerdict("codes", "codes", Verdict.IDENTICAL, judged=True)
TOKENS = LockVerdict(TSV, TSV, Verdict.IDENTICAL, judged=True)
AGREES = LoneCopy("B", "gpt-sovits", "ema", "model", Verdict.NOISE)
CONTRADICTS = LoneCopy("B", "gpt-sovits", "ema", "model", Verdict.CHANGED)
DAMAGED = LoneCopy("B", "", "best", "", Verdict.UNREADABLE, "best: is truncated")


def check(*lines, pair=Verdict.IDENTICAL, guessed=False, lone=(), equal=(), never_trained=False):
    return LockCheck(
        lock="vqcheck.lock",
        path="logs/me/G_437.pth",
        family="gpt-sovits",
        kind=FileKind.TRAINING,
        locked_kind=FileKind.BASE,
        never_trained=never_trained,
        recorded=A,
        found=B if pair == Verdict.CHANGED else A,
        verdicts=lines or (replace(CODES, verdict=pair),),
        pairs=(CopyPair("gpt-sovits", "", "model", pair, guessed),),
        lone=lone,
        equal=equal,
    )


def test_a_check_agrees_with_its_cases(valid, agrees):
    """Over every verdict of a pair that names told or that was guessed, copies beside it, and bound files."""
    equal, seen = (EqualCopies("", "ema"),), set()
    for pair, guessed, lone, same, tokens, untrained in product(
        (Verdict.IDENTICAL, Verdict.ROUNDED, Verdict.CHANGED),
        (False, True),
        ((), (AGREES,), (CONTRADICTS,), (AGREES, DAMAGED)),
        ((), equal),
        (Verdict.IDENTICAL, Verdict.CHANGED),
        (False, True),
    ):
        lines = (replace(CODES, verdict=pair), replace(TOKENS, verdict=tokens, recorded="6-name2semantic.tsv"))
        found = check(*lines, pair=pair, guessed=guessed, lone=lone, equal=same, never_trained=untrained)
        document = checked(found)
        assert (document.exit_code, document.verdict) == (found.exit_code, found.verdict)
        assert agrees(document), found
        # Whatever is not green says what to do.
        assert bool(document.remedies) == (document.exit_code > 0)
        if found.verdict not in seen:
            seen.add(found.verdict)
            assert valid(json.render(document))["verdict"] == found.verdict
    assert seen == {Verdict.IDENTICAL, Verdict.ROUNDED, Verdict.CHANGED, Verdict.UNDECIDED}


def outcome(line, **more):
    (case,) = checked(check(line, **more)).cases
    return case.outcome


def test_each_verdict_on_a_part_is_an_outcome():
    """Faults fail, roundings pass, and what is left out or not judged does not count."""
    assert outcome(CODES) == CaseOutcome.PASSED
    assert outcome(replace(CODES, verdict=Verdict.ROUNDED), pair=Verdict.ROUNDED) == CaseOutcome.PASSED
    for fault in (Verdict.CHANGED, Verdict.MISSING):
        assert outcome(replace(CODES, verdict=fault), pair=Verdict.CHANGED) == CaseOutcome.FAILED
        assert outcome(replace(CODES, verdict=fault, judged=False)) == CaseOutcome.NOT_APPLICABLE
    assert outcome(replace(CODES, verdict=Verdict.NOT_STORED)) == CaseOutcome.NOT_APPLICABLE
    changed = replace(CODES, verdict=Verdict.CHANGED)
    undecidable = LockVerdict("input_proj.weight", "input_proj", NOT_COMPARABLE, judged=True)
    outcomes = [case.outcome for case in checked(check(changed, undecidable, pair=Verdict.CHANGED)).cases]
    assert outcomes == [CaseOutcome.FAILED, CaseOutcome.COULD_NOT_CHECK]


@pytest.mark.parametrize("why", LockReason)
def test_every_reason_is_told(why, valid):
    """In the table, in the check and in JSON, with the names and types that it is about."""
    line = replace(CODES, verdict=Verdict.CHANGED, why=why, rounded_to="float16", recorded="RECORDED", found="FOUND")
    document = checked(check(line, pair=Verdict.CHANGED))
    (note,) = [each["note"] for each in valid(json.render(document))["checks"]]
    assert note
    assert note in document.cases[0].message
    assert note in " ".join(text.render(document, text.Style(verbose=True)).split())
    rounded = why in (LockReason.FILE_ROUNDED, LockReason.LOCK_ROUNDED)
    assert ("float16" in note) == rounded
    assert ("RECORDED" in note) == (why in (LockReason.OTHER_FAMILY, LockReason.OTHER_CONTENT))
    moved = checked(check(replace(line, trained=True), pair=Verdict.CHANGED))
    assert ("training moved" in moved.cases[0].message) == rounded


def test_what_rounding_destroyed_is_counted():
    """Codes in use that are lost, infinite values, and a projection of which nothing is left."""
    line = replace(CODES, verdict=Verdict.CHANGED, why=LockReason.FILE_ROUNDED, rounded_to="float16")
    said = [
        checked(check(replace(line, **lost), pair=Verdict.CHANGED)).cases[0].message
        for lost in ({"spoilt": 7}, {"infinite": 7}, {"only_zeros": True})
    ]
    assert ["7 codes in use" in said[0], "7 values infinite" in said[1], "only zeros" in said[2]] == [True] * 3


def test_remedies_are_for_what_failed():
    """A VQ encoder that moved, tokens and an s1 file each have their own."""
    told = {
        what: " ".join(remedy.text for remedy in checked(check(*lines, pair=pair)).remedies)
        for what, pair, lines in (
            ("encoder", Verdict.CHANGED, (replace(CODES, verdict=Verdict.CHANGED), TOKENS)),
            ("missing", Verdict.CHANGED, (replace(CODES, verdict=Verdict.MISSING), TOKENS)),
            ("tokens", Verdict.IDENTICAL, (CODES, replace(TOKENS, verdict=Verdict.CHANGED))),
            ("s1", Verdict.IDENTICAL, (CODES, LockVerdict(S1, S1, Verdict.CHANGED, judged=True))),
        )
    }
    assert {what for what, said in told.items() if "Freeze the quantizer" in said} == {"encoder"}
    assert {what for what, said in told.items() if "token file" in said} == {"tokens"}
    assert {what for what, said in told.items() if "--s1" in said} == {"s1"}
    assert "same parts" in told["missing"]
    spaced = replace(check(replace(CODES, verdict=Verdict.CHANGED), pair=Verdict.CHANGED), path="my logs/G_437.pth")
    assert 'vqcheck lock "my logs/G_437.pth" -o vqcheck.lock --update' in checked(spaced).remedies[1].text
    both = checked(
        check(replace(CODES, verdict=Verdict.CHANGED), replace(TOKENS, verdict=Verdict.CHANGED), pair=Verdict.CHANGED)
    )
    assert ["G_437.pth" in remedy.text for remedy in both.remedies] == [False, True, False]
    assert "vqcheck lock logs/me/G_437.pth" in told["tokens"]
    moved = check(replace(CODES, verdict=Verdict.CHANGED), pair=Verdict.CHANGED)
    bound = replace(moved, binds_tokens=True, binds_s1=True)
    assert "G_437.pth -o vqcheck.lock --update --experiment DIR --s1 S1" in checked(bound).remedies[1].text
    undecided = checked(check(lone=(CONTRADICTS,)))
    assert "--copy NAME" in undecided.remedies[0].text


def test_a_note_that_is_true_of_many_tensors_is_said_once():
    """A LoRA export of a residual codec leaves out a projection in each layer."""
    lines = [
        LockVerdict(f"{layer} input_proj.weight", "input_proj", Verdict.NOT_STORED, True, LockReason.LEFT_OUT_BY_LORA)
        for layer in range(8)
    ]
    said = text.render(checked(check(CODES, *lines)), text.Style())
    assert said.count("LoRA export") == 1
    assert "input_proj" in said
    assert text.render(checked(check(CODES, *lines)), text.Style(verbose=True)).count("LoRA export") == 8


def test_of_very_many_parts_a_terminal_shows_those_that_differ():
    """A residual codec has four tensors a layer; -v and a page have them all."""
    lines = [
        LockVerdict(f"{n} codes", "codes", Verdict.CHANGED if n % 10 else Verdict.IDENTICAL, judged=True)
        for n in range(100)
    ]
    document = checked(check(*lines, pair=Verdict.CHANGED))
    short = [line.split() for line in text.render(document, text.Style()).splitlines() if " codes " in line]
    assert 0 < len(short) < 50
    assert {line[2] for line in short} == {Verdict.CHANGED}
    assert "-v lists every part" in text.render(document, text.Style())
    for whole in (text.render(document, text.Style(verbose=True)), html.render(document)):
        assert all(f"{n} codes" in whole for n in range(100))


def test_parts_of_further_copies_are_told_apart(valid):
    """Two copies have tensors of one name; both stand in JSON and among the checks, each with its copy."""
    lines = (
        CODES,
        replace(CODES, copy="ema", verdict=Verdict.CHANGED),
        LockVerdict(FAMILY, FAMILY, Verdict.IDENTICAL, judged=False),
    )
    document = checked(check(*lines, pair=Verdict.CHANGED))
    assert [case.name for case in document.cases] == ["codes", "ema codes", "family"]
    assert [each["what"] for each in valid(json.render(document))["checks"]] == ["codes", "ema codes", "family"]


@pytest.mark.parametrize("state", ["written", "unchanged"])
def test_what_was_recorded(valid, state, agrees):
    """Status 0, one line with the digest, and what is bound to it below."""
    tensor = LockedTensor("codes", "float16", (A,))
    copy = LockedEncoder("gpt-sovits", (tensor,), (("vq_encoder", A),))
    lock = Lock("s2G.pth", (copy,), FileRecord(FileKind.BASE))
    document = written(lock, "logs/me/vqcheck.lock", state)
    (line,) = text.render(document, text.Style()).splitlines()
    assert line.startswith(f"{state}  ")
    assert all(word in line for word in ("s2G.pth", "logs/me/vqcheck.lock", A.short))
    assert valid(json.render(document))["verdict"] == state
    assert agrees(document)
    bound = replace(lock, tsv=LockedFile("6-name2semantic.tsv", B), s1=(LockedFile("me-e15.ckpt", B),))
    words = text.render(written(bound, "vqcheck.lock", state), text.Style())
    assert "6-name2semantic.tsv" in words
    assert "me-e15.ckpt" in words
    assert "me-e15.ckpt" in html.render(written(bound, "vqcheck.lock", state))


def test_the_report_reads_as_it_should():
    """For the eye: rewrite the file where the new text is the better one."""
    rounded = LockVerdict(
        "input_proj.weight", "input_proj", Verdict.ROUNDED, True, LockReason.FILE_ROUNDED, rounded_to="float16"
    )
    tokens = replace(TOKENS, verdict=Verdict.CHANGED, why=LockReason.OTHER_CONTENT, recorded="6-name2semantic.tsv")
    found = check(replace(CODES, verdict=Verdict.CHANGED), rounded, tokens, pair=Verdict.CHANGED, lone=(CONTRADICTS,))
    assert text.render(checked(found), text.Style(width=80)) == GOLDEN.read_text("utf-8")
