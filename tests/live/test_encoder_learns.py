"""freeze(module, encoder="learns"): the codes stay, and the encoder in front gets the gradient of training."""

import copy
import pickle

import pytest
import torch

import vqcheck
from vqcheck.errors import CodebookChanged, UsageError


@pytest.fixture
def learning(small_model):
    model = small_model()
    return model, vqcheck.freeze(model, encoder="learns")


def input_gradient(model, x):
    """Returns the loss, and the gradient that an encoder in front would get."""
    x = x.clone().requires_grad_()
    loss = model(x)
    loss.backward()
    return loss.detach(), x.grad


def test_the_gradient_in_front_is_that_of_free_training(learning, small_model, batch):
    """Loss, commitment loss included, and gradient are bit by bit those of a model that nothing holds."""
    model, _ = learning
    free = small_model()
    model.train()
    for ours, theirs in zip(input_gradient(model, batch()), input_gradient(free, batch()), strict=True):
        assert torch.equal(ours, theirs)


def test_the_default_passes_no_gradient(small_model, batch):
    """The control: in eval mode nothing comes to the encoder, and the first forward in train mode says so."""
    model = small_model()
    vqcheck.freeze(model)
    model.train()
    with pytest.warns(RuntimeWarning, match=r"stop learning; vqcheck.freeze\(module, encoder=\"learns\"\)"):
        _, gradient = input_gradient(model, batch())
    assert gradient is None or not gradient.any()


def test_nothing_in_front_no_warning(small_model, batch, recwarn):
    """Features that no trainable parameter made, as in GPT-SoVITS: nothing is lost, nothing is said."""
    model = small_model()
    vqcheck.freeze(model)
    model.train()(batch()).backward()
    assert not [each for each in recwarn if issubclass(each.category, RuntimeWarning)]


@pytest.mark.parametrize("where", ["", "quantizer", "quantizer.vq.layers.0"])
def test_training_leaves_the_vq_encoder_still(learning, train, snapshot, changed, where):
    """Whatever module is put into train mode, and through AdamW with weight decay."""
    model, _ = learning
    model.get_submodule(where).train()
    before = snapshot(model)
    train(model)
    assert changed(model, before) == {"decoder.weight", "decoder.bias"}
    assert not any(module.training for module in model.quantizer.modules())


def test_tensors_keep_their_identity_after_an_error_in_forward(learning, batch):
    """A forward that fails half way leaves the originals under their names, in eval mode."""
    model, _ = learning
    model.train()
    before = {name: tensor.data_ptr() for name, tensor in model.named_buffers()}
    model.quantizer.register_forward_hook(lambda *_: 1 / 0)
    model.quantizer.vq.layers[0].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(batch())
    assert {name: tensor.data_ptr() for name, tensor in model.named_buffers()} == before
    assert not any(module.training for module in model.quantizer.modules())


def test_a_part_that_is_called_directly_writes_nothing_either(learning, batch, snapshot, changed):
    """A model that goes around the outermost forward, or calls a method that writes, finds copies or eval mode."""
    model, _ = learning
    model.train()
    before = snapshot(model)
    layer = model.quantizer.vq.layers[0]
    layer(model.ssl_proj(batch()))
    layer._codebook(model.ssl_proj(batch()))
    assert changed(model, before) == set()


def test_a_buffer_that_is_not_stored_is_as_before_too(learning, batch):
    """A codec that keeps calculated codes in a buffer of its own, as Moshi does, does not keep those of a copy."""
    model, _ = learning
    book = model.quantizer.vq.layers[0]._codebook
    book.register_buffer("cached", None, persistent=False)
    book.register_forward_hook(lambda module, *_: setattr(module, "cached", module.embed.clone()))
    model.train()(batch())
    assert book.cached is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_learn_too_and_come_free_on_their_own(learning, copied, train, snapshot, changed, codebook):
    """A deepcopy and an unpickled model run on copies of their own codebooks until they are unfrozen."""
    model, _ = learning
    twin = copied(model)
    before, original = snapshot(twin), snapshot(model)
    train(twin.train(), steps=1)
    assert changed(twin, before) == {"decoder.weight", "decoder.bias"}
    vqcheck.unfreeze(twin)
    train(twin.train(), steps=1)
    assert f"{codebook}.embed" in changed(twin, before)
    assert changed(model, original) == set()
    assert all("forward" not in vars(module) for module in twin.modules())


def test_the_last_freeze_decides(learning, batch):
    """A second freeze without encoder="learns" is a plain one, and one with it lets the encoder learn again."""
    model, _ = learning
    assert vqcheck.freeze(model).encoder == "eval"
    model.train()
    with pytest.warns(RuntimeWarning, match="stop learning"):
        input_gradient(model, batch())
    assert "the encoder learns" in repr(vqcheck.freeze(model, encoder="learns"))
    assert input_gradient(model, batch())[1].any()


@pytest.mark.slow
@pytest.mark.parametrize("first", ["freeze", "compile", "call"])
def test_a_compiled_model_obeys(small_model, batch, snapshot, changed, first):
    """Whatever comes first, the codes of a compiled model stay; frozen before compiling, the gradient passes too."""
    torch.compiler.reset()
    model = small_model()
    if first == "freeze":
        vqcheck.freeze(model, encoder="learns")
    compiled = torch.compile(model, backend="eager")
    if first == "call":
        compiled(batch())
    if first != "freeze":
        vqcheck.freeze(compiled, encoder="learns")
    before = snapshot(model)
    compiled.train()
    for number in range(2):
        _, gradient = input_gradient(compiled, batch(number))
    assert changed(model, before) == set()
    assert gradient.any() or first != "freeze"


def test_another_word_is_refused(small_model):
    """The error names what there is, and nothing is held."""
    model = small_model()
    with pytest.raises(UsageError, match="expected 'eval' or 'learns', given 'train'"):
        vqcheck.freeze(model, encoder="train")
    assert all(module.training for module in model.modules())


def replaced_quantizer(model):
    model.quantizer = copy.deepcopy(type(model)().quantizer)


def rebound_projection(model):
    model.ssl_proj = torch.nn.Conv1d(8, 8, 2, stride=2)


def rebound_weight(model):
    model.ssl_proj.weight = torch.nn.Parameter(model.ssl_proj.weight.detach().clone())


def replaced_codebook(model):
    vqcheck.unfreeze(model.quantizer)


@pytest.mark.parametrize("encoder", ["eval", "learns"])
@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (replaced_quantizer, "quantizer"),
        (rebound_projection, "ssl_proj"),
        (rebound_weight, "ssl_proj.weight"),
        (replaced_codebook, "quantizer"),
    ],
)
def test_what_is_replaced_after_freeze_is_noticed(small_model, batch, break_it, name, encoder):
    """The next forward warns once and names it, and so does check() of the handle."""
    model = small_model()
    handle = vqcheck.freeze(model, encoder=encoder)
    assert handle.check() == ()
    break_it(model)
    with pytest.warns(RuntimeWarning, match=f"^{name}: was replaced or set free"):
        model(batch())
    with pytest.warns(RuntimeWarning, match=f"^{name}: was replaced or set free"):
        assert handle.check() == (name,)


def test_an_intact_model_gets_no_warning(learning, batch, recwarn):
    """Through training, a change of dtype and of mode, check() and forward stay silent."""
    model, handle = learning
    model.train()(batch()).backward()
    model.double().eval()
    assert handle.check() == ()
    model.float().train()(batch())
    assert not [each for each in recwarn if issubclass(each.category, RuntimeWarning)]


def test_remove_leaves_no_hook(learning):
    """After remove() no hook and no attribute is left."""
    model, handle = learning
    handle.remove()
    for module in model.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
        assert not {"train", "forward"} & vars(module).keys()


def test_a_write_to_a_copy_is_no_write_to_the_codebook(learning, batch, book):
    """Behind a write of somebody else's, the moving average on the copies is not called the culprit."""
    model, _ = learning
    guard = vqcheck.guard(model, every=1)
    book(model).embed[0] += 1
    guard.step()
    model(batch())
    with pytest.raises(CodebookChanged) as caught:
        guard.step()
    assert [change.write for change in caught.value.finding.changes] == [None]


def test_a_write_to_the_codebook_from_within_its_forward_is_found(learning, batch, book, take_steps):
    """What is written past the copies has its line all the same."""
    model, _ = learning
    guard, original = vqcheck.guard(model, every=1), book(model).embed
    model.quantizer.vq.layers[0].register_forward_pre_hook(lambda *_: (original.add_(1), None)[1])
    with pytest.raises(CodebookChanged) as caught:
        take_steps(guard, lambda number: model(batch(number)))
    (change,) = caught.value.finding.changes
    assert change.write.operator == "aten.add_.Tensor"
    assert change.write.file == __file__
