"""One arm of a checkout, run step by step in the child, with its VQ encoder mirrored here."""

from collections.abc import Iterator

from torch import Tensor, nn

from vqcheck.experiment.config import Config
from vqcheck.live.encoder import LiveEncoder
from vqcheck.live.tensor_change import Write
from vqcheck.replay.batch import Batch, collate
from vqcheck.replay.checkout.inputs import MelTarget, named
from vqcheck.replay.checkout.mirror import Mirror, encoded
from vqcheck.replay.checkout.process import ChildProcess
from vqcheck.replay.dataset import Dataset
from vqcheck.replay.observed import StepReport
from vqcheck.replay.sampler import endless_batches
from vqcheck.replay.trace import COMPUTED, NOT_REPORTED, OFF


class CheckoutCode:
    """Asks the child to train, and keeps the mirror up to date."""

    def __init__(
        self,
        child: ChildProcess,
        strategy: str,
        config: Config,
        dataset: Dataset,
        target: MelTarget | None,
        probe: Tensor,
        features: Tensor,
    ) -> None:
        self._child, self._target, self._probe = child, target, probe
        self._mirror = Mirror()
        self._mirror.update(child.ask(do="arm", strategy=strategy, features=encoded(features))["tensors"])
        self._batches = _batches(config, dataset)

    @property
    def module(self) -> nn.Module:
        return self._mirror

    def step(self, number: int, traced: LiveEncoder | None) -> StepReport:
        """Train once; with a VQ encoder to be traced, tell what wrote to its tensors.

        Raises:
            UsageError: the step raised, or the process ended or hangs.

        """
        epoch, batch = next(self._batches)
        sent = {name: encoded(value) for name, value in named(batch, self._target).items()}
        told = self._child.ask(do="step", number=number, batch=sent, epoch=epoch, trace=traced is not None)
        self._mirror.update(told["tensors"])
        return StepReport(
            losses=told["losses"],
            commit_loss=told["commit_loss"],
            commit_loss_state={True: COMPUTED, False: OFF}.get(told["training"], NOT_REPORTED),
            shadow_commit_loss=told["shadow"],
            gradient_norms=told["norms"],
            learning_rate=told["learning_rate"],
            epoch=epoch,
            seconds=told["seconds"],
            writes={name: Write(*place) for name, place in told["writes"].items()},
            optimizer_step_skipped=told["skipped"],
            # it ran, or there would be no word on its mode
            uses_codebook=told["training"] is not None,
        )

    def probe_tokens(self) -> Tensor:
        """Return the tokens of the probe as the VQ encoder stands now."""
        return self._mirror.tokens(self._probe)


def _batches(config: Config, dataset: Dataset) -> Iterator[tuple[int, Batch]]:
    for epoch, positions in endless_batches(dataset.lengths, config.training.batch_size):
        yield epoch, collate([dataset.item(position) for position in positions])
