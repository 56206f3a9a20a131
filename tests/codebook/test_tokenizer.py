"""Tokens are derived only where the lookup is what it is taken for; anything else is refused by name."""

import pytest
import torch

from vqcheck import open_checkpoint
from vqcheck.codebook.diagnosis import flips
from vqcheck.codebook.tokenizer import read_tokenizer
from vqcheck.errors import UsageError

CODEBOOK = "quantizer.vq.layers.0._codebook"


@pytest.fixture
def refusals(save):
    """Returns what the token audit and the count of flips say of a state dict."""

    def say(state):
        found = []
        with open_checkpoint(save(state)) as file:
            for use in (read_tokenizer, lambda file: flips.measure(file, file, "folder", [])):
                with pytest.raises(UsageError) as error:
                    use(file)
                found.append(str(error.value))
        return found

    return say


def test_codes_that_are_calculated_are_refused(refusals):
    """Sums are no code vectors: taking them for codes would give tokens that mean nothing."""
    state = {"quantizer.embed_sum": torch.randn(16, 4), "quantizer.cluster_usage": torch.rand(16)}
    assert all("one codebook looked up by distance" in refusal for refusal in refusals(state))


def test_a_fixed_grid_is_refused(refusals):
    """A quantizer without any codebook is refused, and no internal error."""
    state = {"quantizer.project_in.weight": torch.randn(4, 16), "quantizer.project_in.bias": torch.randn(4)}
    state |= {"quantizer.project_out.weight": torch.randn(16, 4), "quantizer.project_out.bias": torch.randn(16)}
    assert all("one codebook looked up by distance" in refusal for refusal in refusals(state))


@pytest.mark.parametrize("shape", [(8, 8), (9, 8, 2)])
def test_a_projection_that_does_not_lead_to_the_codes_is_refused(refusals, vq_state, shape):
    """A linear layer, or one of another width than the codes, is not a convolution into them."""
    state = vq_state() | {"ssl_proj.weight": torch.randn(shape), "ssl_proj.bias": torch.randn(shape[0])}
    assert all("is not a convolution of one step per token" in refusal for refusal in refusals(state))


def test_the_projection_of_a_file_that_has_it_is_read(vq_state, save):
    """The right shape is accepted as it is stored."""
    state = vq_state()
    with open_checkpoint(save(state)) as file:
        tokenizer = read_tokenizer(file)
    assert tokenizer.codes.tolist() == state[f"{CODEBOOK}.embed"].tolist()
    assert tokenizer.projection.weight.tolist() == state["ssl_proj.weight"].tolist()
