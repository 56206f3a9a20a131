"""Configurations of both kinds are read as written, and every mistake in them is one clear line."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.experiment.config_file import read_s2_run
from vqcheck.experiment.read_config import read_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIXTURES = Path(__file__).parents[2] / "fixtures"


def s2_json(**changes):
    """Return an s2 JSON as the web UI writes it, with some values replaced; None removes a key."""
    values = {
        "train": {
            "log_interval": 100,
            "epochs": 8,
            "learning_rate": 0.0001,
            "betas": [0.8, 0.99],
            "eps": 1e-09,
            "batch_size": 6,
            "fp16_run": False,
            "lr_decay": 0.999875,
            "segment_size": 20480,
            "init_lr_ratio": 1,
            "warmup_epochs": 0,
            "c_mel": 45,
            "c_kl": 1.0,
            "text_low_lr_rate": 0.4,
            "seed": 4321,
            "pretrained_s2G": "",
            "pretrained_s2D": "",
            "if_save_latest": True,
        },
        "data": {
            "max_wav_value": 32768.0,
            "sampling_rate": 32000,
            "filter_length": 2048,
            "hop_length": 640,
            "win_length": 2048,
            "n_mel_channels": 128,
            "mel_fmin": 0.0,
            "mel_fmax": None,
            "add_blank": True,
            "n_speakers": 300,
            "cleaned_text": True,
            "exp_dir": "logs/me",
        },
        "model": {
            "inter_channels": 192,
            "p_dropout": 0.1,
            "resblock": "1",
            "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
            "semantic_frame_rate": "25hz",
            "freeze_quantizer": True,
            "version": "v2",
        },
        "s2_ckpt_dir": "logs/me",
        "content_module": "cnhubert",
    }
    for place, value in changes.items():
        section, _, key = place.partition("__")
        if value is None:
            del values[section][key]
        elif key:
            values[section][key] = value
        else:
            values[section] = value
    return values


@pytest.fixture
def write(tmp_path):
    """Writes a configuration into a folder that also has the experiment directory it names."""

    def make(content, name=None):
        (tmp_path / "logs" / "me").mkdir(parents=True, exist_ok=True)
        is_json = isinstance(content, dict)
        path = tmp_path / (name or ("s2.json" if is_json else "replay.toml"))
        path.write_text(json.dumps(content) if is_json else content, "utf-8")
        return str(path)

    return make


def test_s2_json_is_taken_as_it_stands(write, tmp_path):
    """Every value that upstream's step reads is taken over; those it ignores are ignored here."""
    config = read_config(write(s2_json()), str(tmp_path))
    assert config.subject.version == "v2"
    assert config.subject.pretrained_s2G is None
    assert config.data.exp_dir == str(tmp_path / "logs/me")
    assert (config.training.batch_size, config.training.fp16_run, config.replay.seed) == (6, False, 4321)
    assert config.training.segment_size == 20480
    assert config.model.inter_channels == 192
    assert config.spectrogram.hop_length == 640
    assert config.spectrogram.mel_fmax is None


@pytest.mark.parametrize(
    "content",
    [
        s2_json(train__pretrained_s2G="base.pth"),
        s2_json(train__pretrained_s2G="base.pth", model__freeze_quantizer=False),
        '[data]\nexp_dir = "logs/me"\n[subject]\nversion = "v1"\npretrained_s2G = "base.pth"\n',
    ],
)
def test_the_gate_and_a_replay_read_the_same(write, tmp_path, content):
    """One file means one thing: the same base, experiment, version and flag for whoever reads it."""
    (tmp_path / "base.pth").touch()
    path = write(content)
    config, run = read_config(path, str(tmp_path)), read_s2_run(path, str(tmp_path))
    assert run.pretrained_s2G == os.path.normpath(config.subject.pretrained_s2G)
    assert run.exp_dir == os.path.normpath(config.data.exp_dir)
    assert run.version == config.subject.version
    assert run.freeze_quantizer in (config.subject.freeze_quantizer, None)


FLOW = {"model__version": "v3", "train__lora_rank": "32", "train__grad_ckpt": True}


def test_an_s2_json_of_v3_is_of_lora_training(write, tmp_path):
    """The web page writes the rank as a text, and a discriminator that does not exist and nothing reads."""
    path = write(s2_json(**FLOW, train__pretrained_s2D="GPT_SoVITS/pretrained_models/s2Dv3.pth"))
    config = read_config(path, str(tmp_path))
    assert (config.subject.version, config.training.lora_rank, config.training.grad_ckpt) == ("v3", 32, True)
    assert config.subject.pretrained_s2D is None
    assert read_s2_run(path, str(tmp_path)).lora_rank == "32"
    full = read_config(write(s2_json(model__version="v4", train__grad_ckpt=False)), str(tmp_path))
    assert (full.subject.version, full.training.lora_rank, full.training.grad_ckpt) == ("v4", None, False)


def test_lora_rank_means_nothing_in_an_s2_json_of_another_version(write, tmp_path):
    """It stands there whatever the version; its discriminator is looked for."""
    assert read_config(write(s2_json(train__lora_rank="32")), str(tmp_path)).training.lora_rank is None
    with pytest.raises(UsageError, match=r"pretrained_s2D = 's2D.pth': there is no"):
        read_config(write(s2_json(train__lora_rank="32", train__pretrained_s2D="s2D.pth")), str(tmp_path))


@pytest.mark.parametrize("rank", ["0", "x", "-1", 1.5, True, [4]])
def test_a_rank_that_is_none_is_refused(write, tmp_path, rank):
    with pytest.raises(UsageError, match=r"lora_rank: "):
        read_config(write(s2_json(**FLOW | {"train__lora_rank": rank})), str(tmp_path))


def test_the_gate_goes_by_the_rank_of_a_toml_too(write, tmp_path):
    """A TOML says where its run resumes from as an s2 JSON does."""
    toml = '[data]\nexp_dir = "logs/me"\n[subject]\nversion = "v3"\n'
    assert read_s2_run(write(toml), str(tmp_path)).lora_rank is None
    assert read_s2_run(write(toml + "[training]\nlora_rank = 16\n"), str(tmp_path)).lora_rank == "16"
    tiny = toml.replace('"v3"', '"tiny-v3"')
    assert read_s2_run(write(tiny), str(tmp_path)).version == "v3"


def test_relative_paths_of_an_s2_json_count_from_the_working_directory(write, tmp_path, monkeypatch):
    """Upstream's script is started in its own root, so that is where its paths begin."""
    path = write(s2_json())
    with pytest.raises(UsageError, match=r"there is no .*logs.me"):
        read_config(path)
    monkeypatch.chdir(tmp_path)
    assert read_config(path).data.exp_dir == "logs/me"


def test_relative_paths_of_a_toml_count_from_the_file(write, tmp_path):
    """A configuration can be copied together with what it names; --root overrides that."""
    path = write('[subject]\nversion = "v2"\n[data]\nexp_dir = "logs/me"\n')
    assert read_config(path).data.exp_dir == str(tmp_path / "logs/me")
    with pytest.raises(UsageError, match=r"there is no .*elsewhere.logs.me"):
        read_config(path, str(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__batch_size": None}, r"train\.batch_size is missing"),
        ({"train__pretrained_s2G": None}, r"train\.pretrained_s2G is missing"),
        ({"data__exp_dir": None}, r"data\.exp_dir is missing"),
        ({"data": 3}, "no section 'data'"),
        ({"train__batch_size": "six"}, r"train\.batch_size: input should be a valid integer.*'six'"),
        ({"train__batch_size": -1}, r"train\.batch_size: .*greater than or equal to 1"),
        ({"model__version": "v9"}, r"model\.version: expected one of v1, v2, v2Pro, v2ProPlus"),
        ({"train__pretrained_s2G": "no/such.pth"}, r"train\.pretrained_s2G.*there is no .*no.such\.pth"),
    ],
)
def test_mistakes_in_an_s2_json_are_named(write, tmp_path, changes, message):
    """A missing or wrong field is named as the file calls it, or with the path it leads to."""
    with pytest.raises(UsageError, match=message):
        read_config(write(s2_json(**changes)), str(tmp_path))


@pytest.mark.parametrize(("symbols", "version"), [(322, "v1"), (732, "v2")])
def test_without_a_version_it_is_the_bases(write, tmp_path, symbols, version):
    """Trees before v2 write no version: it is that of the generator they start from."""
    torch.save({"weight": {"enc_p.text_embedding.weight": torch.ones(symbols, 1)}}, tmp_path / "base.pth")
    path = write(s2_json(model__version=None, train__pretrained_s2G="base.pth"))
    assert read_config(path, str(tmp_path)).subject.version == version


@pytest.mark.parametrize(
    ("base", "message"),
    [("", "there is no pretrained_s2G to go by"), ("base.pth", r"the tensors of .*base\.pth do not show")],
)
def test_a_version_that_nothing_tells_is_asked_for(write, tmp_path, base, message):
    """Neither the file nor a base: the field that is missing is named."""
    torch.save({"weight": {"conv.weight": torch.ones(2)}}, tmp_path / "base.pth")
    with pytest.raises(UsageError, match=f"model.version is missing, and {message}"):
        read_config(write(s2_json(model__version=None, train__pretrained_s2G=base)), str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[subject]\nversoin = 'v2'\n", r"unknown key subject\.versoin; did you mean version\?"),
        ("[replai]\nsteps = 3\n", r"unknown key replai; did you mean replay\?"),
        ("[data]\nzzzz = 3\n", r"unknown key data\.zzzz; known: exp_dir, symbols, generated_items"),
        ("[replay]\nsteps = 0\n", r"replay\.steps: .*greater than or equal to 1, given 0"),
        ("[replay]\nsteps = 'many'\n", r"replay\.steps: .*valid integer"),
        ("[subject]\nversion = 'v7'\n", r"subject\.version: .*given 'v7'"),
        ("[expected]\nnone = 'maybe'\n", r"expected\.none: .*'drifted' or 'frozen'"),
        ("[subject]\nfactory = 'my/training.py:make'\n", r"subject\.factory: expected package\.module:function"),
        ("[subject]\ngenerator = 'my class'\n", r"subject\.generator: expected the name of a class, given 'my class'"),
        ("[subject\n", "is not valid TOML"),
        ("steps", "is not valid TOML"),
    ],
)
def test_mistakes_in_a_toml_are_named(write, text, message):
    """An unknown key comes with the nearest one, a wrong value with what was given."""
    with pytest.raises(UsageError, match=message):
        read_config(write(text))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'{"train": '])
def test_files_that_are_no_configuration(tmp_path, content):
    """Binary and broken files end in a sentence that names the file."""
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.json: is not"):
        read_config(str(path))


def test_a_missing_file_is_named(tmp_path):
    """A configuration that is not there is said to be so."""
    with pytest.raises(UsageError, match=r"gone\.toml: cannot be read"):
        read_config(str(tmp_path / "gone.toml"))


def test_the_defaults_are_a_whole_configuration(write):
    """An empty file is the embedded default."""
    assert read_config(write("")) == Config()


def test_the_copyable_configuration_shows_every_key_with_its_default():
    """The fixture documents each key there is, and the values in its comments are the true defaults."""
    text = (FIXTURES / "replay_v2.toml").read_text("utf-8")
    shown = [
        line[2:] if line.startswith("# ") and (" = " in line or line.startswith("# [")) else line
        for line in text.split("\n")
    ]
    shown = [line for line in shown if not line.startswith(("#", "Copy", "Keys"))]
    values = tomllib.loads("\n".join(shown))
    for section in ("subject", "data", "training", "replay"):
        assert set(values[section]) == set(getattr(Config(), section).model_dump())
    defaults = Config().model_dump()
    for line in text.split("\n"):
        if line.startswith("# ") and " = " in line and "pth" not in line and "symbols" not in line:
            key, value = next(iter(tomllib.loads(line[2:]).items()))
            section = next((name for name in ("subject", "data", "training", "replay") if key in defaults[name]), None)
            if section and defaults[section][key] is not None:  # such a key shows an example
                assert defaults[section][key] == value, key


UNUSED = [
    ("v3", "model", "upsample_rates", "[8, 8]"),
    ("tiny-v3", "model", "n_flows", "2"),
    ("v4", "discriminator", "narrowing", "4"),
    ("v3", "training", "c_mel", "45.0"),
    ("v4", "training", "segment_size", "20480"),
    ("v3", "spectrogram", "n_mel_channels", "100"),
    ("v2", "model", "dit_depth", "2"),
    ("tiny", "training", "grad_ckpt", "true"),
]


@pytest.mark.parametrize(("version", "section", "key", "value"), UNUSED)
def test_a_key_that_the_version_does_not_use_is_refused(version, section, key, value, tmp_path):
    path = tmp_path / "own.toml"
    given = f"[{section}]\n{key} = {value}\n"
    path.write_text(f'[subject]\nversion = "{version}"\n{given}', "utf-8")
    with pytest.raises(UsageError, match=rf"own\.toml.*{section}\.{key}: {version} does not use it") as refused:
        read_config(str(path))
    assert "\n" not in str(refused.value)
    # a tree's own class may well use it
    tree = tmp_path / "tree"
    tree.mkdir()
    assert read_config(str(path), checkout=str(tree)).subject.version == version
    # and the other kind does
    other = "v2" if version in ("v3", "v4", "tiny-v3") else "v3"
    path.write_text(f'[subject]\nversion = "{other}"\n{given}', "utf-8")
    assert key in getattr(read_config(str(path)), section).model_fields_set


@pytest.mark.parametrize("version", ["v2", "v3", "v4"])
def test_an_s2_json_has_the_keys_of_every_version(version, tmp_path):
    """The web page fills in one template, whatever is trained."""
    path = tmp_path / "tmp_s2.json"
    (tmp_path / "logs" / "me").mkdir(parents=True)
    path.write_text(json.dumps(s2_json(model__version=version, train__grad_ckpt=True)), "utf-8")
    assert read_config(str(path), str(tmp_path)).subject.version == version
