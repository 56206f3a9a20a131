"""Each tensor gets the verdict the design gives it, and the whole gets the worst that is judged."""

import math

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.errors import CheckpointError, NoCodebookError

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED = f"{CODEBOOK}.embed"


def diff(a, b, scope="all"):
    with open_checkpoint(a) as first, open_checkpoint(b) as second:
        return compare(first, second, scope)


def verdicts(comparison):
    return {tensor.label: tensor.verdict for tensor in comparison.tensors}


def change_of(comparison, label):
    return next(tensor.change for tensor in comparison.tensors if tensor.label == label)


def test_the_commonest_diff_there_is_is_identical(checkpoints):
    """A float16 base and the frozen float32 training file made from it are identical, and the widths are noted."""
    result = diff(checkpoints / "base_v2.pth", checkpoints / "G_400.pth")
    assert (result.verdict, result.exit_code) == ("identical", 0)
    assert {tensor.note for tensor in result.tensors} == {"A stores float16, B float32"}
    assert result.a.digests.vq_encoder == result.b.digests.vq_encoder


@pytest.mark.parametrize("name", ["drifted_v2_e8_s400.pth", "G_437.pth"])
def test_a_drifted_codebook_is_changed(checkpoints, name):
    """After leaked updates the codebook's tensors are changed, in float32 and in the export, and ssl_proj is not."""
    result = diff(checkpoints / "base_v2.pth", checkpoints / name)
    assert (result.verdict, result.exit_code) == ("changed", 1)
    found = verdicts(result)
    assert [found[label] for label in ("codes", "ema_sum", "ema_count")] == ["changed"] * 3
    assert [found[label] for label in ("init_flag", "input_proj.weight", "input_proj.bias")] == ["identical"] * 3


def test_an_export_is_the_rounding_of_its_training_file(checkpoints):
    """float32 and its float16 export agree as `rounded`, in both directions, and the note says which is which."""
    a, b = checkpoints / "G_437.pth", checkpoints / "drifted_v2_e8_s400.pth"
    forth, back = diff(a, b), diff(b, a)
    assert (forth.verdict, forth.exit_code, back.verdict) == ("rounded", 0, "rounded")
    assert "B is A rounded to float16" in {tensor.note for tensor in forth.tensors}
    assert "A is B rounded to float16" in {tensor.note for tensor in back.tensors}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_rounded_copy_is_rounded_whatever_it_is_stored_in_now(vq_state, save, dtype):
    """Rounded values stored in float32 again are still `rounded`; one more bit off and they are `changed`."""
    state = vq_state()
    rounded = {name: value.to(dtype).float() for name, value in state.items()}
    a, b = save(state, "a.pth"), save(rounded, "b.pth")
    assert diff(a, b).verdict == "rounded"
    rounded[EMBED].view(torch.int32)[3, 4] ^= 1
    result = diff(a, save(rounded, "b.pth"))
    assert verdicts(result)["codes"] == "changed"


def test_every_single_changed_bit_of_a_judged_tensor_is_found(vq_state, save):
    """Flipping one bit anywhere makes exactly that tensor `changed`, and its row is counted."""
    base = save(vq_state(), "a.pth")
    for name in vq_state():
        state = vq_state()
        state[name].view(torch.int32).flatten()[-1] ^= 1
        if name.endswith("inited"):
            state[name].zero_()
        result = diff(base, save(state, "b.pth"))
        changed = [tensor for tensor in result.tensors if tensor.verdict == "changed"]
        assert [tensor.a_name for tensor in changed] == [name]
        assert changed[0].change.rows_changed == 1
        assert result.exit_code == 1


def test_an_untouched_copy_is_identical(vq_state, save):
    """Saving the same values twice is no change."""
    assert diff(save(vq_state(), "a.pth"), save(vq_state(), "b.pth")).verdict == "identical"


def test_the_change_is_measured_where_it_is_greatest(vq_state, save):
    """Greatest absolute and relative change come with their index, heads first."""
    state = vq_state()
    before = save(state, "a.pth")
    state[EMBED] = state[EMBED].clone()
    state[EMBED][2, 5] += 1.0
    state[EMBED][7, 1] *= 10.0
    reference = vq_state()[EMBED]
    change = change_of(diff(before, save(state, "b.pth")), "codes")
    moved = (state[EMBED].double() - reference.double()).abs()
    row, column = divmod(int(moved.argmax()), moved.shape[1])
    assert (change.rows_changed, change.rows) == (2, 16)
    assert change.max_abs_index == (0, row, column)
    assert change.max_abs == pytest.approx(float(moved.max()))
    relative = moved / reference.double().abs()
    row, column = divmod(int(relative.argmax()), relative.shape[1])
    assert change.max_rel_index == (0, row, column)
    assert change.max_rel == pytest.approx(float(relative.max()))


def test_nan_is_compared_by_its_bits(vq_state, save):
    """The same NaN on both sides is identical; a NaN that appears is a change, counted and kept out of the maxima."""
    state = vq_state()
    state[EMBED][1, 1] = math.nan
    with_nan = save(state, "a.pth")
    assert diff(with_nan, save(state, "b.pth")).verdict == "identical"
    change = change_of(diff(save(vq_state(), "c.pth"), with_nan), "codes")
    assert (change.not_finite, change.rows_changed, change.max_abs) == (1, 1, 0.0)


def test_bookkeeping_counts_unless_only_tokens_are_asked_for(vq_state, save):
    """Changed running sums make the default verdict `changed`, and leave `--scope tokens` identical."""
    state = vq_state()
    a = save(state, "a.pth")
    state[f"{CODEBOOK}.cluster_size"] = state[f"{CODEBOOK}.cluster_size"] * 0.99
    b = save(state, "b.pth")
    assert diff(a, b).verdict == "changed"
    tokens = diff(a, b, "tokens")
    assert (tokens.verdict, tokens.exit_code) == ("identical", 0)
    assert [tensor.label for tensor in tokens.tensors if not tensor.judged] == ["ema_sum", "ema_count"]


def test_codes_count_also_when_only_tokens_are_asked_for(vq_state, save):
    """`--scope tokens` still fails on what decides tokens."""
    state = vq_state()
    a = save(state, "a.pth")
    state["ssl_proj.bias"][0] += 1
    assert diff(a, save(state, "b.pth"), "tokens").verdict == "changed"


def test_a_lora_export_without_projection_is_not_a_change(checkpoints):
    """What a LoRA export leaves to its base model is `not stored`, and says so."""
    result = diff(checkpoints / "base_v2.pth", checkpoints / "lora_v3_e2_s50_l32.pth")
    assert (result.verdict, result.exit_code) == ("identical", 0)
    assert [tensor.label for tensor in result.not_stored] == ["input_proj.weight", "input_proj.bias"]
    assert all("LoRA" in tensor.note for tensor in result.not_stored)


def test_a_projection_missing_from_an_ordinary_file_is_a_fault(vq_state, save):
    """Only a LoRA export may lack ssl_proj."""
    state = vq_state()
    a = save(state, "a.pth")
    del state["ssl_proj.bias"]
    b = save(state, "b.pth")
    for first, second, letter in ((a, b, "B"), (b, a, "A")):
        result = diff(first, second)
        assert (verdicts(result)["input_proj.bias"], result.exit_code) == ("missing", 1)
        (lacking,) = [tensor for tensor in result.tensors if tensor.label == "input_proj.bias"]
        assert lacking.note == f"not in {letter}"


@pytest.mark.parametrize("around", [{"info": "8epoch_400iteration"}, {}], ids=["export", "no sign of one"])
def test_bookkeeping_may_be_absent_in_an_export_alone(vq_state, save, around):
    """A file that shows itself an export may leave running sums and counts out; in any other they are missing."""
    state = vq_state()
    a = save(state, "a.pth")
    for name in ("embed_avg", "cluster_size", "inited"):
        del state[f"{CODEBOOK}.{name}"]
    result = diff(a, save(state, "b.pth", **around))
    labels = ["ema_sum", "ema_count", "init_flag"]
    assert (result.verdict, [tensor.label for tensor in result.not_stored]) == (
        ("identical", labels) if around else ("changed", [])
    )
    assert {verdicts(result)[label] for label in labels} == {"not stored" if around else "missing"}


@pytest.mark.parametrize("name", ["base.pth", "G_400.pth", "me_e8_s400.pth"])
def test_a_projection_that_no_lora_export_lacks_is_missing(vq_state, save, name):
    """A base, a training file (of a LoRA run, too) and an ordinary export must have ssl_proj."""
    state = vq_state()
    a = save(state, "a.pth")
    del state["ssl_proj.weight"], state["ssl_proj.bias"]
    state["cfm.to_q.lora_A.default.weight"] = torch.ones(2)
    around = {"base.pth": {}, "G_400.pth": {"iteration": 8, "optimizer": {}}, "me_e8_s400.pth": {"info": "8epoch"}}
    if name != "G_400.pth":
        del state["cfm.to_q.lora_A.default.weight"]
    result = diff(a, save(state, name, **around[name]))
    assert (verdicts(result)["input_proj.weight"], result.exit_code) == ("missing", 1)


def test_another_shape_is_a_fault(vq_state, save):
    """A codebook of another size is `other shape`, not an error."""
    result = diff(save(vq_state(), "a.pth"), save(vq_state(codes=32), "b.pth"))
    assert (verdicts(result)["codes"], result.exit_code) == ("other shape", 1)


def test_codebooks_at_other_places_have_nothing_in_common(vq_state, save):
    """When no codebook of one file is in the other, nothing was compared, and that is no success."""
    state = {name.replace("layers.0", "layers.1"): value for name, value in vq_state().items()}
    a, b = save(vq_state(), "a.pth"), save(state, "b.pth")
    with pytest.raises(NoCodebookError, match="in common"):
        diff(a, b)


def test_an_unsupported_type_could_not_be_checked(vq_state, save):
    """A complex codebook is refused by name instead of being judged."""
    state = vq_state()
    a = save(state, "a.pth")
    state[EMBED] = state[EMBED].to(torch.complex64)
    with pytest.raises(CheckpointError, match=r"embed.*complex64"):
        diff(a, save(state, "b.pth"))


def test_never_trained_is_noticed_though_unchanged(checkpoints):
    """Two equal codebooks that wait for their first batch are flagged; trained ones are not."""
    untrained = checkpoints / "never_trained_v2.pth"
    result = diff(untrained, untrained)
    assert (result.verdict, len(result.never_trained)) == ("identical", 2)
    assert diff(checkpoints / "base_v2.pth", checkpoints / "G_400.pth").never_trained == ()
