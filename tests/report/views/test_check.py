"""What `vqcheck check` says: one page for a team, of voices that really lie in a GPT-SoVITS folder."""

import shutil
from pathlib import Path

import pytest

from vqcheck.audit.check import check_place
from vqcheck.experiment.place import find_place
from vqcheck.report.blocks import Look, Section
from vqcheck.report.render import html, json, text
from vqcheck.report.views.check import view

CHECKPOINTS = Path(__file__).parents[3] / "fixtures" / "checkpoints"
BASE = "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s2G2333k.pth"
VOICES = {"fine": "frozen_v2_e8_s400.pth", "moved": "drifted_v2_e8_s400.pth", "blank": "never_trained_v2.pth"}


@pytest.fixture
def checked(tmp_path):
    """Returns the document of a folder with these voices."""

    def check(*voices, broken=False):
        files = {BASE: "base_v2.pth"} | {f"SoVITS_weights_v2/{each}_e8_s400.pth": VOICES[each] for each in voices}
        for place, fixture in files.items():
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKPOINTS / fixture, tmp_path / place)
        if broken:
            (tmp_path / "SoVITS_weights_v2" / "broken_e1_s1.pth").write_bytes(b"PK")
        return view(check_place(find_place(str(tmp_path))))

    return check


def test_the_table_has_a_row_for_each_voice(checked, agrees):
    """With a sign for each answer; the status is that of the checks."""
    document = checked(*VOICES)
    assert agrees(document)
    (table,) = document.blocks[0].blocks
    rows = {row[0].text.partition(" ")[0]: [cell.text for cell in row[1:-1]] for row in table.rows}
    assert {name: cells[0] for name, cells in rows.items()} == {"fine": "fine", "moved": "failed", "blank": "failed"}
    assert all(cell.look is Look.VERDICT for row in table.rows for cell in row[1:-1] if cell.text != "-")


def test_a_codebook_that_is_not_fit_is_not_to_extract_tokens_with(checked):
    """The voice that only drifted gets that advice; one whose codebook was never trained starts again."""
    assert any("Extract the tokens again" in remedy.text for remedy in checked("moved").remedies)
    blank = " ".join(remedy.text for remedy in checked("blank").remedies if "blank" in remedy.of)
    assert "Start again from a published base model" in blank
    assert "Extract" not in blank


def test_one_voice_says_its_headline_once(checked):
    shown = " ".join(text.render(checked("moved"), text.Style()).split())
    assert shown.count("drifted by about 37 updates") == 1


def test_a_file_that_cannot_be_read_is_named_within_the_place(checked, read_html, valid):
    document = checked("fine", broken=True)
    assert document.exit_code == valid(json.render(document))["exit_code"] == 2
    found = next(block for block in document.blocks if isinstance(block, Section) and block.title == "Not readable")
    assert [row[0].text.replace("\\", "/") for row in found.blocks[0].rows] == ["SoVITS_weights_v2/broken_e1_s1.pth"]
    assert "broken_e1_s1.pth" in read_html(html.render(document))
