"""What the child process does when it is wanted: it loads a tree, starts an arm, takes training steps."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import vqcheck.live.freeze  # noqa: F401 - a strategy; imported here with the rest
from vqcheck.errors import UsageError, VqcheckError
from vqcheck.language import packed, tr
from vqcheck.live.encoder import LiveEncoder, find
from vqcheck.live.ranks import data_parallel
from vqcheck.live.watch import same_bits
from vqcheck.replay.checkout.child.tree import Tree, seed_all
from vqcheck.replay.checkout.tensor_json import decoded, encoded
from vqcheck.replay.parameter_watch import ParameterWatch
from vqcheck.replay.s2_training import S2Training
from vqcheck.replay.step_settings import StepSettings
from vqcheck.replay.strategies import CHECKOUT_STRATEGIES, undo_own_freeze
from vqcheck.replay.subject import in_one_line
from vqcheck.replay.trace import AS_IS, PartMoves
from vqcheck.replay.training_step import AdversarialStep, FlowMatchingStep, TrainingStep
from vqcheck.synthesizer.lora import add_lora
from vqcheck.synthesizer.spectrogram import SpectrogramSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Session:
    """One tree, and one arm at a time.

    The value of "do" says what is requested:

    load   a tree, sizes, numbers, pretrained weights   ->  what was found in the tree
    start  a strategy, features for a fresh codebook    ->  the tensors of the VQ encoder as it starts
    step   a batch by name, whether to trace writes     ->  a StepReport, and those tensors that changed or are gone
    moves  nothing                                      ->  which parameters of the generator moved since the start

    A tensor is {"dtype", "shape", "data" (base64)}. Each answer is {"ok": ...} or {"error": one line, packed}.
    """

    def __init__(self) -> None:
        self._tree: Tree | None = None
        self._arm: ChildArm | None = None

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one line of input, whatever it holds."""
        try:
            return {"ok": self._answer(json.loads(line))}
        except VqcheckError as error:
            return {"error": packed(str(error))}
        except BaseException as error:  # noqa: BLE001 - SystemExit of a tree's module included
            return {"error": in_one_line(error)}

    def _answer(self, request: Any) -> dict[str, Any]:
        wanted = request.get("do") if isinstance(request, dict) else None
        if wanted == "load":
            self._tree = Tree(request)
            return self._tree.found
        if wanted == "start" and self._tree:
            self._arm = None  # its memory is free before another one is made
            self._arm = ChildArm(self._tree, request["strategy"], decoded(request["features"]))
            return {"tensors": self._arm.changed()}
        if wanted == "step" and self._arm:
            return self._arm.step(request)
        if wanted == "moves" and self._arm:
            return {"parameters": [asdict(each) for each in self._arm.moves()]}
        raise UsageError(tr("the request {request!r} has no meaning", request=str(request)[:60]))


class ChildArm:
    """The tree's networks under one strategy, with optimizers and the gradient scaler."""

    def __init__(self, tree: Tree, strategy: str, features: Tensor) -> None:
        net_g, net_d = tree.start(features)
        if strategy != AS_IS:
            undo_own_freeze(net_g)
        CHECKOUT_STRATEGIES[strategy].apply(net_g)
        if tree.request["lora_rank"]:
            add_lora(net_g, tree.request["lora_rank"])
        net_g, net_d = net_g.to(tree.device), net_d and net_d.to(tree.device)
        self._parameters = ParameterWatch(net_g) if tree.request["lora_rank"] else None
        self._net_g, self._training = net_g, S2Training(_training_step(tree, net_g, net_d))
        self._last: dict[str, Tensor] = {}
        seed_all(tree.request["seed"])

    def step(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train once, and say what happened."""
        batch = {name: decoded(value) for name, value in request["batch"].items()}
        traced: LiveEncoder | None = find(self._net_g) if request["trace"] else None
        try:
            report = self._training.step(request["epoch"], batch, traced)
        except BaseException as error:
            raise UsageError(
                tr("step {number} raised {error}", number=request["number"], error=in_one_line(error))
            ) from error
        gone = self._last.keys() - _state(self._net_g).keys()
        return {"report": asdict(report), "tensors": self.changed(), "gone": sorted(gone)}

    def moves(self) -> tuple[PartMoves, ...]:
        """Return which parameters moved since the start, by part; nothing where that is not watched."""
        return self._parameters.moves(self._net_g) if self._parameters else ()

    def changed(self) -> dict[str, Any]:
        """Return those tensors of the VQ encoder whose bits changed since the last call."""
        now, last = _state(self._net_g), self._last
        changed = [name for name, value in now.items() if name not in last or not same_bits(value, last[name])]
        self._last = {name: now[name].detach().clone() if name in changed else last[name] for name in now}
        return {name: encoded(now[name]) for name in changed}


def _training_step(tree: Tree, net_g: nn.Module, net_d: nn.Module | None) -> TrainingStep:
    numbers = tree.request["settings"]
    settings = StepSettings(**{**numbers, "spectrogram": SpectrogramSettings(**numbers["spectrogram"])})
    if net_d is None:
        return FlowMatchingStep(net_g, settings, tree.names, data_parallel)
    return AdversarialStep(net_g, net_d, settings, tree.names, data_parallel)


def _state(net_g: nn.Module) -> dict[str, Tensor]:
    """Return name -> tensor of what the VQ encoder stores."""
    parts = {"ssl_proj": net_g.ssl_proj, "quantizer": net_g.quantizer}
    return {f"{part}.{name}": value for part, each in parts.items() for name, value in each.state_dict().items()}  # type: ignore[union-attr]
