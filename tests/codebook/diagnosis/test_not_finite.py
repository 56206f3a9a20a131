"""Values that became NaN or infinite hide what happened: no cause is told that does not see past them."""

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.codebook.diagnosis.evidence import Edited, EmaUpdates, NotFinite
from vqcheck.report.render import json
from vqcheck.report.views.causes import headline
from vqcheck.report.views.diff import view

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["embed", "embed_avg", "cluster_size"])
def test_a_broken_value_is_no_edit(base, diagnose, name, value):
    """One such value says that a file is damaged, or a training blew up; not that somebody edited it."""
    broken = {key: tensor.clone() for key, tensor in base().items()}
    broken[f"{CODEBOOK}.{name}"][3] = value
    for a, b, side in ((base(), broken, "B"), (broken, base(), "A")):
        result = diagnose(a, b)
        assert [cause.evidence for cause in result.causes] == [NotFinite((side,))]
        [advice] = result.advice
        assert (advice.code, f"Do not use {side}:" in advice.text) == ("get-a-sound-file", True)
        assert f"codebook of {side} is broken" in headline(result)


def test_an_ordinary_value_put_in_by_hand_still_is(base, diagnose):
    """The same place with a number in it is an edit, as before."""
    edited = {key: tensor.clone() for key, tensor in base().items()}
    edited[f"{CODEBOOK}.embed"][3] = 7.0
    [cause] = diagnose(base(), edited).causes
    assert isinstance(cause.evidence, Edited)


def test_updates_are_seen_past_a_broken_code(base, updates, diagnose):
    """Codes that no frame was nearest to prove the updates, whatever one other code holds."""
    [run] = updates(base(), 5, unhit=(1, 2, 3))
    assert run.unhit
    after = {key: tensor.clone() for key, tensor in run.after.items()}
    after[f"{CODEBOOK}.embed"][max(set(range(64)) - run.unhit)] = torch.nan
    assert any(isinstance(cause.evidence, EmaUpdates) for cause in diagnose(run.before, after).causes)


def test_json_holds_the_broken_side(base, save, valid):
    """The cause fits its schema."""
    broken = {key: tensor.clone() for key, tensor in base().items()}
    broken[f"{CODEBOOK}.embed"][3] = torch.nan
    with open_checkpoint(save(base())) as a, open_checkpoint(save(broken, "b.pth")) as b:
        (cause,) = valid(json.render(view(compare(a, b))))["diagnosis"]["causes"]
    assert (cause["code"], cause["evidence"]) == ("not-finite", {"sides": ["B"]})
