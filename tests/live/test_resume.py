"""What a guard and a monitor know of a run goes on after a resume: the count of steps, and what is guarded."""

import json

import pytest
import torch

import vqcheck
from vqcheck.cli.main import main
from vqcheck.errors import CodebookChanged, UsageError


def test_a_guard_goes_on_with_its_steps(small_model, book):
    """Through JSON, as a Trainer writes it: the next change has a step of the whole run."""
    model = small_model()
    guard = vqcheck.guard(model, every=4)
    for _ in range(6):
        guard.step()
    state = json.loads(json.dumps(guard.state_dict()))
    guard = vqcheck.guard(model, every=4)
    guard.load_state_dict(state)
    guard.step()
    book(model).embed.data[3] += 1
    guard.step()
    assert guard.steps == 8
    with pytest.raises(CodebookChanged, match="first in step 8"):
        guard.step()


def test_digests_of_the_state_are_those_of_a_file(small_model, tmp_path, capsys):
    """So a resumed run can be compared with what `vqcheck inspect` says of a checkpoint."""
    model = small_model()
    state = vqcheck.guard(model).state_dict()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    assert main(["inspect", str(tmp_path / "model.pth"), "--format", "json"]) == 0
    said = capsys.readouterr().out
    assert len(state["digests"]) == 6
    for digest in state["digests"].values():
        assert digest.rpartition(":")[2] in said
    assert {type(label) for label in state["digests"]} == {str}


def test_a_narrower_copy_of_the_same_values_is_the_same(small_model):
    """A model that is exact in float16 goes on in float32."""
    model = small_model().half()
    state = vqcheck.guard(model).state_dict()
    guard = vqcheck.guard(model.float())
    guard.load_state_dict(state)
    guard.check()
    assert guard.steps == 0


def resumed_with_another_codebook(small_model, book, **options):
    model = small_model()
    guard = vqcheck.guard(model)
    guard.step()
    state = guard.state_dict()
    book(model).embed.data[3] += 1
    guard = vqcheck.guard(model, **options)
    guard.load_state_dict(state)
    return guard


def test_another_codebook_after_the_resume_is_a_change(small_model, book):
    """What was written between checkpoint and resume is found at once, before any step."""
    with pytest.raises(CodebookChanged, match=r"before the training was resumed after step 1; it differs in .*embed$"):
        resumed_with_another_codebook(small_model, book)
    with pytest.warns(RuntimeWarning, match="resumed after step 1"):
        resumed_with_another_codebook(small_model, book, action="warn")


def test_the_state_does_not_hide_what_changed(small_model, book):
    """The digests are those of the start, also when the model was written since, so a resume finds it."""
    model = small_model()
    guard = vqcheck.guard(model)
    guard.step()
    book(model).embed.data[3] += 1
    state = guard.state_dict()
    with pytest.raises(CodebookChanged, match="it differs in"):
        vqcheck.guard(model).load_state_dict(state)


def test_a_guard_that_said_what_it_found_has_a_state_too(small_model, book):
    """Its copies are gone; a later run guards what it starts with."""
    model, calls = small_model(), []
    guard = vqcheck.guard(model, action=calls.append)
    book(model).embed.data[3] += 1
    guard.check()
    state = guard.state_dict()
    assert (len(calls), state) == (1, {"steps": 0, "digests": {}})
    resumed = vqcheck.guard(model)
    resumed.load_state_dict(state)
    resumed.check()


def test_a_monitor_goes_on_with_its_steps(small_model, train):
    """The records of the resumed run continue the curve."""
    model = small_model()
    use = vqcheck.monitor(model, every=2)
    train(model, steps=3, after=use.step)
    resumed = vqcheck.monitor(model, every=2)
    resumed.load_state_dict(json.loads(json.dumps(use.state_dict())))
    train(model, steps=3, after=resumed.step)
    assert [record.step for record in resumed.records] == [4, 6]


@pytest.mark.parametrize("make", [vqcheck.guard, vqcheck.monitor])
def test_another_word_for_ranks_is_refused(small_model, make):
    with pytest.raises(UsageError, match="ranks: expected 'compare' or 'own', given 'all'"):
        make(small_model(), ranks="all")


@pytest.mark.parametrize("make", [vqcheck.guard, vqcheck.monitor])
@pytest.mark.parametrize("state", [None, {}, {"steps": "3"}, {"steps": -1, "digests": {}}, {"steps": 1.5}])
def test_what_is_no_state_is_refused(small_model, make, state):
    """The state of something else is one clear error, and the count stays."""
    watch = make(small_model())
    with pytest.raises(UsageError, match="expected what state_dict"):
        watch.load_state_dict(state)
    assert watch.steps == 0


def test_the_state_of_a_monitor_is_none_of_a_guard(small_model):
    """Nothing would be compared with it."""
    model = small_model()
    with pytest.raises(UsageError, match="digests"):
        vqcheck.guard(model).load_state_dict(vqcheck.monitor(model).state_dict())
