"""How a guard says what it found, when, and how often; and what it refuses to guard."""

import pickle

import pytest
import torch

import vqcheck
from vqcheck.errors import CodebookChanged, NoCodebookError, UsageError
from vqcheck.live.tensor_change import GuardFinding, TensorChange


def test_the_end_of_the_block_looks_once_more(small_model, book):
    """A change after the last look does not escape a context manager."""
    model = small_model()
    with pytest.raises(CodebookChanged, match="changed in step 1"), vqcheck.guard(model):
        book(model).embed.data.add_(1)


def test_an_error_inside_the_block_stays_the_error(small_model, book):
    """A guard does not replace the user's own exception by its finding."""
    model = small_model()

    def training():
        with vqcheck.guard(model, every=1) as guard:
            book(model).embed.data.add_(1)
            guard.step()
            raise KeyError

    with pytest.raises(KeyError):
        training()


def test_raise_says_it_again(small_model, book):
    """Whoever goes on training after the error gets it again at every step."""
    guard = vqcheck.guard(model := small_model())
    book(model).embed.data.add_(1)
    for again in (guard.check, guard.check, guard.step):
        with pytest.raises(CodebookChanged, match="changed in step 1"):
            again()


def test_warn_warns_once_and_lets_the_training_go_on(small_model, train):
    """With the action "warn" there is one RuntimeWarning, in the user's own line."""
    model = small_model()
    guard = vqcheck.guard(model, every=1, action="warn")
    with pytest.warns(RuntimeWarning, match="the VQ encoder changed in step 1") as warned:
        train(model, steps=6, after=guard.step)
    assert [warning.filename.endswith("conftest.py") for warning in warned] == [True]


def test_a_callable_gets_the_error_once(small_model, train):
    """A function given as action is called with the CodebookChanged, and training goes on."""
    model, calls = small_model(), []
    guard = vqcheck.guard(model, every=1, action=calls.append)
    train(model, steps=4, after=guard.step)
    assert [type(call) for call in calls] == [CodebookChanged]
    assert calls[0].finding.step == 1


def test_the_error_can_be_sent_to_another_process(small_model, book):
    """Launchers that pickle exceptions keep text and finding."""
    guard = vqcheck.guard(model := small_model())
    book(model).embed.data.add_(1)
    with pytest.raises(CodebookChanged) as caught:
        guard.check()
    received = pickle.loads(pickle.dumps(caught.value))
    assert str(received) == str(caught.value)
    assert received.finding == caught.value.finding


def test_steps_are_counted_in_inference_mode_and_autocast_too(small_model):
    """It does not matter in which context step() is called."""
    model = small_model()
    guard = vqcheck.guard(model, every=1)
    with torch.inference_mode():
        guard.step()
    with torch.autocast("cpu"):
        guard.step()
    guard.step()
    assert guard.steps == 3


@pytest.mark.parametrize("every", [0, -1, 2.5, "often"])
def test_an_interval_that_makes_no_sense_is_refused(small_model, every):
    """The interval is a number of steps."""
    with pytest.raises(UsageError, match="every: expected a number of steps"):
        vqcheck.guard(small_model(), every=every)


def test_an_unknown_action_is_refused(small_model):
    """The error names what there is."""
    with pytest.raises(UsageError, match="expected 'raise', 'warn' or a callable, given 'stop'"):
        vqcheck.guard(small_model(), action="stop")


def test_a_module_without_a_codebook_is_refused():
    """There is no guard that guards nothing."""
    with pytest.raises(NoCodebookError):
        vqcheck.guard(torch.nn.Linear(2, 2))


def test_an_untrained_codebook_is_refused(small_model, book):
    """A codebook that is bound to be filled by the next batch cannot be guarded."""
    model = small_model()
    book(model).inited.zero_()
    with pytest.raises(UsageError, match="never trained"):
        vqcheck.guard(model)


def test_many_tensors_are_shortened():
    """The text shows the first few changes and counts the rest; the finding has them all."""
    changes = tuple(TensorChange(f"layers.{layer}.embed", 1, 4, 4, 0.5) for layer in range(9))
    text = str(GuardFinding(20, changes))
    assert "layers.5.embed: 4 of 4 rows, by at most 0.5" in text
    assert "layers.6" not in text
    assert "and 3 more" in text
