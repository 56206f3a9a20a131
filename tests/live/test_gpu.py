"""On a GPU nothing waits between two looks, and a model that moves between devices is followed."""

import copy
import pickle

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import vqcheck
from vqcheck.errors import CodebookChanged

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

WAITS = (
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "Memcpy DtoH",
    "aten::item",
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
)
"""How the names of what the host waits for begin. Copies within the device are queued like any other work, under the
same call (cudaMemcpyAsync) as copies to the host, so only the kind of copy tells them apart."""


def waits(work):
    """Return the names of all that made the host wait, as the profiler saw them."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        work()
    # the profiler waits itself when it ends, for the whole device (cudaDeviceSynchronize)
    return {event.name for event in profiled.events() if event.name.startswith(WAITS)}


def test_a_copy_within_the_device_is_no_wait_and_one_to_the_host_is():
    """What the test below counts: copies on the device and kernels do not, every way to hand a value over does."""
    a, b = torch.zeros(2, 1000, device="cuda")
    assert waits(lambda: (a.copy_(b), a.clone(), a.add_(1), (a != b).any())) == set()
    for hands_over in (a.cpu, a.sum().item, a.tolist, lambda: bool(a.any())):
        assert waits(hands_over) != set()


def test_nothing_waits_between_two_looks(small_model):
    """The profiler sees no synchronisation in steps without a look, and sees the one in the step that has it."""
    model = small_model().cuda()
    guard = vqcheck.guard(model, every=8)
    guard.step()
    assert waits(lambda: [guard.step() for _ in range(6)]) == set()
    assert waits(guard.step) != set()


def test_torch_itself_sees_no_synchronisation(small_model):
    """With torch's own debug mode every synchronising call is an error: steps without a look raise none."""
    model = small_model().cuda()
    guard = vqcheck.guard(model, every=8)
    guard.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(6):
            guard.step()
        with pytest.raises(RuntimeError, match="synchroniz"):
            guard.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_writes_on_the_device_are_named_by_step(small_model, batch, take_steps):
    """The step of the first change comes from the device's own count."""
    model = small_model().cuda()
    vqcheck.freeze(model)
    guard = vqcheck.guard(model, every=4)
    take_steps(guard, lambda number: model(batch(number).cuda()), 2)
    vqcheck.unfreeze(model)
    with pytest.raises(CodebookChanged) as caught:
        take_steps(guard, lambda number: model.train()(batch(number).cuda()), 6)
    assert (caught.value.finding.step, caught.value.finding.found_after) == (3, 4)
    assert any("_move_averages" in str(change.write) for change in caught.value.finding.changes)


def test_a_model_that_moves_to_a_device_is_followed(small_model, codebook):
    """Moving changes no bit; what changed before or after the move is still found, with its step."""
    model = small_model()
    guard = vqcheck.guard(model)
    guard.step()
    model.cuda()
    guard.step()
    guard.check()
    model.get_submodule(codebook).embed.data.add_(1)
    guard.step()
    model.cpu()
    with pytest.raises(CodebookChanged, match="embed: 16 of 16 rows, by at most 1, first in step 3"):
        guard.check()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_freeze_moves_along(small_model, batch, snapshot, changed, copied):
    """A frozen model, or a copy of one, is frozen on the device that it moved to."""
    model = small_model()
    vqcheck.freeze(model)
    model = copied(model).cuda().train()
    before = snapshot(model)
    model(batch().cuda()).backward()
    assert changed(model, before) == set()
    assert model.decoder.weight.grad is not None
