"""The ways people have frozen the VQ encoder, and what each really stops.

Every strategy acts on the shipped synthesizer built with `freeze_quantizer` off or on; `encode` replaces the one method
in which it is frozen (see `vqcheck.synthesizer.frozen`).
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from vqcheck.errors import UsageError
from vqcheck.experiment.config import Config
from vqcheck.replay.trace import AS_IS, DRIFTED, FROZEN

if TYPE_CHECKING:
    from torch import Tensor

    from vqcheck.synthesizer import SynthesizerTrn

_Encode = Callable[["SynthesizerTrn", "Tensor"], "tuple[Tensor, Tensor, Tensor]"]


@dataclass(frozen=True)
class Strategy:
    """One way to freeze.

    `prepare` runs once on the new model, as a constructor would; `encode` stands for `encode_semantic`, None for the
    class's own.
    """

    name: str
    stops: str
    expected: str
    freeze_quantizer: bool = False
    prepare: Callable[["SynthesizerTrn"], Any] | None = None
    encode: _Encode | None = None

    def apply(self, model: "SynthesizerTrn") -> None:
        """Freeze a model that was just built, before optimizers or wrappers see it."""
        model.freeze_quantizer = self.freeze_quantizer
        if self.prepare:
            self.prepare(model)
        if self.encode:
            model.encode_semantic = MethodType(self.encode, model)  # type: ignore[method-assign]


def _turn_off_gradients(model: "SynthesizerTrn") -> None:
    model.ssl_proj.requires_grad_(False)
    model.quantizer.requires_grad_(False)


def _eval_once(model: "SynthesizerTrn") -> None:
    model.ssl_proj.eval()
    model.quantizer.eval()


def _freeze_from_outside(model: "SynthesizerTrn") -> None:
    from vqcheck.live.freeze import freeze

    freeze(model)


def _no_grad_alone(model: "SynthesizerTrn", ssl: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    import torch

    with torch.no_grad():
        return model.project_and_quantize(ssl)


def _eval_at_each_call(model: "SynthesizerTrn", ssl: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    if model.freeze_quantizer:
        model.ssl_proj.eval()
        model.quantizer.eval()
    return model.project_and_quantize(ssl)


_ALL: Final = (
    Strategy(
        "none",
        "Stops nothing: the moving average writes the codebook, and gradients train ssl_proj.",
        DRIFTED,
    ),
    Strategy(
        "requires-grad",
        "Stops the gradient into ssl_proj; the codebook is a buffer that no gradient writes, so it drifts on.",
        DRIFTED,
        prepare=_turn_off_gradients,
    ),
    Strategy(
        "eval-at-init",
        "Stops nothing: net_g.train() at the start of the epoch undoes eval() in the constructor.",
        DRIFTED,
        prepare=_eval_once,
    ),
    Strategy(
        "no-grad",
        "Stops the gradient into ssl_proj; the moving average writes through .data, which the context does not see.",
        DRIFTED,
        encode=_no_grad_alone,
    ),
    Strategy(
        "eval-in-forward",
        "Stops the moving average at every call and, with the straight-through path, the gradient into ssl_proj.",
        FROZEN,
        freeze_quantizer=True,
        encode=_eval_at_each_call,
    ),
    Strategy(
        "maybe-no-grad",
        "Stops both: eval() at every call holds the codebook, no_grad() around the computation holds ssl_proj.",
        FROZEN,
        freeze_quantizer=True,
    ),
    Strategy(
        "freeze",
        "Stops both from outside: vqcheck.freeze keeps eval() through any train(), and takes ssl_proj out of training.",
        FROZEN,
        prepare=_freeze_from_outside,
    ),
)
STRATEGIES: Final[Mapping[str, Strategy]] = {strategy.name: strategy for strategy in _ALL}


FREEZE: Final = "freeze"
UNTOUCHED: Final = Strategy(AS_IS, "Whatever the code itself does to freeze.", FROZEN)
FACTORY_STRATEGIES: Final[Mapping[str, Strategy]] = {
    AS_IS: UNTOUCHED,
    FREEZE: replace(
        STRATEGIES[FREEZE], stops="Stops every write from outside: vqcheck.freeze on the module that was returned."
    ),
}
"""What can be done to code of which nothing is known."""
CHECKOUT_STRATEGIES: Final[Mapping[str, Strategy]] = {AS_IS: UNTOUCHED, **STRATEGIES}
"""What can be done to a checkout's networks from outside: its own freeze is undone first, except as it is."""


def known_strategies(config: Config) -> Mapping[str, Strategy]:
    """Return the strategies that the configured subject can be replayed under."""
    if config.subject.factory:
        return FACTORY_STRATEGIES
    return CHECKOUT_STRATEGIES if config.subject.checkout else STRATEGIES


def choose(names: Sequence[str], known: Mapping[str, Strategy] | None = None) -> list[Strategy]:
    """Return the strategies of these names, each once; `known` are those there are, by default of our synthesizer.

    Raises:
        UsageError: for an unknown name.

    """
    known = STRATEGIES if known is None else known
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown strategy {name!r}: expected {', '.join(known)}{hint}")
    return [known[name] for name in dict.fromkeys(names)]


def with_control(chosen: Sequence[Strategy], expected: Mapping[str, str]) -> list[Strategy]:
    """Return the strategies, with `none` in front when none of them is expected to drift."""
    if any(expected.get(strategy.name, strategy.expected) == DRIFTED for strategy in chosen):
        return list(chosen)
    return [STRATEGIES["none"], *(strategy for strategy in chosen if strategy.name != "none")]
