"""Any training code through a factory: verdicts, who wrote, and every way in which the code can be wrong."""

import sys
from pathlib import Path

import pytest
import torch

from vqcheck.errors import NoCodebookError, UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay.run import planned, replay
from vqcheck.replay.trace import ArmVerdict, CommitLossState, ReplayVerdict
from vqcheck.report.render import json
from vqcheck.report.views.replay import view
from vqcheck.report.views.replay_data import digests

FIXTURES = Path(__file__).parents[2] / "fixtures"
EXAMPLES = ("vector_quantize", "gradient_codebook")


def factory(name, steps=4, **sections):
    replay_section = {"steps": steps, **sections.pop("replay", {})}
    return Config.model_validate({"subject": {"factory": name}, "replay": replay_section, **sections})


@pytest.fixture(autouse=True)
def _examples(monkeypatch):
    monkeypatch.chdir(FIXTURES)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Puts a module `mine` with this text into the working directory; returns its path."""

    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text, "utf-8")
        return path

    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield write
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_leaking_example_fails(example):
    """Code that writes its codebook is not as expected, status 1, and the line of its own that did it is named."""
    result = replay(factory(f"factories.{example}:leaking"))
    (arm,) = result.arms
    assert (arm.verdict, result.verdict, result.exit_code) == (ArmVerdict.DRIFTED, ReplayVerdict.NOT_AS_EXPECTED, 1)
    assert arm.steps[-1].tensors[0].rows == 32
    assert arm.steps[-1].flipped_tokens > 0
    source = FIXTURES / "factories" / f"{example}.py"
    for write in arm.first_writes:
        own_line = write.called_from or write
        assert own_line.file == str(source)
        line = source.read_text("utf-8").splitlines()[own_line.line - 1]
        assert "self.quantizer(" in line or "optimizer.step()" in line


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_still_example_passes(example):
    """Code that uses its codebook and leaves every bit of it alone is as expected, without any control arm."""
    result = replay(factory(f"factories.{example}:still"))
    (arm,) = result.arms
    assert arm.uses_codebook
    assert (arm.verdict, result.verdict, result.exit_code) == (ArmVerdict.FROZEN, ReplayVerdict.AS_EXPECTED, 0)
    assert arm.digest_at_start == arm.digest_at_end
    assert {step.flipped_tokens for step in arm.steps} == {0}
    assert arm.steps[0].losses["reconstruction"] > 0


@pytest.mark.parametrize("example", EXAMPLES)
def test_vqcheck_freeze_holds_leaking_code(example):
    """The arm `freeze` starts from the same weights as the code as it is, and holds what that one writes."""
    result = replay(factory(f"factories.{example}:leaking", replay={"strategies": ["freeze"]}))
    as_is, frozen = result.arms
    assert (as_is.strategy, as_is.verdict, frozen.strategy, frozen.verdict) == (
        "as-is",
        ArmVerdict.DRIFTED,
        "freeze",
        ArmVerdict.FROZEN,
    )
    assert as_is.digest_at_start == frozen.digest_at_end


def test_an_expected_drift_is_as_expected():
    """Whoever trains a codebook on purpose says so, and the replay passes."""
    result = replay(factory("factories.vector_quantize:leaking", expected={"as-is": "drifted"}))
    assert result.exit_code == 0


def test_the_global_random_state_is_restored():
    """A replay draws no number from anybody else's sequence."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    replay(factory("factories.vector_quantize:still", steps=1))
    assert torch.equal(torch.get_rng_state(), before)


UNUSED = """
import torch
from torch import nn

class Training:
    def __init__(self):
        self.module = nn.Module()
        self.module.quantize = nn.Module()
        self.module.quantize.embedding = nn.Embedding(16, 4)
        self.module.head = nn.Linear(4, 4)
        {init}

    def step(self, number):
        loss = self.module.head(torch.randn(3, 4)).square().sum()
        {step}
        return {result}

def make():
    return Training()
"""
OWN = {"init": "pass", "step": "loss.backward()", "result": '{"loss": loss}'}


def test_a_step_that_never_uses_the_codebook_proves_nothing(own):
    """A codebook that no operator takes stays still in any code, so the replay is inconclusive."""
    own(UNUSED.format(**OWN))
    result = replay(factory("mine:make", steps=2))
    assert (result.arms[0].verdict, result.arms[0].uses_codebook) == (ArmVerdict.FROZEN, False)
    assert (result.verdict, result.exit_code) == (ReplayVerdict.INCONCLUSIVE, 2)
    assert result.arms[0].steps[0].commit_loss_state == CommitLossState.NOT_REPORTED


def test_looking_at_the_codebook_is_no_use_of_it(own):
    """Views of the codebook compute nothing, so they do not count."""
    own(UNUSED.format(**{**OWN, "step": "self.module.quantize.embedding.weight.detach()[0]"}))
    assert replay(factory("mine:make", steps=1)).verdict == ReplayVerdict.INCONCLUSIVE


def test_reading_the_codebook_is_a_use_of_it(own):
    """One operator that takes it is enough."""
    own(UNUSED.format(**{**OWN, "step": "self.module.quantize.embedding(torch.tensor([1]))"}))
    assert replay(factory("mine:make", steps=1)).verdict == ReplayVerdict.AS_EXPECTED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": "raise ValueError('no\\ndata')"}, r"step 1 raised ValueError: no data \(\S+mine.py:15 in step\)"),
        ({"init": "raise KeyError('x')"}, r"KeyError: 'x' \(\S+mine.py:11 in __init__\)"),
        ({"result": "loss"}, "step 1 must return losses by name"),
        ({"result": "{'loss': 'much'}"}, "step 1 must return losses by name"),
        ({"result": "{'loss': torch.ones(2)}"}, "step 1 must return losses by name"),
        ({"init": "self.module = 3"}, "no torch.nn.Module under .module"),
        ({"init": "self.step = None"}, r"no method step\(number\)"),
        (
            {"init": "self.probe = torch.ones(2, 5)"},
            r"frames \[N, 4\] as they reach the codes, given \[2, 5\]",
        ),
    ],
)
def test_code_that_is_wrong_is_told_so_in_one_line(own, changes, message):
    """What the user's code does wrong names its own line, and says what was expected."""
    own(UNUSED.format(**{**OWN, **changes}))
    with pytest.raises(UsageError, match=message) as raised:
        replay(factory("mine:make"))
    assert "\n" not in str(raised.value)


def test_a_module_without_codebook_is_refused(own):
    """There must be something to watch."""
    own(UNUSED.format(**{**OWN, "init": "self.module = nn.Linear(2, 2)"}))
    with pytest.raises(NoCodebookError):
        replay(factory("mine:make"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent:make", "", "absent cannot be imported: ModuleNotFoundError: No module named 'absent'"),
        ("mine:make", "import nowhere_to_be_found", "cannot be imported: .* named 'nowhere_to_be_found'"),
        ("mine:make", "x = 1 +", "cannot be imported: SyntaxError"),
        ("mine:other", "make = 1", "has no function other"),
        ("mine:make", "make = 1", "has no function make"),
    ],
)
def test_a_factory_that_cannot_be_found_is_named(own, name, text, message):
    """An import that fails says which module it was."""
    own(text)
    with pytest.raises(UsageError, match=message):
        replay(factory(name))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"batch_size": 2}}, "nothing under training has an effect"),
        ({"data": {"generated_items": 2}}, "nothing under data has an effect"),
        ({"replay": {"device": "cpu"}}, "decides on device"),
        ({"replay": {"strategies": ["no-grad"]}}, "unknown strategy 'no-grad': expected as-is, freeze"),
        ({"expected": {"none": "frozen"}}, "unknown strategy 'none'"),
    ],
)
def test_settings_without_effect_are_refused(sections, message):
    """What the factory's code decides cannot be set beside it, so that nobody believes it was."""
    with pytest.raises(UsageError, match=message):
        replay(factory("factories.vector_quantize:still", **sections))


def test_the_planned_arms_are_the_ones_that_run():
    """The code as it is comes first, whatever else is named."""
    config = factory("factories.vector_quantize:still", steps=1, replay={"strategies": ["freeze", "as-is"]})
    assert planned(config) == ["as-is", "freeze"] == [arm.strategy for arm in replay(config).arms]


def test_a_hidden_replacement_of_the_codebook_is_seen(own):
    """Another tensor under the codebook's name is a change, though no operator wrote to the old one."""
    step = "self.module.quantize.embedding.weight = nn.Parameter(torch.ones(16, 4))"
    own(UNUSED.format(**{**OWN, "step": step}))
    (arm,) = replay(factory("mine:make", steps=2)).arms
    assert arm.verdict == ArmVerdict.DRIFTED


TRANSPOSED = """
import torch
from torch import nn

class Quantize(nn.Module):
    def __init__(self, dim, codes):
        super().__init__()
        self.register_buffer("embed", torch.eye(max(dim, codes))[:dim, :codes] + torch.arange(codes) / 100)
        self.register_buffer("cluster_size", torch.ones(codes))
        self.register_buffer("embed_avg", self.embed.clone())

class Training:
    def __init__(self, dim, codes):
        self.module = nn.Module()
        self.module.quantize_t = Quantize(dim, codes)
        self.module.quantize_conv_t = nn.Conv1d(dim, dim, 1)
        self.probe = self.module.quantize_t.embed.t().clone()
        torch.manual_seed(3)
        self.step = self.swap

    def swap(self, number):
        embed = self.module.quantize_t.embed
        embed[:, :2] = embed[:, :2].flip(1)
        return {"loss": embed.sum()}

def wide():
    return Training(3, 6)

def square():
    return Training(6, 6)
"""


@pytest.mark.parametrize("shape", ["wide", "square"])
def test_the_probe_of_transposed_codes_is_followed(own, shape):
    """Codes that are columns are looked up as columns: of two that change places, just their two frames flip."""
    own(TRANSPOSED)
    result = replay(factory(f"mine:{shape}", steps=1))
    assert result.setting.probe_tokens == 6
    assert result.arms[0].steps[0].flipped_tokens == 2
    codes = next(tensor for tensor in result.arms[0].steps[0].tensors if tensor.label == "codes")
    assert (codes.rows_changed, codes.rows) == (2, 6)


DELETION = """
    def swap(self, number):
        book = self.module.quantize_t
        loss = book.embed_avg.sum() if number < 2 else torch.ones(1)
        if number == 2:
            del book.{name}
        return {{"loss": loss + 1}}
"""


@pytest.mark.parametrize(
    ("name", "label"), [("embed", "codes"), ("embed_avg", "ema_sum"), ("cluster_size", "ema_count")]
)
def test_a_codebook_attribute_that_disappears_is_missing(own, valid, name, label):
    """It is a change of every row, named as missing, with the deletion's place; the replay goes on and can be shown."""
    head, _, tail = TRANSPOSED.partition("    def swap(")
    own(head + DELETION.format(name=name).lstrip("\n") + tail[tail.index("\ndef wide") :])
    result = replay(factory("mine:wide", steps=3))
    (arm,) = result.arms
    assert (arm.verdict, result.exit_code) == (ArmVerdict.DRIFTED, 1)
    problems = [{tensor.label: tensor.problem for tensor in step.tensors if tensor.problem} for step in arm.steps]
    assert problems == [{}, {label: "is missing"}, {label: "is missing"}]
    gone = next(tensor for tensor in arm.steps[1].tensors if tensor.label == label)
    assert (gone.changed, gone.written, gone.rows_changed) == (True, True, gone.rows)
    assert not any(tensor.written for tensor in arm.steps[2].tensors)
    assert [(write.label, write.first_changed_step) for write in arm.first_writes] == [(label, 2)]
    assert arm.steps[1].flipped_tokens == (6 if name == "embed" else 0)
    shown = valid(json.render(view(result)))["arms"][0]["steps"][1]["tensors"]
    assert {tensor["label"]: tensor["problem"] for tensor in shown}[label] == "is missing"
    assert digests(arm)


COSINE_CODES = """
import torch
from torch import nn

class Training:
    def __init__(self):
        self.module = nn.Module()
        self.module.quantizer = nn.Module()
        layer = nn.Module()
        layer.codebook = nn.Embedding(3, 2)
        layer.codebook.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        layer.in_proj, layer.out_proj = nn.Conv1d(4, 2, 1), nn.Conv1d(2, 4, 1)
        self.module.quantizer.quantizers = nn.ModuleList([layer])
        self.codes = layer.codebook.weight
        self.probe = torch.tensor([[0.9, 0.1], [0.1, 0.9], [-1.0, -1.0]])

    def step(self, number):
        self.codes.data[0] *= 50  # another length, the same direction: no cosine lookup minds
        return {"loss": self.codes.sum()}
"""


def test_the_probe_of_a_cosine_lookup_goes_by_direction(own):
    """DAC looks up the direction nearest to a frame, so a longer code takes no frame from another."""
    own(COSINE_CODES)
    result = replay(factory("mine:Training", steps=1))
    assert result.arms[0].verdict == ArmVerdict.DRIFTED
    assert result.arms[0].steps[0].flipped_tokens == 0
