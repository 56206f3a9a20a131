"""What `vqcheck inspect` says of files: what they are, and whether the VQ encoders in them are fit for use."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.copies import CopyName, Unreadable
from vqcheck.codebook.inspection import inspect
from vqcheck.codebook.inspection_result import InspectedFiles, UnreadFile
from vqcheck.codebook.model import VersionEvidence, VersionSign
from vqcheck.report.blocks import Section
from vqcheck.report.document import CaseOutcome
from vqcheck.report.render import html, json, text
from vqcheck.report.views.inspect import view

GOLDEN = Path(__file__).parent / "golden" / "inspect.txt"
UNREAD = UnreadFile("absent.pth", "absent.pth: no such file")
ILL = {
    "never trained": {"all_zero": True},
    "not finite": {"not_finite": 3},
    "broken": {"negative": 2},
    "collapsed": {"collapsed": True},
}


@pytest.fixture(scope="module")
def look(checkpoints):
    """Returns what a file is."""

    def inspected(path):
        with open_checkpoint(checkpoints / path) as file:
            return replace(inspect(file), path=Path(path).name)

    return inspected


@pytest.fixture(scope="module")
def sound(look):
    return look("base_v2.pth")


@pytest.fixture(scope="module")
def ill(sound):
    """Returns the sound file with something that ails its codebook."""

    def spoilt(ailment, **names):
        health = replace(sound.vq_encoder.codebooks[0], **ILL[ailment])
        return replace(sound, vq_encoder=replace(sound.vq_encoder, codebooks=(health,)), **names)

    return spoilt


def words(document, **style):
    return " ".join(text.render(document, text.Style(**style)).split())


def test_some_files_agree_with_their_cases(sound, ill, look, valid, agrees):
    """Sound, unfit, without a codebook, with a copy that cannot be read, and unreadable: 2 beats 1 beats 0."""
    copy = Unreadable(CopyName(("ema",), ""), "ema: is truncated")
    kinds = (sound, ill("broken", path="b.pth"), look("gpt-e15.ckpt"), replace(sound, unreadable=(copy,)), UNREAD)
    for first, second, strict in product(kinds, (None, *kinds), (False, True)):
        files = InspectedFiles((first,) if second is None else (first, second), strict)
        document = view(files)
        verdicts = {file.verdict for file in files.files}
        unchecked = verdicts - {"healthy", "broken"}
        assert document.exit_code == (2 if unchecked else int(strict and "broken" in verdicts))
        assert (document.exit_code, document.verdict) == (files.exit_code, files.verdict)
        assert agrees(document), verdicts
        if strict and second is UNREAD:
            assert [each["verdict"] for each in valid(json.render(document))["files"]] == [
                file.verdict for file in files.files
            ]


@pytest.mark.parametrize("ailment", ILL)
def test_each_ailment_is_said_loudly_and_fails_only_when_strict(ill, ailment):
    """Status 0 with advice, or 1; the verdict is a bad one in both, and the text says why."""
    for strict in (False, True):
        document = view(InspectedFiles((ill(ailment),), strict))
        (case,) = document.cases
        assert (document.exit_code, document.verdict) == (int(strict), ailment)
        assert (case.outcome, case.is_advice) == (CaseOutcome.FAILED, not strict)
        assert document.remedies
    said = ("NEVER TRAINED", "3 values are NaN", "BROKEN (2 counts", "COLLAPSED")
    assert [each in words(document) for each in said] == [each == ailment for each in ILL]


def test_a_sound_file_needs_no_advice(sound):
    document = view(InspectedFiles((sound,), strict=True))
    assert (document.exit_code, document.remedies) == (0, ())
    assert document.headline.endswith("fit for use")


def test_a_file_that_is_named_twice_is_looked_at_twice(sound, ill, agrees):
    """It may have changed in between, and neither answer hides the other."""
    twice = view(InspectedFiles((sound, ill("broken")), strict=True))
    assert [case.outcome for case in twice.cases] == [CaseOutcome.PASSED, CaseOutcome.FAILED]
    assert agrees(twice)


def test_of_several_files_the_headline_counts_each_kind(sound, ill, look):
    files = (sound, sound, ill("collapsed", path="c.pth"), look("gpt-e15.ckpt"), UNREAD)
    assert view(InspectedFiles(files)).headline == (
        "of 5 files: 1 cannot be read, 1 without a codebook, 1 unfit for use, 2 fit for use"
    )
    assert "all 2 files" in view(InspectedFiles((sound, sound))).headline


def test_a_file_that_cannot_be_read_is_on_the_page(sound):
    """On a terminal it stands on stderr, where every error stands; a page has nothing else to say it."""
    document = view(InspectedFiles((sound, UNREAD)))
    assert "no such file" in html.render(document)
    assert "no such file" not in words(document)


def test_full_digests_are_in_the_page_and_behind_v(sound):
    """All 64 digits, and 12 of them without -v."""
    document = view(InspectedFiles((sound,)))
    digest = sound.vq_encoder.f32.vq_encoder
    assert digest.hex in html.render(document)
    assert digest.hex in words(document, verbose=True)
    assert digest.hex not in words(document)
    assert digest.short in words(document)


@pytest.mark.parametrize("sign", VersionSign)
def test_whatever_shows_the_version_is_told(sound, sign, valid):
    """In the text and in JSON, with the number or name that it is about."""
    model = replace(sound.model, evidence=(VersionEvidence(sign, "4711"),))
    document = view(InspectedFiles((replace(sound, model=model),)))
    told = valid(json.render(document))["files"][0]["model"]["evidence"]
    assert told
    assert f"({told})" in words(document)
    about = {"phonemes", "text symbols", "reference bins", "speaker embedding", "header code", "folder"}
    assert ("4711" in told) == (sign in about)


def residual(layers, spoilt=()):
    """Return a codec of several layers, of which some were never trained."""
    state = {}
    for layer in range(layers):
        codes = torch.arange(8.0).reshape(4, 2) * (layer + 1) + 1
        counts = torch.full((4,), 5.0)
        place = f"quantizer.vq.layers.{layer}._codebook"
        state |= {
            f"{place}.inited": torch.tensor([float(layer not in spoilt)]),
            f"{place}.cluster_size": counts,
            f"{place}.embed": codes,
            f"{place}.embed_avg": codes * 5,
        }
    return state


def test_layers_of_a_codec_share_lines(save):
    """Those that are alike in the table, and those that one thing ails in the health; -v lists every tensor."""
    with open_checkpoint(save(residual(8, spoilt=(2, 3, 5)))) as file:
        document = view(InspectedFiles((inspect(file),)))
    lines = [line.split() for line in text.render(document, text.Style()).splitlines()]
    assert ["codes", "float32", "4x2", "8", "tensors"] in lines
    assert next(line[:4] for line in lines if line[:1] == ["Health"]) == ["Health", "2..3,", "5:", "NEVER"]
    assert "-v lists every tensor." in words(document)
    verbose = text.render(document, text.Style(verbose=True))
    assert sum(line.split()[1:2] == ["codes"] for line in verbose.splitlines()) == 8


def test_several_copies_are_told_apart(vq_state, save, valid):
    """A table of contents with their health and how they stand to the first, then each by itself."""
    state = vq_state()
    moved = {name: value * 2 if name.endswith("embed") else value for name, value in state.items()}
    with open_checkpoint(save(state, ema=moved, best=state)) as file:
        document = view(InspectedFiles((inspect(file),)))
    said = words(document)
    assert "--copy NAME chooses one copy" in said
    assert "differs from 'weight'" in said
    (section,) = document.blocks
    first, *others = [block.title for block in section.blocks if isinstance(block, Section)]
    assert first == "2 VQ encoders"
    assert ["'weight'" in others[0], "'ema'" in others[1], len(others)] == [True, True, 2]
    assert [case.name.rpartition(": ")[2] for case in document.cases] == ["weight (gpt-sovits)", "ema (gpt-sovits)"]
    assert len(valid(json.render(document))["files"][0]["others"]) == 1


def test_the_report_reads_as_it_should(look):
    """For the eye: rewrite the file where the new text is the better one."""
    files = (look("G_400.pth"), look("never_trained_v2.pth"), look("gpt-e15.ckpt"))
    assert text.render(view(InspectedFiles(files)), text.Style(width=80)) == GOLDEN.read_text("utf-8")
