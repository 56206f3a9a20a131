"""The recipe behind numeric_check.json: weights and inputs that any implementation can make again from integers."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vqcheck.synthesizer import SpectrogramSettings, linear_spectrogram, preset

HERE = Path(__file__).parent
FIGURES = json.loads((HERE / "numeric_check.json").read_text("utf-8"))
BATCH, FRAMES, SAMPLES, WORDS = 2, 64, 40960, 12


def uniform(stream, shape):
    """u(i, shape): float64 in 0..1 from the recipe's integer hash."""
    mixed = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint32)
    mixed *= np.uint32(2654435761)  # modulo 2^32, as everything here
    mixed += np.uint32(stream * 97531 & 0xFFFFFFFF)
    for _ in range(2):
        mixed ^= mixed >> np.uint32(16)
        mixed *= np.uint32(73244475)
    mixed ^= mixed >> np.uint32(16)
    return (mixed / 2.0**32).reshape(shape)


def centred(stream, shape):
    """c(i, shape): the same in -1..1."""
    return 2 * uniform(stream, shape) - 1


def float32(array):
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def entry(stream, key, shape, made):
    """Return the value of one state dict entry, by the last component of its key."""
    last = key.rsplit(".", 1)[-1]
    if last == "inited":
        return torch.ones(shape)
    if last == "embed_avg":
        book = key.removesuffix("embed_avg")
        return made[book + "embed"] * made[book + "cluster_size"][:, None]
    if last == "weight_g":
        return float32(0.5 + 0.5 * uniform(stream, shape))
    c = centred(stream, shape)
    if last == "cluster_size":
        return float32(20 + 10 * c)
    if key == "enc_p.text_embedding.weight" or last == "weight_v":
        return float32(c)
    if key == "prelu.weight":
        return float32(0.25 + 0.1 * c)
    scaled = {"embed": 0.4, "bias": 0.05, "beta": 0.05, "emb_rel_k": 0.1, "emb_rel_v": 0.1}
    if last in scaled:
        return float32(scaled[last] * c)
    if last == "gamma":
        return float32(1 + 0.1 * c)
    return float32(c / np.sqrt(np.prod(shape) / shape[0]))


def filled_state(module):
    """Return a state dict for the module, made by the recipe."""
    made = {}
    for stream, (key, tensor) in enumerate(sorted(module.state_dict().items())):
        made[key] = entry(stream, key, tuple(tensor.shape), made)
    return made


def recipe_inputs():
    """Return the recipe's batch."""
    n = np.arange(SAMPLES, dtype=np.float64)
    wav = np.stack([0.3 * np.sin(0.02 * n * (1 + b)) + 0.1 * np.sin(0.31 * n + b) for b in range(BATCH)])
    wav = float32(wav).unsqueeze(1)
    return SimpleNamespace(
        wav=wav,
        spec=linear_spectrogram(wav[:, 0], SpectrogramSettings()),
        spec_lengths=torch.tensor([64, 54]),
        ssl=float32(centred(5000, (BATCH, 768, FRAMES))) * 0.8,
        text=torch.from_numpy(np.floor(300 * uniform(6000, (BATCH, WORDS))).astype(np.int64)),
        text_lengths=torch.tensor([12, 9]),
        sv_emb=float32(centred(7000, (BATCH, 20480))),
    )


def assert_figure(tensor, figure, sums=1e-5, values=1e-4):
    """Compare shape, sum, mean magnitude, first three values and the last with a recorded figure."""
    tensor = tensor.detach()
    assert list(tensor.shape) == figure["shape"]
    wide = tensor.double()
    absmean = figure["absmean"]
    assert float(wide.sum()) == pytest.approx(figure["sum"], rel=0, abs=sums * absmean * tensor.numel())
    assert float(wide.abs().mean()) == pytest.approx(absmean, rel=values)
    flat = wide.flatten()
    assert flat[:3].tolist() == pytest.approx(figure["first"], rel=0, abs=values * absmean)
    assert float(flat[-1]) == pytest.approx(figure["last"], rel=0, abs=values * absmean)


@pytest.fixture(scope="session")
def figures():
    return FIGURES


@pytest.fixture(scope="session")
def draws_the_recorded_dropout():
    """Skip where this build of torch draws other dropout masks than the one that recorded the figures (2.13, with MKL).

    They are equally valid, but the train figures cannot be reached with them.
    """
    torch.manual_seed(0)
    mask = torch.nn.functional.dropout(torch.ones(40), 0.1)
    if mask.eq(0).nonzero().flatten().tolist() != [0, 3, 35]:
        recorded = torch.__version__.startswith("2.13.") and torch.backends.mkl.is_available()
        assert not recorded, "this torch is the one that recorded the figures, and yet draws other dropout masks"
        pytest.skip("this torch draws other dropout masks than the one that recorded the figures")


@pytest.fixture(scope="session")
def inputs():
    return recipe_inputs()


@pytest.fixture(scope="session")
def recipe():
    """Give the recipe's functions to tests that fill something themselves."""
    return SimpleNamespace(
        uniform=uniform, centred=centred, float32=float32, filled_state=filled_state, assert_figure=assert_figure
    )


@pytest.fixture(scope="session")
def state_dict_map():
    """Load the recorded names, shapes and dtypes of one class, in registration order."""

    def load(name):
        entries = json.loads((HERE / "state_dict_maps" / f"{name}.json").read_text("utf-8"))
        return [(key, shape, dtype) for key, (shape, dtype) in entries.items()]

    return load


@pytest.fixture
def tiny_batch():
    """Make a random batch for the tiny preset."""
    return make_tiny_batch()


def make_tiny_batch(seed=0):
    draw = torch.Generator().manual_seed(seed)
    settings = preset("tiny").spectrogram
    wav = 0.3 * torch.randn(2, 1, 40 * settings.hop_length, generator=draw)
    return SimpleNamespace(
        wav=wav,
        spec=linear_spectrogram(wav[:, 0], settings),
        spec_lengths=torch.tensor([40, 32]),
        ssl=torch.randn(2, 32, 40, generator=draw),
        text=torch.randint(0, 700, (2, 7), generator=draw),
        text_lengths=torch.tensor([7, 5]),
    )


@pytest.fixture
def tiny():
    """Build a seeded tiny synthesizer with a filled codebook, in train mode."""

    def build(**changes):
        torch.manual_seed(0)
        model = preset("tiny").synthesizer(**changes)
        model.initialise_codebook(torch.randn(4, 32, 80))
        return model.train()

    return build
