"""`--family FILE`: a codec that vqcheck does not know, described by its user."""

import pytest
import torch

ROW = """
name = "my-codec"
title = "My codec"
decay = 0.99

[tensors]
codes = "tokenizer.layers.{layer}.table"
ema_sum = "tokenizer.layers.{layer}.table_sum"
ema_count = "tokenizer.layers.{layer}.uses"
input_proj = "tokenizer.before"
"""


@pytest.fixture
def state():
    """Two layers of a codec that no row knows, behind a projection."""
    generator = torch.Generator().manual_seed(0)
    state = {"tokenizer.before.weight": torch.randn(4, 6, generator=generator)}
    for layer in range(2):
        state[f"tokenizer.layers.{layer}.table"] = torch.randn(8, 4, generator=generator)
        state[f"tokenizer.layers.{layer}.table_sum"] = torch.randn(8, 4, generator=generator)
        state[f"tokenizer.layers.{layer}.uses"] = torch.ones(8)
    return state


@pytest.fixture
def row(tmp_path):
    """Writes a row, returns its path."""

    def write(text=ROW):
        path = tmp_path / "my_codec.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_users_own_codec_is_inspected_and_compared(state, row, saved, vqcheck, valid):
    """Unknown without the row; with it inspected, equal to itself, and changed where any role changed."""
    path = saved(state)
    assert vqcheck("inspect", path).returncode == 2
    run = vqcheck("inspect", path, "--family", row())
    assert run.returncode == 0
    assert "My codec, 2 codebooks" in run.stdout
    assert vqcheck("diff", path, path, "--family", row()).returncode == 0
    for name in ("tokenizer.before.weight", "tokenizer.layers.1.table", "tokenizer.layers.0.uses"):
        other = saved({**state, name: state[name] + 1}, "b.pth")
        document = valid(vqcheck("diff", path, other, "--family", row(), "--format", "json").stdout)
        assert (document["exit_code"], document["a"]["family"]) == (1, "my-codec")
        assert [tensor["a"]["name"] for tensor in document["tensors"] if tensor["verdict"] == "changed"] == [name]


def test_a_users_row_comes_before_the_table(row, saved, vqcheck):
    """Where a row of the table fits as well, the user's is taken."""
    path = saved({"quantize.embedding.weight": torch.randn(8, 4)})
    own = row('name = "mine"\n[tensors]\ncodes = "quantize.embedding.weight"\n')
    assert "mine, 1 codebook" in vqcheck("inspect", path, "--family", own).stdout
    assert "VQGAN" in vqcheck("inspect", path).stdout


def test_everything_a_row_can_say(row, saved, vqcheck):
    """Several books, transposed codes, a derivation, and projections in any spelling."""
    text = """
name = "two"
axes = "dim codes"
projects = true
metric = "cosine"
update = "gradient"
optional = ["ema_count"]

[[tensors]]
book = "semantic"
codes = ["first.table", "old_first.table"]
input_proj = "first.before.weight"

[[tensors]]
book = "acoustic"
codes = "rest.{group}.{layer}.table"
input_proj = "rest.before"
"""
    state = {"old_first.table": torch.randn(4, 8), "first.before.weight": torch.randn(4, 4)}
    state |= {"rest.0.0.table": torch.randn(4, 8), "rest.0.1.table": torch.randn(4, 8)}
    state |= {"rest.before.weight_g": torch.ones(4, 1), "rest.before.weight_v": torch.randn(4, 4)}
    run = vqcheck("inspect", saved(state), "--family", row(text))
    assert run.returncode == 0
    assert "semantic: 1 x 8 codes of 4" in run.stdout
    assert "acoustic: 2 x 8 codes of 4" in run.stdout
    assert "acoustic input_proj.g" in run.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "is not valid TOML"),
        (ROW.replace('name = "my-codec"', ""), "name: is missing"),
        (ROW.replace("decay = 0.99", "decya = 0.99"), "decya: no such key; did you mean decay?"),
        (ROW.replace("0.99", "1.5"), "decay: is 1.5, must lie between 0 and 1"),
        (ROW.replace("0.99", '"fast"'), "decay: must be a number"),
        (ROW.replace("ema_sum", "ema_sums"), "tensors.ema_sums: no such key; did you mean ema_sum?"),
        (ROW.replace("{layer}", "{block}"), "'{block}' cannot be part of a name"),
        (ROW.replace("{layer}", "layer{layer}"), "'layer{layer}' cannot be part of a name"),
        (ROW.replace("codes =", "init_flag ="), "tensors.codes: is missing"),
        (ROW.replace("[tensors]", "axes = 'codes dims'\n[tensors]"), "axes: is 'codes dims', must be one of"),
        (ROW.replace("[tensors]", "optional = ['sum']\n[tensors]"), "optional: there is no role 'sum'"),
        (ROW.replace("[tensors]", "projects = 1\n[tensors]"), "projects: must be true or false"),
        ('name = "x"\ntensors = 3\n', "tensors: is missing"),
        (ROW.replace('"tokenizer.before"', "5"), "tensors.input_proj: must be a text, or a list of texts"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(text, words, row, saved, state, vqcheck):
    """One line names the file, the key and, for a slip, the key that was meant; the status is 2."""
    path = row(text)
    run = vqcheck("inspect", saved(state), "--family", path)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"vqcheck: {path}: ")
    assert words in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_missing_row_file_is_named(tmp_path, saved, state, vqcheck):
    """A file that is not there is status 2."""
    run = vqcheck("diff", saved(state), saved(state), "--family", tmp_path / "absent.toml")
    assert run.returncode == 2
    assert "absent.toml: cannot be read" in run.stderr


def test_a_row_that_fits_nothing_is_status_2(row, saved, vqcheck):
    """With every command that takes the option: a slip in a name must not end in another codec's green."""
    path = saved({"quantize.embedding.weight": torch.randn(8, 4)})
    folder = path.parent / "run"
    folder.mkdir()
    for name in ("a.pth", "b.pth"):
        (folder / name).write_bytes(path.read_bytes())
    lock = path.parent / "its.lock"
    commands = [["inspect", path], ["diff", path, path], ["history", folder]]
    commands += [["lock", path, "-o", lock], ["lock", path, "-o", lock, "--check"]]
    for command in commands:
        assert vqcheck(*command).returncode == 0
        run = vqcheck(*command, "--family", row())
        assert run.returncode == 2, command
        assert "holds no codes under the names of 'my-codec' of --family" in run.stderr + run.stdout, command


def test_a_row_that_fits_nothing_beside_one_that_fits_is_told_of(state, row, saved, vqcheck):
    """Rows of several codecs may be given together: the one that no file needs is named on stderr."""
    own = row('name = "other"\n[tensors]\ncodes = "another.table"\n')
    own = own.rename(own.with_name("other.toml"))
    run = vqcheck("diff", saved(state), saved(state, "b.pth"), "--family", row(), "--family", own)
    assert (run.returncode, run.stderr) == (0, "vqcheck: note: nothing here was read as 'other' of --family\n")


ROLES = {
    "ema_sum": 'ema_sum = "tokenizer.layers.{layer}.sums"',
    "ema_count": 'ema_count = "tokenizer.layers.{layer}.count"',
    "init_flag": 'init_flag = "tokenizer.layers.{layer}.filled"',
    "code_transform": 'code_transform = "tokenizer.transform"',
    "input_proj": 'input_proj = ["tokenizer.in_front", "tokenizer.front"]',
    "output_proj": 'output_proj = "tokenizer.layers.{layer}.behind"',
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_names_no_tensor_is_named(role, state, row, saved, vqcheck):
    """A slip in any role is status 2 with each command that reads it, unless the row says that it is optional."""
    path = saved(state)
    text = 'name = "mine"\n{}[tensors]\ncodes = "tokenizer.layers.{{layer}}.table"\n' + ROLES[role].replace(
        "{", "{{"
    ).replace("}", "}}")
    for command in (["diff", path, path], ["inspect", path], ["lock", path, "-o", path.parent / "a.lock"]):
        run = vqcheck(*command, "--family", row(text.format("")))
        assert run.returncode == 2, command
        assert f"the {role} of 'mine', names no tensor" in run.stderr
    assert vqcheck("diff", path, path, "--family", row(text.format(f'optional = ["{role}"]\n'))).returncode == 0


def test_a_book_of_which_nothing_is_there_is_named(state, row, saved, vqcheck):
    """Each `[[tensors]]` is looked for by itself."""
    text = 'name = "two"\n[[tensors]]\ncodes = "tokenizer.layers.{layer}.table"\n[[tensors]]\ncodes = "absent.table"\n'
    run = vqcheck("diff", saved(state), saved(state), "--family", row(text))
    assert (run.returncode, run.stdout) == (2, "")
    assert "'absent.table', the codes of 'two', names no tensor" in run.stderr


def test_two_tensors_for_one_part_of_a_role_are_refused(state, row, saved, vqcheck):
    """Names in a list are spellings of one tensor; where a file has both, neither is left out in silence."""
    text = ROW.replace('input_proj = "tokenizer.before"', 'input_proj = ["tokenizer.before", "tokenizer.too"]')
    both = state | {"tokenizer.too.weight": torch.randn(4, 6)}
    assert vqcheck("diff", saved(state), saved(state), "--family", row(text)).returncode == 0
    run = vqcheck("diff", saved(both), saved(both), "--family", row(text))
    assert run.returncode == 2
    assert "tokenizer.before.weight and tokenizer.too.weight" in run.stderr


def test_a_row_that_fits_is_not_told_of(state, row, saved, vqcheck):
    """With every command: nothing on stderr."""
    path = saved(state)
    folder = path.parent / "run"
    folder.mkdir()
    for name in ("a.pth", "b.pth"):
        (folder / name).write_bytes(path.read_bytes())
    lock = path.parent / "its.lock"
    commands = [["inspect", path], ["diff", path, path], ["history", folder]]
    commands += [["lock", path, "-o", lock], ["lock", path, "-o", lock, "--check"]]
    for command in commands:
        run = vqcheck(*command, "--family", row())
        assert (run.returncode, run.stderr) == (0, ""), command


def test_a_row_that_fits_nothing_in_a_file_without_codebook(row, saved, vqcheck):
    """The error about the file says that the user's own row was tried."""
    path = saved({"linear.weight": torch.randn(8, 4)})
    run = vqcheck("diff", path, path, "--family", row())
    assert run.returncode == 2
    assert run.stderr.endswith("nor does 'my-codec' of --family fit it\n")


def test_a_projection_of_several_layers_is_all_judged(state, row, saved, vqcheck):
    """A row names a module in front of the codebook: each layer in it decides tokens, statistics of a norm as well."""
    del state["tokenizer.before.weight"]
    before = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
    state |= {f"tokenizer.before.{name}": value for name, value in before.state_dict().items()}
    path = saved(state)
    for name in before.state_dict():
        full = f"tokenizer.before.{name}"
        other = saved({**state, full: state[full] + 1}, "b.pth")
        assert vqcheck("diff", path, other, "--family", row()).returncode == 1
    assert vqcheck("diff", path, saved(state, "b.pth"), "--family", row()).returncode == 0
