"""The ways people have frozen the VQ encoder, and what each really stops: one class each, whatever is trained.

A strategy acts on the finished network from outside, as a patch of a training script would. It is the same class for
our own networks, for code that a factory returns, and in the child process of a checkout, so it runs on Python 3.9
with torch 2.0.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vqcheck.errors import UsageError
from vqcheck.language import listed, tr
from vqcheck.replay.trace import AS_IS, ArmVerdict

if TYPE_CHECKING:
    from torch import nn

    from vqcheck.experiment.config import Config


class Strategy:
    """One way to freeze.

    `stops` says in one sentence what it really stops, `expected` what an arm under it does.
    """

    name: str
    stops: str
    expected: ArmVerdict = ArmVerdict.DRIFTED

    def apply(self, net: nn.Module) -> None:
        """Freeze a network that was just built, before optimizers or wrappers see it; by default do nothing."""


class AsIs(Strategy):
    """The code with whatever it does itself, which is undone for every other strategy."""

    name, stops, expected = AS_IS, tr("Whatever the code itself does to freeze."), ArmVerdict.FROZEN


class NoFreeze(Strategy):
    """No freeze at all."""

    name = "none"
    stops = tr("Stops nothing: the moving average writes the codebook, and gradients train ssl_proj.")


class RequiresGrad(Strategy):
    """What upstream did until May 2024."""

    name = "requires-grad"
    stops = tr("Stops the gradient into ssl_proj; the codebook is a buffer that no gradient writes, so it drifts on.")

    def apply(self, net: nn.Module) -> None:
        for part in _parts(net):
            part.requires_grad_(False)


class EvalAtInit(Strategy):
    """eval() once, as in a constructor."""

    name = "eval-at-init"
    stops = tr("Stops nothing: net_g.train() at the start of the epoch undoes eval() in the constructor.")

    def apply(self, net: nn.Module) -> None:
        for part in _parts(net):
            _set_mode(part, mode=False)


class NoGrad(Strategy):
    """The context manager alone."""

    name = "no-grad"
    stops = tr(
        "Stops the gradient into ssl_proj; the moving average writes through .data, which the context does not see."
    )

    def apply(self, net: nn.Module) -> None:
        for part in _parts(net):
            part.forward = _without_gradient(part.forward)


class EvalInForward(Strategy):
    """eval() at every forward, as upstream's condition does since May 2024."""

    name = "eval-in-forward"
    stops = tr(
        "Stops the moving average at every call and, with the straight-through path, the gradient into ssl_proj."
    )
    expected = ArmVerdict.FROZEN

    def apply(self, net: nn.Module) -> None:
        parts = _parts(net)

        def hold(*_: object) -> None:
            for part in parts:
                _set_mode(part, mode=False)

        net.register_forward_pre_hook(hold)


class MaybeNoGrad(Strategy):
    """Both together, which is what the shipped synthesizer does by itself."""

    name = "maybe-no-grad"
    stops = tr("Stops both: eval() at every call holds the codebook, no_grad() around the computation holds ssl_proj.")
    expected = ArmVerdict.FROZEN

    def apply(self, net: nn.Module) -> None:
        if _freezes_on_demand(net):
            net.hold()  # type: ignore[operator]
        else:
            NoGrad().apply(net)
            EvalInForward().apply(net)


class Freeze(Strategy):
    """vqcheck's own way, the function that users call."""

    name = "freeze"
    stops = tr(
        "Stops every write from outside: vqcheck.freeze keeps eval() through any train(), and turns gradients off."
    )
    expected = ArmVerdict.FROZEN

    def apply(self, net: nn.Module) -> None:
        from vqcheck.live.freeze import freeze

        freeze(net)


def _by_name(*strategies: Strategy) -> Mapping[str, Strategy]:
    return {strategy.name: strategy for strategy in strategies}


STRATEGIES: Final = _by_name(
    NoFreeze(), RequiresGrad(), EvalAtInit(), NoGrad(), EvalInForward(), MaybeNoGrad(), Freeze()
)
FACTORY_STRATEGIES: Final = _by_name(AsIs(), Freeze())
"""What can be done to code of which nothing is known."""
CHECKOUT_STRATEGIES: Final = {AS_IS: AsIs(), **STRATEGIES}
"""What can be done to a checkout's networks: its own freeze is undone first, except as it is."""


def known_strategies(config: Config) -> Mapping[str, Strategy]:
    """Return the strategies that the configured subject can be replayed under."""
    if config.subject.factory:
        return FACTORY_STRATEGIES
    return CHECKOUT_STRATEGIES if config.subject.checkout else STRATEGIES


def chosen_strategies(config: Config) -> list[Strategy]:
    """Return the strategies of the arms, in order: a user's own code as it is first, and a control where it can be.

    Raises:
        UsageError: a strategy is unknown, or cannot be applied to what is configured.

    """
    known, expected = known_strategies(config), config.expected
    choose(expected, known)
    if AS_IS not in known:
        return with_control(choose(config.replay.strategies, known), expected, known)
    # the default strategies are those of our synthesizer
    named = config.replay.strategies if "strategies" in config.replay.model_fields_set else []
    as_is, *others = choose([AS_IS, *named], known)
    # a tree that is expected to drift is no control for itself; of other code nothing is known
    return [as_is, *(with_control(others, expected, known) if config.subject.checkout else others)]


def choose(names: Iterable[str], known: Mapping[str, Strategy]) -> list[Strategy]:
    """Return the strategies of these names, each once.

    Raises:
        UsageError: for an unknown name.

    """
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            said = tr("unknown strategy {name!r}: expected {known}", name=name, known=listed(list(known), last=""))
            raise UsageError(tr("{said}; did you mean {near}?", said=said, near=near[0]) if near else said)
    return [known[name] for name in chosen]


def with_control(
    chosen: Sequence[Strategy], expected: Mapping[str, str], known: Mapping[str, Strategy] = STRATEGIES
) -> list[Strategy]:
    """Return the strategies, with `none` in front when none of them is expected to drift."""
    if any(expected.get(strategy.name, strategy.expected) == ArmVerdict.DRIFTED for strategy in chosen):
        return list(chosen)
    return [known["none"], *(strategy for strategy in chosen if strategy.name != "none")]


def undo_own_freeze(net: nn.Module) -> None:
    """Undo whatever a GPT-SoVITS network does to freeze its VQ encoder.

    Gradients are on again, and eval() that the network's own code calls has no effect; train() has.
    """
    if _freezes_on_demand(net):
        net.freeze_quantizer = False  # type: ignore[assignment]
        for part in _parts(net):
            part.requires_grad_(True)
        return
    for part in _parts(net):
        part.requires_grad_(True)
        _set_mode(part, mode=True)

        def train(mode: bool = True, part: nn.Module = part) -> nn.Module:
            return _set_mode(part, mode=True) if mode else part

        part.train = train  # type: ignore[method-assign]


def _parts(net: nn.Module) -> tuple[nn.Module, ...]:
    """Return what freezing is about: the VQ encoder, and in v3 and v4 the text encoder, which upstream freezes too."""
    names = ("quantizer", "ssl_proj", "enc_p") if hasattr(net, "cfm") else ("quantizer", "ssl_proj")
    return tuple(net.get_submodule(name) for name in names)


def _freezes_on_demand(net: nn.Module) -> bool:
    """Tell whether this is the shipped synthesizer, which freezes when `freeze_quantizer` says so, and only then."""
    encode = getattr(type(net), "encode_semantic", None)
    return getattr(encode, "__module__", "") == "vqcheck.synthesizer.frozen"


def _set_mode(part: nn.Module, *, mode: bool) -> nn.Module:
    for each in part.modules():
        each.training = mode
    return part


def _without_gradient(forward: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any, **kwargs: Any) -> Any:
        import torch

        with torch.no_grad():
            return forward(*args, **kwargs)

    return inner
