"""The folder that a training script resumes from is read from its text, in any spelling, or is said to be unknown."""

import pytest

from vqcheck.experiment.resume_code import folder_patterns

BY_VERSION = {"logs_s2_{version}"}
LORA = {"logs_s2_{version}_lora_{lora_rank}"}


@pytest.fixture
def patterns(tmp_path):
    """Returns what is read in a script of the given text."""

    def read(text):
        path = tmp_path / "train.py"
        path.write_text(text, "utf-8")
        return folder_patterns(str(path))

    return read


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('latest("%s/logs_s2" % hps.data.exp_dir, "D_*.pth")', {"logs_s2"}),
        ('latest("%s/logs_s2_%s" % (hps.data.exp_dir, hps.model.version), "D_*.pth")', BY_VERSION),
        ('root = "%s/logs_s2_%s_lora_%s" % (data.exp_dir, model.version, train.lora_rank)', LORA),
        ('root = f"{exp_dir}/logs_s2_{hps.model.version}"', BY_VERSION),
        ("root = f\"{exp_dir}/logs_s2_{version}_lora_{train['lora_rank']}/G_{step}.pth\"", LORA),
        ('root = "{}/logs_s2_{}".format(exp_dir, model["version"])', BY_VERSION),
        ('root = os.path.join(exp_dir, "logs_s2_" + str(version), "G_{}.pth".format(step))', BY_VERSION),
        ('root = exp_dir + "/logs_s2_" + version', BY_VERSION),
        ('root = "%s/%s" % (exp_dir, "logs_s2_%s" % version)', BY_VERSION),
        ("root = exp_dir + '\\\\logs_s2'", {"logs_s2"}),
        ('root = exp_dir + "/logs_s2_v2"', {"logs_s2_v2"}),
        ('a = f"{e}/logs_s2"\nb = f"{e}/logs_s2_{version}"', {"logs_s2", "logs_s2_{version}"}),
        ('"""Once saved to logs_s2."""\n# logs_s2_old\nroot = f"{e}/logs_s2_{version}"', BY_VERSION),
        ('root = f"{e}/logs_s2_{version}"\npattern = "\\d"', BY_VERSION),
    ],
)
def test_every_spelling_of_a_folder_is_read(patterns, code, expected):
    """`%`, f-strings, format, join and + give the same folder; comments and docstrings give none."""
    assert patterns(code) == expected


@pytest.mark.parametrize(
    "code",
    [
        "",
        "root = exp_dir",
        'root = "%s/logs_s2_%s" % (exp_dir, hps.name)',
        'root = "%s/logs_s2_%s" % where',
        'root = "logs_s2_%s"',
        'root = "{1}/logs_s2_{0}".format(version, exp_dir)',
        'root = "{e}/logs_s2_{v}".format(e=exp_dir, v=version)',
        'root = f"{e}/logs_s2_{version()}"',
        'root = f"{e}/logs_s2_{version}"\nother = f"{e}/logs_s2_{tag}"',
        'root = f"{e}/old_logs_s2"',
        'print("nothing in logs_s2 yet")',
        "root = (",
        "x = " + "(" * 5000,
        "x = 1" + " + 1" * 50_000 + ' + "logs_s2"',
        "\0",
    ],
)
def test_what_is_not_spelled_out_is_not_guessed(patterns, code):
    """A name that is no version, a calculated one, a second folder of unknown name, no folder, no Python: unknown."""
    assert patterns(code) is None


def test_a_script_that_cannot_be_read_tells_nothing(tmp_path):
    """A missing script, a folder in its place and other bytes than text are unknown."""
    assert folder_patterns(str(tmp_path / "train.py")) is None
    (tmp_path / "train.py").mkdir()
    assert folder_patterns(str(tmp_path / "train.py")) is None
    (tmp_path / "bytes.py").write_bytes(b'x = "\xff logs_s2"')
    assert folder_patterns(str(tmp_path / "bytes.py")) is None


def test_a_script_is_not_run(tmp_path):
    """Reading a script carries out nothing in it."""
    script = tmp_path / "train.py"
    script.write_text(f'open({str(tmp_path / "ran")!r}, "w")\nroot = f"{{e}}/logs_s2"', "utf-8")
    assert folder_patterns(str(script)) == {"logs_s2"}
    assert not (tmp_path / "ran").exists()
