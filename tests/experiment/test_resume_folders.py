"""Which folder s2 training resumes from depends on tree and version; which file there, on upstream's rule."""

import json
from pathlib import Path

import pytest

from vqcheck.errors import UsageError
from vqcheck.experiment.config_file import read_s2_run
from vqcheck.experiment.resume_folders import Folder, latest, resume_folders

READ = 'latest("%s/logs_s2{}" % ({}), "D_*.pth")\n'
SCRIPTS = {
    "plain": READ.format("", "hps.data.exp_dir"),
    "version": READ.format("_%s", "hps.data.exp_dir, hps.model.version"),
    "lora": READ.format("_%s_lora_%s", "hps.data.exp_dir, hps.model.version, hps.train.lora_rank"),
    "unknown": READ.format("_%s", "hps.data.exp_dir, hps.tag"),
}


@pytest.fixture
def experiment(tmp_path):
    """An experiment directory with the folders of several trees."""
    path = tmp_path / "logs" / "me"
    for name in ("logs_s2_v1", "logs_s2_v2Pro", "logs_s2_v3", "logs_s2_v3_lora_32", "logs_s2_v3_lora_64", "logs_s1"):
        (path / name).mkdir(parents=True)
    return path


@pytest.fixture
def folders(tmp_path, experiment):
    """Returns (names read, names of others) for an s2 JSON with the given version and rank, or for a TOML's text."""

    def look(version=None, rank=None, toml=None, base="v1"):
        config = tmp_path / "config"
        values = {"train": {"lora_rank": rank}, "data": {}, "model": {"version": version}}
        config.write_text(json.dumps(values) if toml is None else toml, "utf-8")
        found = resume_folders(read_s2_run(str(config), str(tmp_path)), str(experiment), base)
        return [folder.name for folder in found.read], [folder.name for folder in found.others], found.doubt

    return look


@pytest.mark.parametrize(
    ("version", "rank", "read", "others"),
    [
        ("v2", "32", ["logs_s2_v2"], ["logs_s2"]),
        ("v2Pro", None, ["logs_s2_v2Pro"], ["logs_s2"]),
        ("v3", "32", ["logs_s2_v3_lora_32"], ["logs_s2_v3", "logs_s2"]),
        ("v4", 16, ["logs_s2_v4_lora_16"], ["logs_s2_v4", "logs_s2"]),
        ("v3", None, ["logs_s2_v3"], ["logs_s2_v3_lora_32", "logs_s2_v3_lora_64", "logs_s2"]),
        (None, None, ["logs_s2"], ["logs_s2_v1"]),
    ],
)
def test_an_s2_json_tells_its_folder_by_version_and_rank(folders, version, rank, read, others):
    """`logs_s2_<version>` with a version, with `_lora_<rank>` for v3 and v4; plain `logs_s2` without a version."""
    assert folders(version, rank) == (read, others, "")


@pytest.mark.parametrize(
    ("config", "read"),
    [
        ("before-the-fix-v1", "logs_s2"),
        ("first-v2-tree-v1", "logs_s2_v1"),
        ("main-v2ProPlus", "logs_s2_v2ProPlus"),
        ("main-v4", "logs_s2_v4_lora_32"),
    ],
)
def test_what_the_web_page_writes(tmp_path, experiment, config, read):
    """The fields that decide, as web pages of each age write them: `version` twice, once or not, the rank a text."""
    version = config.split("-")[-1]
    values = {"train": {"if_save_latest": False}, "data": {}, "model": {"freeze_quantizer": True}}
    if config.startswith("main"):
        values["version"] = version
        values["train"]["lora_rank"] = "32"
    if not config.startswith("before"):
        values["model"]["version"] = version
    path = tmp_path / "s2.json"
    path.write_text(json.dumps(values), "utf-8")
    found = resume_folders(read_s2_run(str(path), None), str(experiment), "v1")
    assert [folder.name for folder in found.read] == [read]


@pytest.fixture
def checkout(tmp_path):
    """Makes a tree with training scripts of the given kinds; returns a TOML that names it."""

    def make(version, **scripts):
        tree = tmp_path / "tree" / "GPT_SoVITS"
        tree.mkdir(parents=True)
        for name, kind in scripts.items():
            (tree / f"{name}.py").write_text(SCRIPTS[kind], "utf-8")
        line = f'version = "{version}"\n' if version else ""
        return f'[subject]\ncheckout = "tree"\n{line}[data]\n'

    return make


@pytest.mark.parametrize(
    ("version", "scripts", "read", "others"),
    [
        ("v1", {"s2_train": "plain"}, ["logs_s2"], ["logs_s2_v1"]),
        ("v2", {"s2_train": "version"}, ["logs_s2_v2"], ["logs_s2"]),
        ("", {"s2_train": "version"}, ["logs_s2_v1"], ["logs_s2"]),
        (
            "v3",
            {"s2_train": "unknown", "s2_train_v3": "version", "s2_train_v3_lora": "lora"},
            ["logs_s2_v3", "logs_s2_v3_lora_32", "logs_s2_v3_lora_64"],
            ["logs_s2"],
        ),
    ],
)
def test_a_named_checkout_says_what_it_reads(folders, checkout, version, scripts, read, others):
    """The scripts that train this version are read; a rank that no config names may be any that is there."""
    assert folders(toml=checkout(version, **scripts)) == (read, others, "")


@pytest.mark.parametrize(
    ("version", "scripts", "why"),
    [
        ("v2", {"s2_train": "unknown"}, "s2_train.py does not say"),
        ("v2", {"s2_train_v3": "version"}, "has no s2_train.py"),
        ("v2", {}, "has no s2_train.py"),
    ],
)
def test_a_checkout_that_does_not_tell_is_looked_at_everywhere(folders, checkout, version, scripts, why):
    """All folders but those of other versions are read, and why is said."""
    read, others, doubt = folders(toml=checkout(version, **scripts))
    assert (read, others) == (["logs_s2", "logs_s2_v2"], [])
    assert why in doubt


def test_a_toml_without_version_and_checkout_is_looked_at_everywhere(folders):
    """Our own configuration does not show the age of the tree."""
    read, _, doubt = folders(toml="[subject]\n[data]\n", base="v3")
    assert read == ["logs_s2", "logs_s2_v3", "logs_s2_v3_lora_32", "logs_s2_v3_lora_64"]
    assert "neither a version nor a checkout" in doubt
    assert set(folders(toml="[subject]\n[data]\n", base="")[0]) > {"logs_s2_v1", "logs_s2_v2Pro", "logs_s2_v3"}


@pytest.mark.parametrize(
    ("version", "base", "needed"),
    [
        ("v1", "", True),
        ("v2ProPlus", "", True),
        ("v3", "", False),
        (None, "v1", True),
        (None, "v2Pro or v2ProPlus", True),
        (None, "v3 or v4", False),
        (None, "", False),
        ("v9", "v1", False),
    ],
)
def test_adversarial_versions_need_a_discriminator(tmp_path, experiment, version, base, needed):
    """v1, v2 and the Pro versions read D_* first; v3, v4, and whatever is not known, are taken to need none."""
    config = tmp_path / "s2.json"
    config.write_text(json.dumps({"train": {}, "data": {}, "model": {"version": version}}), "utf-8")
    found = resume_folders(read_s2_run(str(config), None), str(experiment), base)
    assert {folder.needs_discriminator for folder in found.read} == {needed}


def test_a_lora_folder_never_needs_a_discriminator(tmp_path, experiment):
    """LoRA training has none, whoever looks into its folder."""
    (experiment / "logs_s2_lora_8").mkdir()
    config = tmp_path / "run.toml"
    config.write_text('[subject]\nversion = "v2"\ncheckout = "nowhere"\n[data]\n', "utf-8")
    found = resume_folders(read_s2_run(str(config), None), str(experiment), "v2")
    needed = {folder.name: folder.needs_discriminator for folder in found.read}
    assert needed == {"logs_s2": True, "logs_s2_v2": True, "logs_s2_lora_8": False}


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (["G_900.pth", "G_1000.pth"], ["G_1000.pth"]),
        (["G_900.pth", "G_233333333333.pth", "G_99999.pth"], ["G_233333333333.pth"]),
        (["G_900.pth", "G_0100.pth"], ["G_0100.pth"]),
        (["G_2.pth", "G_latest.pth"], ["G_2.pth"]),
        (["G_100.pth", "G_a100.pth", "G_99.pth"], ["G_100.pth", "G_a100.pth"]),
        (["g_900.pt", "G_1.pth.tmp", "1753.pth", "D_900.pth"], []),
        ([], []),
    ],
)
def test_the_latest_is_the_greatest_number_of_all_digits(tmp_path, names, last):
    """As upstream sorts: by the number that the digits of the whole path make; equal ones are all looked at."""
    (tmp_path / "logs_s2_v2").mkdir()
    for name in names:
        (tmp_path / "logs_s2_v2" / name).touch()
    found = latest(str(tmp_path), Folder("logs_s2_v2", "", needs_discriminator=False))
    assert [Path(path).name for path in found.generators] == last
    assert found.resumed == bool(last)


def test_without_the_discriminator_nothing_is_resumed_from(tmp_path):
    """A G_* alone counts where no D_* is needed; any D_* will do where one is."""
    folder = tmp_path / "logs_s2_v2"
    folder.mkdir()
    (folder / "G_900.pth").touch()
    assert latest(str(tmp_path), Folder("logs_s2_v2", "", needs_discriminator=False)).resumed
    needy = Folder("logs_s2_v2", "", needs_discriminator=True)
    assert not latest(str(tmp_path), needy).resumed
    (folder / "D_800.pth").touch()
    assert latest(str(tmp_path), needy).resumed


def test_no_folder_holds_nothing(tmp_path):
    """A missing folder and a file in its place are no fault: there is nothing to resume from."""
    (tmp_path / "logs_s2").touch()
    for name in ("logs_s2", "logs_s2_v2"):
        assert latest(str(tmp_path), Folder(name, "", needs_discriminator=False)).generators == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"lora_rank": "8/../.."}}, r"train\.lora_rank: expected a number"),
        ({"train": {"lora_rank": True}}, r"train\.lora_rank: expected a number"),
        ({"train": {"lora_rank": [32]}}, r"train\.lora_rank: expected a number"),
        ({"model": {"version": 2}}, r"model\.version: expected a text"),
        ({"version": "v1"}, r"model\.version is 'v2', version 'v1'"),
    ],
)
def test_fields_that_decide_the_folder_are_checked(tmp_path, changes, message):
    """A rank that is no number, a version that is no text and two versions are refused by name."""
    config = tmp_path / "s2.json"
    config.write_text(json.dumps({"train": {}, "data": {}, "model": {"version": "v2"}, **changes}), "utf-8")
    with pytest.raises(UsageError, match=message):
        read_s2_run(str(config), None)
