"""What became of every code of a changed codebook."""

import subprocess
import sys

import pytest
import torch

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.codebook.compare import compare

CODEBOOK = "quantizer.vq.layers.0._codebook"


def compared(a, b):
    with open_checkpoint(str(a)) as first, open_checkpoint(str(b)) as second:
        return compare(first, second)


def test_distances_and_usage_of_every_code(vq_state, save):
    """They are torch's own, in the order of the codes."""
    a, b = vq_state(), vq_state()
    b[f"{CODEBOOK}.embed"][[3, 7]] += torch.randn(2, 8)
    b[f"{CODEBOOK}.cluster_size"] *= 0.5
    (codes,) = compared(save(a), save(b, "b.pth")).diagnosis.codes
    expected = (b[f"{CODEBOOK}.embed"].double() - a[f"{CODEBOOK}.embed"].double()).norm(dim=1).tolist()
    assert codes.moved == pytest.approx(expected)
    assert [number for number, value in enumerate(codes.moved) if value] == [3, 7]
    assert codes.usage == tuple(tuple(state[f"{CODEBOOK}.cluster_size"].tolist()) for state in (a, b))
    assert (codes.codebook, codes.name) == (0, "")


def test_only_codebooks_that_changed_are_measured(vq_state, save):
    """Of three, the one in the middle, under the name that its tensors have."""

    def residual(**changed):
        state = {}
        for layer in range(3):
            for name, value in vq_state(seed=layer).items():
                if name.startswith(CODEBOOK):
                    state[name.replace("layers.0", f"layers.{layer}")] = value.clone()
        for name, value in changed.items():
            state[name.replace("__", ".")] += value
        return state

    moved = residual(quantizer__vq__layers__1___codebook__embed=0.5)
    comparison = compared(save(residual()), save(moved, "b.pth"))
    (codes,) = comparison.diagnosis.codes
    assert (codes.codebook, codes.name) == (1, "1")
    assert any(diff.label == f"{codes.name} codes" and diff.verdict == "changed" for diff in comparison.tensors)


def test_usage_that_a_file_lacks_is_not_invented(vq_state, save):
    """An export without counts."""
    state = {name: value for name, value in vq_state().items() if "cluster_size" not in name and "avg" not in name}
    moved = {name: value + 0.1 if name.endswith("embed") else value for name, value in state.items()}
    (codes,) = compared(save(state), save(moved, "b.pth")).diagnosis.codes
    assert codes.usage == (None, None)
    assert len(codes.moved) == 16


def test_rounding_and_other_shapes_have_none(vq_state, save):
    """Nothing moved where one file is the other in half precision; nothing can be measured between two shapes."""
    state = vq_state()
    halved = {name: value.half() for name, value in state.items()}
    assert compared(save(state), save(halved, "b.pth")).diagnosis.codes == ()
    assert compared(save(state), save(vq_state(codes=8), "b.pth")).diagnosis.codes == ()


def test_equal_files_cost_nothing(vq_state, save):
    """On the equal path neither numpy nor this module is imported."""
    a, b = save(vq_state()), save(vq_state(), "b.pth")
    code = (
        "import sys\nfrom vqcheck.cli.main import main\n"
        f"assert main(['diff', {str(a)!r}, {str(b)!r}]) == 0\n"
        "assert not {'numpy', 'vqcheck.codebook.diagnosis.displacement'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
