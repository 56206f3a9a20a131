"""The gate on what GPT-SoVITS's web page really writes: its s2 JSON of every version, in its own folder and moved."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from vqcheck.cli.main import main
from vqcheck.experiment.read_config import read_config

WRITTEN = Path(__file__).parent / "s2_json"
VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4")
BOOK = "quantizer.vq.layers.0._codebook"
CODE = "import torch\n"


def state_of(version, state):
    """Return tensors that a base of this version has, by the names and shapes that tell it from others."""
    made = dict(state)
    if version == "v1":
        made["enc_p.text_embedding.weight"] = torch.ones(322, 2)
        made["ref_enc.spectral.0.fc.weight"] = torch.ones(2, 1025)
    if version.startswith("v2Pro"):
        made["sv_emb.weight"] = torch.ones(2, 2)
        made["dec.conv_pre.weight"] = torch.ones(512 if version == "v2Pro" else 768, 2, 1)
    if version in ("v3", "v4"):
        made = {name: value for name, value in made.items() if not name.startswith(("enc_q.", "dec."))}
        made["cfm.estimator.weight"] = torch.ones(2)
    return made


@pytest.fixture
def page(sound, tmp_path, monkeypatch):
    """Makes the folder of GPT-SoVITS right before training starts; returns its path and that of the JSON."""

    def make(name, write=lambda text: text):
        root = tmp_path / "GPT SoVITS"
        values = json.loads((WRITTEN / f"{name}.json").read_text("utf-8"))
        version = values["model"].get("version", "v1")
        base = root / values["train"]["pretrained_s2G"]
        base.parent.mkdir(parents=True)
        torch.save({"weight": state_of(version, sound.state)}, base)
        (root / "GPT_SoVITS" / "module").mkdir()
        (root / "GPT_SoVITS" / "module" / "models.py").write_text(CODE, "utf-8")
        shutil.copytree(sound.folder, root / "logs" / "me")
        config = root / "TEMP" / "tmp_s2.json"
        config.parent.mkdir()
        config.write_text(write((WRITTEN / f"{name}.json").read_text("utf-8")), "utf-8")
        monkeypatch.chdir(root)
        return root, config

    return make


@pytest.fixture
def gate(capsys):
    """Runs the gate; returns (exit status, check -> check as JSON)."""

    def run(*arguments):
        code = main(["gate", *map(str, arguments), "--format", "json"])
        return code, {check["code"]: check for check in json.loads(capsys.readouterr().out).get("checks", [])}

    return run


def backslashes(text):
    """Return the JSON as it is written where the paths were put together on Windows."""
    values = json.loads(text)
    for section, key in (("train", "pretrained_s2G"), ("train", "pretrained_s2D"), ("data", "exp_dir")):
        values[section][key] = values[section][key].replace("/", "\\")
    return json.dumps(values)


@pytest.mark.parametrize("write", [str, backslashes])
@pytest.mark.parametrize("name", sorted(path.stem for path in WRITTEN.glob("*.json")))
def test_the_json_of_every_version_opens_the_gate(page, gate, name, write):
    """In GPT-SoVITS's own folder nothing but the file is needed, whichever way its paths are written."""
    _, config = page(name, write)
    code, checks = gate(config)
    outcomes = {check["outcome"] for check in checks.values() if check["required"]}
    assert (code, outcomes) == (0, {"passed", "not applicable"}), checks
    assert {code for code, check in checks.items() if check["outcome"] == "not applicable"} == {"lock", "s1", "replay"}


def test_there_is_a_json_of_every_version():
    """One file a version, those of trees before v2 among them."""
    named = [json.loads(path.read_text("utf-8")) for path in WRITTEN.glob("*.json")]
    assert {values.get("version") for values in named} == {*VERSIONS, None}


@pytest.mark.parametrize("write", [str, backslashes])
@pytest.mark.parametrize("name", sorted(path.stem for path in WRITTEN.glob("*.json")))
def test_a_replay_reads_the_json_of_every_version(page, name, write):
    """What the file names is found, and the version of one that names none is its base's."""
    root, config = page(name, write)
    values = json.loads((WRITTEN / f"{name}.json").read_text("utf-8"))
    version = values["model"].get("version", "v1")
    if version not in ("v3", "v4"):
        torch.save({"weight": {}}, root / values["train"]["pretrained_s2D"])
    found = read_config(str(config))
    assert found.subject.version == version
    assert Path(found.subject.pretrained_s2G).resolve() == root / values["train"]["pretrained_s2G"]
    assert Path(found.data.exp_dir).resolve() == root / "logs" / "me"


@pytest.mark.parametrize("name", ["main-v3", "main-v4"])
def test_v3_and_v4_need_no_discriminator(page, name):
    """The web page names one that is published nowhere; a replay of the JSON does not miss it, one of v2 does."""
    _, config = page(name)
    assert read_config(str(config)).subject.pretrained_s2D is None


def test_the_discriminator_of_v2_is_named_as_the_file_names_it(page, capsys):
    """A replay of it starts from one: an error has the key of the JSON."""
    _, config = page("main-v2", backslashes)
    assert main(["replay", str(config)]) == 2
    assert "train.pretrained_s2D = " in capsys.readouterr().err


@pytest.mark.parametrize("named", [".", "logs/me", "TEMP"])
def test_a_folder_stands_for_its_json(page, gate, monkeypatch, named):
    """From anywhere, too: of a folder of GPT-SoVITS its paths count from there."""
    root, _ = page("main-v2")
    monkeypatch.chdir(root.parent)
    code, checks = gate(root / named)
    assert (code, checks["tokens"]["outcome"]) == (0, "passed")


def test_a_folder_of_weights_has_no_json(page, capsys):
    """The JSON of the last training lies elsewhere and may be another voice's: it is not taken for this folder's."""
    root, _ = page("main-v2")
    (root / "SoVITS_weights_v2").mkdir()
    assert main(["gate", str(root / "SoVITS_weights_v2")]) == 2
    assert "vqcheck gate TEMP/tmp_s2.json" in capsys.readouterr().err


def test_a_folder_without_its_json_says_which_command_to_give(page, capsys):
    """Another experiment's JSON is not taken for this one's, and of several none is chosen."""
    root, config = page("main-v2")
    shutil.copytree(root / "logs" / "me", root / "logs" / "other")
    assert main(["gate", str(root / "logs" / "other")]) == 2
    assert "vqcheck gate TEMP/tmp_s2.json" in capsys.readouterr().err
    second = config.read_text("utf-8").replace("logs/me", "logs/other")
    config.with_name("second.json").write_text(second, "utf-8")
    assert main(["gate", str(root)]) == 2
    told = capsys.readouterr().err
    assert "tmp_s2.json" in told
    assert "second.json" in told


def test_the_copy_that_training_leaves_in_the_experiment_is_the_same_run(page, gate, capsys):
    """s2 training writes its JSON beside its checkpoints; one that says something else is another run's."""
    root, config = page("main-v2")
    kept = root / "logs" / "me" / "config.json"
    shutil.copy(config, kept)
    for place in (root, root / "logs" / "me"):
        assert gate(place)[0] == 0
    kept.write_text(kept.read_text("utf-8").replace('"freeze_quantizer": true', '"freeze_quantizer": false'), "utf-8")
    assert main(["gate", str(root / "logs" / "me")]) == 2
    assert "config.json" in capsys.readouterr().err


def test_elsewhere_the_root_is_named(page, gate, monkeypatch):
    """Relative paths count from the working directory, as upstream's; where they lead is said, and what helps."""
    root, config = page("main-v2")
    monkeypatch.chdir(root.parent)
    code, checks = gate(config)
    assert (code, checks["codebook-trained"]["outcome"]) == (2, "could not check")
    assert f"--root {root}" in checks["codebook-trained"]["message"]
    assert "train.pretrained_s2G: there is no" in checks["codebook-trained"]["message"]
    assert "data.exp_dir: there is no" in checks["resume"]["message"]
    assert gate(config, "--root", root)[0] == 0


@pytest.mark.parametrize("old", ["D:\\GPT-SoVITS-v2pro\\", "/somewhere/else/"])
def test_a_moved_folder_is_found_again(page, gate, old):
    """An absolute path of another place or machine leads nowhere here: the place in this folder is offered."""

    def moved(text):
        values = json.loads(text)
        values["data"]["exp_dir"] = old + values["data"]["exp_dir"].replace("/", "\\" if "\\" in old else "/")
        return json.dumps(values)

    root, config = page("main-v2", moved)
    code, checks = gate(config)
    assert (code, checks["resume"]["outcome"]) == (2, "could not check")
    assert f"There is {root / 'logs' / 'me'}" in checks["resume"]["message"]
    # The base is where it was, so what needs it alone was checked.
    assert checks["codebook-trained"]["outcome"] == "passed"


@pytest.mark.parametrize(("toml", "key"), [(False, "train.pretrained_s2G"), (True, "subject.pretrained_s2G")])
def test_a_missing_base_is_missing(page, gate, capsys, toml, key):
    """It is not called untrained, by the key of the file that the user has, and all that need it say so in one line."""
    root, config = page("main-v2")
    next(root.rglob("s2G2333k.pth")).unlink()
    if toml:
        config = root / "gate.toml"
        config.write_text(
            '[subject]\nversion = "v2"\npretrained_s2G = "s2G.pth"\nfreeze_quantizer = true\n'
            '[data]\nexp_dir = "logs/me"\n',
            "utf-8",
        )
    code, checks = gate(config)
    assert (code, checks["codebook-trained"]["outcome"]) == (2, "could not check")
    assert f"{key}: there is no {root}" in checks["codebook-trained"]["message"]
    assert main(["gate", str(config)]) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("could not run: ") == 1
    assert "codebook-trained, loader, symbols, tokens" in told
    assert "never trained" not in told


def test_the_tree_around_is_offered(page, gate, capsys):
    """The JSON names no training code; the folder that it lies in is offered by name, in the report, too."""
    root, config = page("main-v2")
    _, checks = gate(config)
    assert (checks["replay"]["outcome"], checks["replay"]["required"]) == ("not applicable", True)
    assert str(root) in checks["replay"]["message"]
    assert f'--checkout "{root}"' in checks["replay"]["fix"]
    assert main(["gate", str(config)]) == 0
    assert f'--checkout "{root}"' in " ".join(capsys.readouterr().out.split())


def test_away_from_every_tree_none_is_offered(sound, gate, monkeypatch):
    """Where no GPT-SoVITS folder is around, only the option is named."""
    monkeypatch.chdir(sound.root)
    _, checks = gate(sound.config)
    assert (checks["replay"]["message"], checks["replay"]["fix"]) == (
        "no training code named (--checkout names a GPT-SoVITS folder)",
        None,
    )
