"""The optimizer steps that a gradient scaler skips in a checkout are counted, as those of our own step are."""

import pytest
import torch

from vqcheck.live.tensor_change import Write
from vqcheck.replay.arm_run import ArmRun
from vqcheck.replay.run import replay
from vqcheck.replay.strategies import STRATEGIES
from vqcheck.replay.subject import StepReport
from vqcheck.replay.trace import ArmVerdict


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_what_the_child_says_arrives_in_the_trace(tree, version):
    """A replay in full precision has skipped no step, which is more than not to know it."""
    result = replay(tree.config(steps=1, version=version))
    assert [arm.skipped_steps for arm in result.arms] == [0, 0]
    assert {step.optimizer_step_skipped for arm in result.arms for step in arm.steps} == {False}


class Slow:
    """Training code whose scaler skips the first steps; its projection moves in each step that is taken."""

    def __init__(self, small, skips):
        self.module, self.skips = small, skips

    def probe_tokens(self):
        return None

    def moved_parameters(self):
        return ()

    def step(self, number, traced):
        skipped = number <= self.skips
        if not skipped:
            self.module.ssl_proj.weight.data.add_(1)
        wrote = Write("aten.add_.Tensor", "me.py", 1, "step")
        writes = {} if skipped or traced is None else {"ssl_proj.weight": wrote}
        return StepReport(losses={}, optimizer_step_skipped=skipped, writes=writes, uses_codebook=True)


@pytest.mark.parametrize(("skips", "steps"), [(0, 2), (1, 3), (2, 4), (5, 7)])
def test_an_arm_of_a_tree_is_run_on_until_it_has_learned(skips, steps):
    """And a step more, to attribute what the first one wrote."""
    module = torch.nn.Module()
    module.ssl_proj = torch.nn.Conv1d(4, 4, 2, stride=2)
    module.quantizer = child_like_quantizer()
    arm = ArmRun(Slow(module, skips), STRATEGIES["none"], ArmVerdict.DRIFTED, 2)
    arm.run(lambda _step: None)
    trace = arm.finish(complete=True)
    assert (trace.steps_run, trace.skipped_steps) == (steps, skips)
    assert [write.label for write in trace.first_writes] == ["input_proj.weight"]
    assert trace.first_writes[0].traced_step == (skips + 1 if skips == 0 else skips + 2)


def child_like_quantizer():
    """Return a quantizer with the names of GPT-SoVITS's."""
    from vqcheck.synthesizer.quantizer import ResidualVectorQuantizer

    quantizer = ResidualVectorQuantizer(4, bins=8)
    quantizer.codebooks()[0].initialise(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    return quantizer
