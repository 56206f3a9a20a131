"""What a network of GPT-SoVITS starts from without weights, and the tokens that it makes of a probe."""

import pytest
import torch

from vqcheck.replay.s2_training import fresh_vq_encoder, tokens_of
from vqcheck.synthesizer import preset


@pytest.fixture
def net():
    torch.manual_seed(0)
    return preset("tiny").synthesizer(freeze_quantizer=True)


@pytest.fixture
def ssl():
    return torch.randn(2, 32, 300, generator=torch.Generator().manual_seed(1))


def book(net):
    return net.quantizer.codebooks()[0]


def test_a_fresh_vq_encoder_is_used_whole_and_no_code_of_it_is_dead(net, ssl):
    """Frames have the energy of trained models; sums, counts and codes fit each other; the flag is set."""
    fresh_vq_encoder(net, ssl)
    assert float(net.ssl_proj(ssl).detach().var()) == pytest.approx(1000 / 768, rel=0.05)
    codebook = book(net)
    assert float(codebook.cluster_size.min()) >= 2
    assert torch.equal(codebook.embed_avg, codebook.embed * codebook.cluster_size[:, None])
    assert bool(codebook.inited)
    assert len(tokens_of(net, ssl).unique()) > len(codebook.embed) / 2


def test_the_tokens_are_those_of_the_network(net, ssl):
    """Looking at them takes the same code for each frame as the forward does, and writes nothing."""
    fresh_vq_encoder(net, ssl)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert torch.equal(tokens_of(net.train(), ssl), net.extract_latent(ssl).flatten())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def spoil(net, what):
    if what == "no codes":
        del book(net).embed
    elif what == "codes of another size":
        book(net).embed = torch.ones(64, 31)
    elif what == "codes of one axis":
        book(net).embed = torch.ones(3)
    elif what == "no projection":
        del net.ssl_proj
    elif what == "a projection of another size":
        net.ssl_proj = torch.nn.Conv1d(16, 32, 2, 2)
    else:
        net.ssl_proj.bias = torch.nn.Parameter(torch.ones(5))


@pytest.mark.parametrize(
    "what",
    [
        "no codes",
        "codes of another size",
        "codes of one axis",
        "no projection",
        "a projection of another size",
        "a bias of another size",
    ],
)
def test_where_no_token_can_be_made_there_is_none(net, ssl, what):
    """A training step may leave anything under the names, and a replay goes on to say so."""
    fresh_vq_encoder(net, ssl)
    spoil(net, what)
    assert tokens_of(net, ssl) is None


def test_codes_of_another_type_make_the_same_tokens(net, ssl):
    """Double precision holds the same values."""
    fresh_vq_encoder(net, ssl)
    tokens = tokens_of(net, ssl)
    book(net).embed = book(net).embed.double()
    net.ssl_proj.double()
    assert torch.equal(tokens, tokens_of(net, ssl))
