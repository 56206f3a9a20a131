"""Of a TorchScript archive what torch.jit.load gives as its state dict is read; what would run code is refused."""

import io
import re
import zipfile
from random import Random

import pytest
import torch
from torch import Tensor, nn

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.cli.main import main
from vqcheck.errors import CheckpointError

BOOK = "quantizer.vq.layers.0._codebook"


class Book(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("inited", torch.ones(1))
        self.register_buffer("cluster_size", torch.rand(4) + 20)
        self.register_buffer("embed", torch.randn(4, 2))
        self.register_buffer("embed_avg", torch.randn(4, 2))
        self.plain = torch.ones(2)
        self.nothing = None

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.embed.t() + self.plain.sum()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self._codebook = Book()

    def forward(self, x: Tensor) -> Tensor:
        return self._codebook(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.ssl_proj = nn.Conv1d(3, 2, 2)
        self.quantizer = nn.Module()
        self.quantizer.vq = nn.Module()
        self.quantizer.vq.layers = nn.Sequential(Layer())
        self.weights = nn.ParameterList([nn.Parameter(torch.rand(2)), nn.Parameter(torch.rand(3))])
        self.again = nn.ModuleList([self.ssl_proj])

    def forward(self, x: Tensor) -> Tensor:
        return self.quantizer.vq.layers(self.ssl_proj(x).transpose(1, 2))


class Remade(nn.Module):
    """Calculates a value when it is loaded."""

    def __init__(self):
        super().__init__()
        self.register_buffer("embed", torch.ones(4, 2))

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.embed, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.embed = state[0] + 1
        self.training = state[1]

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.embed.t()


def bytes_of(module):
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()


MADE = {
    "scripted": torch.jit.script,
    "traced": lambda model: torch.jit.trace(model, torch.ones(1, 3, 5)),
    "in half": lambda model: torch.jit.script(model.half()),
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def archive():
    return bytes_of(torch.jit.script(Model().eval()))


def edited(data, edit):
    """Return an archive whose members went through `edit`, which is called with each name and content."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = edit(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def in_code(old, new):
    def edit(name, content):
        return content.replace(old.encode(), new.encode()) if name.endswith(".py") else content

    return edit


@pytest.mark.parametrize("how", MADE)
def test_what_is_read_is_the_state_dict_that_torch_loads(how, put, read_all, torch_bytes):
    data = bytes_of(MADE[how](Model().eval()))
    expected = torch.jit.load(io.BytesIO(data)).state_dict()
    assert {name: each[2] for name, each in read_all(put(data)).items()} == {
        name: torch_bytes(value) for name, value in expected.items()
    }
    assert f"{BOOK}.embed" in expected
    assert f"{BOOK}.plain" not in expected


def test_an_archive_is_compared_with_a_checkpoint_of_the_same_model(archive, put, tmp_path, capsys):
    model = Model()
    torch.save({"model": model.state_dict()}, tmp_path / "plain.pth")
    script = put(archive, "script.pt")
    assert main(["diff", str(tmp_path / "plain.pth"), str(script)]) == 0
    assert main(["inspect", str(script)]) == 0
    assert "TorchScript" in capsys.readouterr().out
    with torch.no_grad():
        model.quantizer.vq.layers[0]._codebook.embed[2, 1] += 1
    torch.save({"model": model.state_dict()}, tmp_path / "moved.pth")
    assert main(["diff", str(tmp_path / "moved.pth"), str(script)]) == 1


def test_code_that_makes_values_while_loading_is_refused_by_name(put):
    data = bytes_of(torch.jit.script(Remade()))
    # Evidence that it matters: torch loads another value than is stored.
    assert torch.jit.load(io.BytesIO(data)).embed[0, 0] == 2
    with pytest.raises(CheckpointError, match="__setstate__"):
        open_checkpoint(put(data))


def test_a_frozen_module_has_no_state(put):
    data = bytes_of(torch.jit.freeze(torch.jit.script(Model().eval())))
    with pytest.raises(CheckpointError, match="constants of its code"):
        open_checkpoint(put(data))


NO_BUFFERS = '__buffers__ = ["inited", "cluster_size", "embed", "embed_avg", ]'
CODE = {
    "a buffer that is none any more": in_code('"embed", "embed_avg", ]', '"embed_avg", ]'),
    "buffers behind a method": in_code("  def forward", '  __buffers__ = ["plain", ]\n  def forward'),
    "an attribute that is a buffer now": in_code('"embed", ', '"embed", "plain", '),
    "buffers listed twice": in_code(NO_BUFFERS, NO_BUFFERS + '\n  __buffers__ = ["plain", ]'),
    "no declaration": in_code("  embed : Tensor\n", ""),
    "a class twice": in_code("class Book(Module):", "class Book(Module):\n  __buffers__ = []\nclass Book(Module):"),
    "a class in a text": in_code("class Book(Module):", "class  Book(Module) :"),
    "a comment": in_code("  embed : Tensor\n", "  # embed : Tensor\n"),
    "a comment behind": in_code("  embed : Tensor\n", "  embed : Tensor  # a\n"),
    "a dictionary over lines": in_code("  embed : Tensor\n", "  k : Final[Dict[int, int]] = {\n  embed : Tensor\n"),
    "other blanks": in_code("  embed : Tensor", "  embed :  Tensor"),
    "deeper lines": in_code("  embed : Tensor", "   embed : Tensor"),
    "a name in other letters": in_code("  embed : Tensor", "  \u0435mbed : Tensor"),
    "a continued line": in_code("  embed : Tensor", "  embed \\\n: Tensor"),
    "a long text": in_code("class Book(Module):", '"""\nclass Book(Module):\n"""\nclass Book(Module):'),
    "no code": lambda name, content: None if name.endswith(".py") else content,
    "code of another folder": lambda name, content: None if name.endswith("container.py") else content,
    "another type": in_code("  embed : Tensor", "  embed : int"),
}


@pytest.mark.parametrize("what", CODE)
def test_changed_code_is_read_as_torch_reads_it_or_refused(what, archive, put, read_all, torch_bytes):
    data = edited(archive, CODE[what])
    assert data != edited(archive, lambda _, content: content)
    try:
        found = {name: each[2] for name, each in read_all(put(data)).items()}
    except CheckpointError:
        return
    try:
        expected = torch.jit.load(io.BytesIO(data)).state_dict()
    except RuntimeError:
        # What torch does not load at all, nobody runs.
        return
    assert found == {name: torch_bytes(value) for name, value in expected.items()}


@pytest.mark.parametrize("what", ["a buffer that is none any more", "an attribute that is a buffer now"])
def test_of_changed_code_that_torch_could_have_written_the_state_is_read(what, archive, put, read_all):
    """Else the test above would pass for a reader that refuses everything."""
    changed, whole = read_all(put(edited(archive, CODE[what]))), read_all(put(archive))
    assert (f"{BOOK}.plain" in changed) == (what == "an attribute that is a buffer now")
    assert (f"{BOOK}.embed" in changed) == (what != "a buffer that is none any more")
    assert f"{BOOK}.embed" in whole


def test_random_lines_of_code_are_read_as_torch_reads_them_or_refused(archive, put, read_all, torch_bytes):
    read = refused = 0
    for seed in range(150):
        chance = Random(seed)

        def shuffle(name, content, chance=chance):
            if not name.endswith("test_torchscript.py"):
                return content
            lines = content.decode().split("\n")
            first, second = sorted(chance.sample(range(len(lines)), 2))
            kind = chance.randrange(4)
            if kind == 0:
                lines[first], lines[second] = lines[second], lines[first]
            elif kind == 1:
                lines.insert(first, lines[second])
            elif kind == 2:
                del lines[first]
            else:
                lines[first] = lines[first].replace(
                    *chance.choice([("embed", "plain"), ("Tensor", "int"), ("  ", " ")])
                )
            return "\n".join(lines).encode()

        data = edited(archive, shuffle)
        try:
            found = {name: each[2] for name, each in read_all(put(data)).items()}
        except CheckpointError:
            refused += 1
            continue
        try:
            expected = torch.jit.load(io.BytesIO(data)).state_dict()
        except RuntimeError:
            continue
        read += 1
        assert found == {name: torch_bytes(value) for name, value in expected.items()}, seed
    assert read > 15
    assert refused > 30


OF_BOOK = re.compile(rb"c__torch__[\w.]*\nBook\n")
PICKLES = {
    "an object without attributes": (lambda tree: tree.replace(b"\x81}", b"\x810}", 1), "."),
    "a class of C++": (
        lambda tree: OF_BOOK.sub(b"c__torch__.torch.classes\nBook\n", tree),
        "no class",
    ),
    "a class of Python": (lambda tree: OF_BOOK.sub(b"cbuiltins\nlist\n", tree), "no class of"),
    "a function of Python": (lambda tree: tree.replace(b"_rebuild_tensor_v2", b"_rebuild_parameter"), "does not know"),
    "a tree that is a number": (lambda _: b"\x80\x02K\x01.", "something else than a module"),
    "a storage outside": (lambda tree: tree.replace(b"K\x04K\x02t", b"K\x7fK\x7ft"), "claims|outside"),
}


@pytest.mark.parametrize("what", PICKLES)
def test_a_tree_that_torch_does_not_write_is_refused(what, archive, put, read_all):
    change, reason = PICKLES[what]
    tree = edited(archive, lambda name, content: change(content) if name.endswith("data.pkl") else content)
    assert tree != edited(archive, lambda _, content: content)
    with pytest.raises(CheckpointError, match=reason):
        read_all(put(tree))


def test_modules_in_modules_without_end_are_refused_quickly(put):
    """Thirty objects, each twice in the next: a thousand million modules in a file of two kilobytes."""
    blank = "class {}(Module):\n  __parameters__ = []\n  __buffers__ = []\n"
    code = blank.format("M0") + "".join(
        blank.format(f"M{level}") + f"  a : __torch__.M{level - 1}\n  b : __torch__.M{level - 1}\n"
        for level in range(1, 31)
    )
    tree = b"\x80\x02"
    for level in range(30, 0, -1):
        tree += b"c__torch__\nM%d\n)\x81}(X\x01\x00\x00\x00a" % level
    tree += b"c__torch__\nM0\n)\x81}b"
    for level in range(30):
        # What stands under `a` is kept, and stands under `b` again.
        tree += b"q%cX\x01\x00\x00\x00bh%cub" % (level, level)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (("data.pkl", tree + b"."), ("constants.pkl", b"\x80\x02)."), ("code/__torch__.py", code)):
            archive.writestr(f"a/{name}", data)
    with pytest.raises(CheckpointError, match="too many modules"):
        open_checkpoint(put(buffer.getvalue()))


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuK\x02tQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
)


@pytest.mark.parametrize("early", [False, True])
def test_an_object_is_what_it_is_once_it_has_its_attributes(early, put, read_all):
    """What refers to it before gets a number from torch, and is refused; what does so afterwards gets the object."""
    code = b'class Book(Module):\n  __buffers__ = ["t", ]\n  t : Tensor\n'
    code += b"class Two(Module):\n  __buffers__ = []\n  a : __torch__.Book\n  b : __torch__.Book\n"
    keep = b"q\x00"
    tree = b"\x80\x02c__torch__\nTwo\n)\x81}(X\x01\x00\x00\x00ac__torch__\nBook\n)\x81" + keep * early
    tree += b"}(X\x01\x00\x00\x00t" + TENSOR + b"ub" + keep * (not early) + b"X\x01\x00\x00\x00bh\x00ub."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        members = (
            ("data.pkl", tree),
            ("constants.pkl", b"\x80\x02)."),
            ("code/__torch__.py", code),
            ("data/0", bytes(8)),
        )
        for name, data in (*members, ("version", b"3\n")):
            archive.writestr(f"a/{name}", data)
    if early:
        with pytest.raises(CheckpointError, match="does not give b a value"):
            open_checkpoint(put(buffer.getvalue()))
        return
    assert read_all(put(buffer.getvalue())).keys() == {"a.t", "b.t"}
    assert torch.jit.load(io.BytesIO(buffer.getvalue())).state_dict().keys() == {"a.t", "b.t"}
