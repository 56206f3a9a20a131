"""Decodes recordings of an experiment under each way out of a drift, and measures how far each is from the recording.

The shipped synthesizer decodes, with the recording itself as the reference and the same noise in each way.
"""

import io
import os
import random
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from vqcheck.atomic_write import atomic_write
from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.model import identify
from vqcheck.errors import CheckpointError, UsageError
from vqcheck.experiment.directory import Entry, read_experiment, read_speaker_vector, read_ssl, read_wav
from vqcheck.experiment.name2semantic import read_name2semantic
from vqcheck.experiment.name2text import ids_from_file
from vqcheck.language import listed, tr
from vqcheck.replay.own_networks import read_tensor
from vqcheck.restore.measured import Clip, MeasuredItem, Measurement, Way
from vqcheck.synthesizer import VERSIONS, SynthesizerError, SynthesizerTrn, preset
from vqcheck.synthesizer.spectrogram import linear_spectrogram, mel_spectrogram

_SEED: Final = 1234
_EMBEDDED: Final = 12 << 20
"""Bytes of sound that are kept for a page."""
_FEWEST: Final = 2
_NAMES: Final = {Way.DRIFTED: "drifted", Way.RESTORED: "restored", Way.EXTRACTED_AGAIN: "extracted again"}
_BY_POSITION: Final = ("spec_channels", "segment_size", "n_speakers", "version", "freeze_quantizer", "n_symbols")
_COUNTS: Final = ("n_layers", "posterior_layers", "flow_layers", "n_flows")
_MOST_LAYERS: Final = 64
_WIDEST: Final = 1 << 16
_UNUSED: Final = "enc_q."
"""What decoding does not need, and exports leave out."""


@dataclass(frozen=True)
class _Recording:
    entry: Entry
    tokens: tuple[int, ...]


class Measuring:
    """What is measured: read, and seen to fit, before anything is written.

    `symbols` is a file with the symbols of the version, one a line, in the order of its table.

    Raises:
        UsageError: the file is of a version that is not decoded here, the experiment lacks something, or fewer than two
            recordings have all that is needed.

    """

    def __init__(self, drifted: Checkpoint, experiment: str, symbols: str, sample: int) -> None:
        self.version = identify(drifted).version
        if self.version not in VERSIONS:
            known = listed(list(VERSIONS), last="")
            raise UsageError(
                tr("is a model of {version}; {known} can be decoded", version=self.version, known=known)
                if self.version
                else tr("is not a model of a known version; {known} can be decoded", known=known),
                drifted.path,
            )
        self._preset = preset(self.version)
        self._sizes = _sizes(drifted)
        self._load(drifted)  # or it would turn out after the restored file was written
        self._symbols = ids_from_file(symbols, self._sizes["n_symbols"])
        found = read_experiment(experiment, with_speakers=self._is_pro)
        self._experiment = experiment
        tokens = {row.item: tuple(row.tokens) for row in read_name2semantic(experiment).rows}
        self._left_out = dict(found.left_out)
        usable = []
        for entry in found.entries:
            unknown = next((phone for phone in entry.phones if phone not in self._symbols), None)
            if entry.name not in tokens:
                self._left_out[entry.name] = tr("has no recorded tokens")
            elif unknown is not None:
                self._left_out[entry.name] = tr(
                    "has the phone {phone!r}, which is not in {symbols}", phone=unknown, symbols=symbols
                )
            else:
                usable.append(_Recording(entry, tokens[entry.name]))
        if len(usable) < _FEWEST:
            said = tr(
                "{usable} recordings can be measured, at least {fewest} are needed", usable=len(usable), fewest=_FEWEST
            )
            for name, reason in list(self._left_out.items())[:1]:
                said = tr("{clause}; {next}", clause=said, next=tr("{item} {reason}", item=name, reason=reason))
            raise UsageError(said, experiment)
        self._of = len(usable)
        chosen = random.Random(_SEED).sample(usable, min(sample, len(usable)))  # noqa: S311 - not a secret
        self._recordings = sorted(chosen, key=lambda each: each.entry.name)

    def run(
        self,
        drifted: Checkpoint,
        restored: str,
        save: str | None = None,
        on_item: Callable[[int, int], None] | None = None,
    ) -> Measurement:
        """Decode everything. `save` is a folder for the sound; `on_item` is called with (items done, items in all).

        Raises:
            UsageError: an item cannot be read or decoded, or the sound cannot be written.
            CheckpointError: a file cannot be read.

        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with open_checkpoint(restored) as file:
            nets = self._load(drifted).to(device), self._load(file).to(device)
        items, room = [], _EMBEDDED
        for number, recording in enumerate(self._recordings, start=1):
            try:
                item = self._measured(recording, nets, device, save, room)
            except (UsageError, CheckpointError, SynthesizerError) as error:
                raise UsageError(
                    tr("recording {name!r}: {reason}", name=recording.entry.name, reason=str(error))
                ) from None
            room -= sum(len(clip.wav) for clip in item.clips)
            items.append(item)
            if on_item:
                on_item(number, len(self._recordings))
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        left_out = tuple(self._left_out.items())
        return Measurement(self._experiment, self.version, name, tuple(items), self._of, left_out)

    @property
    def _is_pro(self) -> bool:
        return "Pro" in self.version

    def _network(self) -> SynthesizerTrn:
        """Return a network of the sizes that the file names, of the versions that make samples."""
        net = self._preset.synthesizer(**self._sizes)
        if not isinstance(net, SynthesizerTrn):
            raise UsageError(tr("{version} makes mel, and no samples; it cannot be measured", version=self.version))
        return net

    def _load(self, checkpoint: Checkpoint) -> SynthesizerTrn:
        """Return the network of a file in float32; everything that decoding needs must be in it."""
        try:
            with torch.device("meta"):
                _require_shapes(checkpoint, self._network())
            with torch.random.fork_rng([]):  # its first weights are drawn, and replaced
                net = self._network()
            state = {name: read_tensor(checkpoint, name) for name in net.state_dict() if name in checkpoint.tensors}
            state |= {name: value for name, value in net.state_dict().items() if name.startswith(_UNUSED)}
            net.load_state_dict(state)
        except (SynthesizerError, RuntimeError, ValueError, TypeError) as error:
            raise UsageError(tr("cannot be decoded: {reason}", reason=str(error)), checkpoint.path) from None
        return net.eval()

    def _measured(
        self,
        recording: _Recording,
        nets: tuple[SynthesizerTrn, SynthesizerTrn],
        device: torch.device,
        save: str | None,
        room: int,
    ) -> MeasuredItem:
        entry, settings = recording.entry, self._preset.spectrogram
        drifted, restored = nets
        wav = torch.from_numpy(read_wav(entry.audio, settings.sampling_rate))[None].to(device)
        text = torch.tensor([[self._symbols[phone] for phone in entry.phones]], device=device)
        ssl = torch.from_numpy(read_ssl(entry.features, drifted.ssl_proj.in_channels))[None].to(device)
        vector = None
        if entry.speaker:
            size = drifted.sv_emb.in_features
            vector = torch.from_numpy(read_speaker_vector(entry.speaker, size))[None].to(device)
        with torch.no_grad():
            # An odd last frame gives no token, as in the extraction.
            whole = ssl[:, :, : ssl.size(2) // drifted.frames_per_code * drifted.frames_per_code]
            again = drifted.extract_latent(whole)
            recorded = torch.tensor(recording.tokens, device=device)[None, None]
            spec = linear_spectrogram(wav, settings)
            ways = {
                Way.DRIFTED: (drifted, recorded),
                Way.RESTORED: (restored, recorded),
                Way.EXTRACTED_AGAIN: (drifted, again),
            }
            sounds = {way: _decoded(net, codes, text, spec, vector) for way, (net, codes) in ways.items()}
            length = min(wav.size(1), *(sound.size(1) for sound in sounds.values()))
            mels = {way: mel_spectrogram(sound[:, :length], settings) for way, sound in sounds.items()}
            target = mel_spectrogram(wav[:, :length], settings)
            errors = tuple(float((mels[way] - target).abs().mean()) for way in Way)
            common = min(recorded.size(2), again.size(2))
            other = int((recorded[..., :common] != again[..., :common]).sum())
        named = {"recording": wav, **{_NAMES[way]: sound for way, sound in sounds.items()}}
        clips = _clips(entry.name, named, settings.sampling_rate, save, room)
        return MeasuredItem(entry.name, length / settings.sampling_rate, errors, common, other, clips)


def _sizes(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the sizes of the model in which a file differs from its version's, as its own configuration has them."""
    config = checkpoint.information.get("config")
    section = config.get("model") if isinstance(config, dict) else None
    given = section if isinstance(section, dict) else {}
    sizes = {name: value for name, value in given.items() if name not in _BY_POSITION and _is_sane(name, value)}
    text = checkpoint.tensors.get("enc_p.text_embedding.weight")
    if text is None or len(text.shape) != 2:
        raise UsageError(
            tr("is not a whole s2 model: it holds no {tensor}", tensor="enc_p.text_embedding.weight"), checkpoint.path
        )
    return {**sizes, "n_symbols": text.shape[0], "freeze_quantizer": True}


def _is_sane(name: str, value: object) -> bool:
    """Say whether a size can be one of a model that fits into memory: a file may claim anything."""
    if isinstance(value, list):
        return len(value) <= _MOST_LAYERS and all(_is_sane(name, each) for each in value)
    if isinstance(value, int):
        return 0 <= value <= (_MOST_LAYERS if name in _COUNTS else _WIDEST)
    return isinstance(value, (str, float))


def _require_shapes(checkpoint: Checkpoint, outline: SynthesizerTrn) -> None:
    for name, tensor in outline.state_dict().items():
        stored = checkpoint.tensors.get(name)
        if stored is None and not name.startswith(_UNUSED):
            raise UsageError(tr("is not a whole s2 model: it holds no {tensor}", tensor=name), checkpoint.path)
        if stored is not None and stored.shape != tuple(tensor.shape):
            raise UsageError(
                tr(
                    "{tensor} has the shape {stored}, a model of its version and configuration {expected}",
                    tensor=name,
                    stored=list(stored.shape),
                    expected=list(tensor.shape),
                ),
                checkpoint.path,
            )


def _decoded(net: SynthesizerTrn, codes: Tensor, text: Tensor, spec: Tensor, vector: Tensor | None) -> Tensor:
    """Return samples `[1, N]`; every way gets the same noise."""
    devices = [spec.device] if spec.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(_SEED)
        return net.decode(codes, text, spec, sv_emb=vector)[0]


def _clips(name: str, sounds: Mapping[str, Tensor], rate: int, save: str | None, room: int) -> tuple[Clip, ...]:
    """Return the sound of one item, saved where it is wanted, and kept as far as there is room."""
    wavs = {label: _wav(sound, rate) for label, sound in sounds.items()}
    kept = sum(map(len, wavs.values())) <= room
    clips = []
    for label, content in wavs.items():
        path = os.path.join(save, f"{name.removesuffix('.wav')}.{label.replace(' ', '_')}.wav") if save else ""
        if path:
            try:
                with atomic_write(path) as stream:
                    stream.write(content)
            except OSError as error:
                raise UsageError(tr("cannot be written: {strerror}", strerror=error.strerror), path) from None
        if kept or path:
            clips.append(Clip(label, content if kept else b"", path))
    return tuple(clips)


def _wav(samples: Tensor, rate: int) -> bytes:
    """Return 16-bit mono; what is louder than full scale is cut."""
    values = (samples[0].float().cpu().numpy().clip(-1, 1) * 32767).round().astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(values).tobytes())
    return stream.getvalue()
