"""Copies of a VQ encoder in one file: every one is found, paired with its like, judged, and listed."""

import copy

import pytest
import torch

from vqcheck import compare, open_checkpoint
from vqcheck.codebook.find import find_copies
from vqcheck.codebook.inspection import inspect
from vqcheck.errors import CheckpointError, UsageError

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED = f"{CODEBOOK}.embed"


@pytest.fixture
def moved(vq_state):
    """A VQ encoder whose codes are not those of `vq_state`."""
    state = vq_state()
    state[EMBED] = state[EMBED] * 1.05
    assert not torch.equal(state[EMBED], vq_state()[EMBED])
    return state


@pytest.fixture
def write(tmp_path):
    """Saves an object as a file, and returns its path."""

    def run(saved, name):
        # A deep copy, so that nothing shares storage by accident.
        torch.save(copy.deepcopy(saved), tmp_path / name)
        return tmp_path / name

    return run


@pytest.fixture
def compared(write):
    """Compares two saved objects as files."""

    def run(a, b, **options):
        with open_checkpoint(write(a, "a.pth")) as first, open_checkpoint(write(b, "b.pth")) as second:
            return compare(first, second, **options)

    return run


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


LAYOUTS = {
    "weight and model": (lambda one, two: {"weight": one, "model": two}, "weight", "model"),
    "model and ema": (lambda one, two: {"model": one, "ema": two}, "model", "ema"),
    "an average two levels deep": (
        lambda one, two: {"model": one, "ema": {"state": {"model": two}}},
        "model",
        "ema.state.model",
    ),
    "model and best_state": (lambda one, two: {"model": one, "best_state": two}, "model", "best_state"),
    "student and teacher": (lambda one, two: {"student": one, "teacher": two}, "student", "teacher"),
    "a teacher in a known container": (
        lambda one, two: {"state_dict": one, "teacher": {"model": two}},
        "state_dict",
        "teacher.model",
    ),
    "under an optimizer's wrapper": (
        lambda one, two: {"weight": one, "adam": {"state_dict": two}},
        "weight",
        "adam.state_dict",
    ),
    "a prefix of one state dict": (
        lambda one, two: {"weight": {**one, **under("ema_model.", two)}},
        "weight",
        "weight.ema_model",
    ),
    "a wrapper of one state dict": (
        lambda one, two: {"weight": {**one, **under("module.", two)}},
        "weight",
        "weight.module",
    ),
    "an averaged autoencoder": (
        lambda one, two: {"state_dict": {**under("autoencoder.", one), **under("autoencoder_ema.ema_model.", two)}},
        "state_dict.autoencoder",
        "state_dict.autoencoder_ema.ema_model",
    ),
    "student and teacher in one state dict": (
        lambda one, two: {**under("student.model.", one), **under("teacher.model.", two)},
        "student.model",
        "teacher.model",
    ),
    "at the top of the file": (lambda one, two: {**one, **under("ema_model.", two)}, ".", "ema_model"),
}
ALL = pytest.mark.parametrize(("layout", "first", "second"), LAYOUTS.values(), ids=LAYOUTS)


@ALL
def test_every_copy_is_found_and_described(layout, first, second, vq_state, moved, write):
    """`inspect` has each copy under its name, the one in use first, and says how the other one stands to it."""
    for other, relation in ((moved, "changed"), (vq_state(), "identical")):
        with open_checkpoint(write(layout(vq_state(), other), "a.pth")) as file:
            found = inspect(file)
        assert (found.vq_encoder.copy, [each.copy for each in found.others]) == (first, [second])
        assert (found.others[0].against, found.others[0].relation) == (first, relation)


@ALL
def test_copies_of_one_name_are_paired(layout, first, second, vq_state, moved, compared):
    """Raw and averaged weights may differ in a file: each is compared with its like, and a move of either is found."""
    one, two = vq_state(), moved
    same = compared(layout(one, two), layout(one, two))
    assert (same.verdict, same.exit_code) == ("identical", 0)
    assert [(pair.a, pair.b) for pair in same.pairs] == [(first, first), (second, second)]
    later = vq_state()
    later[EMBED] = later[EMBED] * 1.2
    for number, changed in enumerate((layout(later, two), layout(one, later))):
        found = compared(layout(one, two), changed)
        assert (found.verdict, found.exit_code) == ("changed", 1)
        assert [pair.verdict == "changed" for pair in found.pairs] == [number == 0, number == 1]
        assert sum(diff.verdict == "changed" for diff in found.tensors) == 1


@ALL
def test_a_copy_without_a_partner_must_not_contradict(layout, first, second, vq_state, moved, compared):
    """Against a file of one copy the one in use is judged; the other is fine if it is the same, and undecided else."""
    base = {"weight": vq_state()}
    same = compared(base, layout(vq_state(), vq_state()))
    assert (same.verdict, [each.verdict for each in same.lone]) == ("identical", ["identical"])
    for a, b, side in ((base, layout(vq_state(), moved), "B"), (layout(vq_state(), moved), base, "A")):
        found = compared(a, b)
        assert (found.verdict, found.exit_code) == ("undecided", 2)
        assert [(each.side, each.name, each.judged) for each in found.contradicting] == [(side, second, first)]
    found = compared(base, layout(moved, moved))
    assert (found.verdict, found.exit_code) == ("changed", 1)


@ALL
def test_a_copy_is_chosen_by_its_name(layout, first, second, vq_state, moved, compared):
    """With `--copy` the one named is judged alone, and a wrong name lists those there are."""
    base, both = {"weight": vq_state()}, layout(vq_state(), moved)
    assert compared(base, both, copies=("weight", first)).verdict == "identical"
    assert compared(base, both, copies=("weight", second)).verdict == "changed"
    if second != "weight":
        assert compared(base, both, copies=(second,)).verdict == "changed"
    with pytest.raises(UsageError, match="nosuch") as error:
        compared(base, both, copies=("weight", "nosuch"))
    assert first in str(error.value)
    assert second in str(error.value)
    with pytest.raises(UsageError, match="no copy is named 'nosuch'"):
        compared(base, both, copies=("nosuch",))


def test_a_copy_that_is_the_other_files_is_named(vq_state, moved, compared):
    """Raw weights moved, but the average or the best state in B is what A is."""
    for layout in (
        {"model": moved, "ema": {"state": {"model": vq_state()}}},
        {"state_dict": {**under("autoencoder.", moved), **under("autoencoder_ema.ema_model.", vq_state())}},
        {"state_dict": moved, "teacher": {"model": vq_state()}},
        {"student": moved, "best_state": vq_state()},
    ):
        found = compared({"weight": vq_state()}, layout)
        assert (found.verdict, len(found.pairs)) == ("changed", 1)
        assert [each.a for each in found.equal] == ["weight"]
        assert found.equal[0].b not in [pair.b for pair in found.pairs]
    assert compared({"weight": vq_state(1)}, {"model": moved, "ema": vq_state()}).equal == ()


def test_copies_of_other_names_answer_to_each_other_where_they_are_the_same(vq_state, moved, compared):
    """An average in A that is the best state in B leaves nothing open; one that is not does."""
    a = {"model": vq_state(), "ema": moved}
    found = compared(a, {"model": vq_state(), "best_state": copy.deepcopy(moved)})
    assert (found.verdict, [each.equal for each in found.lone]) == ("identical", ["best_state", "ema"])
    assert compared(a, {"model": vq_state(), "best_state": vq_state(2)}).verdict == "undecided"


def test_of_two_copies_that_nothing_tells_apart_neither_is_green_alone(vq_state, moved, compared):
    """Neither name nor kind says which of two copies answers to the one of A: only if both agree is it decided."""
    a = {"weight": vq_state()}
    assert compared(a, {"left": vq_state(), "right": moved}).verdict == "undecided"
    assert compared(a, {"left": moved, "right": vq_state()}).verdict == "undecided"
    assert compared(a, {"left": moved, "right": moved}).verdict == "changed"
    assert compared(a, {"left": vq_state(), "right": vq_state()}).verdict == "identical"


def test_the_noise_of_averaging_equals_is_no_disagreement(vq_state, compared):
    """An average of equal values is a few last places off them; a single value further off contradicts."""
    state = vq_state()
    average = {name: value.clone() for name, value in state.items()}
    for _ in range(200):
        for name, value in average.items():
            value.mul_(0.99).add_(state[name], alpha=1 - 0.99)
    average[f"{CODEBOOK}.inited"] = torch.ones(1)
    assert not torch.equal(average[EMBED], state[EMBED])
    found = compared({"model": state}, {"model": state, "ema": average})
    assert (found.verdict, [each.verdict for each in found.lone]) == ("identical", ["averaging noise"])
    average[EMBED][3, 2] += 1e-4
    assert compared({"model": state}, {"model": state, "ema": average}).verdict == "undecided"
    # Between files it is a change like any other.
    assert compared({"model": state, "ema": dict(state)}, {"model": state, "ema": average}).verdict == "changed"


def test_noise_is_not_what_half_precision_rounds_away(vq_state, compared):
    """A last place of float16 is a step that training takes, and a NaN is no noise."""
    state = {name: value.half() for name, value in vq_state().items()}
    other = {name: value.clone() for name, value in state.items()}
    other[EMBED].view(torch.int16)[0, 0] += 1
    assert compared({"model": state}, {"model": state, "ema": other}).verdict == "undecided"
    state, other = vq_state(), vq_state()
    other[EMBED][0, 0] = float("nan")
    assert compared({"model": state}, {"model": state, "ema": other}).verdict == "undecided"


def test_with_scope_tokens_a_copy_may_differ_in_its_bookkeeping(vq_state, compared):
    """Counts decide no token: they contradict in the default scope alone."""
    other = vq_state()
    other[f"{CODEBOOK}.cluster_size"] = other[f"{CODEBOOK}.cluster_size"] * 2
    both = {"model": vq_state(), "ema": other}
    assert compared({"model": vq_state()}, both).verdict == "undecided"
    assert compared({"model": vq_state()}, both, scope="tokens").verdict == "identical"


def test_the_same_bytes_under_two_names_count_once(vq_state, moved, tmp_path):
    """Two containers of the same tensors are one copy with two names, and either name pairs it."""
    state = vq_state()
    torch.save({"weight": dict(state), "model": dict(state)}, tmp_path / "a.pth")
    torch.save({"model": moved}, tmp_path / "b.pth")
    with open_checkpoint(tmp_path / "a.pth") as a, open_checkpoint(tmp_path / "b.pth") as b:
        (found,) = find_copies(a).sound
        assert [str(name) for name in found.names] == ["weight", "model"]
        assert inspect(a).vq_encoder.aliases == ("model",)
        assert compare(a, b).verdict == "changed"
        assert compare(a, a, copies=("model",)).verdict == "identical"


JUNK = {
    "misshapen": {EMBED: torch.ones(3, 2, 2, 2)},
    "complex": {EMBED: torch.ones(16, 8, dtype=torch.complex64)},
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_a_sound_copy_is_judged_beside_one_that_cannot_be_read(junk, vq_state, moved, compared, write):
    """The other one is told, and keeps the pair from being green unless the sound one is chosen."""
    broken = {"weight": vq_state(), "model": {**vq_state(), **junk}}
    base = {"weight": vq_state()}
    found = compared(base, broken)
    assert (found.verdict, found.exit_code) == ("undecided", 2)
    assert [(each.name, each.verdict) for each in found.contradicting] == [("model", "cannot be read")]
    assert EMBED in found.contradicting[0].why
    assert compared(base, broken, copies=("weight",)).verdict == "identical"
    assert compared({"weight": moved}, broken).verdict == "changed"
    with open_checkpoint(write(broken, "a.pth")) as file:
        inspected, chosen = inspect(file), inspect(file, copy="weight")
    assert (inspected.verdict, inspected.vq_encoder.verdict) == ("unreadable copy", "healthy")
    assert (chosen.verdict, chosen.unreadable) == ("healthy", ())
    with pytest.raises(CheckpointError, match=EMBED):
        compared(base, broken, copies=("weight", "model"))


@pytest.mark.parametrize(
    "junk",
    [
        {"layer.weight": torch.ones(2, dtype=torch.complex64)},
        {"embed": torch.ones(2, 2, 2, 2, 2)},
        {"quantizer.other": torch.ones(2, 2).to_sparse()},
    ],
)
def test_what_is_no_codebook_stands_in_nobodys_way(junk, vq_state, compared):
    """A container without a VQ encoder may hold anything, before or behind the sound one."""
    for both in ({"weight": junk, "model": vq_state()}, {"weight": vq_state(), "model": junk}):
        assert compared({"weight": vq_state()}, both).verdict == "identical"


def test_a_misshapen_copy_in_the_same_state_dict_is_told(vq_state, compared):
    """Also beside a sound one of another prefix."""
    both = {"weight": {**vq_state(), **under("ema_model.", {**vq_state(), **JUNK["misshapen"]})}}
    found = compared({"weight": vq_state()}, both)
    assert [each.verdict for each in found.contradicting] == ["cannot be read"]


def test_a_whole_model_under_a_name_nobody_listed_is_a_copy(vq_state, moved, compared):
    """What stands around the quantizer stands around it again, so these are two models and not two quantizers."""
    model = {"encoder.weight": torch.ones(2, 2), "decoder.weight": torch.ones(3)}
    one, two = {**vq_state(), **model}, {**moved, **model}
    found = compared({"weight": one}, {"weight": {**one, **under("raw.", copy.deepcopy(one))}})
    assert (found.verdict, [each.verdict for each in found.lone]) == ("identical", ["identical"])
    found = compared({"weight": one}, {"weight": {**one, **under("raw.", two)}})
    assert found.verdict == "undecided"


def test_wrappers_do_not_keep_copies_apart(vq_state, moved, compared):
    """The same two copies, once with data-parallel training around them."""
    plain = {"model": vq_state(), "ema": moved}
    wrapped = {"model": under("module.", vq_state()), "ema": under("module.", moved)}
    found = compared(plain, wrapped)
    assert (found.verdict, len(found.pairs)) == ("identical", 2)


def test_copies_without_end_are_refused(vq_state, write):
    """A file of hundreds of copies is no trainer's."""
    with (
        open_checkpoint(write({f"model {n}": vq_state(4, 2) for n in range(257)}, "a.pth")) as file,
        pytest.raises(CheckpointError, match="more than 256 copies"),
    ):
        find_copies(file)
