"""What a LoRA run leaves: training files of peft's names, exports of adapters, bridge and wns1, all with a codebook."""

import json
import shutil

import pytest
import torch

from vqcheck.cli.main import main
from vqcheck.synthesizer import preset
from vqcheck.synthesizer.lora import add_lora

RANK = 4
CODES = "quantizer.vq.layers.0._codebook.embed"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A base in half precision, a training file that starts from it, and that run's export, as upstream writes them."""
    folder = tmp_path_factory.mktemp("lora")
    torch.manual_seed(0)
    net = preset("tiny-v3").synthesizer(freeze_quantizer=True)
    net.initialise_codebook(torch.randn(2, 32, 200))
    net.half()
    base = {name: value.clone() for name, value in net.state_dict().items()}
    torch.save({"weight": base, "config": {}}, folder / "s2Gv3.pth")
    net.float()
    add_lora(net, RANK)
    optimizer = {"state": {}, "param_groups": []}
    content = {"model": net.state_dict(), "iteration": 2, "optimizer": optimizer, "learning_rate": 1e-4}
    torch.save(content, folder / "G_8.pth")
    torch.save(content | {"model": {**net.state_dict(), CODES: net.state_dict()[CODES] * 1.01}}, folder / "drifted.pth")
    held = {name for name, each in net.named_parameters() if not each.requires_grad}
    weight = {name: value.half() for name, value in net.state_dict().items() if name not in held}
    export = {"weight": weight, "config": {}, "info": "2epoch_8iteration", "lora_rank": RANK}
    torch.save(export, folder / "export.pth")
    data = (folder / "export.pth").read_bytes()
    (folder / "export.pth").write_bytes(b"03" + data[2:])
    return folder


@pytest.fixture
def run(written, tmp_path):
    """A folder of the experiment `me` whose LoRA run left a training file, and the s2 JSON of its next one."""

    def make(training_file="G_8.pth"):
        folder = tmp_path / "logs" / "me" / f"logs_s2_v3_lora_{RANK}"
        folder.mkdir(parents=True)
        shutil.copy(written / training_file, folder / "G_8.pth")
        values = {
            "train": {"batch_size": 2, "pretrained_s2G": str(written / "s2Gv3.pth"), "lora_rank": str(RANK)},
            "data": {"exp_dir": str(tmp_path / "logs" / "me")},
            "model": {"version": "v3", "freeze_quantizer": True},
        }
        (tmp_path / "s2.json").write_text(json.dumps(values), "utf-8")
        return folder

    return make


@pytest.mark.parametrize(("training_file", "code"), [("G_8.pth", 0), ("drifted.pth", 1)])
def test_history_judges_the_training_files(run, written, capsys, training_file, code):
    """A frozen run is its base in single precision; one that moved is told."""
    folder = run(training_file)
    assert main(["history", str(folder), "--base", str(written / "s2Gv3.pth"), "--format", "json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert "G_8.pth" in json.dumps(document)


def test_history_judges_the_exports(written, tmp_path, capsys):
    """Their header is of v3 and they hold no projection; their codebook is the base's."""
    folder = tmp_path / "SoVITS_weights_v3"
    folder.mkdir()
    shutil.copy(written / "export.pth", folder / f"me_e2_s8_l{RANK}.pth")
    assert main(["history", str(folder), "--base", str(written / "s2Gv3.pth")]) == 0
    assert f"me_e2_s8_l{RANK}.pth" in capsys.readouterr().out
    assert main(["inspect", str(folder / f"me_e2_s8_l{RANK}.pth"), "--format", "json"]) == 0
    assert "s2 LoRA export" in capsys.readouterr().out


@pytest.mark.parametrize(("training_file", "code"), [("G_8.pth", 0), ("drifted.pth", 1)])
def test_the_gate_reads_what_the_run_resumes_from(run, tmp_path, capsys, training_file, code):
    """The folder of the configured rank is the one that is read."""
    run(training_file)
    assert main(["gate", str(tmp_path / "s2.json"), "--only", "resume"]) == code
    assert f"logs_s2_v3_lora_{RANK}" in capsys.readouterr().out
