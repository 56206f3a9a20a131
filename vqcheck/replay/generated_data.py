"""Items that are made up: features with clusters as speech has them, and sound to go with them."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from vqcheck.language import tr
from vqcheck.replay.batches import Item, ModelInputs
from vqcheck.synthesizer import linear_spectrogram

_PHONES = 60
_FRAMES_PER_PHONE = 5
_DEVIATION = 0.3
_NOISE = 0.35
"""Standard deviation within a phone, as a share of that between phones."""


class GeneratedData:
    """A set of generated items, the same for the same seed and sizes.

    Features imitate what matters of chinese-hubert-base's: 50 frames a second that dwell on phone-like targets for a
    few frames and glide between them, near-zero mean, a standard deviation of about 0.3 with some channels several
    times stronger than others. So a codebook has clusters to find, neighbouring frames mostly share a code, and codes
    differ in how often they are used.
    """

    def __init__(self, count: int, seed: int, inputs: ModelInputs) -> None:
        draw = Generator().manual_seed(seed)
        strength = _DEVIATION * torch.exp(0.7 * torch.randn(inputs.ssl_dim, generator=draw))
        targets = torch.randn(_PHONES, inputs.ssl_dim, generator=draw) * strength
        self._items = [_item(i, draw, inputs, targets, strength) for i in range(count)]
        self.lengths = [item.spec.size(1) for item in self._items]
        self.description = tr("{number} generated items", number=count)
        self.notes: tuple[str, ...] = ()

    def item(self, position: int) -> Item:
        """Return one item."""
        return self._items[position]


def _item(number: int, draw: Generator, inputs: ModelInputs, targets: Tensor, strength: Tensor) -> Item:
    settings = inputs.spectrogram
    frames = int(torch.randint(40, 81, (), generator=draw))
    # frequent and rare phones, as in speech (Zipf)
    weights = 1 / torch.arange(1, _PHONES + 1)
    phones = torch.multinomial(weights, frames // _FRAMES_PER_PHONE, replacement=True, generator=draw)
    steps = functional.interpolate(targets[phones].T[None], size=frames, mode="nearest")
    glide = functional.avg_pool1d(functional.pad(steps, (1, 1), mode="replicate"), 3, stride=1)[0]
    noise = torch.randn(len(strength), frames, generator=draw) * strength[:, None] * _NOISE
    wav = _voice(frames * settings.hop_length, settings.sampling_rate, draw)
    return Item(
        name=f"generated {number}",
        ssl=glide + noise,
        spec=linear_spectrogram(wav, settings)[0],
        wav=wav,
        text=(phones * (inputs.symbols // _PHONES)).clone(),
        sv_emb=torch.randn(inputs.sv_dim, generator=draw) if inputs.sv_dim else None,
        mel=inputs.mel_of(wav),
    )


def _voice(samples: int, rate: int, draw: Generator) -> Tensor:
    """Return `[1, samples]`: a gliding pitch with falling harmonics, breathing in loudness, and some noise."""
    time = torch.arange(samples) / rate
    low, glide, slow = torch.rand(3, generator=draw).tolist()
    pitch = 100 + 100 * low + 30 * glide * torch.sin(2 * math.pi * (2 + slow) * time)
    phase = 2 * math.pi * torch.cumsum(pitch / rate, 0)
    voiced = sum((torch.sin(k * phase) / k for k in range(1, 9)), start=torch.zeros(samples))
    loudness = 0.5 - 0.5 * torch.cos(2 * math.pi * 3 * time)
    return (0.2 * loudness * voiced + 0.01 * torch.randn(samples, generator=draw))[None]
