"""A frozen VQ encoder stays bit by bit what it was, through any train(), and comes back unharmed."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

import vqcheck
from vqcheck.errors import NoCodebookError, UsageError


@pytest.fixture
def frozen(small_model):
    model = small_model()
    return model, vqcheck.freeze(model)


def test_without_freeze_training_moves_every_tensor_that_decides_tokens(
    small_model, train, snapshot, changed, codebook
):
    """The control: the same training without freeze changes codes, bookkeeping and projection."""
    model = small_model()
    before = snapshot(model)
    train(model)
    wanted = {f"{codebook}.{name}" for name in ("embed", "embed_avg", "cluster_size")}
    assert changed(model, before) >= wanted | {"ssl_proj.weight", "ssl_proj.bias"}


def test_with_freeze_training_moves_only_what_is_behind(frozen, train, snapshot, changed):
    """AdamW steps with weight decay leave the VQ encoder alone while the decoder learns, whatever train() says."""
    model, _ = frozen
    before = snapshot(model)
    for _ in range(2):
        model.train()
        train(model, steps=2)
    assert changed(model, before) == {"decoder.weight", "decoder.bias"}


@pytest.mark.parametrize("path", ["", "quantizer", "quantizer.vq", "quantizer.vq.layers.0._codebook", "ssl_proj"])
def test_train_at_any_level_leaves_the_codebook_in_eval_mode(frozen, path):
    """Whichever module train() is called on, no held module goes into train mode."""
    model, _ = frozen
    assert model.get_submodule(path).train() is model.get_submodule(path)
    assert not any(module.training for module in model.quantizer.modules())
    assert not model.ssl_proj.training


def test_the_rest_of_the_model_changes_mode_as_ever(frozen):
    """Nothing but the VQ encoder is held."""
    model, _ = frozen
    assert model.training
    assert model.decoder.training
    model.eval()
    assert not model.decoder.training
    model.train()
    assert model.training
    assert model.decoder.training


def test_a_module_added_below_a_held_one_stays_in_eval_mode_too(frozen):
    """What is put into a held module later cannot write the codebook either."""
    model, _ = frozen
    model.quantizer.added = torch.nn.Dropout()
    model.train()
    assert not model.quantizer.added.training


def test_an_optimizer_step_after_freeze_applies_no_gradient_from_before(small_model, batch, snapshot, changed):
    """A gradient that was there when freeze was called moves nothing, nor does the weight decay that follows one."""
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    model(batch()).backward()
    optimizer.step()
    assert model.ssl_proj.weight.grad is not None
    vqcheck.freeze(model)
    before = snapshot(model)
    optimizer.step()
    assert changed(model, before) == {"decoder.weight", "decoder.bias"}


def test_train_takes_parameters_out_of_training_again(frozen):
    """requires_grad_(True) on the whole model lasts no longer than until the next train()."""
    model, _ = frozen
    model.requires_grad_(True)
    model.train()
    assert not model.ssl_proj.weight.requires_grad
    assert model.decoder.weight.requires_grad


@pytest.mark.parametrize("mode", [True, False])
def test_remove_restores_mode_gradients_and_train(small_model, mode):
    """After remove() the module is as it was: its mode, requires_grad of each parameter, and its own train."""
    model = small_model().train(mode)
    model.ssl_proj.bias.requires_grad_(False)
    vqcheck.freeze(model).remove()
    assert all(module.training is mode for module in model.modules())
    assert model.ssl_proj.weight.requires_grad
    assert not model.ssl_proj.bias.requires_grad
    assert all("train" not in vars(module) for module in model.modules())


def test_remove_gives_the_mode_that_was_asked_for_last(frozen):
    """A model that went into eval mode while frozen does not come back in train mode."""
    model, handle = frozen
    model.eval()
    handle.remove()
    assert not any(module.training for module in model.modules())


def test_remove_lets_the_codebook_learn_again(frozen, train, snapshot, changed, codebook):
    """Unfrozen, the moving average writes as ever."""
    model, handle = frozen
    handle.remove()
    before = snapshot(model)
    train(model, steps=1)
    assert f"{codebook}.embed" in changed(model, before)


def test_a_train_of_the_users_own_comes_back(small_model):
    """An override that stood on the instance before freeze stands there after it."""
    model = small_model()
    calls = []
    model.quantizer.train = calls.append
    vqcheck.freeze(model)
    model.quantizer.train()
    assert calls == []
    vqcheck.unfreeze(model)
    model.quantizer.train(False)
    assert calls == [False]


def test_freezing_twice_is_freezing_once(frozen):
    """A second freeze holds the same, and one remove() undoes both."""
    model, first = frozen
    second = vqcheck.freeze(model)
    assert second.held == first.held
    second.remove()
    assert all(module.training for module in model.modules())
    assert model.ssl_proj.weight.requires_grad


def test_unfreeze_of_a_free_model_does_nothing(small_model):
    """It is no mistake to unfreeze what is not frozen."""
    model = small_model()
    vqcheck.unfreeze(model)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_frozen_and_free_on_their_own(frozen, copied, train, snapshot, changed):
    """A deepcopy and an unpickled model are held as the original, and unfreezing one leaves the other held."""
    model, _ = frozen
    twin = copied(model)
    before = snapshot(twin)
    twin.train()
    train(twin, steps=1)
    assert changed(twin, before) == {"decoder.weight", "decoder.bias"}
    vqcheck.unfreeze(twin)
    assert all(module.training for module in twin.modules())
    assert twin.ssl_proj.weight.requires_grad
    assert not model.quantizer.training
    assert not model.ssl_proj.weight.requires_grad


def test_the_state_dict_is_the_same(frozen, small_model):
    """Freezing adds no key and changes no value, and the state dict loads into a model that is not frozen."""
    model, _ = frozen
    free = small_model()
    assert list(model.state_dict()) == list(free.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), free.state_dict().values(), strict=True))
    free.load_state_dict(model.state_dict())


def test_a_deleted_model_frees_its_memory_at_once(small_model):
    """Freezing makes no cycle of references that would keep a model until the garbage collector comes."""
    import weakref

    model = small_model()
    vqcheck.freeze(model)
    book = weakref.ref(model.quantizer)
    del model
    assert book() is None


def test_the_handle_says_what_it_holds(frozen, codebook):
    """Names of modules, buffers and parameters stand in the handle and, in short, in its repr."""
    _, handle = frozen
    assert handle.modules == ("ssl_proj", "quantizer")
    assert set(handle.buffers) == {f"{codebook}.{name}" for name in ("inited", "cluster_size", "embed", "embed_avg")}
    assert handle.parameters == ("ssl_proj.weight", "ssl_proj.bias")
    assert handle.held == (*handle.buffers, *handle.parameters)
    assert repr(handle) == (
        "<frozen GPT-SoVITS: ssl_proj, quantizer in eval mode; 4 buffers; 2 parameters without gradient>"
    )


def test_a_gradient_trained_codebook_is_taken_out_of_training(dac_like, train, snapshot, changed):
    """Where gradients train the codes, codes and input projection stay while the output projection learns on."""
    model = dac_like()
    before = snapshot(model)
    train(model, steps=1)
    assert changed(model, before) == set(before)
    handle = vqcheck.freeze(model)
    layer = "quantizer.quantizers.0"
    assert set(handle.held) == {f"{layer}.codebook.weight", f"{layer}.in_proj.weight", f"{layer}.in_proj.bias"}
    assert model.quantizer.quantizers[0].codebook.weight.grad is None
    before = snapshot(model)
    train(model.train())
    assert changed(model, before) == set(before) - set(handle.held)


def test_train_still_refuses_what_is_no_mode(frozen):
    """A mistake in the argument is an error on a held module as on any other."""
    model, _ = frozen
    with pytest.raises(ValueError, match="expected to be boolean"):
        model.quantizer.train("yes")


def test_a_module_without_a_codebook_is_refused():
    """The error says what was looked at and what to pass."""
    with pytest.raises(NoCodebookError, match=r"Linear: none of its 2 parameters .* pass the whole model"):
        vqcheck.freeze(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["inited", "embed"])
def test_an_untrained_codebook_is_refused(small_model, name, codebook):
    """A codebook that the first batch would fill by k-means, in eval mode too, is refused, and nothing is held."""
    model = small_model()
    model.get_buffer(f"{codebook}.{name}").zero_()
    with pytest.raises(UsageError, match=f"{name} is all zero: this codebook was never trained"):
        vqcheck.freeze(model)
    assert all(module.training for module in model.modules())


def test_a_frozen_model_may_change_dtype(frozen, snapshot, changed):
    """What was cast to another dtype while frozen is still frozen in that dtype."""
    model, _ = frozen
    model.double()
    before = snapshot(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    model.train()
    model(torch.randn(2, 8, 12, dtype=torch.float64)).backward()
    optimizer.step()
    assert changed(model, before) == {"decoder.weight", "decoder.bias"}


def test_a_shallow_copy_stays_in_eval_mode_and_says_when_it_cannot_be_followed(small_model):
    """A shallow copy shares what holds its original; once that is gone, train() on the copy is an error."""
    model = small_model()
    vqcheck.freeze(model)
    quantizer = copy.copy(model.quantizer)
    assert not quantizer.train().training
    assert not quantizer.training
    del model
    with pytest.raises(UsageError, match="freeze the copy itself"):
        quantizer.train()


def test_importing_vqcheck_costs_no_torch():
    """Freeze and guard are there by name, and torch is imported only when one of them is used."""
    code = "import sys, vqcheck; print('freeze' in vqcheck.__all__, 'torch' in sys.modules, callable(vqcheck.guard))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["True", "False", "True"]


def test_every_public_name_is_listed_before_it_is_used():
    """Tab completion shows what there is, and each name leads to something that can be called."""
    assert {"freeze", "guard", "compare", "open_checkpoint"} <= set(vqcheck.__all__) <= set(dir(vqcheck))
    assert all(callable(getattr(vqcheck, name)) for name in vqcheck.__all__ if not name.startswith("__"))
    with pytest.raises(AttributeError, match="module 'vqcheck' has no attribute 'freezes'"):
        _ = vqcheck.freezes
