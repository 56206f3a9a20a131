"""vqcheck.compare takes paths, open checkpoints, live modules and locks alike; results fit a line and a notebook."""

import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch

import vqcheck
from vqcheck.audit.make_lock import make_lock
from vqcheck.cli.main import main
from vqcheck.errors import CheckpointError, CodebookChanged, UsageError

TAGS = {"table", "caption", "thead", "tbody", "tr", "th", "td"}
EMBED = "quantizer.vq.layers.0._codebook.embed"


@pytest.fixture
def base(small_model, tmp_path):
    """A float16 base as it is published, and its path."""
    path = tmp_path / "base.pth"
    torch.save({"weight": {name: tensor.half() for name, tensor in small_model().state_dict().items()}}, path)
    return path


@pytest.fixture
def loaded(small_model, base):
    """A model in float32 that was loaded from the base."""
    model = small_model()
    model.load_state_dict(torch.load(base)["weight"])
    return model


@pytest.fixture
def lock(base, tmp_path):
    """The path of a lock of the base."""
    path = tmp_path / "vqcheck.lock"
    with vqcheck.open_checkpoint(base) as file:
        path.write_text(make_lock(file, None, None).text(), "utf-8")
    return path


def subjects(model, path):
    """Returns the model, a file of it, and its open checkpoint."""
    torch.save(model.state_dict(), path)
    return model, str(path), vqcheck.open_checkpoint(path)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_every_kind_of_subject_is_compared_with_a_base(loaded, base, tmp_path, kind):
    """Loaded weights are identical, either way round, and one changed value is seen."""
    subject = subjects(loaded, tmp_path / "a.pth")[kind]
    for pair in [(subject, base), (str(base), subject)]:
        assert vqcheck.compare(*pair).verdict == "identical"
    loaded.get_buffer(EMBED)[0, 0] += 1
    subject = subjects(loaded, tmp_path / "b.pth")[kind]
    for pair in [(subject, base), (base, subject)]:
        result = vqcheck.compare(*pair)
        assert (result.verdict, result.exit_code) == ("changed", 1)
        assert [diff.label for diff in result.tensors if diff.verdict == "changed"] == ["codes"]


def test_a_movement_below_a_step_of_the_base_is_a_change(loaded, base):
    """A live module is later than its base: float32 values that still round to it were trained."""
    loaded.get_buffer(EMBED).mul_(1 + 2**-20)
    assert torch.equal(loaded.get_buffer(EMBED).half(), torch.load(base)["weight"][EMBED])
    assert vqcheck.compare(loaded, base).verdict == "changed"
    assert vqcheck.compare(base, loaded).verdict == "changed"


def test_an_export_of_a_live_module_is_its_rounding(small_model, tmp_path):
    """What a run writes for use comes after the module that it was made from."""
    model, path = small_model(), tmp_path / "me_e8_s96.pth"
    model.get_buffer(EMBED).mul_(1.0001)
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    torch.save({"weight": state, "info": "8epoch_96iteration"}, path)
    assert vqcheck.compare(model, path).verdict == "rounded"


def test_two_modules_and_one_with_itself(small_model):
    """Two modules of equal weights are identical, one is itself, and a moved one is not."""
    one, other = small_model(), small_model()
    assert vqcheck.compare(one, other).verdict == "identical"
    assert not vqcheck.compare(one, other).one_file
    assert vqcheck.compare(one, one).one_file
    other.get_buffer(EMBED)[3] += 1
    result = vqcheck.compare(one, other)
    assert result.verdict == "changed"
    assert next(diff for diff in result.tensors if diff.label == "codes").change.rows_changed == 1


def test_a_lock_judges_modules_files_and_checkpoints(loaded, lock, tmp_path):
    """lock.check and compare agree, whichever side the lock is on, open or by its path."""
    opened = vqcheck.read_lock(str(lock))
    for subject in subjects(loaded, tmp_path / "a.pth"):
        assert opened.check(subject).verdict == "identical"
        assert vqcheck.compare(lock, subject).verdict == "identical"
        assert vqcheck.compare(subject, opened).verdict == "identical"
    loaded.get_buffer(EMBED)[0, 0] += 1
    assert opened.check(loaded).exit_code == 1
    assert vqcheck.compare(loaded, str(lock)).verdict == "changed"


def test_what_cannot_be_compared_is_refused(lock, small_model):
    """Two locks, a number, an option that a lock has not, and a model without values."""
    with pytest.raises(UsageError, match="not with another lock"):
        vqcheck.compare(lock, lock)
    with pytest.raises(UsageError, match="cannot compare a int; give a path, a checkpoint, a module or a lock"):
        vqcheck.compare(lock, 3)
    with pytest.raises(UsageError, match="without the option copies"):
        vqcheck.compare(lock, small_model(), copies=("a",))
    with pytest.raises(CheckpointError, match="meta device"):
        vqcheck.compare(small_model(), small_model().to("meta"))
    sparse = small_model()
    sparse.quantizer.codebooks()[0].embed = sparse.quantizer.codebooks()[0].embed.to_sparse()
    with pytest.raises(CheckpointError, match="sparse_coo"):
        vqcheck.compare(small_model(), sparse)
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        vqcheck.compare("none.pth", small_model())


class _Cells(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_results_fit_a_line_and_show_as_a_table(small_model, tmp_path):
    """The repr of each result is one line, and a notebook gets a table with nothing else in it."""
    one, other = small_model(), small_model()
    other.get_buffer(EMBED)[3] += 1
    path = tmp_path / "<b>\x1b.pth"
    torch.save(one.state_dict(), path)
    with vqcheck.open_checkpoint(path) as file:
        guard = vqcheck.guard(one, every=1)
        lock = tmp_path / "vqcheck.lock"
        assert main(["lock", str(path), "-o", str(lock), "-q"]) == 0
        shown = [
            (vqcheck.compare(file, other), "changed (codes)"),
            (vqcheck.read_lock(lock).check(other), "changed (codes)"),
            (vqcheck.read_lock(lock).check(one), "identical>"),
            (file, "torch zip"),
            (guard, "no change found"),
        ]
        for result, said in shown:
            assert said in repr(result)
            assert repr(result).isprintable()
            cells = _Cells(result._repr_html_())
            assert {"table", "caption", "td"} <= set(cells.tags) <= TAGS
            assert "\x1b" not in "".join(cells.texts)
    one.get_buffer(EMBED)[3] += 1
    with pytest.raises(CodebookChanged):
        guard.check()
    assert "changed in step 1" in repr(guard)
    assert any("1 of 16 rows" in text for text in _Cells(guard._repr_html_()).texts)


def test_files_are_compared_without_torch(base):
    """Two paths need no torch, and dir() lists the public names alone."""
    code = (
        "import sys, vqcheck; r = vqcheck.compare(sys.argv[1], sys.argv[1]); "
        "print(r.verdict.value, 'torch' in sys.modules, 'numpy' in sys.modules, *dir(vqcheck))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(base)], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["identical", "False", "False", *sorted(vqcheck.__all__)]
