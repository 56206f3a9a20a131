"""Decoding in chunks: what each argument does is what upstream's class was recorded to do."""

import inspect
import json
import math
from pathlib import Path

import pytest
import torch

from vqcheck.synthesizer import InputError, SynthesizerTrn, SynthesizerTrnV3, preset

RECORDED = json.loads((Path(__file__).parent / "numeric_check_streaming.json").read_text("utf-8"))
UPSTREAM = [
    "spec_channels",
    "segment_size",
    "inter_channels",
    "hidden_channels",
    "filter_channels",
    "n_heads",
    "n_layers",
    "kernel_size",
    "p_dropout",
    "resblock",
    "resblock_kernel_sizes",
    "resblock_dilation_sizes",
    "upsample_rates",
    "upsample_initial_channel",
    "upsample_kernel_sizes",
    "n_speakers",
    "gin_channels",
    "use_sdp",
    "semantic_frame_rate",
    "freeze_quantizer",
    "version",
]
"""Its constructor's arguments by position, in both classes."""
T = 16


@pytest.fixture
def stream(tiny):
    """Decodes a fixed sequence of codes without noise, as a stream or whole."""
    model = tiny().eval()
    for coupling in model.flow.flows[::2]:
        torch.nn.init.normal_(coupling.post.weight, std=0.1)
    draw = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 64, (1, 1, T), generator=draw)
    text, refer = torch.randint(0, 700, (1, 7), generator=draw), torch.rand(1, 129, 30, generator=draw)

    def decode(codes=codes, whole=False, noise_scale=0, **arguments):
        torch.manual_seed(4)
        if whole:
            return model.decode(codes, text, [refer], noise_scale, **arguments)
        return model.decode_streaming(codes, text, [refer], noise_scale, **arguments)

    decode.codes = codes
    return decode


@pytest.fixture(scope="module")
def v2(recipe):
    """Build the full-size synthesizer, filled by the recipe."""
    model = preset("v2").synthesizer().eval()
    model.load_state_dict(recipe.filled_state(model))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: "-".join(each["arguments"]) or "all")
def test_the_figures_of_upstreams_class(recorded, v2, inputs, figures, recipe):
    """Its samples and hidden frames on the recipe's weights, recorded without noise."""
    arguments = dict(recorded["arguments"])
    if "overlap_frames" in arguments:
        arguments["overlap_frames"] = recipe.float32(recipe.centred(8000, (1, 192, 6)))
    codes = torch.tensor(figures["v2"]["extract_latent"]["codes"][0])[None, None]
    samples, hidden, mask = v2.decode_streaming(codes, inputs.text[:1], [inputs.spec[:1]], 0, **arguments)
    recipe.assert_figure(samples, recorded["samples"])
    recipe.assert_figure(hidden, recorded["hidden"])
    assert mask.eq(1).all()
    assert mask.shape[2] == hidden.shape[2]


@pytest.mark.parametrize("speed", [1, 0.8, 1.25])
def test_a_stream_of_one_chunk_is_decode(stream, speed):
    samples, hidden, mask = stream(noise_scale=0.5, speed=speed)
    assert torch.equal(samples, stream(whole=True, noise_scale=0.5, speed=speed))
    assert not samples.requires_grad
    # whatever the speed: the next chunk overlaps with these
    assert (hidden.shape, mask.shape) == ((1, 16, 2 * T), (1, 1, 2 * T))


def test_the_newest_codes_are_decoded_in_the_context_of_all(stream):
    """Hidden frames are those of the whole, and so are the samples as far as the cut is not heard."""
    whole, hidden, _ = stream()
    samples, newest, _ = stream(result_length=12)
    assert torch.equal(newest, hidden[..., -24:])
    assert samples.shape == (1, 1, 24 * 64)
    torch.testing.assert_close(samples[..., -64:], whole[..., -64:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(stream(stream.codes[..., -12:])[1], newest, atol=1e-3)
    assert torch.equal(stream(result_length=T + 5)[0], whole)


def test_an_overlap_fades_out_where_the_new_frames_fade_in(stream):
    _, hidden, _ = stream()
    before = torch.randn(1, 16, 4)
    kept = before.clone()
    samples, joined, _ = stream(overlap_frames=before)
    for frame in range(4):
        angle = math.pi / 2 * frame / 4
        expected = math.sin(angle) * hidden[..., frame] + math.cos(angle) * before[..., frame]
        torch.testing.assert_close(joined[..., frame], expected)
    assert torch.equal(joined[..., 4:], hidden[..., 4:])
    assert torch.equal(before, kept)
    assert not torch.allclose(samples, stream()[0])


def test_padding_is_seen_and_left_out(stream):
    short = stream(stream.codes[..., :-3])
    padded = stream(padding_length=3)
    assert [each.shape for each in padded] == [each.shape for each in short]
    assert not torch.equal(padded[1], short[1])
    assert torch.equal(stream(padding_length=3, result_length=2)[1], padded[1][..., -4:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"result_length": 0}, "result_length: expected at least 1 code, given 0"),
        ({"padding_length": T}, f"padding_length: expected fewer than the {T} codes, given {T}"),
        ({"padding_length": -1}, "padding_length: expected fewer"),
        ({"overlap_frames": torch.zeros(1, 16, 5), "result_length": 2}, r"overlap_frames: .* at most 4 frames"),
        ({"overlap_frames": torch.zeros(1, 8, 2)}, r"overlap_frames: expected shape \[1, 16, F\]"),
    ],
)
def test_what_leaves_nothing_to_decode_is_refused(stream, arguments, message):
    with pytest.raises(InputError, match=message):
        stream(**arguments)


@pytest.mark.parametrize("kind", [SynthesizerTrn, SynthesizerTrnV3])
def test_the_constructor_has_upstreams_positions(kind):
    taken = [each for each in inspect.signature(kind).parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert [each.name for each in taken] == UPSTREAM


def test_the_caller_finds_the_rates_of_a_chunk():
    """Upstream's inference counts the samples of a code from these attributes."""
    model = preset("tiny").synthesizer()
    assert math.prod(model.upsample_rates) * model.frames_per_code == 128
