"""Wrong input ends in an error that names the argument, what was expected and what was given."""

import contextlib
import copy

import pytest
import torch

from vqcheck.synthesizer import InputError, MultiPeriodDiscriminator, SynthesizerTrn, preset


def train(model, batch, sv_emb=None):
    return model(batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths, sv_emb)


def changed(batch, **changes):
    batch = copy.copy(batch)
    vars(batch).update(changes)
    return batch


BAD_BATCHES = {
    "ssl of another width": (
        {"ssl": torch.zeros(2, 31, 40)},
        r"ssl: expected shape \[B, 32, T\], given \[2, 31, 40\]",
    ),
    "ssl without a batch": ({"ssl": torch.zeros(32, 40)}, r"ssl: expected shape \[B, 32, T\], given \[32, 40\]"),
    "ssl too short": ({"ssl": torch.zeros(2, 32, 1)}, r"ssl: expected at least 2 frames, given shape \[2, 32, 1\]"),
    "spec of another size": (
        {"spec": torch.zeros(2, 128, 40)},
        r"y: expected shape \[2, 129, T\], given \[2, 128, 40\]",
    ),
    "spec of another length": (
        {"spec": torch.zeros(2, 129, 42)},
        r"y: expected 40 frames \(those of ssl \[2, 32, 40\] .*\), given 42 in shape \[2, 129, 42\]",
    ),
    "odd number of frames": (
        {"ssl": torch.zeros(2, 32, 41), "spec": torch.zeros(2, 129, 41)},
        r"y: expected 40 frames \(.* a multiple of 2\), given 41",
    ),
    "lengths of another batch": (
        {"spec_lengths": torch.tensor([40])},
        r"y_lengths: expected shape \[2\], given \[1\]",
    ),
    "lengths beyond the spectrogram": (
        {"spec_lengths": torch.tensor([41, 32])},
        r"y_lengths: expected values in 16..40 \(.* y \[2, 129, 40\]\), given 32..41",
    ),
    "lengths below a segment": (
        {"spec_lengths": torch.tensor([40, 15])},
        r"y_lengths: expected values in 16..40 \(at least segment_size.*given 15..40",
    ),
    "lengths that are no integers": (
        {"spec_lengths": torch.tensor([40.0, 32.0])},
        r"y_lengths: expected int64 or int32, given torch.float32",
    ),
    "text lengths beyond the text": (
        {"text_lengths": torch.tensor([8, 5])},
        r"text_lengths: expected values in 1..7 \(.*text \[2, 7\]\), given 5..8",
    ),
    "a symbol beyond the table": (
        {"text": torch.full((2, 7), 732)},
        r"text: expected values in 0..731 \(the phoneme table.*\), given 732..732 in shape \[2, 7\]",
    ),
    "a negative symbol": ({"text": torch.full((2, 7), -1)}, r"text: expected values in 0..731 .*given -1..-1"),
    "text that is no integers": ({"text": torch.zeros(2, 7)}, r"text: expected int64 or int32, given torch.float32"),
}


@pytest.mark.parametrize("what", BAD_BATCHES)
def test_bad_training_batch(what, tiny, tiny_batch):
    """Each wrong input of forward is named with the expected and the given shape or values."""
    changes, message = BAD_BATCHES[what]
    with pytest.raises(InputError, match=message):
        train(tiny(), changed(tiny_batch, **changes))


def test_good_batch_raises_nothing(tiny, tiny_batch):
    """A batch at the very limits of its lengths and symbols goes through."""
    batch = changed(
        tiny_batch,
        spec_lengths=torch.tensor([40, 16]),
        text_lengths=torch.tensor([7, 1]),
        text=torch.tensor([[0, 731, 0, 731, 0, 731, 0]] * 2),
    )
    assert train(tiny(), batch)[0].shape == (2, 1, 16 * 64)


def test_inference_takes_shorter_items_than_training(tiny, tiny_batch):
    """A length below a segment, and a reference of another length, are errors in training only."""
    model = tiny().eval()
    batch = changed(tiny_batch, spec_lengths=torch.tensor([40, 3]))
    samples, mask, _ = model.infer(batch.ssl, batch.spec, batch.spec_lengths, batch.text, batch.text_lengths)
    assert samples.shape == (2, 1, 40 * 64)
    assert mask.sum(dim=(1, 2)).tolist() == [40, 3]
    longer = torch.cat([batch.spec, batch.spec], dim=2)
    assert model.infer(batch.ssl, longer, batch.spec_lengths, batch.text, batch.text_lengths)[0].shape == samples.shape
    with pytest.raises(InputError, match=r"y_lengths: expected values in 1..40 .*given 3..41"):
        model.infer(batch.ssl, batch.spec, torch.tensor([41, 3]), batch.text, batch.text_lengths)


def pro(**changes):
    torch.manual_seed(0)
    model = preset("tiny").synthesizer(version="v2Pro", sv_dim=12, n_symbols=732, **changes)
    model.initialise_codebook(torch.randn(4, 32, 80))
    return model


@pytest.mark.parametrize(
    ("sv_emb", "message"),
    [
        (None, r"sv_emb: expected shape \[2, 12\] for a Pro version, given None"),
        (torch.zeros(2, 13), r"sv_emb: expected shape \[2, 12\], given \[2, 13\]"),
        (torch.zeros(2, 12), None),
    ],
)
def test_speaker_vector_of_pro_versions(sv_emb, message, tiny_batch):
    """The Pro versions need a speaker vector of the right size, and take one."""
    with contextlib.nullcontext() if message is None else pytest.raises(InputError, match=message):
        assert train(pro(), tiny_batch, sv_emb)[0].shape == (2, 1, 1024)


CODES, TEXT, REFER = (
    torch.zeros(1, 1, 9, dtype=torch.int64),
    torch.zeros(1, 5, dtype=torch.int64),
    torch.ones(1, 129, 30),
)
BAD_TOKENS = {
    "codes beyond the codebook": (
        {"codes": CODES + 64},
        r"codes: expected values in 0..63 \(the codebook\), given 64..64 in shape \[1, 1, 9\]",
    ),
    "negative codes": ({"codes": CODES - 1}, r"codes: expected values in 0..63 .* given -1..-1"),
    "codes without a layer": ({"codes": CODES[0]}, r"codes: expected shape \[1, 1, T\], given \[1, 9\]"),
    "codes that are no integers": ({"codes": CODES.float()}, "codes: expected int64 or int32, given torch.float32"),
    "text of two": ({"text": TEXT.repeat(2, 1)}, r"text: expected shape \[1, L\], given \[2, 5\]"),
    "a symbol beyond the table": ({"text": TEXT + 800}, r"text: expected values in 0..731 .* given 800..800"),
    "a reference of another size": (
        {"refer": REFER[:, :100]},
        r"refer: expected shape \[1, 129, R\], given \[1, 100, 30\]",
    ),
    "no reference": ({"refer": []}, "refer: expected at least one spectrogram, given an empty list"),
    "no speed": ({"speed": 0}, "speed: expected a number above 0, given 0"),
}


@pytest.mark.parametrize("what", BAD_TOKENS)
def test_bad_tokens(what, tiny):
    """Each wrong input of decode is named with the expected and the given shape or values."""
    changes, message = BAD_TOKENS[what]
    with pytest.raises(InputError, match=message):
        tiny().eval().decode(**{"codes": CODES, "text": TEXT, "refer": REFER, **changes})


def test_good_tokens_raise_nothing(tiny):
    """Codes and symbols at their limits, with one reference or several, decode to samples."""
    model = tiny().eval()
    for refer in (REFER, [REFER, REFER[:, :, :3]]):
        assert model.decode(CODES + 63, TEXT + 731, refer).shape == (1, 1, 2 * 9 * 64)


def test_references_and_speaker_vectors_come_in_pairs():
    """For a Pro version decode needs a speaker vector for each reference."""
    model = pro().eval()
    with pytest.raises(InputError, match="sv_emb: expected 2, one for each refer, given 1"):
        model.decode(CODES, TEXT, [REFER, REFER], sv_emb=[torch.zeros(1, 12)])
    with pytest.raises(InputError, match=r"sv_emb: expected shape \[1, 12\] for a Pro version, given None"):
        model.decode(CODES, TEXT, REFER)
    assert model.decode(CODES, TEXT, [REFER, REFER], sv_emb=[torch.zeros(1, 12)] * 2).shape == (1, 1, 1152)


def test_extract_latent_checks_its_features(tiny):
    """Features of another width are named."""
    model = tiny().eval()
    with pytest.raises(InputError, match=r"ssl: expected shape \[B, 32, T\], given \[1, 768, 10\]"):
        model.extract_latent(torch.zeros(1, 768, 10))
    assert model.extract_latent(torch.zeros(1, 32, 11)).shape == (1, 1, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "v5"}, "version: expected one of v1, v2, v2Pro, v2ProPlus, given 'v5'"),
        ({"version": None}, "version: expected one of .* given None"),
        ({"semantic_frame_rate": "30hz"}, "semantic_frame_rate: expected 25hz or 50hz, given '30hz'"),
        ({"resblock": "2"}, "resblock: expected '1', given '2'"),
        ({"gin_channels": 48}, r"gin_channels: expected 32 \(mrte_hidden\), given 48"),
    ],
)
def test_bad_constructor_arguments(changes, message):
    """A version, frame rate, block or size that does not exist is named when the model is built."""
    with pytest.raises(InputError, match=message):
        preset("tiny").synthesizer(**changes)


def test_discriminator_checks_version_and_shapes():
    """The discriminator names an unknown version and samples of a wrong shape, and takes right ones."""
    with pytest.raises(InputError, match=r"version: expected one of .* given 'v3'"):
        MultiPeriodDiscriminator(version="v3")
    model = MultiPeriodDiscriminator(narrowing=32)
    with pytest.raises(InputError, match=r"y: expected shape \[B, 1, N\], given \[2, 640\]"):
        model(torch.zeros(2, 640), torch.zeros(2, 640))
    with pytest.raises(InputError, match=r"y_hat: expected shape \[2, 1, 640\], given \[2, 1, 641\]"):
        model(torch.zeros(2, 1, 640), torch.zeros(2, 1, 641))
    assert len(model(torch.zeros(2, 1, 640), torch.zeros(2, 1, 640))[0]) == 6


def test_keywords_of_the_config_that_are_not_used(tiny_batch):
    """Keywords that upstream's config has and ignores change nothing, and neither do lists instead of tuples."""
    chosen = preset("tiny")
    sizes = {name: list(value) if isinstance(value, tuple) else value for name, value in chosen.model.items()}
    torch.manual_seed(0)
    model = SynthesizerTrn(
        spec_channels=129, segment_size=16, n_speakers=300, **sizes, n_layers_q=3, use_spectral_norm=False, else_=1
    )
    torch.manual_seed(0)
    plain = chosen.synthesizer()
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in model.state_dict().items())
    model.initialise_codebook(tiny_batch.ssl)
    assert train(model, tiny_batch)[0].shape == (2, 1, 1024)
