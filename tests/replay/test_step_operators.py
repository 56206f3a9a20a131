"""What one training step asks of the host: few operators, and no value of a tensor, for which a GPU would have to wait.

Counted on a CPU, where reads that cost nothing (the checks of a batch's values) are taken out: a GPU is spared them.
"""

import subprocess
import sys
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vqcheck.live.encoder import find
from vqcheck.live.watch import EncoderWatch
from vqcheck.replay.learning import gradient_scaler
from vqcheck.replay.own_subject import OwnSubject
from vqcheck.replay.strategies import STRATEGIES
from vqcheck.synthesizer import preset

READS = ("aten._local_scalar_dense.default", "aten.equal.default", "aten.nonzero.default", "aten.is_nonzero.default")


class Operators(TorchDispatchMode):
    """Counts every operator while it is active."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def counted(config, monkeypatch):
    """Counts the operators of the second training step of a tiny model."""

    def count(version, make_scaler=gradient_scaler):
        subject = OwnSubject(config(["eval-in-forward"], subject={"version": version}), make_scaler)
        with subject.opened(None):
            training = subject.start(STRATEGIES["eval-in-forward"])
            step, batches = training.training.training_step, training.batches
            step.start_epoch()
            step(next(batches)[1].inputs())
            for module in ("checks", "segments"):
                monkeypatch.setattr(f"vqcheck.synthesizer.{module}.check_range", lambda *_: None)
            monkeypatch.setattr("vqcheck.synthesizer.codebook.EuclideanCodebook.is_initialised", lambda _: True)
            with Operators() as operators:
                step(next(batches)[1].inputs())
        return operators.counts

    return count


@pytest.mark.parametrize("version", ["tiny", "tiny-v3"])
def test_a_step_reads_no_value(version, counted):
    """Forward, backward and optimizers: what a step returns is still on the device."""
    assert sum(counted(version)[name] for name in READS) == 0


def test_a_weight_is_passed_over_once_by_its_optimizer(counted):
    """Each group of parameters is one fused update: four of the generator, one of the discriminator."""
    counts = counted("tiny")
    assert counts["aten._fused_adamw_.default"] == 5
    assert not any("addcdiv" in name or "lerp" in name for name in counts)


@pytest.mark.parametrize(("of_generated", "passes"), [(False, 1), (True, 2)])
def test_the_discriminator_judges_both_batches_in_one_pass(of_generated, passes):
    """While it learns; while the generator does, the gradient must reach one batch alone. Its parts have 19 layers."""
    judge = preset("tiny").multi_period_discriminator()
    y, y_hat = torch.randn(2, 2, 1, 1024).unbind()
    y_hat.requires_grad_(of_generated)
    with Operators() as operators:
        judged = judge(y, y_hat)
    assert operators.counts["aten.convolution.default"] == 19 * passes
    with torch.no_grad():
        alone = [judge(each, each) for each in (y, y_hat)]
    for side, name in enumerate(("real", "fake")):
        torch.testing.assert_close(judged[side], alone[side][0], msg=name)
        torch.testing.assert_close(judged[2 + side], alone[side][2], msg=name)


def test_a_look_at_what_did_not_change_measures_nothing():
    """The distance from the start is computed when a tensor moved, and read together with the others'."""
    net = preset("tiny").synthesizer(freeze_quantizer=False)
    net.initialise_codebook(torch.randn(4, 32, 80))
    watch = EncoderWatch(find(net))
    looks = []
    for moves in (False, True, False):
        if moves:
            net.quantizer.vq.layers[0]._codebook.embed.data += 1
        with Operators() as operators:
            steps = watch.look()
        assert any(step.written for step in steps) is moves
        looks.append(operators.counts)
    assert looks[0] == looks[2]
    assert looks[0]["aten.equal.default"] == len(steps)
    assert not any("norm" in name for name in looks[0])
    assert sum("norm" in name for name in looks[1]) == 1


def test_no_compiler_is_imported():
    """Neither an optimizer nor the catching of writes loads torch's compiler, which takes up to seconds."""
    script = (
        "import sys\n"
        "from vqcheck.cli.main import main\n"
        "assert main(['replay', '--quiet', '--steps', '1', '--batch-size', '1']) == 0\n"
        "sys.exit('torch._dynamo' in sys.modules or 'sympy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
