"""The replay as a whole: verdicts, late first changes, interruption, and what it leaves behind."""

import csv
import io
import itertools
import math
import warnings
from types import MethodType

import pytest
import torch

from vqcheck.errors import UsageError
from vqcheck.live.tensor_change import OPTIMIZER_STEP
from vqcheck.replay import arm_run, strategies
from vqcheck.replay.arm_run import Silent
from vqcheck.replay.run import planned, replay
from vqcheck.replay.strategies import STRATEGIES, MaybeNoGrad, Strategy
from vqcheck.replay.surroundings import choose_device, choose_fp16
from vqcheck.replay.trace import MOST_FURTHER, ArmVerdict, ReplayVerdict
from vqcheck.report.render import csv as table
from vqcheck.report.render import html, json, text
from vqcheck.report.views.replay import view

pytestmark = pytest.mark.slow


def said_of_projections(result):
    """Return what the report says of the projection of each arm."""
    table = next(block for block in view(result).blocks if block.title == "Side by side").blocks[0]
    (place,) = (place for place, column in enumerate(table.columns) if column.title == "Projection")
    return [row[place] for row in table.rows]


def test_two_runs_are_the_same(config):
    """The same configuration gives the same losses, the same drift and the same digests."""
    first, second = (replay(config(["none"])).arms[0] for _ in range(2))
    assert [step.losses for step in first.steps] == [step.losses for step in second.steps]
    assert first.digest_at_end == second.digest_at_end


def test_another_seed_is_another_run(config):
    """The seed decides weights and data."""
    one = config(["none"], steps=1)
    other = one.changed("replay", seed=5)
    assert replay(one).arms[0].digest_at_start != replay(other).arms[0].digest_at_start


def test_what_the_optimizer_writes_is_its_step(config):
    """The projection is trained by the optimizer in vqcheck's own training step: that is no line of vqcheck."""
    (arm,) = replay(config(["none"], steps=1)).arms
    written = {write.label: (write.file, write.line, write.function) for write in arm.first_writes}
    assert written["input_proj.weight"] == ("", 0, OPTIMIZER_STEP)
    assert written["codes"][0].endswith("codebook.py")
    told = text.render(view(replay(config(["none"], steps=1))), text.Style(verbose=True))
    assert "the optimizer's step" in told
    assert "training_step.py" not in told


def test_an_unexpected_arm_fails_the_replay(config):
    """An arm that drifts where it must not ends in status 1, with everything measured."""
    result = replay(config(["none", "no-grad"], steps=1, expected={"no-grad": "frozen"}))
    assert (result.verdict, result.exit_code) == (ReplayVerdict.NOT_AS_EXPECTED, 1)
    assert [arm.as_expected for arm in result.arms] == [True, False]


def test_without_a_drifting_control_nothing_is_proved(config, monkeypatch):
    """When no control arm drifts the replay is inconclusive, however still the others are."""

    class Still(MaybeNoGrad):
        name, expected = "none", ArmVerdict.DRIFTED

    monkeypatch.setattr(strategies, "STRATEGIES", {**STRATEGIES, "none": Still()})
    result = replay(config(["maybe-no-grad"], steps=1))
    assert [(arm.strategy, arm.verdict) for arm in result.arms] == [
        ("none", ArmVerdict.FROZEN),
        ("maybe-no-grad", ArmVerdict.FROZEN),
    ]
    assert (result.verdict, result.exit_code) == (ReplayVerdict.INCONCLUSIVE, 2)


def test_an_interruption_keeps_what_was_measured(config):
    """Ctrl-C in the second arm returns the first arm whole and the second one as far as it got, not complete."""

    class Impatient(Silent):
        def step(self, strategy, step):
            if strategy == "maybe-no-grad" and step.step == 2:
                raise KeyboardInterrupt

    result = replay(config(["none", "maybe-no-grad", "no-grad"], steps=3), Impatient())
    assert [(arm.strategy, arm.steps_run, arm.complete) for arm in result.arms] == [
        ("none", 3, True),
        ("maybe-no-grad", 2, False),
    ]
    assert result.arms[1].verdict == ArmVerdict.NOT_MEASURED
    assert (result.verdict, result.exit_code) == (ReplayVerdict.INCOMPLETE, 2)


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), UsageError("step 2 raised X")])
def test_a_failure_keeps_what_was_measured(config, error, valid):
    """What fails in a later arm ends the replay in 2 with the steps before it, and is named."""

    def encode(model, ssl):
        if model.training and next(calls) == 2:
            raise error
        return type(model).encode_semantic(model, ssl)

    calls = itertools.count(1)
    failing = encoding("no-grad", ArmVerdict.FROZEN, encode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies, "STRATEGIES", {**STRATEGIES, "no-grad": failing})
        result = replay(config(["none", "no-grad", "freeze"], steps=3))
    assert [(arm.strategy, arm.steps_run, arm.complete) for arm in result.arms] == [
        ("none", 3, True),
        ("no-grad", 1, False),
    ]
    assert result.failure.startswith("no-grad: ")
    assert str(error) in result.failure
    assert (result.verdict, result.exit_code) == (ReplayVerdict.INCOMPLETE, 2)
    assert valid(json.render(view(result)))["failure"] == result.failure
    assert "the replay failed (no-grad: " in view(result).headline


def test_an_error_of_the_program_is_no_failure_of_the_replay(config):
    """A mistake in vqcheck itself is never reported as if it were measured."""

    class Mistaken(Silent):
        def step(self, strategy, step):
            raise NameError(strategy, step)

    with pytest.raises(NameError):
        replay(config(["none"]), Mistaken())


def test_an_interruption_before_the_first_step_is_passed_on(config):
    """With nothing measured there is nothing to return."""

    class VeryImpatient(Silent):
        def arm(self, _strategy):
            raise KeyboardInterrupt

        def step(self, strategy, step):
            pass

    with pytest.raises(KeyboardInterrupt):
        replay(config(["none"]), VeryImpatient())


def encoding(name, expected, encode):
    """Return a strategy of the shipped synthesizer, frozen, with another `encode_semantic`."""

    class Encoding(Strategy):
        stops = "Stops what the test says."

        def apply(self, net):
            net.freeze_quantizer = True
            net.encode_semantic = MethodType(encode, net)

    strategy = Encoding()
    strategy.name, strategy.expected = name, expected
    return strategy


def late_write(step, *, past_dispatcher=False):
    """Return a strategy that is frozen but for one write in the given step and, unless it is hidden, each one after."""
    calls = []

    def encode(model, ssl):
        calls.append(0)
        if len(calls) == step and past_dispatcher:
            model.quantizer.codebooks()[0].embed.numpy()[0, 0] += 1
        if len(calls) >= step and not past_dispatcher:
            model.quantizer.codebooks()[0].embed.data[0].add_(1)
        return type(model).encode_semantic(model, ssl)

    return encoding("late", ArmVerdict.DRIFTED, encode)


@pytest.fixture
def with_strategy(monkeypatch):
    """Adds a strategy for the time of a test."""
    return lambda strategy: monkeypatch.setattr(strategies, "STRATEGIES", {**STRATEGIES, strategy.name: strategy})


def test_a_late_first_change_is_attributed_to_the_step_after(config, with_strategy):
    """A tensor that first changes in step 3 has its write named in step 4, with this file and line."""
    with_strategy(late_write(3))
    (arm,) = replay(config(["late"], steps=5)).arms
    (write,) = arm.first_writes
    assert (write.label, write.first_changed_step, write.traced_step) == ("codes", 3, 4)
    assert (write.file, write.function, write.operator) == (__file__, "encode", "aten.add_.Tensor")
    assert [step.tensors[0].changed for step in arm.steps] == [False, False, True, True, True]
    # steps with attribution are slower, so they have no time
    assert [step.step for step in arm.steps if step.seconds is None] == [1, 4]
    assert arm.digest_at_start == replay(config(["none"], steps=1)).arms[0].digest_at_start


def test_a_hidden_write_is_seen_and_not_attributed(config, with_strategy):
    """A single write that no operator makes is a change all the same, and nobody is blamed for it."""
    with_strategy(late_write(2, past_dispatcher=True))
    (arm,) = replay(config(["late"], steps=4)).arms
    (write,) = arm.first_writes
    assert (write.label, write.first_changed_step, write.traced_step, write.file) == ("codes", 2, None, "")
    assert arm.verdict == ArmVerdict.DRIFTED


def test_global_settings_are_restored(config):
    """Random state, TF32, matmul precision and threads are after the replay what they were before."""

    def settings():
        return (
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
        )

    torch.manual_seed(7)
    before = settings()
    replay(config(["none"], steps=1))
    assert settings() == before


def test_settings_are_restored_after_a_failure(config, monkeypatch):
    """An error inside leaves no setting behind either."""
    before = torch.get_float32_matmul_precision()

    def fail(*_):
        assert torch.get_float32_matmul_precision() == "medium"
        raise RuntimeError("broken")

    monkeypatch.setattr(arm_run.ArmRun, "run", fail)
    with pytest.raises(RuntimeError, match="broken"):
        replay(config(["none"]))
    assert torch.get_float32_matmul_precision() == before


def test_the_planned_arms_are_the_ones_that_run(config):
    """What the live view is told beforehand is what the replay does, the added control included."""
    chosen = config(["maybe-no-grad"], steps=1)
    assert planned(chosen) == ["none", "maybe-no-grad"]
    result = replay(chosen)
    assert [arm.strategy for arm in result.arms] == planned(chosen)
    assert result.verdict == ReplayVerdict.AS_EXPECTED


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "mps:0", "meta"])
def test_a_device_that_is_not_there_is_refused(name):
    """Only devices that exist and that upstream trains on are taken."""
    with pytest.raises(UsageError, match="device"):
        choose_device(name)


def test_half_precision_needs_a_gpu(config):
    """fp16 on a CPU is refused when asked for, and left off as upstream does when merely configured."""
    cpu = torch.device("cpu")
    asked = config(["none"]).changed("replay", precision="fp16")
    with pytest.raises(UsageError, match="needs CUDA"):
        choose_fp16(asked, cpu)
    assert config(["none"]).training.fp16_run
    assert not choose_fp16(config(["none"]), cpu)


def test_unknown_expectations_are_refused(config):
    """An expectation for a strategy that does not exist is a mistake, not something to ignore."""
    with pytest.raises(UsageError, match="unknown strategy 'nothing'"):
        planned(config(["none"], expected={"nothing": "frozen"}))


@pytest.mark.parametrize("version", ["v1", "v2Pro", "v2ProPlus", "v3", "v4"])
def test_every_version_has_its_batch(config, version):
    """Each version's generated batch fits its own networks: symbols, speaker vectors, spectrogram, mel."""
    from vqcheck.replay.own_networks import OwnNetworks
    from vqcheck.replay.training_data import items_of

    chosen = config(["none"]).changed("subject", version=version).changed("data", generated_items=2)
    networks = OwnNetworks(chosen)
    item = items_of(chosen, networks.inputs).item(0)
    assert item.ssl.shape == (768, item.spec.size(1))
    assert item.spec.size(0) == 1025
    assert int(item.text.max()) < networks.net_g.enc_p.text_embedding.num_embeddings
    assert (item.sv_emb is not None) == version.startswith("v2Pro")
    frames = {"v3": 1.875, "v4": 2}.get(version)
    assert item.mel is None if frames is None else item.mel.shape == (100, int(item.spec.size(1) * frames))


class Overflowing(torch.amp.GradScaler):
    """Torch's own scaler, whose scale is infinite for so many steps, as if gradients overflowed half precision."""

    def __init__(self, device_type, times):
        super().__init__(device_type, init_scale=math.inf if times else 1.0)
        self.left = times

    def update(self, new_scale=None):
        assert new_scale is None
        self.left -= 1
        super().update(math.inf if self.left > 0 else 1.0)


def skipping(times):
    """Return the maker of a gradient scaler that skips so many steps."""
    return lambda device_type, _fp16: Overflowing(device_type, times)


class TestSkippedSteps:
    """A gradient scaler takes no optimizer step while gradients overflow; what it skipped proves nothing."""

    def test_an_arm_that_learned_nothing_is_run_on_until_it_has(self, config):
        """Two steps were planned, four are skipped: the projection moves in the first step that is taken."""
        chosen = config(["none", "requires-grad"], steps=2)
        result = replay(chosen, make_scaler=skipping(4))
        for arm in result.arms:
            skips = [step.optimizer_step_skipped for step in arm.steps]
            moved = [any(t.changed for t in step.tensors if t.label.startswith("input_proj")) for step in arm.steps]
            assert arm.skipped_steps == skips.count(True) == 4
            assert not skips[-1]
            assert moved == [arm.strategy == "none" and False in skips[: n + 1] for n in range(len(skips))]
        trained = result.arms[0]
        assert said_of_projections(result) == ["moved", "still"]
        assert result.verdict == ReplayVerdict.AS_EXPECTED
        # what the first step that is taken writes is attributed in the one after it
        lines = {write.label: write for write in trained.first_writes}
        assert lines["input_proj.weight"].traced_step == lines["input_proj.weight"].first_changed_step + 1

    def test_what_is_attributed_is_what_no_scaler_would_change(self, config):
        """The same tensors are written by the same lines as without any skipped step."""
        chosen = config(["none", "requires-grad", "eval-in-forward"], steps=1)
        plain, skipped = replay(chosen), replay(chosen, make_scaler=skipping(2))
        for one, other in zip(plain.arms, skipped.arms, strict=True):
            assert (one.strategy, one.verdict, one.skipped_steps) == (other.strategy, other.verdict, 0)
            assert {(w.label, w.line) for w in one.first_writes} == {(w.label, w.line) for w in other.first_writes}
            assert other.skipped_steps > 0

    def test_nothing_is_skipped_without_a_scaler_that_does(self, config):
        """Full precision and a scaler at a harmless scale both end with the planned step."""
        for make in ({}, {"make_scaler": skipping(0)}):
            result = replay(config(["none"], steps=2), **make)
            (arm,) = result.arms
            assert (arm.steps_run, arm.skipped_steps) == (2, 0)
            assert "skipped" not in text.render(view(result), text.Style())

    def test_an_arm_that_never_learns_is_given_up_and_not_called_frozen(self, config, valid):
        """After the bound the arm is not measured: exit 2, and every report says why."""
        result = replay(config(["none", "eval-in-forward"], steps=1), make_scaler=skipping(1000))
        control, arm = result.arms
        assert (arm.steps_run, arm.skipped_steps) == (1 + MOST_FURTHER, 1 + MOST_FURTHER)
        assert (control.verdict, arm.verdict) == (ArmVerdict.DRIFTED, ArmVerdict.NOT_MEASURED)
        assert (result.verdict, result.exit_code) == (ReplayVerdict.INCOMPLETE, 2)
        assert said_of_projections(result) == ["not trained", "not trained"]
        document = view(result)
        assert "every optimizer step of eval-in-forward" in document.headline
        for report in (text.render(document, text.Style()), html.render(document)):
            assert f"all {arm.steps_run} steps skipped by the gradient scaler, the most that are tried" in report
        told = valid(json.render(view(result)))["arms"][1]
        assert told["optimizer_steps_skipped"] == arm.steps_run
        assert all(step["optimizer_step_skipped"] for step in told["steps"])
        rows = list(csv.DictReader(io.StringIO(table.render(document))))
        assert {row["optimizer_step_skipped"] for row in rows} == {"1"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_verdicts_on_a_gpu_are_those_on_a_cpu(config, precision):
    """The same arms drift and hold on CUDA, in both precisions, with the writes attributed to the same lines.

    In half precision the gradient scaler skips the first steps, so that the arms there are longer.
    """
    chosen = config(STRATEGIES, steps=3)
    cpu = replay(chosen.changed("replay", device="cpu"))
    gpu = replay(chosen.changed("replay", device="cuda", precision=precision))
    assert gpu.setting.precision == precision
    assert [(arm.strategy, arm.verdict) for arm in gpu.arms] == [(arm.strategy, arm.verdict) for arm in cpu.arms]
    for one, other in zip(gpu.arms, cpu.arms, strict=True):
        assert {(w.label, w.line) for w in one.first_writes} == {(w.label, w.line) for w in other.first_writes}
        assert one.skipped_steps == sum(step.optimizer_step_skipped for step in one.steps) < one.steps_run
    assert all(0 < step.shadow_commit_loss < 2 for arm in gpu.arms for step in arm.steps)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_half_precision_on_a_gpu_needs_no_half_complex_numbers(config):
    """Torch calls them experimental, with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*ComplexHalf")
        replay(config(["none"], steps=1).changed("replay", device="cuda", precision="fp16"))
