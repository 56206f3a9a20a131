"""A guard notices every change of the VQ encoder's bits, however it was made, and nothing else."""

import pytest
import torch
from torch import nn

import vqcheck
from vqcheck.errors import CodebookChanged


def write_through_data(module):
    module.embed.data[3, 0] += 1


def write_in_place(module):
    with torch.no_grad():
        module.embed[3] += 1


def load_another_state(module):
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state["embed"][3] += 1
    module.load_state_dict(state)


def write_through_numpy(module):
    module.embed.numpy()[3] += 1


def rebind(module):
    changed = module.embed.clone()
    changed[3] += 1
    module.embed = changed


def flip_the_sign_of_a_zero(module):
    module.embed.data[3, 0] = -0.0


def show_the_negative_of_a_row(module):
    """The memory stays as it is, and the tensor is a view of it that says otherwise."""
    module.embed[:3] *= -1
    module.embed[4:] *= -1
    module.embed = torch._neg_view(module.embed)


WRITES = [
    write_through_data,
    write_in_place,
    load_another_state,
    write_through_numpy,
    rebind,
    flip_the_sign_of_a_zero,
    show_the_negative_of_a_row,
]


@pytest.mark.parametrize("write", WRITES)
def test_every_kind_of_write_is_noticed(small_model, book, write):
    """Whatever changed one row, the error names step, tensor and number of rows."""
    model = small_model()
    book(model).embed[3, 0] = 0.0
    guard = vqcheck.guard(model, every=4)
    guard.step()
    guard.step()
    write(book(model))
    guard.step()
    with pytest.raises(CodebookChanged) as caught:
        guard.check()
    (change,) = caught.value.finding.changes
    assert (change.name, change.step, change.rows_changed, change.rows) == (
        "quantizer.vq.layers.0._codebook.embed",
        3,
        1,
        16,
    )
    assert "embed: 1 of 16 rows" in str(caught.value)
    assert "changed in step 3" in str(caught.value)


def write_the_same(module):
    module.embed.data.copy_(module.embed.clone())


def load_the_same_state(module):
    module.load_state_dict({name: tensor.clone() for name, tensor in module.state_dict().items()})


def rebind_the_same(module):
    module.embed = module.embed.clone()


@pytest.mark.parametrize("write", [write_the_same, load_the_same_state, rebind_the_same])
def test_writing_the_same_bits_is_no_change(small_model, book, write):
    """A codebook may be written as long as its bits stay: what counts is the function, not the write."""
    model = small_model()
    with vqcheck.guard(model, every=1) as guard:
        write(book(model))
        guard.step()
        guard.step()
    assert guard.steps == 2


def test_values_that_are_not_numbers_stay_the_same(small_model, book):
    """A NaN that was there at the start is no change, though it does not equal itself."""
    model = small_model()
    book(model).embed_avg[0, 0] = torch.nan
    guard = vqcheck.guard(model)
    guard.check()
    book(model).embed_avg[0, 1] = torch.nan
    with pytest.raises(CodebookChanged, match="embed_avg: 1 of 16 rows"):
        guard.check()


def test_the_version_counter_knows_nothing_of_it(small_model, batch, book):
    """The moving average writes through .data: `_version` stays 0 while the guard fires."""
    model = small_model()
    embed = book(model).embed = book(model).embed.clone()
    assert embed._version == 0
    guard = vqcheck.guard(model, every=1)
    model(batch())
    assert book(model).embed is embed
    assert embed._version == 0
    with pytest.raises(CodebookChanged, match="embed: 16 of 16 rows"):
        guard.check()


def test_training_without_freeze_fires(small_model, train):
    """The first step that trains the VQ encoder is the step that is named, however late the host looks."""
    model = small_model()
    guard = vqcheck.guard(model, every=3)
    with pytest.raises(CodebookChanged) as caught:
        train(model, steps=9, after=guard.step)
    assert guard.steps == 4
    finding = caught.value.finding
    assert (finding.step, finding.found_after) == (1, 3)
    assert {change.name.rpartition(".")[2] for change in finding.changes} == {
        "embed",
        "embed_avg",
        "cluster_size",
        "weight",
        "bias",
    }


def test_training_with_freeze_is_silent(small_model, train):
    """A frozen VQ encoder passes every look, the last one at the end of the with block included."""
    model = small_model()
    vqcheck.freeze(model)
    with vqcheck.guard(model, every=2) as guard:
        train(model.train(), steps=5, after=guard.step)
    assert guard.steps == 5


def test_direct_writes_of_training_are_caught(small_model, train, book):
    """What freeze cannot hold, a module's `training` set by hand, the guard notices."""
    model = small_model()
    vqcheck.freeze(model)
    guard = vqcheck.guard(model, every=1)
    book(model).training = True
    with pytest.raises(CodebookChanged, match=r"_codebook\.embed: 16 of 16 rows"):
        train(model, after=guard.step)


def test_a_change_of_the_decoder_is_none_of_its_business(small_model):
    """Parameters that decide no token may change."""
    model = small_model()
    with vqcheck.guard(model, every=1) as guard:
        model.decoder.weight.data.zero_()
        guard.step()
    assert guard.steps == 1


def test_the_text_encoders_look_alike_is_not_watched(small_model):
    """`enc_p.ssl_proj` ends in the name of the tokenizer's projection and is trained in every fine-tuning."""
    model = small_model()
    model.enc_p = torch.nn.Module()
    model.enc_p.ssl_proj = torch.nn.Conv1d(8, 8, 1)
    guard = vqcheck.guard(model)
    assert not any(name.startswith("enc_p") for name in guard.names)


def test_a_change_that_was_undone_is_reported(small_model, book):
    """The step in which tokens were other ones remains, even if the codebook is back at the look."""
    model = small_model()
    before = book(model).embed.clone()
    guard = vqcheck.guard(model)
    book(model).embed.data.add_(1)
    guard.step()
    book(model).embed.data.copy_(before)
    guard.step()
    with pytest.raises(CodebookChanged, match="embed: the same again by now, first in step 1"):
        guard.check()


@pytest.mark.parametrize("steps", [0, 3])
def test_a_change_behind_the_last_step_is_not_said_to_be_seen_before_it_was_made(small_model, book, steps):
    """The look at the end finds a change of a step that nobody counted."""
    model = small_model()
    guard = vqcheck.guard(model)
    for _ in range(steps):
        guard.step()
    write_in_place(book(model))
    with pytest.raises(CodebookChanged) as caught:
        guard.check()
    assert f"in step {steps + 1} (looked at before that step was counted)" in str(caught.value)


def test_a_change_of_dtype_is_a_change(small_model):
    """A quantizer cast to float16 meanwhile derives other tokens; the error says from what to what."""
    model = small_model()
    guard = vqcheck.guard(model)
    guard.step()
    model.quantizer.half()
    with pytest.raises(CodebookChanged, match="embed: is now float16, was float32, first in step 2"):
        guard.check()


def test_another_shape_and_a_missing_tensor_are_changes(small_model, book):
    """What cannot be compared is reported as what it is."""
    model = small_model()
    guard = vqcheck.guard(model)
    book(model).embed = torch.zeros(15, 8)
    del book(model).embed_avg
    with pytest.raises(CodebookChanged) as caught:
        guard.check()
    assert "embed: has now the shape [15, 8], had [16, 8]" in str(caught.value)
    assert "embed_avg: is missing" in str(caught.value)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_tensor_without_values_is_a_change(small_model, book, take_steps, every, lazy):
    """Whatever took the values away, the guard says so instead of failing itself."""
    model = small_model()
    guard = vqcheck.guard(model, every=every)
    if lazy:
        book(model).embed = nn.parameter.UninitializedBuffer()
    else:
        model.to("meta")
    with pytest.raises(CodebookChanged, match="is missing" if lazy else "without values"):
        take_steps(guard, lambda _: None, 5)


@pytest.mark.parametrize("inside", [(True, False, False), (False, True, False), (False, False, True)])
def test_inference_mode_may_come_and_go(small_model, book, take_steps, inside):
    """A model, a guard or a step may be made in inference mode, and what follows outside of it."""
    with torch.inference_mode(inside[0]):
        model = small_model()
    with torch.inference_mode(inside[1]):
        guard = vqcheck.guard(model, every=1)
        guard.step()
    with torch.inference_mode(inside[2]):
        guard.step()
    guard.step()
    with torch.inference_mode():
        book(model).embed[3] += 1
    with pytest.raises(CodebookChanged) as caught:
        take_steps(guard, lambda _: None, 2)
    assert caught.value.finding.step == 4


def test_a_replaced_quantizer_is_seen(small_model):
    """Tensors are found again by name, so another module in the place of the quantizer is compared too."""
    model = small_model()
    guard = vqcheck.guard(model)
    other = small_model().quantizer
    model.quantizer = other
    guard.check()
    other.codebooks()[0].embed.data.add_(1)
    with pytest.raises(CodebookChanged):
        guard.check()


def test_a_guard_holds_one_copy_of_the_vq_encoder(small_model):
    """Its memory is that of the tensors it watches."""
    model = small_model()
    guard = vqcheck.guard(model)
    copies = guard._watch.start
    state = model.state_dict()
    assert {name: copy.shape for name, copy in copies.items()} == {name: state[name].shape for name in guard.names}


def test_nothing_is_read_back_between_two_looks(small_model, monkeypatch):
    """On the device without data any read by the host is an error, and only the step that looks makes one."""
    monkeypatch.setattr("vqcheck.live.watch._problem", lambda *_: "")
    model = small_model()
    guard = vqcheck.guard(model, every=8)
    model.to("meta")
    for _ in range(7):
        guard.step()
    with pytest.raises(RuntimeError, match="meta tensor"):
        guard.step()


def test_one_layer_in_all_places_of_a_residual_chain_is_watched_whole(dac_like):
    """Where every layer is the same module, its output projection decides the tokens of the next round."""
    model = dac_like()
    assert not any("out_proj" in name for name in vqcheck.guard(model).names)
    model.quantizer.quantizers.append(model.quantizer.quantizers[0])
    guard = vqcheck.guard(model)
    assert "quantizer.quantizers.0.out_proj.weight" in guard.names
    with torch.no_grad():
        model.quantizer.quantizers[0].out_proj.bias += 1
    with pytest.raises(CodebookChanged, match=r"out_proj\.bias"):
        guard.check()
