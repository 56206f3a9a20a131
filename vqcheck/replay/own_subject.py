"""The subject that needs nothing of the user's: the shipped synthesizer, trained in this process or under torchrun."""

import contextlib
import copy
import dataclasses
import inspect
import os
import tempfile
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vqcheck.atomic_write import atomic_write
from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.live.encoder import LiveEncoder
from vqcheck.replay import strategies
from vqcheck.replay.batches import collate
from vqcheck.replay.own_networks import OwnNetworks, Start, make_start, step_settings
from vqcheck.replay.s2_training import S2Training, tokens_of
from vqcheck.replay.strategies import Strategy, choose, with_control
from vqcheck.replay.subject import StepReport, TrainingCode
from vqcheck.replay.surroundings import (
    choose_device,
    choose_fp16,
    device_name,
    process_group,
    rank,
    upstream_settings,
    world_size,
)
from vqcheck.replay.trace import Setting
from vqcheck.replay.training_data import (
    Dataset,
    endless_training_batches,
    first_batch,
    make_dataset,
    some_features,
)
from vqcheck.replay.training_step import AdversarialStep, MakeScaler

_TINY_THREADS = 1
"""For networks this small several threads wait for each other more than they work."""


class OwnSubject:
    """Builds both networks once; each arm trains a copy of them."""

    networks: OwnNetworks
    start_of_all: Start
    dataset: Dataset
    probe: Tensor
    """Features `[B, dim, T]` whose tokens are followed through the training."""

    def __init__(self, config: Config, make_scaler: MakeScaler) -> None:
        version = config.subject.version
        if version in ("v3", "v4"):
            raise UsageError(f"{version} learns by another step; it is replayed from your own GPT-SoVITS (--checkout)")
        self.config, self.make_scaler = config, make_scaler
        self._save: str | None = None

    def chosen(self) -> list[Strategy]:
        """Return the strategies of the arms, a control among them.

        Raises:
            UsageError: a strategy is unknown.

        """
        known = strategies.STRATEGIES
        choose(self.config.expected, known)
        return with_control(choose(self.config.replay.strategies, known), self.config.expected, known)

    @contextlib.contextmanager
    def opened(self, save: str | None) -> Iterator[None]:
        """Load and check everything that an arm needs: networks, data, weights, the probe.

        Raises:
            UsageError, CheckpointError: something in the configuration keeps the replay from starting.

        """
        config = self.config
        if save and rank() == 0:
            _require_writable(save)
            self._save = save
        self.device = choose_device(config.replay.device)
        self.fp16 = choose_fp16(config, self.device)
        threads = _TINY_THREADS if config.subject.version == "tiny" else None
        with upstream_settings(self.device, threads), process_group(self.device):
            self.networks = OwnNetworks(config)
            model = self.networks.outline
            symbols = model.enc_p.text_embedding.num_embeddings
            sv_dim = model.sv_emb.in_features if model.is_v2pro else None
            spectrogram = self.networks.spectrogram
            self.dataset = make_dataset(config, spectrogram, model.ssl_proj.in_channels, symbols, sv_dim)
            first = first_batch(config, self.dataset)
            self.start_of_all = make_start(self.networks, config, some_features(self.dataset))
            self.probe = collate([self.dataset.item(position) for position in first]).ssl
            yield

    def start(self, strategy: Strategy) -> "OwnTraining":
        """Return a copy of the networks under a strategy."""
        return OwnTraining(self, strategy)

    def setting(self) -> Setting:
        """Return what was replayed, in what surroundings."""
        config = self.config
        return Setting(
            subject=config.subject.version,
            weights=self.start_of_all.weights,
            data=self.dataset.description,
            steps=config.replay.steps,
            batch_size=config.training.batch_size,
            seed=config.replay.seed,
            device=device_name(self.device),
            precision="fp16" if self.fp16 else "fp32",
            processes=world_size(),
            torch=str(torch.__version__),
            probe_tokens=self.probe.shape[0] * (self.probe.shape[2] // 2),
            notes=(*self.start_of_all.notes, *self.dataset.notes),
        )

    def saved(self, code: TrainingCode, strategy: str, steps: int) -> str | None:
        """Write `G_<steps>.pth` and `D_<steps>.pth` into a folder of the strategy's name; return the first one's path.

        Raises:
            UsageError: the folder or a file cannot be written.

        """
        if self._save is None or not isinstance(code, OwnTraining):
            return None
        target = os.path.join(self._save, strategy)
        step = code.training.training_step
        generator = os.path.join(target, f"G_{steps}.pth")
        try:
            os.makedirs(target, exist_ok=True)
            self._write(generator, step.net_g, step.optim_g, code)
            self._write(os.path.join(target, f"D_{steps}.pth"), code.net_d, code.optim_d, code)
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", target) from None
        return generator

    def _write(self, path: str, net: nn.Module, optimizer: torch.optim.Optimizer, code: "OwnTraining") -> None:
        """Save a network as upstream's training script does, so that any tool reads it as such."""
        content = {
            "model": net.state_dict(),
            "iteration": code.training.epoch,
            "optimizer": optimizer.state_dict(),
            # the configured one, not the decayed one
            "learning_rate": self.config.training.learning_rate,
        }
        with atomic_write(path) as stream:
            try:
                torch.save(content, stream)
            except RuntimeError as error:
                # What torch says when the stream fails, in its own words.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


class OwnTraining:
    """One arm's networks in training."""

    def __init__(self, subject: OwnSubject, strategy: Strategy) -> None:
        config, device = subject.config, subject.device
        self.net_g = copy.deepcopy(subject.start_of_all.net_g)
        strategy.apply(self.net_g)
        self.net_g.to(device)
        self.net_d = copy.deepcopy(subject.start_of_all.net_d).to(device)
        # upstream seeds once; here every arm must draw the same numbers, however many were drawn before
        torch.manual_seed(config.replay.seed)
        step = AdversarialStep(
            self.net_g,
            self.net_d,
            step_settings(config, subject.networks.preset, fp16=subject.fp16),
            list(inspect.signature(self.net_g.forward).parameters),
            _distributed(self.net_g, device),
            _distributed(self.net_d, device),
            subject.make_scaler,
        )
        self.optim_d = step.optim_d
        self.training = S2Training(step)
        self.batches = endless_training_batches(config, subject.dataset)
        self._probe = subject.probe.to(device)

    @property
    def module(self) -> nn.Module:
        return self.net_g

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:  # noqa: ARG002 - batches are endless
        """Train once; with the VQ encoder, say who wrote to it."""
        epoch, batch = next(self.batches)
        report = self.training.step(epoch, batch.inputs(), traced)
        # above our own step on the stack is our own command line, which is nobody's training code
        writes = {name: dataclasses.replace(write, called_from=None) for name, write in report.writes.items()}
        # and that it uses its codebook goes without saying
        return dataclasses.replace(report, writes=writes, uses_codebook=None)

    def probe_tokens(self) -> Tensor | None:
        """Return the tokens `[N]` of the probe as the VQ encoder stands now."""
        return tokens_of(self.net_g, self._probe)


def _require_writable(folder: str) -> None:
    """Make the folder and see that it can be written, before anything is trained.

    Raises:
        UsageError: it cannot.

    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", folder) from None


def _distributed(net: nn.Module, device: torch.device) -> nn.Module | None:
    """Wrap a network as upstream does, if there are several processes."""
    if world_size() == 1:
        return None
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(net, device_ids=ids, find_unused_parameters=True)
