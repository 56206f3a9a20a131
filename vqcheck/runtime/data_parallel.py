"""Which parameters may still be taken out of training when DistributedDataParallel already counts on them."""

from collections.abc import Collection

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vqcheck.errors import UsageError


def require_no_gradient_is_awaited(module: nn.Module, names: Collection[str]) -> None:
    """Raise UsageError if a DistributedDataParallel in the module would wait for gradients of these parameters.

    It decides at its construction whose gradients it averages.  Only with find_unused_parameters=True does it look at
    every step which of them come at all.  Buffers are no concern of its.
    """
    for each in module.modules():
        if not isinstance(each, DistributedDataParallel) or each.find_unused_parameters:
            continue
        awaited = {id(parameter) for parameter in each.module.parameters() if parameter.requires_grad}
        waited_for = [name for name in names if id(module.get_parameter(name)) in awaited]
        if waited_for:
            raise UsageError(
                f"DistributedDataParallel waits for a gradient of {waited_for[0]} in every step: freeze the model "
                "before wrapping it, or wrap it with find_unused_parameters=True"
            )
