"""The step after the look is watched, and the error names the operator and the line of Python that wrote."""

import inspect

import pytest
import torch

import vqcheck
from vqcheck.errors import CodebookChanged
from vqcheck.live.encoder import find
from vqcheck.live.first_write import WriteCatcher
from vqcheck.live.watch import EncoderWatch
from vqcheck.synthesizer.codebook import EuclideanCodebook


def writes(error):
    return {change.name.rpartition(".")[2]: change.write for change in error.finding.changes}


def test_the_moving_average_is_found_at_its_line(small_model, batch, take_steps):
    """The error of a guard points to the lines of the codebook's own update."""
    model = small_model()
    guard = vqcheck.guard(model, every=1)
    with pytest.raises(CodebookChanged) as caught:
        take_steps(guard, lambda number: model(batch(number)))
    assert guard.steps == 2
    lines, first = inspect.getsourcelines(EuclideanCodebook._move_averages)
    found = writes(caught.value)
    assert found["embed"].operator == "aten.copy_.default"
    assert found["embed"].file == inspect.getsourcefile(EuclideanCodebook)
    assert "self.embed.data.copy_" in lines[found["embed"].line - first]
    assert "self.cluster_size.data.mul_" in lines[found["cluster_size"].line - first]
    assert f"codebook.py:{found['embed'].line} in _move_averages" in str(caught.value)


def test_an_optimizer_is_found_at_the_line_that_steps_it(small_model, take_steps):
    """Frames of torch are passed over: the line is the user's `optimizer.step()`."""
    model = small_model()
    model.quantizer.eval()
    guard = vqcheck.guard(model, every=1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)

    def work(_):
        optimizer.step()  # the line that is meant

    with pytest.raises(CodebookChanged) as caught:
        take_steps(guard, work)
    write = writes(caught.value)["weight"]
    assert (write.file, write.line, write.function) == (__file__, work.__code__.co_firstlineno + 1, "work")


def test_rebinding_is_found_at_its_line(small_model, codebook, take_steps):
    """A buffer that is replaced by a new tensor has been written where that tensor was made."""
    model = small_model()
    book = model.get_submodule(codebook)
    guard = vqcheck.guard(model, every=1)

    def work(_):
        book.embed = book.embed * 0.5

    with pytest.raises(CodebookChanged) as caught:
        take_steps(guard, work)
    write = writes(caught.value)["embed"]
    assert (write.operator, write.file) == ("rebinding", __file__)
    assert write.line == work.__code__.co_firstlineno + 1


def test_a_single_write_is_not_attributed(small_model, codebook):
    """What does not happen again in the watched step has no line, and the error says so."""
    model = small_model()
    guard = vqcheck.guard(model, every=1)
    model.get_submodule(codebook).embed.data.add_(1)
    guard.step()
    with pytest.raises(CodebookChanged, match="the writing line is not known") as caught:
        guard.step()
    assert writes(caught.value) == {"embed": None}


def test_nothing_of_the_watching_stays(small_model, codebook):
    """After the error, torch's dispatch is as it was."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    model = small_model()
    guard = vqcheck.guard(model, every=1, action=lambda _: None)
    model.get_submodule(codebook).embed.data.add_(1)
    guard.step()
    assert isinstance(_get_current_dispatch_mode(), WriteCatcher)
    guard.step()
    assert _get_current_dispatch_mode() is None


def test_an_error_of_the_user_ends_the_watching(small_model, codebook):
    """A with block that is left by an exception takes the dispatch mode with it."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    model = small_model()

    def training():
        with vqcheck.guard(model, every=1) as guard:
            model.get_submodule(codebook).embed.data.add_(1)
            guard.step()
            raise KeyError

    with pytest.raises(KeyError):
        training()
    assert _get_current_dispatch_mode() is None


def test_writes_of_the_same_bits_and_of_other_tensors_are_left_out(small_model, codebook):
    """Only the first write that changes bits of a watched tensor counts."""
    model = small_model()
    book = model.get_submodule(codebook)
    with WriteCatcher(find(model)) as catcher:
        book.embed.data.copy_(book.embed.clone())
        model.decoder.weight.data.add_(book.embed[0, 0])
        assert catcher.first == {}
        book.embed[:2].mul_(2)
        book.embed.zero_()
    assert catcher.first[f"{codebook}.embed"].operator == "aten.mul_.Tensor"


def test_writes_inside_backward_are_found(small_model, codebook):
    """A hook that writes during backward is seen, as is all that checkpointing computes again there."""
    model = small_model()
    book = model.get_submodule(codebook)
    y = torch.ones(1, requires_grad=True) * 2
    y.register_hook(lambda gradient: gradient if book.embed.add_(1) is None else None)
    with WriteCatcher(find(model)) as catcher:
        y.backward()
    assert catcher.first[f"{codebook}.embed"].file == __file__


def test_a_step_that_writes_nothing_has_no_write(small_model, batch):
    """A forward in eval mode uses the codebook and leaves it alone."""
    model = small_model().eval()
    with WriteCatcher(find(model)) as catcher:
        model(batch())
    assert (catcher.first, catcher.used) == ({}, True)


def test_a_write_past_the_dispatcher_is_not_invented(small_model, book):
    """A write through numpy has no operator, so none is named; the comparison after the step sees it all the same."""
    model = small_model()
    watch = EncoderWatch(find(model))
    with WriteCatcher(find(model)) as catcher:
        book(model).embed.numpy()[0, 0] += 1
    assert (catcher.first, catcher.used) == ({}, False)
    assert [step.label for step in watch.look() if step.changed] == ["codes"]


def test_a_deletion_is_found_at_its_line(small_model, book):
    """A buffer that is taken away is put down to the line of the last operator before it."""
    model = small_model()
    with WriteCatcher(find(model)) as catcher:
        torch.ones(1) + 1
        del book(model).embed_avg
    (write,) = catcher.first.values()
    assert (write.operator, write.file) == ("deletion", __file__)


@pytest.mark.slow
def test_a_compiled_model_is_reported_with_or_without_a_line(small_model, batch, take_steps):
    """Under torch.compile the change is found all the same."""
    torch.compiler.reset()
    model = small_model()
    compiled = torch.compile(model, backend="eager")
    guard = vqcheck.guard(compiled, every=1)
    with pytest.raises(CodebookChanged, match=r"_codebook\.embed: 16 of 16 rows"):
        take_steps(guard, lambda number: compiled(batch(number)))
