"""What each page says, both ways: a finding stands on it when there is one, and does not when there is none."""

import math
from dataclasses import replace

import pytest
from vqcheck.report.html import diff, failed, gate, history, replay, stages, tokens
from vqcheck.report.words.replay import meets

from vqcheck.audit.history import read_history
from vqcheck.audit.judgement import CheckOutcome
from vqcheck.audit.token_audit_result import FrameCounts
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.compare import compare
from vqcheck.codebook.diagnosis.evidence import EmaUpdates
from vqcheck.gate.checks import CHECKS
from vqcheck.replay.trace import DRIFTED, FROZEN, FirstWrite
from vqcheck.report.views.causes import evidence


@pytest.fixture
def said(body_of, text_of):
    """Returns heading -> words of each section of a page; the first one is the verdict's."""

    def read(page):
        sections = body_of(page).findall("main/section")
        titled = {text_of(each.find("h2")): text_of(each) for each in sections[1:]}
        return {"verdict": text_of(sections[0])} | titled

    return read


def compared(a, b):
    with open_checkpoint(str(a)) as first, open_checkpoint(str(b)) as second:
        return compare(first, second)


class TestDiff:
    def test_a_drifted_file(self, checkpoints, said):
        """The diagnosis in the words of the text report, the advice, every tensor, and both digests."""
        comparison = compared(checkpoints / "base_v2.pth", checkpoints / "G_437.pth")
        found = said(diff.document(comparison))
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

    def test_the_same_codebook(self, checkpoints, said):
        """No diagnosis, no picture, no advice: the verdict and every tensor."""
        found = said(diff.document(compared(checkpoints / "base_v2.pth", checkpoints / "frozen_v2_e8_s400.pth")))
        assert found.keys() == {"verdict", "What was compared", "Tensors"}
        assert "Exit status 0" in found["verdict"]
        assert "changed" not in found["Tensors"].replace("Rows changed", "")

    def test_a_codebook_that_was_never_trained(self, checkpoints, said):
        warned = said(diff.document(compared(checkpoints / "base_v2.pth", checkpoints / "never_trained_v2.pth")))
        assert "WARNING: the codebook of never_trained_v2.pth was never trained" in warned["verdict"]
        assert "Which codes moved" not in warned
        fine = said(diff.document(compared(checkpoints / "base_v2.pth", checkpoints / "G_400.pth")))
        assert "WARNING" not in fine["verdict"]

    def test_the_codes_that_moved_furthest_are_named(self, make, said):
        comparison = make.comparison(codes=1024)
        codes = comparison.diagnosis.codes[0]
        order = sorted(range(1024), key=lambda code: -codes.moved[code])
        words = said(diff.document(comparison))["Which codes moved"]
        row = f"{order[0]} {codes.moved[order[0]]:.3g} {codes.usage[0][order[0]]:.3g} {codes.usage[1][order[0]]:.3g}"
        assert row in words
        assert "768 of 1024 codes moved" in words

    def test_values_that_are_not_finite_are_counted(self, make, said):
        comparison = make.comparison(codes=64)
        codes = comparison.diagnosis.codes[0]
        broken = replace(codes, moved=(math.nan, math.inf, *codes.moved[2:]))
        page = diff.document(replace(comparison, diagnosis=replace(comparison.diagnosis, codes=(broken,))))
        assert "2 hold NaN or infinity" in said(page)["Which codes moved"]
        assert "not finite 2" in said(page)["Which codes moved"]
        assert "not finite" not in said(diff.document(comparison))["Which codes moved"]

    def test_usage_that_is_not_stored_is_said(self, make, said):
        comparison = make.comparison()
        codes = replace(comparison.diagnosis.codes[0], usage=(None, (1.0,) * 64))
        page = diff.document(replace(comparison, diagnosis=replace(comparison.diagnosis, codes=(codes,))))
        assert "Not both files store how often each code is used" in said(page)["Usage before and after"]

    def test_every_codec_has_its_own_diagnosis(self, make, said):
        other = replace(make.diagnosis(2), family="mimi")
        one = make.comparison()
        pairs = (*one.pairs, replace(one.pairs[0], family="mimi"))
        found = said(diff.document(replace(one, pairs=pairs, further=(other,))))
        assert {"What happened (gpt-sovits)", "What happened (mimi)"} <= found.keys()
        assert "mimi 1: 9" in found["Which codes moved"] or "mimi" in found["Which codes moved"]
        assert "What happened" in said(diff.document(make.comparison()))

    def test_flips_are_named_or_said_to_be_unmeasured(self, make, said):
        with_flips = make.comparison(flips=2)
        words = said(diff.document(with_flips))["What it does to the tokens"]
        assert "500 of 5000 frames" in words
        assert "1.wav" in words
        without = replace(with_flips, diagnosis=replace(with_flips.diagnosis, flips=None))
        assert "was not measured" in said(diff.document(without))["What it does to the tokens"]


class TestReplay:
    def test_a_drift_names_its_first_write(self, make, said):
        """Operator, file and line of the first write stand near the top and with the arm; a frozen arm has none."""
        found = said(replay.document(make.replay([make.arm("none"), make.arm("freeze", moved=False)])))
        assert "none 2 codes aten.copy_ /somewhere/models.py:12 in f" in found["First write"]
        assert "freeze" not in found["First write"]
        assert "/somewhere/models.py:12" in found["Arm by arm"]

    def test_nothing_written_names_nothing(self, make, said):
        page = replay.document(make.replay([make.arm("freeze", moved=False)]))
        assert "First write" not in said(page)
        assert "models.py" not in page
        assert "first write" not in page

    def test_a_write_that_was_not_caught_is_not_attributed(self, make, said):
        arm = replace(make.arm(), first_writes=(FirstWrite("codes", 3, None),))
        assert "none 3 codes not attributed" in said(replay.document(make.replay([arm])))["First write"]

    def test_the_setting_is_whole(self, make, said):
        words = said(replay.document(make.replay([make.arm()])))["Setting"]
        for fact in ("Subject tiny", "Weights fresh", "Seed 1", "Device CPU", "Precision fp32", "torch 2.13", "a note"):
            assert fact in words

    def test_controls_are_called_so(self, make, said):
        words = said(replay.document(make.replay([make.arm("none"), make.arm("freeze", moved=False)])))["Side by side"]
        assert "none control" in words
        assert "freeze control" not in words

    @pytest.mark.parametrize(
        ("moved", "expected", "sign"), [(True, DRIFTED, "\N{CHECK MARK}"), (True, FROZEN, "\N{BALLOT X}")]
    )
    def test_a_verdict_is_judged_by_what_was_expected(self, make, said, moved, expected, sign):
        arms = [make.arm("none"), replace(make.arm("mine", moved=moved), expected=expected)]
        words = said(replay.document(make.replay(arms)))["Side by side"]
        assert f"{sign} drifted {expected}" in words

    def test_the_numbers_of_the_charts_stand_in_tables(self, make, said):
        found = said(replay.document(make.replay([make.arm("none", steps=3, loss=0.5)])))
        words = found["The charts in numbers"]
        assert "commit_loss as reported, every step. Step none 1 0.508 2 0.509 3 0.501" in words
        assert "Drift of the codes, every step. Step none 1 0 2 0.125 3 0.250" in words

    def test_an_interrupted_replay_without_a_step(self, make, said):
        """What was measured is shown, and nothing is invented."""
        empty = replace(make.arm(steps=0, writes=0), complete=False)
        found = said(replay.document(replace(make.replay([empty]), complete=False)))
        assert "Exit status 2" in found["verdict"]
        assert "commit_loss" not in found
        assert meets(empty) in found["Arm by arm"]


class TestHistory:
    def test_a_folder_that_moved(self, checkpoints, tmp_path, said):
        for name in ("base_v2.pth", "G_400.pth", "G_437.pth", "gpt-e15.ckpt"):
            (tmp_path / name).write_bytes((checkpoints / name).read_bytes())
        found = said(history.document(read_history(str(tmp_path), "all")))
        assert "The VQ encoder moved between G_400.pth and G_437.pth" in found["verdict"]
        assert "First that moved G_437.pth" in found["What was compared"]
        assert "G_437.pth \N{BALLOT X}" in found["Checkpoints"]
        assert "gpt-e15.ckpt" in found["Passed over"]

    def test_a_folder_that_did_not(self, make, said):
        found = said(history.document(make.history(first=None)))
        assert "First that moved none" in found["What was compared"]
        assert "\N{BALLOT X}" not in found["Checkpoints"]

    def test_what_could_not_be_read_is_named(self, make, said):
        broken = make.history()
        broken = replace(
            broken,
            runs=(replace(broken.runs[0], unreadable=(("G_9.pth", "is truncated"),)),),
            never_trained=("G_0.pth",),
        )
        found = said(history.document(broken))
        assert "G_9.pth : is truncated" in found["Could not be read"]
        assert "WARNING: the codebook of G_0.pth was never trained" in found["verdict"]
        assert "Could not be read" not in said(history.document(make.history()))


class TestTokens:
    def test_mismatches(self, make, said):
        found = said(tokens.document(make.audit(), None))
        assert "The tokens do not come from s2G.pth." in found["verdict"]
        assert "1.wav 49 0 1 0" in found["Items that agree least"]
        assert "2 of 4 items have tokens that are not explained" in found["Items that agree least"]
        assert "2.wav" not in found["Items that agree least"]
        assert "What to do" in found

    def test_agreement(self, make, said):
        found = said(tokens.document(make.audit(wrong=0), None))
        assert "The tokens are those that s2G.pth gives." in found["verdict"]
        assert not {"Items that agree least", "What was found", "What to do"} & found.keys()

    def test_tokens_within_rounding_are_not_said_to_be_given(self, make, said):
        """They fit the checkpoint and a precision; what made them is more than was seen."""
        audit = make.audit(wrong=0)
        tied = replace(audit.items[0], counts=FrameCounts(50, 48, 2, 0, 0, "float16"))
        found = said(tokens.document(replace(audit, items=(tied, *audit.items[1:])), None))
        assert "198 of 200 tokens are those that s2G.pth gives, 2 are within rounding of them." in found["verdict"]
        assert "extracted in" not in found["What was compared"]

    def test_another_checkpoint(self, make, said):
        found = said(tokens.document(make.audit(), make.audit(wrong=0)))
        assert "explains the tokens better" in found["Against the other checkpoint"]


class TestGate:
    def test_every_check_is_shown_and_explained(self, make, said):
        found = said(gate.document(make.gate(CheckOutcome.FAILED)))
        for check in CHECKS:
            assert check.code in found["What was checked"]
            assert check.why in found["What each check is for"]
        assert "\N{BALLOT X} failed required" in found["What was checked"]
        assert "advisory" in found["What was checked"]
        assert "Decided by: codebook-trained" in found["verdict"]

    def test_an_open_gate(self, make, said):
        found = said(gate.document(make.gate(CheckOutcome.PASSED)))
        assert "s2 training may start" in found["verdict"]
        assert "Decided by" not in found["verdict"]
        assert "\N{BALLOT X}" not in found["What was checked"]


class TestTheRest:
    def test_stages(self, make, said):
        apart = said(stages.document(make.stages()))
        assert "The two stages do not share one VQ encoder" in apart["verdict"]
        assert "Extract the tokens again with s2.pth" in apart["Evidence"]
        together = said(stages.document(make.stages("consistent")))
        assert "Extract" not in together["Evidence"]
        assert "s1.ckpt" in together["What was compared"]

    def test_a_failed_run(self, said):
        found = said(failed.document("gate", "s2.json: no such file"))
        assert "Nothing was checked" in found["verdict"]
        assert "Exit status 2" in found["verdict"]
        assert "s2.json: no such file" in found["Why"]


def test_our_own_sentences_are_not_cut(make, pages):
    """Only what comes from files is ever too long to be shown."""
    assert not any(" ... " in page for page in pages.values())
    assert isinstance(make.comparison().diagnosis.causes[0].evidence, EmaUpdates)
