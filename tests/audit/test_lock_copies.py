"""A lock of a file with several copies or codecs binds each by name, or the one that was chosen."""

import copy
from dataclasses import replace

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.lock import LockedFile, read_lock
from vqcheck.audit.make_lock import keep_bindings, make_lock
from vqcheck.codebook.digest import Digest
from vqcheck.errors import UsageError

CODEBOOK = "quantizer.vq.layers.0._codebook"
EMBED = f"{CODEBOOK}.embed"


@pytest.fixture
def moved(vq_state):
    """A VQ encoder whose codes are not those of `vq_state`."""
    state = vq_state()
    state[EMBED] = state[EMBED] * 1.05
    return state


@pytest.fixture
def write(tmp_path):
    """Saves an object as a file, and returns its path."""

    def run(saved, name="a.pth"):
        torch.save(copy.deepcopy(saved), tmp_path / name)
        return tmp_path / name

    return run


@pytest.fixture
def lock(write, tmp_path):
    """Returns the lock of a saved object, as read back from its file."""

    def make(saved, **options):
        path = tmp_path / "vqcheck.lock"
        with open_checkpoint(write(saved)) as file:
            made = make_lock(file, None, None, **options)
        path.write_text(made.text(), encoding="utf-8")
        assert read_lock(str(path)).text() == made.text()
        return read_lock(str(path))

    return make


@pytest.fixture
def checked(write):
    """Verifies a saved object against a lock."""

    def run(lock, saved, scope="all", **options):
        with open_checkpoint(write(saved, "b.pth")) as file:
            return check_lock(lock, "vqcheck.lock", file, None, None, scope, **options)

    return run


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


LAYOUTS = {
    "weight and model": (lambda one, two: {"weight": one, "model": two}, "weight", "model"),
    "model and ema": (lambda one, two: {"model": one, "ema": {"state": {"model": two}}}, "model", "ema.state.model"),
    "prefixes of one state dict": (
        lambda one, two: {**under("student.", one), **under("teacher.model.", two)},
        "student",
        "teacher.model",
    ),
}
ALL = pytest.mark.parametrize(("layout", "first", "second"), LAYOUTS.values(), ids=LAYOUTS)


@ALL
def test_every_copy_is_bound_by_its_name(layout, first, second, vq_state, moved, lock, checked):
    """The same copies agree, and a move of either is found under its name."""
    made = lock(layout(vq_state(), moved))
    assert [each.name for each in made.copies] == [first, second]
    same = checked(made, layout(vq_state(), moved))
    assert (same.verdict, same.exit_code) == ("identical", 0)
    later = vq_state()
    later[EMBED] = later[EMBED] * 1.2
    for number, changed in enumerate((layout(later, moved), layout(vq_state(), later))):
        found = checked(made, changed)
        assert (found.verdict, found.exit_code) == ("changed", 1)
        assert [pair.verdict for pair in found.pairs] == [
            "changed" if number == each else "identical" for each in (0, 1)
        ]


@ALL
def test_a_lock_of_one_copy_accepts_none_that_contradicts(layout, first, second, vq_state, moved, lock, checked):
    """A file of several is green only where what the lock does not record is the same."""
    made = lock({"weight": vq_state()})
    assert checked(made, layout(vq_state(), vq_state())).verdict == "identical"
    assert checked(made, layout(moved, moved)).verdict == "changed"
    for state in (layout(vq_state(), moved), layout(moved, vq_state())):
        assert checked(made, state).exit_code != 0
    assert checked(made, layout(vq_state(), moved), copy=first).verdict == "identical"
    assert checked(made, layout(vq_state(), moved), copy=second).verdict == "changed"


@ALL
def test_an_export_of_one_copy_against_a_lock_of_several(layout, first, second, vq_state, moved, lock, checked):
    """Copies of the lock that agreed are no loss; one that differs keeps the export from being green."""
    assert checked(lock(layout(vq_state(), vq_state())), {"weight": vq_state()}).verdict == "identical"
    made = lock(layout(vq_state(), moved))
    found = checked(made, {"state_dict": vq_state()})
    assert (found.verdict, found.exit_code) == ("undecided", 2)
    assert [(each.side, each.name) for each in found.contradicting] == [("A", second)]
    assert checked(made, {"state_dict": vq_state()}, copy=first).verdict == "identical"
    assert checked(made, {"state_dict": vq_state()}, copy=second).verdict == "changed"


@ALL
def test_one_copy_can_be_chosen_and_is_then_verified_alone(layout, first, second, vq_state, moved, lock, checked):
    """The name is recorded, and goes by itself in a later file of several."""
    made = lock(layout(vq_state(), moved), copy=second)
    assert ([each.name for each in made.copies], made.chosen) == ([second], second)
    assert lock(layout(vq_state(), moved), copy=first).chosen == first
    assert checked(made, layout(vq_state(), moved)).verdict == "identical"
    assert checked(made, layout(moved, vq_state())).verdict == "changed"
    assert checked(made, {"weight": moved}).verdict == "identical"
    assert checked(made, {"weight": vq_state()}).verdict == "changed"
    with pytest.raises(UsageError, match="holds no copy named 'nosuch'"):
        lock(layout(vq_state(), moved), copy="nosuch")
    with pytest.raises(UsageError, match="nosuch"):
        checked(lock(layout(vq_state(), moved)), layout(vq_state(), moved), copy="nosuch")


def test_one_copy_keeps_the_short_text(vq_state, lock):
    """Where there is nothing to tell apart, a lock says nothing of copies."""
    text = lock({"state_dict": vq_state()}).text()
    assert not any(line.startswith("copy ") for line in text.splitlines())
    assert text == lock({"model": vq_state()}).text()
    assert text == lock({"state_dict": vq_state(), "config": {"x": torch.ones(2)}}).text()


def test_a_file_with_several_codecs_is_locked_as_a_whole(vq_state, lock, checked):
    """A change of the second codec is found, and one that is gone is not passed over."""
    generator = torch.Generator().manual_seed(0)
    codec = {
        f"codec.quantizer.quantizers.{layer}.{name}": torch.randn(shape, generator=generator)
        for layer in range(2)
        for name, shape in {
            "codebook.weight": (8, 4),
            "in_proj.weight": (4, 8, 1),
            "in_proj.bias": (4,),
            "out_proj.weight": (8, 4, 1),
            "out_proj.bias": (8,),
        }.items()
    }
    both = {"weight": {**vq_state(), **codec}}
    made = lock(both)
    assert [each.family for each in made.copies] == ["gpt-sovits", "dac"]
    assert checked(made, both).verdict == "identical"
    name = "codec.quantizer.quantizers.1.codebook.weight"
    assert checked(made, {"weight": {**vq_state(), **codec, name: codec[name] + 1}}).verdict == "changed"
    assert checked(made, {"weight": vq_state()}).verdict == "undecided"
    assert checked(lock({"weight": vq_state()}), both).verdict == "undecided"


def test_averaging_noise_is_recorded_as_such(vq_state, lock, checked):
    """So an export of the raw weights alone still agrees, though digests cannot tell noise from change."""
    state = vq_state()
    average = {name: value.clone() for name, value in state.items()}
    for _ in range(200):
        for name, value in average.items():
            value.mul_(0.99).add_(state[name], alpha=1 - 0.99)
    average[f"{CODEBOOK}.inited"] = torch.ones(1)
    assert not torch.equal(average[EMBED], state[EMBED])
    made = lock({"model": state, "ema": average})
    assert [each.is_noise for each in made.copies] == [False, True]
    found = checked(made, {"model": state})
    assert (found.verdict, [each.verdict for each in found.lone]) == ("identical", ["averaging noise"])
    assert checked(made, {"model": state, "ema": {**average, EMBED: average[EMBED] * 2}}).verdict == "changed"


def test_a_copy_that_cannot_be_vouched_for_is_refused(vq_state, lock):
    """Unreadable, or never trained: the message names the copy, and another one can be locked."""
    broken = {"weight": vq_state(), "model": {**vq_state(), EMBED: torch.ones(3, 2, 2, 2)}}
    with pytest.raises(UsageError, match="--copy NAME"):
        lock(broken)
    assert lock(broken, copy="weight").chosen == "weight"
    untrained = {name: torch.zeros_like(value) for name, value in vq_state().items()}
    with pytest.raises(UsageError, match=r"never trained.*its copy 'ema'"):
        lock({"model": vq_state(), "ema": untrained})


def test_bindings_are_kept_only_while_every_copy_is_the_same(vq_state, moved, lock):
    """A second copy that moved unbinds the tokens as the first one does."""
    old, same, other = (lock({"model": vq_state(), "ema": ema}) for ema in (vq_state(), vq_state(), moved))
    tsv = LockedFile("tokens.tsv", Digest("sha256", "0" * 64))
    assert keep_bindings(replace(old, tsv=tsv), same).tsv == tsv
    assert keep_bindings(replace(old, tsv=tsv), other).tsv is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace("copy 1 name", "copy 3 name"), "follows none"),
        (lambda text: text.replace('copy 1 name [["ema"], ""]', "copy 1 name nonsense"), "not the name of a copy"),
        (lambda text: "\n".join(x for x in text.splitlines() if not x.startswith("copy 1 name")), "without a name"),
        (lambda text: "\n".join(x for x in text.splitlines() if not x.startswith("copy 1 family")), "family"),
        (lambda text: text.replace("copy 1 codebook", "copy x codebook"), "copy x codebook"),
        (lambda text: text.replace("copy 1 codebook", "copy 1 noise codebook"), "noise"),
        (lambda text: "\n".join(x for x in text.splitlines() if not x.startswith("copy 1")), "not those it was"),
    ],
)
def test_damaged_lines_on_copies_are_an_error(damage, words, vq_state, moved, lock, tmp_path):
    """One line on what is wrong, never a lock of fewer copies."""
    text = lock({"model": vq_state(), "ema": moved}).text()
    assert damage(text) != text
    (tmp_path / "vqcheck.lock").write_text(damage(text) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        read_lock(str(tmp_path / "vqcheck.lock"))
