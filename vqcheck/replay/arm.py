"""Runs one arm: a strategy on the shared start, step by step, with every look at the VQ encoder."""

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.experiment.config import Config
from vqcheck.live.encoder import find
from vqcheck.live.first_write import WriteCatcher
from vqcheck.live.module_checkpoint import digests
from vqcheck.live.watch import EncoderWatch
from vqcheck.replay import ranks
from vqcheck.replay.attribution import Attribution
from vqcheck.replay.batch import Batch, collate
from vqcheck.replay.dataset import Dataset
from vqcheck.replay.recorder import Recorder
from vqcheck.replay.sampler import endless_batches
from vqcheck.replay.step import MakeScaler, StepResult, TrainingStep, gradient_scaler
from vqcheck.replay.strategies import Strategy
from vqcheck.replay.subject import Start, Subject
from vqcheck.replay.trace import COMPUTED, OFF, Arm, StepTrace
from vqcheck.synthesizer import SynthesizerTrn


@dataclass(frozen=True)
class Conditions:
    """What all arms have in common."""

    subject: Subject
    start: Start
    config: Config
    dataset: Dataset
    probe: Tensor
    """Features `[B, dim, T]` whose tokens are followed through the training."""
    device: torch.device
    fp16: bool
    make_scaler: MakeScaler = gradient_scaler


class ArmRun:
    """One arm while it runs; `finish` gives its trace at any time."""

    def __init__(self, conditions: Conditions, strategy: Strategy) -> None:
        self._conditions = conditions
        self._strategy = strategy
        device = conditions.device
        self.net_g = copy.deepcopy(conditions.start.net_g)
        strategy.apply(self.net_g)
        self.net_g.to(device)
        self.net_d = copy.deepcopy(conditions.start.net_d).to(device)
        # upstream seeds once; here every arm must draw the same numbers, however many were drawn before
        torch.manual_seed(conditions.config.replay.seed)
        self.training_step = TrainingStep(
            self.net_g,
            self.net_d,
            conditions.config.training,
            conditions.subject.spectrogram,
            conditions.fp16,
            _distributed(self.net_g, device),
            _distributed(self.net_d, device),
            conditions.make_scaler,
        )
        self.epoch = 0
        self._encoder = find(self.net_g)
        self._watch = EncoderWatch(self._encoder)
        self._quantizer = _QuantizerHook(self.net_g)
        self._probe = conditions.probe.to(device)
        self._first_tokens = probe_tokens(self.net_g, self._probe)
        self._digest_at_start = digests(self.net_g)
        self._digest_at_first_change: EncoderDigests | None = None
        self._recorder = Recorder()
        self._attribution = Attribution()

    @property
    def steps_run(self) -> int:
        return self._recorder.steps_run

    @property
    def learning_rate(self) -> float:
        """The configured one, not the decayed one."""
        return self._conditions.config.training.learning_rate

    def run(self, on_step: Callable[[StepTrace], None]) -> None:
        """Train for the configured number of steps, or until it has learned, and report each one."""
        batches, planned = self._batches(), self._conditions.config.replay.steps
        while not self._recorder.is_done(planned, self._attribution.is_due):
            epoch, batch = next(batches)
            if epoch != self.epoch:
                self.epoch = epoch
                self.training_step.start_epoch()
            on_step(self._step(self.steps_run + 1, batch.to(self._conditions.device)))

    def finish(self, complete: bool, checkpoint: str | None = None) -> Arm:
        """Return the trace as far as it got."""
        recorder, strategy = self._recorder, self._strategy
        return Arm(
            strategy=strategy.name,
            stops=strategy.stops,
            expected=self._conditions.config.expected.get(strategy.name, strategy.expected),
            steps_run=recorder.steps_run,
            complete=complete,
            steps=recorder.steps,
            kept_every=recorder.kept_every,
            commit_loss=recorder.extent("commit_loss"),
            shadow_commit_loss=recorder.extent("shadow_commit_loss"),
            first_writes=self._attribution.first_writes(recorder.first_changed),
            digest_at_start=self._digest_at_start,
            digest_at_first_change=self._digest_at_first_change,
            digest_at_end=digests(self.net_g),
            rank_differences=recorder.rank_differences,
            median_seconds=recorder.median_seconds,
            tracing_seconds=recorder.median_tracing_seconds,
            checkpoint=checkpoint,
            skipped_steps=recorder.skipped_steps,
        )

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        config, dataset = self._conditions.config, self._conditions.dataset
        plan = endless_batches(dataset.lengths, config.training.batch_size, ranks.rank(), ranks.world_size())
        for epoch, positions in plan:
            yield epoch, collate([dataset.item(position) for position in positions])

    def _step(self, number: int, batch: Batch) -> StepTrace:
        catcher = WriteCatcher(self._encoder) if self._attribution.is_due else None
        self._wait()
        begun = time.perf_counter()
        with catcher or nullcontext():
            result = self.training_step(batch)
        self._wait()
        trained = time.perf_counter()
        step = self._look(number, result, catcher, None if catcher else trained - begun)
        self._recorder.add(step, time.perf_counter() - trained)
        return step

    def _look(self, number: int, result: StepResult, catcher: WriteCatcher | None, seconds: float | None) -> StepTrace:
        """Compare everything with the start, and decide whether the next step needs attribution."""
        caught = catcher.first if catcher else {}
        tensors = self._watch.look(caught)
        # above vqcheck's own step on the stack is its command line, which is nobody's training code
        writes = {
            each.label: dataclasses.replace(caught[each.name], called_from=None)
            for each in self._encoder.tensors
            if each.name in caught
        }
        is_new = self._attribution.note(number, writes, tensors, self._recorder.first_changed)
        if is_new and self._digest_at_first_change is None:
            self._digest_at_first_change = digests(self.net_g)
        scalars = {
            **result.losses,
            **{f"norm {name}": norm for name, norm in result.gradient_norms.items()},
            "commit": result.commit_loss,
            "shadow": self._quantizer.shadow_commit_loss(),
        }
        flipped = (probe_tokens(self.net_g, self._probe) != self._first_tokens).sum()
        values = torch.stack([*(value.float().reshape(()) for value in scalars.values()), flipped.float()]).tolist()
        read = dict(zip(scalars, values, strict=False))
        now = self._encoder.now()
        return StepTrace(
            step=number,
            epoch=self.epoch,
            losses={name: read[name] for name in result.losses},
            gradient_norms={name: read[f"norm {name}"] for name in result.gradient_norms},
            commit_loss=read["commit"],
            commit_loss_state=COMPUTED if self._quantizer.was_training else OFF,
            shadow_commit_loss=read["shadow"],
            tensors=tensors,
            flipped_tokens=int(values[-1]),
            learning_rate=self.training_step.learning_rate,
            seconds=seconds,
            differing_across_ranks=ranks.differing({each.label: now[each.name] for each in self._encoder.tensors}),
            optimizer_step_skipped=result.skipped,
        )

    def _wait(self) -> None:
        if self._conditions.device.type == "cuda":
            torch.cuda.synchronize(self._conditions.device)


class _QuantizerHook:
    """Keeps what went into the quantizer and what came out at the last call, for the commit loss on the side."""

    def __init__(self, net_g: SynthesizerTrn) -> None:
        self.was_training = False
        self._x = self._quantized = torch.zeros(0)
        net_g.quantizer.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
        self.was_training = module.training
        self._x, self._quantized = args[0].detach(), output[0].detach()

    def shadow_commit_loss(self) -> Tensor:
        """Return the mean squared distance of frames and codes, a scalar, and let go of them."""
        loss = functional.mse_loss(self._quantized, self._x)
        self._x = self._quantized = torch.zeros(0)
        return loss


@torch.no_grad()
def probe_tokens(net_g: SynthesizerTrn, ssl: Tensor) -> Tensor:
    """Return the tokens `[N]` of ssl `[B, dim, T]`, past `forward`: in no mode does this write anything."""
    frames = net_g.ssl_proj(ssl).transpose(1, 2).flatten(0, 1)
    return net_g.quantizer.codebooks()[0].nearest(frames)


def _distributed(net: nn.Module, device: torch.device) -> nn.Module | None:
    """Wrap a network as upstream does, if there are several processes."""
    if ranks.world_size() == 1:
        return None
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(net, device_ids=ids, find_unused_parameters=True)
