"""What is said of codecs other than GPT-SoVITS, of several in one file, and of codebooks that one file lacks."""

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.codebook.diagnosis.diagnose import with_flips
from vqcheck.codebook.diagnosis.evidence import EmaUpdates, MissingBooks
from vqcheck.codebook.diagnosis.result import TokenFlips
from vqcheck.errors import UsageError
from vqcheck.report.render import json
from vqcheck.report.render.text import Style, render
from vqcheck.report.views.diff import view

CODES, DIM, UNHIT = 16, 4, 6


def book(path, *, seed=0, updates=0):
    """Return a codebook whose codes follow from its bookkeeping, after some updates that left codes unhit."""
    generator = torch.Generator().manual_seed(seed)
    count = 20 + 10 * torch.rand(CODES, generator=generator)
    total = torch.randn(CODES, DIM, generator=generator) * count[:, None]
    hits = torch.ones(CODES) * (torch.arange(CODES) >= UNHIT) * 40
    for _ in range(updates):
        codes = total / count[:, None]
        drawn = hits[:, None] * (codes + 0.1 * torch.randn(CODES, DIM, generator=generator))
        count, total = 0.99 * count + 0.01 * hits, 0.99 * total + 0.01 * drawn
    smoothed = (count + 1e-5) / (count.sum() + CODES * 1e-5) * count.sum()
    return {
        f"{path}.inited": torch.ones(1),
        f"{path}.cluster_size": count,
        f"{path}.embed": total / smoothed[:, None],
        f"{path}.embed_avg": total,
    }


def encodec(layers, *, updates=0):
    """Return a residual codec of these layers."""
    return {
        name: value
        for layer in layers
        for name, value in book(f"quantizer.vq.layers.{layer}._codebook", seed=layer, updates=updates).items()
    }


def vqgan(*, moved=False):
    """Return a codec of another family, trained by gradients."""
    generator = torch.Generator().manual_seed(9)
    codes = torch.randn(CODES, DIM, generator=generator)
    return {"image.quantize.embedding.weight": codes + 0.3 * moved * torch.randn(CODES, DIM, generator=generator)}


@pytest.fixture
def diff(tmp_path):
    """Compares two state dicts."""

    def run(a, b, scope="all"):
        for name, state in (("a.pth", a), ("b.pth", b)):
            torch.save(state, tmp_path / name)
        with open_checkpoint(tmp_path / "a.pth") as first, open_checkpoint(tmp_path / "b.pth") as second:
            return compare(first, second, scope)

    return run


def texts(diagnosis):
    return " ".join(advice.text for advice in diagnosis.advice)


def test_a_codebook_that_one_file_lacks_is_missing_as_a_whole(diff):
    """Codes, sums, counts and flag of a codebook that is not there are missing alike, and no export is blamed."""
    result = diff(encodec(range(4)), encodec([0, 1, 3]))
    lacking = {diff.label: (diff.verdict, diff.note) for diff in result.tensors if diff.label.startswith("2 ")}
    assert len(lacking) == 4
    assert set(lacking.values()) == {("missing", "B has no such codebook")}
    (cause,) = result.diagnosis.causes
    assert (cause.code, cause.evidence) == ("codebooks-missing", MissingBooks("B", (2,), 4))
    assert "only codebooks 0..1" in texts(result.diagnosis)


@pytest.mark.parametrize("around", [{"info": "8epoch_400iteration"}, {}], ids=["export", "no sign of one"])
def test_what_an_export_leaves_out_is_still_not_stored(tmp_path, around):
    """Where the codes are there, absent sums and counts are no fault of an export, and missing in any other file."""
    export = {name: value for name, value in encodec(range(2)).items() if name.endswith("embed")}
    torch.save({"weight": encodec(range(2))}, tmp_path / "a.pth")
    torch.save({"weight": export, **around}, tmp_path / "b.pth")
    with open_checkpoint(tmp_path / "a.pth") as first, open_checkpoint(tmp_path / "b.pth") as second:
        result = compare(first, second)
    assert (result.verdict, result.exit_code) == (("identical", 0) if around else ("changed", 1))
    assert {diff.verdict for diff in result.tensors} == {"identical", "not stored" if around else "missing"}


def test_updates_and_missing_codebooks_are_both_told(diff):
    """The numbers of the codebooks are those of the fuller file, also behind a gap."""
    result = diff(encodec([0, 2], updates=0), encodec(range(3), updates=5))
    found = [(cause.code, cause.codebook) for cause in result.diagnosis.causes]
    assert found == [("ema-updates", 0), ("ema-updates", 2), ("codebooks-missing", None)]
    assert result.diagnosis.causes[-1].evidence == MissingBooks("A", (1,), 3)


def test_advice_speaks_of_the_codec_at_hand(diff, checkpoints):
    """GPT-SoVITS has stages s1 and s2 and a tsv; another codec's users have none of these."""
    with open_checkpoint(checkpoints / "base_v2.pth") as a, open_checkpoint(checkpoints / "G_437.pth") as b:
        ours = compare(a, b).diagnosis
    other = diff(encodec(range(1)), encodec(range(1), updates=5)).diagnosis
    assert (ours.family, other.family) == ("gpt-sovits", "encodec")
    for word in ("6-name2semantic.tsv", "s1", "s2", "net_g", "GPT-SoVITS"):
        assert word in texts(ours)
        assert word not in texts(other)
    assert [advice.code for advice in ours.advice] == [advice.code for advice in other.advice]
    assert "from A" in texts(other)


def test_every_codec_that_changed_is_diagnosed(diff):
    """The first codec of the file changed by updates, the other one by gradients: each has a diagnosis."""
    a, b = encodec(range(1)) | vqgan(), encodec(range(1), updates=5) | vqgan(moved=True)
    result = diff(a, b)
    assert result.codecs == ("encodec", "vqgan")
    assert [each.family for each in (result.diagnosis, *result.further)] == ["encodec", "vqgan"]
    assert isinstance(result.diagnosis.causes[0].evidence, EmaUpdates)
    assert result.further[0].of("unexplained")


def test_a_codec_that_is_the_same_is_not_diagnosed(diff):
    """Where only the second codec changed, the diagnosis is the second one's, and says so."""
    result = diff(encodec(range(1)) | vqgan(), encodec(range(1)) | vqgan(moved=True))
    assert (result.verdict, result.diagnosis.family, result.further) == ("changed", "vqgan", ())


def test_flips_are_not_credited_to_another_codec(diff):
    """Tokens are derived for the first codec; where that is the same, its flips explain nothing."""
    result = diff(encodec(range(1)) | vqgan(), encodec(range(1)) | vqgan(moved=True))
    flips = TokenFlips("f", 1, 1, 0, (), (), (), "")
    with pytest.raises(UsageError, match="encodec, which did not change"):
        with_flips(result, flips)


def test_a_second_codec_that_was_never_trained_is_told(diff):
    """All zero in both files: identical, but with the warning that the first codec would get."""
    empty = {name: torch.zeros_like(value) for name, value in vqgan().items()}
    result = diff(encodec(range(1)) | empty, encodec(range(1)) | empty)
    assert (result.verdict, len(result.never_trained)) == ("identical", 2)
    assert result.diagnosis.family == "vqgan"
    assert result.diagnosis.of("never-trained")


def test_reports_tell_the_codecs_apart(diff, valid):
    """Text names the codec of each section and says on top that another one differs; JSON holds both diagnoses."""
    result = diff(encodec(range(1)) | vqgan(), encodec(range(1), updates=5) | vqgan(moved=True))
    text = render(view(result), Style())
    assert text.startswith(
        "changed  encodec: The codebook drifted: 5 EMA updates ran between A and B; vqgan differs, too.\n"
    )
    assert all(f"What happened ({name})" in text and f"What to do ({name})" in text for name in result.codecs)
    parsed = valid(json.render(view(result)))
    assert parsed["codecs"] == ["encodec", "vqgan"]
    assert [each["family"] for each in (parsed["diagnosis"], *parsed["further_diagnoses"])] == parsed["codecs"]


def test_json_holds_missing_codebooks(diff, valid):
    """The cause fits its schema."""
    (cause,) = valid(json.render(view(diff(encodec(range(3)), encodec(range(2))))))["diagnosis"]["causes"]
    assert (cause["code"], cause["evidence"]) == (
        "codebooks-missing",
        {"side": "B", "codebooks": [2], "stored": 3},
    )
