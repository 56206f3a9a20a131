"""How a network learns from a loss: upstream's AdamW, scheduler and gradient scaler, with as few waits as there can be.

Nothing here reads a value of a tensor, so that a GPU never waits for the host. It runs in a checkout's Python too: 3.9,
torch 2.0.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vqcheck.replay.step_settings import StepSettings

MakeScaler = Callable[[str, bool], Any]
"""From the type of a device, and whether training is in half precision, to the gradient scaler."""


def gradient_scaler(device_type: str, fp16: bool) -> Any:
    """Return the gradient scaler that upstream uses."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device_type, enabled=fp16)
    return torch.cuda.amp.GradScaler(enabled=fp16)  # before torch 2.3


class EagerAdamW(torch.optim.AdamW):
    """AdamW that nobody compiles: torch's own imports its compiler at the first step, which takes up to seconds."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)


class Learning:
    """A network with its optimizer and the decay of its learning rate."""

    def __init__(self, net: nn.Module, groups: list[dict[str, Any]], settings: StepSettings, scaler: Any) -> None:
        self._net, self._scaler = net, scaler
        self.optimizer = _adamw(groups, settings)
        self._scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=settings.lr_decay)

    def start_epoch(self) -> None:
        """Bring the learning rate to the epoch's: epoch 1 is already decayed."""
        with warnings.catch_warnings():
            # torch's advice on the order of steps: upstream steps its schedulers before the first optimizer step
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self._scheduler.step()

    def step(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step; return the norm of the gradients and whether the scaler skipped the step, scalars `[]`."""
        self.optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self.optimizer)
        norm = gradient_norm(self._net)
        before = self._steps_taken()
        self._scaler.step(self.optimizer)
        return norm, before == self._steps_taken()

    def _steps_taken(self) -> Tensor:
        """Return what the optimizer counted for a parameter that has a gradient.

        A fused optimizer finds out on the device whether it is to skip a step, and the scaler does not say.
        """
        parameters = (each for group in self.optimizer.param_groups for each in group["params"])
        learning = next(each for each in parameters if each.grad is not None)
        counted = self.optimizer.state.get(learning, {}).get("step")
        return torch.zeros(()) if counted is None else counted.clone()


def _adamw(groups: list[dict[str, Any]], settings: StepSettings) -> torch.optim.AdamW:
    """Return the optimizer in the form that passes over memory once where this torch has it for the device."""
    numbers = (settings.learning_rate, (settings.betas[0], settings.betas[1]), settings.eps)
    try:
        return EagerAdamW(groups, *numbers, fused=True)
    except RuntimeError:  # on a CPU before torch 2.4
        return EagerAdamW(groups, *numbers, foreach=True)


def stored_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state dict that upstream's AdamW has: in which form it is computed is a matter of this machine."""
    state = optimizer.state_dict()
    groups = [{**group, "fused": None, "foreach": None} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def parameter_groups(net_g: nn.Module, rate: float, text_rate: float | None) -> list[dict[str, Any]]:
    """Return the groups: everything that requires a gradient, and slower the parts that read text.

    With a `text_rate` of None there is one group.
    """
    enc_p = net_g.get_submodule("enc_p")
    names = () if text_rate is None else ("text_embedding", "encoder_text", "mrte")
    text_parts = [list(getattr(enc_p, name).parameters()) for name in names if hasattr(enc_p, name)]
    slow = {id(parameter) for part in text_parts for parameter in part}
    base = [p for p in net_g.parameters() if p.requires_grad and id(p) not in slow]
    return [{"params": base, "lr": rate}, *({"params": part, "lr": rate * (text_rate or 1)} for part in text_parts)]


def gradient_norm(module: nn.Module) -> Tensor:
    """Return the norm of all gradients of a module, a scalar; nothing is clipped, as upstream clips nothing."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.stack(torch._foreach_norm(gradients)).norm()  # noqa: SLF001 - what torch's own clipping uses
    return norm
