"""The synthesizer's interface: what forward returns, frame rates, and that a model can be copied and stored."""

import copy
import io

import pytest
import torch


def train(model, batch):
    torch.manual_seed(7)
    return model(batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths)


def test_forward_returns_upstreams_seven(tiny, tiny_batch):
    """Forward returns samples, loss, starts, the mask twice, six latents and the quantized features, in this order."""
    o, commit_loss, ids_slice, x_mask, z_mask, latents, quantized = train(tiny(), tiny_batch)
    assert o.shape == (2, 1, 16 * 64)
    assert o.abs().max() <= 1
    assert commit_loss.shape == ()
    assert (ids_slice.shape, ids_slice.dtype) == ((2,), torch.int64)
    assert torch.equal(x_mask, z_mask)
    assert z_mask.shape == (2, 1, 40)
    assert z_mask.sum(dim=(1, 2)).tolist() == [40, 32]
    assert [tuple(latent.shape) for latent in latents] == [(2, 16, 40)] * 6
    assert quantized.shape == (2, 32, 40)
    assert torch.equal(quantized[..., ::2], quantized[..., 1::2])


def test_frames_after_the_length_do_not_matter(tiny, tiny_batch):
    """What stands in the padding of spectrogram and text changes no latent."""
    model = tiny().eval()
    before = train(model, tiny_batch)[5]
    tiny_batch.spec[1, :, 32:] = 5
    tiny_batch.text[1, 5:] = 3
    after = train(model, tiny_batch)[5]
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


def test_fifty_hertz_codes_stand_for_one_frame(tiny, tiny_batch):
    """At 50hz the projection does not halve the rate and no frame is repeated."""
    model = tiny(semantic_frame_rate="50hz").eval()
    assert model.ssl_proj.weight.shape == (32, 32, 1)
    assert model.extract_latent(tiny_batch.ssl).shape == (2, 1, 40)
    quantized = train(model, tiny_batch)[6]
    assert quantized.shape == (2, 32, 40)
    assert not torch.equal(quantized[..., ::2], quantized[..., 1::2])


def test_flow_can_be_undone(tiny):
    """Reverse gives back what went into the flow."""
    model = tiny().eval()
    for coupling in model.flow.flows[::2]:
        torch.nn.init.normal_(coupling.post.weight)
    x, mask, g = torch.randn(2, 16, 9), torch.ones(2, 1, 9), torch.randn(2, 32, 1)
    there = model.flow(x, mask, g)
    assert not torch.allclose(there, x, atol=0.1)
    torch.testing.assert_close(model.flow(there, mask, g, reverse=True), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["deepcopy", "save"])
def test_a_model_can_be_copied_and_stored(way, tiny, tiny_batch):
    """A copy, also one through a file, computes the same."""
    model = tiny().eval()
    if way == "deepcopy":
        other = copy.deepcopy(model)
    else:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    assert torch.equal(train(model, tiny_batch)[0], train(other, tiny_batch)[0])


def test_optimizer_state_carries_over(tiny, tiny_batch):
    """Training continues identically in a fresh model from the states of model and optimizer."""
    states = []
    for resume in (False, True):
        model = tiny().train()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        for step in range(2):
            if resume and step == 1:
                model_state, optimizer_state = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
                model = tiny().train()
                optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
                model.load_state_dict(model_state)
                optimizer.load_state_dict(optimizer_state)
            optimizer.zero_grad()
            train(model, tiny_batch)[0].pow(2).mean().backward()
            optimizer.step()
        states.append(model.state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
