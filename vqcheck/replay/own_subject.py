"""The subject that needs nothing of the user's: the shipped synthesizer, trained in this process or under torchrun."""

import contextlib
import copy
import dataclasses
import inspect
import os
import random
import tempfile
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vqcheck.atomic_write import atomic_write
from vqcheck.errors import UsageError
from vqcheck.experiment.config import TINY_VERSIONS, Config
from vqcheck.language import tr
from vqcheck.live.encoder import LiveEncoder
from vqcheck.live.ranks import data_parallel
from vqcheck.replay.learning import MakeScaler, gradient_scaler, stored_state
from vqcheck.replay.own_networks import OwnNetworks, make_start, step_settings
from vqcheck.replay.parameter_watch import ParameterWatch
from vqcheck.replay.s2_training import S2Training, tokens_of
from vqcheck.replay.strategies import Strategy
from vqcheck.replay.subject import StepReport, Subject, TrainingCode
from vqcheck.replay.surroundings import (
    choose_device,
    choose_fp16,
    process_group,
    rank,
    upstream_settings,
)
from vqcheck.replay.trace import PartMoves, Setting
from vqcheck.replay.training_data import TrainingData, s2_setting, trained_as
from vqcheck.replay.training_step import AdversarialStep, FlowMatchingStep, TrainingStep

_TINY_THREADS = 1
"""For networks this small several threads wait for each other more than they work."""


_COPIES = 5
"""Of all weights: the start of every arm, those in training, their gradients, and both moments of AdamW."""


class OwnSubject(Subject):
    """Builds the networks once; each arm trains a copy of them."""

    networks: OwnNetworks
    data: TrainingData

    def __init__(self, config: Config, make_scaler: MakeScaler = gradient_scaler) -> None:
        super().__init__(config)
        self.make_scaler = make_scaler
        self._save: str | None = None

    @contextlib.contextmanager
    def opened(self, save: str | None) -> Iterator[None]:
        config = self.config
        if save and rank() == 0:
            _require_writable(save)
            self._save = save
        self.device = choose_device(config.replay.device)
        self.fp16 = choose_fp16(config, self.device)
        threads = _TINY_THREADS if config.subject.version in TINY_VERSIONS else None
        with upstream_settings(self.device, threads), process_group(self.device):
            self.networks = OwnNetworks(config)
            self.data = TrainingData(config, self.networks.inputs)
            self.common_start = make_start(self.networks, config, self.data.features)
            yield

    def start(self, strategy: Strategy) -> "OwnTraining":
        return OwnTraining(self, strategy)

    def setting(self) -> Setting:
        start = self.common_start
        version = trained_as(self.config)
        return s2_setting(self.config, self.data, self.device, self.fp16, version, start.weights, start.notes)

    def memory(self) -> int:
        networks = (self.common_start.net_g, self.common_start.net_d)
        parameters = [each for net in networks if net is not None for each in net.parameters()]
        return _COPIES * sum(each.numel() * each.element_size() for each in parameters)

    def saved(self, code: TrainingCode, strategy: str, steps: int) -> str | None:
        """Write `G_<steps>.pth` into a folder of the strategy's name, `D_<steps>.pth` too if there is one.

        Returns the path of the first.
        """
        if self._save is None or not isinstance(code, OwnTraining):
            return None
        target = os.path.join(self._save, strategy)
        step = code.training.training_step
        generator = os.path.join(target, f"G_{steps}.pth")
        try:
            os.makedirs(target, exist_ok=True)
            self._write(generator, step.net_g, step.optim_g, code)
            if isinstance(step, AdversarialStep):
                self._write(os.path.join(target, f"D_{steps}.pth"), step.net_d, step.optim_d, code)
        except OSError as error:
            raise UsageError(tr("cannot be written: {strerror}", strerror=error.strerror), target) from None
        return generator

    def _write(self, path: str, net: nn.Module, optimizer: torch.optim.Optimizer, code: "OwnTraining") -> None:
        """Save a network as upstream's training script does, so that any tool reads it as such."""
        content = {
            "model": net.state_dict(),
            "iteration": code.training.epoch,
            "optimizer": stored_state(optimizer),
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
        self.net_g = copy.deepcopy(subject.common_start.net_g)
        strategy.apply(self.net_g)
        self.net_g.to(device)
        self.parameters = ParameterWatch(self.net_g) if config.training.lora_rank else None
        # upstream seeds once; here every arm must draw the same numbers, however many were drawn before
        torch.manual_seed(config.replay.seed)
        random.seed(config.replay.seed)
        settings = step_settings(config, subject.networks.preset, fp16=subject.fp16)
        takes = list(inspect.signature(self.net_g.forward).parameters)
        step: TrainingStep
        if subject.common_start.net_d is None:
            step = FlowMatchingStep(self.net_g, settings, takes, data_parallel, subject.make_scaler)
        else:
            net_d = copy.deepcopy(subject.common_start.net_d).to(device)
            step = AdversarialStep(self.net_g, net_d, settings, takes, data_parallel, subject.make_scaler)
        self.training = S2Training(step)
        self.batches = subject.data.batches()
        self._probe = subject.data.probe.to(device)

    @property
    def module(self) -> nn.Module:
        return self.net_g

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:  # noqa: ARG002 - batches are endless
        epoch, batch = next(self.batches)
        report = self.training.step(epoch, batch.inputs(), traced)
        # above our own step on the stack is our own command line, which is nobody's training code
        writes = {name: dataclasses.replace(write, called_from=None) for name, write in report.writes.items()}
        # and that it uses its codebook goes without saying
        return dataclasses.replace(report, writes=writes, uses_codebook=None)

    def probe_tokens(self) -> Tensor | None:
        return tokens_of(self.net_g, self._probe)

    def moved_parameters(self) -> tuple[PartMoves, ...]:
        return self.parameters.moves(self.net_g) if self.parameters else ()


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
        raise UsageError(tr("cannot be written: {strerror}", strerror=error.strerror), folder) from None
