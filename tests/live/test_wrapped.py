"""freeze works under what scripts put around a model: torch.compile, checkpointing, DistributedDataParallel."""

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import vqcheck
from vqcheck.errors import CodebookChanged, UsageError


@pytest.fixture
def one_process(tmp_path):
    """A process group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before compiling", "before the first call", "after the first call"])
def test_a_compiled_model_obeys(small_model, batch, snapshot, changed, codebook, when):
    """Freezing holds a compiled model, even one whose train mode was compiled before."""
    torch.compiler.reset()
    model = small_model()
    if when == "before compiling":
        vqcheck.freeze(model)
    compiled = torch.compile(model, backend="eager")
    before = snapshot(model)
    if when == "after the first call":
        compiled(batch())
        assert f"{codebook}.embed" in changed(model, before)
        before = snapshot(model)
    vqcheck.freeze(compiled)
    compiled.train()
    compiled(batch(1)).backward()
    assert changed(model, before) == set()
    assert model.decoder.weight.grad is not None


def test_a_quantizer_compiled_on_its_own_is_found(small_model, batch, snapshot, changed):
    """The name that torch.compile puts in the middle does not hide a codebook."""
    torch.compiler.reset()
    model = small_model()
    model.quantizer = torch.compile(model.quantizer, backend="eager")
    before = snapshot(model)
    vqcheck.freeze(model)
    model.train()
    model(batch())
    assert changed(model, before) == set()


def test_recomputation_of_activation_checkpoints_writes_nothing(small_model, batch, snapshot, changed):
    """The second forward inside backward finds the same modes as the first."""
    model = small_model()
    vqcheck.freeze(model)
    model.train()
    before = snapshot(model)
    checkpoint(model, batch().requires_grad_(), use_reentrant=False).backward()
    assert changed(model, before) == set()
    assert model.decoder.weight.grad is not None


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("wrap_first", [False, True])
def test_buffers_may_be_frozen_before_or_after_ddp(small_model, train, snapshot, changed, wrap_first):
    """A codebook of buffers whose projection is not trained is no concern of DistributedDataParallel."""
    model = small_model()
    model.ssl_proj.requires_grad_(False)
    if wrap_first:
        wrapped = DistributedDataParallel(model)
        handle = vqcheck.freeze(wrapped)
        assert handle.modules == ("module.ssl_proj", "module.quantizer")
    else:
        vqcheck.freeze(model)
        wrapped = DistributedDataParallel(model)
    before = snapshot(model)
    train(wrapped.train())
    assert changed(model, before) == {"decoder.weight", "decoder.bias"}


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("wrap_first", [False, True])
def test_parameters_may_be_frozen_before_ddp_or_after_it_with_unused_ones(
    dac_like, train, snapshot, changed, wrap_first
):
    """Training goes on without the frozen parameters, however the model was wrapped."""
    model = dac_like()
    if wrap_first:
        wrapped = DistributedDataParallel(model, find_unused_parameters=True)
        train(wrapped, steps=1)
        handle = vqcheck.freeze(wrapped)
    else:
        handle = vqcheck.freeze(model)
        wrapped = DistributedDataParallel(model)
    held = {name.removeprefix("module.") for name in handle.parameters}
    before = snapshot(model)
    train(wrapped.train())
    assert changed(model, before) == set(before) - held


@pytest.mark.usefixtures("one_process")
def test_parameters_that_ddp_waits_for_are_refused(dac_like):
    """The error says what to do, and nothing is held: else the next backward would fail or hang."""
    wrapped = DistributedDataParallel(dac_like())
    with pytest.raises(UsageError, match="before wrapping it, or wrap it with find_unused_parameters=True"):
        vqcheck.freeze(wrapped)
    assert all(parameter.requires_grad for parameter in wrapped.parameters())
    assert all(module.training for module in wrapped.modules())


@pytest.mark.usefixtures("one_process")
def test_a_guard_on_what_is_sharded_says_so_at_once(small_model):
    """A projection that fully_shard splits over processes is refused when the guard is set, not at a later step."""
    from torch.distributed.fsdp import fully_shard

    model = small_model()
    mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
    fully_shard(model, mesh=mesh)
    with pytest.raises(UsageError, match=r"ssl_proj.weight is sharded over processes .*ignored_params"):
        vqcheck.guard(model)


@pytest.mark.usefixtures("one_process")
def test_a_model_that_is_sharded_under_a_guard_is_a_change(small_model):
    """The memory of the parameters is gone by then; the guard says what happened to them."""
    from torch.distributed.fsdp import fully_shard

    model = small_model()
    guard = vqcheck.guard(model)
    guard.step()
    fully_shard(model, mesh=distributed.device_mesh.init_device_mesh("cpu", (1,)))
    guard.step()
    with pytest.raises(CodebookChanged, match=r"ssl_proj\.weight: is now sharded over processes, first in step 2"):
        guard.check()


@pytest.mark.parametrize("watch", [vqcheck.guard, vqcheck.freeze])
def test_a_model_on_the_meta_device_is_refused_at_once(small_model, watch):
    """What has no values yet can be neither watched nor held."""
    with pytest.raises(UsageError, match="is on the meta device and has no values yet: load the weights first"):
        watch(small_model().to("meta"))
