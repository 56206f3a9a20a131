"""What `vqcheck diff` says, both ways: a finding is there when there is one, and not where there is none."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.compare import compare
from vqcheck.codebook.comparison import FAULTS, ComparedFile, Comparison, Scope, TensorDiff, Verdict
from vqcheck.codebook.digest import F32V1, Digest, EncoderDigests
from vqcheck.codebook.family import Role
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import text
from vqcheck.report.render.html import render
from vqcheck.report.views import diff
from vqcheck.report.views.evidence import evidence

GOLDEN = Path(__file__).parent / "golden" / "diff.txt"
WHOLE = Digest(F32V1, "a" * 64)
DIGESTS = EncoderDigests((("codes", WHOLE),), WHOLE, WHOLE, WHOLE)
SIDE = ComparedFile("a.pth", "gpt-sovits", "", never_trained=False, digests=DIGESTS)


def agrees(document):
    """Say whether the outcomes of the cases that count give the exit status; every document relies on it."""
    counted = {case.outcome for case in document.cases if not case.is_advice}
    names = [(case.rule.id, case.name) for case in document.cases]
    assert len(set(names)) == len(names)
    assert all(case.message for case in document.cases)
    if document.exit_code == 2:
        return CaseOutcome.COULD_NOT_CHECK in counted
    failed = CaseOutcome.FAILED in counted
    return failed == (document.exit_code == 1) and (failed or CaseOutcome.COULD_NOT_CHECK not in counted)


@pytest.fixture
def said(body_of, text_of):
    """Returns heading -> words of each section of a page; the first one is the verdict's."""

    def read(page):
        sections = body_of(page).findall("main/section")
        return {"verdict": text_of(sections[0])} | {text_of(each.find("h2")): text_of(each) for each in sections[1:]}

    return read


def compared(a, b):
    with open_checkpoint(str(a)) as first, open_checkpoint(str(b)) as second:
        return compare(first, second)


def tensor(role, verdict, *, judged=True):
    return TensorDiff(role, role, verdict, judged, "", "a", "b", "F32", "F32", (1,), (1,), WHOLE, WHOLE, None)


@pytest.mark.parametrize("role", Role)
def test_each_verdict_on_a_tensor_is_an_outcome(role):
    """Every role has a rule; only a fault in what is judged fails."""
    expected = dict.fromkeys((Verdict.IDENTICAL, Verdict.ROUNDED, Verdict.WITHIN_ULPS), CaseOutcome.PASSED)
    expected |= dict.fromkeys((Verdict.CHANGED, Verdict.MISSING, Verdict.OTHER_SHAPE), CaseOutcome.FAILED)
    expected[Verdict.NOT_STORED] = CaseOutcome.NOT_APPLICABLE
    for (verdict, outcome), judged in product(expected.items(), (True, False)):
        whole = Verdict.CHANGED if judged and verdict in FAULTS else Verdict.IDENTICAL
        document = diff.view(
            Comparison(SIDE, replace(SIDE, path="b.pth"), Scope.ALL, (tensor(role, verdict, judged=judged),), whole)
        )
        (case,) = document.cases
        assert case.rule.id == f"diff/{role.replace('_', '-')}-changed"
        assert (case.outcome, case.path) == (outcome if judged else CaseOutcome.NOT_APPLICABLE, "b.pth")
        assert agrees(document)


def test_a_codebook_that_was_never_trained_is_advice():
    """Identical but never trained is status 0, and no document hides it."""
    side = replace(SIDE, never_trained=True)
    document = diff.view(Comparison(side, side, Scope.ALL, (tensor("codes", Verdict.IDENTICAL),), Verdict.IDENTICAL))
    assert [case.is_advice for case in document.cases if case.rule.id == "diff/never-trained"] == [True, True]
    assert agrees(document)


def test_what_one_file_does_not_store_is_in_the_headline(checkpoints):
    """An export without a projection is the same as far as it goes, and every format says how far."""
    with (
        open_checkpoint(checkpoints / "base_v2.pth") as a,
        open_checkpoint(checkpoints / "lora_v3_e2_s50_l32.pth") as b,
    ):
        told = diff.view(compare(a, b)).headline
    assert told == (
        "The VQ encoder is the same as far as both files store it "
        "(input_proj not in B: a LoRA export leaves it to its base model)."
    )
    with open_checkpoint(checkpoints / "base_v2.pth") as a, open_checkpoint(checkpoints / "G_400.pth") as b:
        assert diff.view(compare(a, b)).headline == "The VQ encoder is the same."


def test_a_drifted_file(checkpoints, said):
    """The diagnosis in the words of the text report, the advice, every tensor, and both digests."""
    comparison = compared(checkpoints / "base_v2.pth", checkpoints / "G_437.pth")
    found = said(render(diff.view(comparison)))
    assert "The codebook drifted: 37 EMA updates ran during s2 training." in found["verdict"]
    assert "Exit status 1" in found["verdict"]
    for cause in comparison.diagnosis.causes:
        assert all(text in found["What happened"] for _, text in evidence(cause, comparison.diagnosis))
    assert all(advice.text in found["What to do"] for advice in comparison.diagnosis.advice)
    assert "128 of 128 codes moved (100 %)" in found["Which codes moved"]
    assert str(comparison.b.digests.vq_encoder) in found["What was compared"]
    assert "epoch 8, step 437" in found["What was compared"]
    assert all(tensor.label in found["Tensors"] for tensor in comparison.tensors)
    assert {"What it does to the tokens", "Usage before and after"} <= found.keys()


def test_the_same_codebook(checkpoints, said):
    """No diagnosis, no picture, no advice: the verdict and every tensor."""
    found = said(render(diff.view(compared(checkpoints / "base_v2.pth", checkpoints / "frozen_v2_e8_s400.pth"))))
    assert found.keys() == {"verdict", "What was compared", "Tensors"}
    assert "Exit status 0" in found["verdict"]
    assert "changed" not in found["Tensors"].replace("Rows changed", "")


def test_a_codebook_that_was_never_trained(checkpoints, said):
    warned = said(render(diff.view(compared(checkpoints / "base_v2.pth", checkpoints / "never_trained_v2.pth"))))
    assert "WARNING: the codebook of never_trained_v2.pth was never trained" in warned["verdict"]
    assert "Which codes moved" not in warned
    fine = said(render(diff.view(compared(checkpoints / "base_v2.pth", checkpoints / "G_400.pth"))))
    assert "WARNING" not in fine["verdict"]


def test_the_codes_that_moved_furthest_are_named(make, said):
    comparison = make.comparison(codes=1024)
    codes = comparison.diagnosis.codes[0]
    order = sorted(range(1024), key=lambda code: -codes.moved[code])
    words = said(render(diff.view(comparison)))["Which codes moved"]
    row = f"{order[0]} {codes.moved[order[0]]:.3g} {codes.usage[0][order[0]]:.3g} {codes.usage[1][order[0]]:.3g}"
    assert row in words
    assert "768 of 1024 codes moved" in words


def test_values_that_are_not_finite_are_counted(make, said):
    comparison = make.comparison(codes=64)
    codes = comparison.diagnosis.codes[0]
    broken = replace(codes, moved=(math.nan, math.inf, *codes.moved[2:]))
    page = render(diff.view(replace(comparison, diagnosis=replace(comparison.diagnosis, codes=(broken,)))))
    assert "2 hold NaN or infinity" in said(page)["Which codes moved"]
    assert "not finite 2" in said(page)["Which codes moved"]
    assert "not finite" not in said(render(diff.view(comparison)))["Which codes moved"]


def test_usage_that_is_not_stored_is_said(make, said):
    comparison = make.comparison()
    codes = replace(comparison.diagnosis.codes[0], usage=(None, (1.0,) * 64))
    page = render(diff.view(replace(comparison, diagnosis=replace(comparison.diagnosis, codes=(codes,)))))
    assert "Not both files store how often each code is used" in said(page)["Usage before and after"]


def test_every_codec_has_its_own_diagnosis(make, said):
    other = replace(make.diagnosis(2), family="mimi")
    one = make.comparison()
    pairs = (*one.pairs, replace(one.pairs[0], family="mimi"))
    found = said(render(diff.view(replace(one, pairs=pairs, further=(other,)))))
    assert {"What happened (gpt-sovits)", "What happened (mimi)"} <= found.keys()
    assert "mimi 1: 9" in found["Which codes moved"] or "mimi" in found["Which codes moved"]
    assert "What happened" in said(render(diff.view(make.comparison())))


def test_flips_are_named_or_said_to_be_unmeasured(make, said):
    with_flips = make.comparison(flips=2)
    words = said(render(diff.view(with_flips)))["What it does to the tokens"]
    assert "500 of 5000 frames" in words
    assert "1.wav" in words
    without = replace(with_flips, diagnosis=replace(with_flips.diagnosis, flips=None))
    assert "was not measured" in said(render(diff.view(without)))["What it does to the tokens"]


def test_equal_files_are_told_in_one_line(checkpoints):
    """In text without -v; with -v, and on a page, every tensor with its digests."""
    document = diff.view(compared(checkpoints / "base_v2.pth", checkpoints / "G_400.pth"))
    short, long = (text.render(document, text.Style(verbose=verbose)) for verbose in (False, True))
    assert len(short.splitlines()) == 1
    assert short.startswith("identical  sha256-f32v1 ")
    assert "same VQ encoder" in short
    assert all(tensor in long for tensor in ("codes", "ema_sum", "input_proj.bias", "Digest in A"))


def test_a_report_for_the_eye(make):
    """What a drifted codebook looks like on a terminal of 80 columns."""
    assert text.render(diff.view(make.comparison()), text.Style(width=80)) == GOLDEN.read_text("utf-8")
