"""A lock of a codec whose codes are calculated from sums and counts binds those, in every scope."""

import pytest
import torch

from vqcheck.cli.main import main

BOOK = "quantizer.rvq_{book}.vq.layers.{layer}._codebook."


@pytest.fixture
def mimi():
    """A small Mimi under moshi's names: one semantic and two acoustic codebooks of 8 codes."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for book, layers in (("first", 1), ("rest", 2)):
        for layer in range(layers):
            place = BOOK.format(book=book, layer=layer)
            usage = 3 + 10 * torch.rand(8, generator=generator)
            state[f"{place}embedding_sum"] = torch.randn(8, 4, generator=generator) * usage[:, None]
            state[f"{place}cluster_usage"] = usage
            state[f"{place}_initialized"] = torch.ones(1)
        state[f"quantizer.rvq_{book}.input_proj.weight"] = torch.randn(4, 6, 1, generator=generator)
    return state


def codes(state, place):
    return state[f"{place}embedding_sum"] / state[f"{place}cluster_usage"].clamp(min=1e-5)[:, None]


@pytest.mark.parametrize("name", ["embedding_sum", "cluster_usage"])
@pytest.mark.parametrize("scope", ["all", "tokens"])
def test_sums_and_counts_that_make_codes_are_judged_in_every_scope(mimi, name, scope, tmp_path, monkeypatch):
    """The codes of the lookup are others, so the lock is refused; the same file agrees."""
    monkeypatch.chdir(tmp_path)
    place = BOOK.format(book="rest", layer=1)
    moved = {
        **mimi,
        f"{place}{name}": mimi[f"{place}{name}"]
        * torch.linspace(0.5, 2, 8).reshape(-1, *[1] * (mimi[f"{place}{name}"].ndim - 1)),
    }
    assert not torch.equal(codes(mimi, place), codes(moved, place))
    torch.save(mimi, "base.pt")
    torch.save(moved, "moved.pt")
    assert main(["lock", "base.pt", "-o", "a.lock", "-q"]) == 0
    assert main(["lock", "--check", "base.pt", "-o", "a.lock", "--scope", scope, "-q"]) == 0
    assert main(["lock", "--check", "moved.pt", "-o", "a.lock", "--scope", scope, "-q"]) == 1
    assert main(["diff", "base.pt", "moved.pt", "--scope", scope, "-q"]) == 1


def test_a_second_copy_with_other_sums_contradicts_in_the_scope_of_tokens(mimi, tmp_path, monkeypatch):
    """What the lock records of a further copy is weighed by the same roles."""
    monkeypatch.chdir(tmp_path)
    name = f"{BOOK.format(book='first', layer=0)}embedding_sum"
    torch.save({"model": mimi, "ema": {**mimi, name: mimi[name] * torch.linspace(0.5, 2, 8)[:, None]}}, "two.pt")
    torch.save({"model": mimi}, "one.pt")
    assert main(["lock", "two.pt", "-o", "a.lock", "-q"]) == 0
    assert main(["lock", "--check", "one.pt", "-o", "a.lock", "--scope", "tokens", "-q"]) == 2
