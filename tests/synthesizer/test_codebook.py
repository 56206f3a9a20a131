"""What the codebook does in train mode, against the recorded cases, and that it does nothing in eval mode."""

import copy

import pytest
import torch

from vqcheck.synthesizer import EuclideanCodebook, ResidualVectorQuantizer, UninitialisedCodebookError

BUFFERS = ("inited", "cluster_size", "embed", "embed_avg")


@pytest.fixture
def case(recipe):
    """Make the recorded quantizer and its input; with `dead` every fourth code is below the threshold."""

    def build(order, *, dead=False):
        embed = recipe.float32(0.4 * recipe.centred(1, (1024, 768)))
        cluster_size = recipe.float32(20 + 10 * recipe.centred(2, (1024,)))
        if dead:
            cluster_size[::4] = 1.0
        quantizer = ResidualVectorQuantizer(768, dead_code_expiry=order)
        (codebook,) = quantizer.codebooks()
        codebook.load_state_dict(
            {
                "inited": torch.ones(1),
                "cluster_size": cluster_size,
                "embed": embed,
                "embed_avg": embed * cluster_size[:, None],
            }
        )
        return quantizer.train(), codebook, recipe.float32(0.8 * recipe.centred(3, (2, 768, 32)))

    return build


def approximately(tensor, total, first, case_tensor):
    """Compare with a sum and three values recorded to six digits; a sum's rounding grows with what was added up."""
    allowed = 1e-5 * float(case_tensor.abs().mean()) * case_tensor.numel() + 1e-5 * abs(total)
    assert float(tensor.double().sum()) == pytest.approx(total, rel=0, abs=allowed)
    assert tensor.flatten()[:3].tolist() == pytest.approx(first, rel=1e-4)


@pytest.mark.parametrize("order", ["before-ema", "after-ema"])
def test_codes_and_loss(case, order):
    """Codes, the number of distinct ones and the commitment loss are the recorded ones."""
    quantizer, _, x = case(order)
    _, codes, loss, _ = quantizer(x, layers=[0])
    assert codes[0, 0, :8].tolist() == [70, 188, 324, 34, 607, 438, 398, 532]
    assert len(codes.unique()) == 63
    assert float(loss.detach()) == pytest.approx(0.24318619, rel=1e-5)


def test_gradient_of_the_loss(case):
    """The loss pulls x to its code: the gradient is 2 (x - q) / numel."""
    quantizer, _, x = case("after-ema")
    x.requires_grad_()
    quantized, _, loss, _ = quantizer(x, layers=[0])
    loss.backward()
    expected = 2 * (x - quantized).detach() / x.numel()
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=4e-12)


def test_straight_through_gradient(case):
    """In train mode the gradient passes the quantizer unchanged; in eval mode there is no path at all."""
    quantizer, _, x = case("after-ema")
    x.requires_grad_()
    weights = torch.randn_like(x)
    (quantizer(x)[0] * weights).sum().backward()
    assert torch.equal(x.grad, weights)
    assert not quantizer.eval()(x)[0].requires_grad


@pytest.mark.parametrize("order", ["before-ema", "after-ema"])
def test_update_without_dead_codes(case, order):
    """Both orders give the recorded update where no code is dead, and change every row of embed."""
    quantizer, codebook, x = case(order)
    before = codebook.embed.clone()
    quantizer(x)
    approximately(codebook.cluster_size, 20329.1, [13.3277, 24.1219, 12.4164], codebook.cluster_size)
    approximately(codebook.embed_avg, -1619.91, [2.44256, 1.74005, -2.36682], codebook.embed_avg)
    approximately(codebook.embed, -143.621, [0.183269, 0.130559, -0.177587], codebook.embed)
    assert (codebook.embed != before).any(dim=1).all()


@pytest.mark.parametrize(("order", "moved"), [("before-ema", 0), ("after-ema", 256)])
def test_update_with_dead_codes(case, order, moved):
    """Expiry before the averages leaves no trace; after them exactly the dead rows become frames of the batch."""
    quantizer, codebook, x = case(order, dead=True)
    before = codebook.embed.clone()
    quantizer(x)
    approximately(codebook.cluster_size, 15431.0, [0.99, 24.1219, 12.4164], codebook.cluster_size)
    approximately(codebook.embed_avg, -25.264, [0.181437, 0.129254, -0.175811], codebook.embed_avg)
    assert (codebook.embed != before).any(dim=1).all()
    far = (codebook.embed - before).abs().amax(dim=1) > 0.05
    assert int(far.sum()) == moved
    if moved:
        assert far[::4].all()
        frames = x.transpose(1, 2).flatten(0, 1)
        assert (codebook.embed[::4, None] == frames).all(dim=2).any(dim=1).all()
    else:
        approximately(codebook.embed, -143.162, [0.183268, 0.130558, -0.177585], codebook.embed)


@pytest.mark.parametrize("order", ["before-ema", "after-ema"])
def test_expiry_uses_the_random_state(case, order):
    """Each order draws random numbers when a code is dead, and none when all live."""
    for dead in (True, False):
        quantizer, _, x = case(order, dead=dead)
        state = torch.get_rng_state()
        quantizer(x)
        assert torch.equal(state, torch.get_rng_state()) != dead


def test_updates_go_around_the_version_counter(case):
    """The writes of training leave `_version` at what it was: no counter, only the bits, betray them."""
    quantizer, codebook, x = case("after-ema", dead=True)
    versions = [getattr(codebook, name)._version for name in BUFFERS]
    before = codebook.embed.clone()
    quantizer(x)
    assert [getattr(codebook, name)._version for name in BUFFERS] == versions
    assert not torch.equal(codebook.embed, before)


def test_eval_writes_nothing(case):
    """In eval mode every buffer keeps its bits, codes are exact rows, and the loss is exactly 0 without a graph."""
    quantizer, codebook, x = case("after-ema", dead=True)
    before = copy.deepcopy(codebook.state_dict())
    quantized, codes, loss, _ = quantizer.eval()(x.requires_grad_(), layers=[0])
    assert all(torch.equal(before[name], getattr(codebook, name)) for name in BUFFERS)
    assert torch.equal(quantized.transpose(1, 2), codebook.embed[codes[0]])
    assert float(loss) == 0.0
    assert loss.shape == ()
    assert not loss.requires_grad


def test_decode_is_the_lookup(case):
    """Decoding codes gives the vectors that quantizing gave."""
    quantizer, _, x = case("after-ema")
    quantized, codes, _, layers = quantizer.eval()(x, layers=[0])
    assert torch.equal(quantizer.decode(codes), quantized)
    assert torch.equal(layers[0], quantized)


def test_uninitialised_codebook_is_refused_in_eval_mode():
    """A codebook that was never filled gives an error in eval mode, for lookup and decoding, and is not rewritten."""
    quantizer = ResidualVectorQuantizer(8, bins=16).eval()
    before = copy.deepcopy(quantizer.state_dict())
    with pytest.raises(UninitialisedCodebookError, match=r"codebook \[16, 8\] has no content \(inited is 0\)"):
        quantizer(torch.randn(2, 8, 5))
    with pytest.raises(UninitialisedCodebookError, match="has no content"):
        quantizer.decode(torch.zeros(1, 2, 5, dtype=torch.int64))
    assert all(torch.equal(before[name], tensor) for name, tensor in quantizer.state_dict().items())


def test_uninitialised_codebook_is_filled_in_train_mode():
    """The first forward in train mode fills the codebook by k-means, once."""
    torch.manual_seed(0)
    quantizer = ResidualVectorQuantizer(8, bins=4).train()
    (codebook,) = quantizer.codebooks()
    centres = 10 * torch.randn(4, 8)
    frames = centres.repeat(25, 1) + 0.01 * torch.randn(100, 8)
    quantizer(frames.T[None])
    assert codebook.is_initialised()
    assert float(codebook.cluster_size.sum()) == pytest.approx(100)
    filled = codebook.embed.clone()
    quantizer(frames.T[None])
    assert float((codebook.embed - filled).abs().max()) < 0.1


def test_kmeans_finds_separate_clusters():
    """Initialising with as many codes as clusters, from good starts, puts codes on the clusters' means."""
    torch.manual_seed(1)
    codebook = EuclideanCodebook(4, 2)
    near, far = torch.randn(50, 4), 100 + torch.randn(50, 4)
    codebook.initialise(torch.cat([near, far]))
    means = codebook.embed[codebook.embed[:, 0].argsort()]
    torch.testing.assert_close(means, torch.stack([near.mean(0), far.mean(0)]))
    assert codebook.cluster_size.tolist() == [50, 50]


def test_residual_layers_sum_up():
    """With several layers each quantizes the remainder, and decoding sums them."""
    torch.manual_seed(0)
    quantizer = ResidualVectorQuantizer(8, n_q=3, bins=16).train()
    x = torch.randn(2, 8, 40)
    quantizer(x)
    quantized, codes, _, layers = quantizer.eval()(x, layers=[0, 2])
    assert codes.shape == (3, 2, 40)
    assert len(layers) == 2
    torch.testing.assert_close(quantizer.decode(codes), quantized)
    assert (quantized - x).norm() < (layers[0] - x).norm()


def test_unknown_order_of_expiry_is_refused():
    """An order that is neither of the two is named in the error."""
    with pytest.raises(ValueError, match="dead_code_expiry: expected one of before-ema, after-ema, given 'never'"):
        EuclideanCodebook(8, 16, dead_code_expiry="never")
