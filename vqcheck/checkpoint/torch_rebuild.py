"""What torch's own functions make of a storage: a tensor's record, or a refusal where it could hold other values."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from vqcheck.checkpoint.pickle_values import Global, PickleError
from vqcheck.checkpoint.torch_records import LONGEST_NAME, StorageRecord, TensorRecord, save_again, sizes
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_MAX_ARGUMENTS: Final = 64
_MAX_STATE: Final = 200
_OWN_ATTRIBUTES: Final = frozenset(
    (  # noqa: SIM905 - a list would take a line for each
        "H T data device dtype grad grad_dtype grad_fn imag is_cpu is_cuda is_ipu is_leaf is_maia is_meta is_mkldnn "
        "is_mps is_mtia is_nested is_quantized is_sparse is_sparse_csr is_vulkan is_xla is_xpu itemsize layout mH mT "
        "name names nbytes ndim output_nr real requires_grad retains_grad shape volatile"
    ).split()
)
"""What torch defines on its tensors: to set one of these may write to the tensor's values, as `real` does."""
_MARKS: Final = ("_is_buffer", "_is_hf_initialized", "_no_weight_decay", "_optim")
"""Attributes that trainers put on parameters, and torch.nn.Buffer on buffers; others that begin with an underscore may
do more."""


def rebuild(function: Global, known: Callable[..., TensorRecord], args: tuple[object, ...]) -> TensorRecord:
    """Return the record of the tensor that a call stands for; `known` is what `REBUILD` has for the function.

    Raises:
        PickleError: arguments that torch does not write, or that would let it load other values.

    """
    if len(args) > _MAX_ARGUMENTS:
        # A pickle can pass one long tuple on at every step; what is done with it must not depend on its length.
        raise PickleError(tr("calls {function} with arguments it does not take", function=str(function)))
    try:
        return known(*args)
    except PickleError:
        raise
    except (TypeError, ValueError):
        raise PickleError(tr("calls {function} with arguments it does not take", function=str(function))) from None


def _plain_tensor(storage: object, offset: object, shape: object, stride: object) -> TensorRecord:
    return _tensor(storage, offset, shape, stride, None, None)


def _tensor(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    _grad: object,
    _hooks: object,
    metadata: object = None,
) -> TensorRecord:
    if not isinstance(storage, StorageRecord):
        raise PickleError(tr("describes a tensor without a storage"))
    (start,) = sizes((offset,))
    lengths, steps = sizes(shape), sizes(stride)
    if len(lengths) != len(steps):
        raise PickleError(tr("describes a tensor whose shape and strides have different lengths"))
    record = TensorRecord(storage.dtype, storage, start, lengths, steps)
    if metadata is None:
        return record
    if not isinstance(metadata, dict):
        raise PickleError(tr("describes a tensor with marks that are not a dictionary"))
    if metadata:
        # To torch, a mark is there whatever its value.
        return replace(
            record, problem=tr("is stored with its signs to be flipped or conjugated, which vqcheck does not read")
        )
    return record


def _typed_tensor(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    _grad: object,
    _hooks: object,
    dtype: object,
    metadata: object = None,
) -> TensorRecord:
    record = _tensor(storage, offset, shape, stride, _grad, _hooks, metadata)
    if not isinstance(dtype, Global) or dtype.module != "torch" or len(dtype.name) > LONGEST_NAME:
        raise PickleError(tr("describes a tensor with an unknown element type"))
    return replace(record, dtype=dtype.name)


def _parameter(tensor: object, _grad: object, _hooks: object) -> TensorRecord:
    if not isinstance(tensor, TensorRecord):
        raise PickleError(tr("makes a parameter of something that is not a tensor"))
    return tensor


def _parameter_with_state(tensor: object, grad: object, hooks: object, state: object) -> TensorRecord:
    _require_inert(state)
    return _parameter(tensor, grad, hooks)


def _from_type(function: object, kind: object, args: object, state: object) -> TensorRecord:
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise PickleError(tr("rebuilds a tensor subclass in an unknown way"))
    known = REBUILD.get((function.module, function.name))
    # One level only: a subclass wraps one of the plain rebuild functions.
    if known is _from_type:
        raise PickleError(tr("wraps a tensor subclass in itself"))
    if known is None:
        raise PickleError(
            save_again(
                tr(
                    "rebuilds a tensor with {function}, which vqcheck does not know",
                    function=str(function),
                )
            )
        )
    if not isinstance(kind, Global) or (kind.module, kind.name) not in _PLAIN_TYPES:
        raise PickleError(
            save_again(
                tr(
                    "makes a tensor of the class {kind}, which may change its values",
                    kind=str(kind),
                )
            )
        )
    _require_inert(state)
    return rebuild(function, known, args)


_PLAIN_TYPES: Final = frozenset({("torch", "Tensor"), ("torch.nn.parameter", "Parameter")})


def _require_inert(state: object) -> None:
    """Raise PickleError unless a tensor's state is attributes that cannot touch its values."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for part in parts:
        if part is None:
            continue
        if not isinstance(part, dict) or len(part) > _MAX_STATE:
            raise PickleError(save_again(tr("gives a tensor a state that is not a dictionary of attributes")))
        for name, value in part.items():
            shown_name = sanitize_name(str(name))
            if type(name) is not str or name in _OWN_ATTRIBUTES or (name[:1] == "_" and name not in _MARKS):
                raise PickleError(
                    save_again(
                        tr(
                            "gives a tensor the attribute {attribute}, which may change its values",
                            attribute=shown_name,
                        )
                    )
                )
            if not _is_plain(value, 3):
                raise PickleError(
                    save_again(
                        tr(
                            "gives a tensor the attribute {attribute} of more than a plain value",
                            attribute=shown_name,
                        )
                    )
                )


def _is_plain(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = [*islice(value, _MAX_STATE), *islice(value.values(), _MAX_STATE + 1)]
    if isinstance(value, (list, tuple)):
        return depth > 0 and len(value) <= 2 * _MAX_STATE and all(_is_plain(item, depth - 1) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


_QUANTISED: Final = tr("is quantised, which vqcheck does not read")
_SPARSE: Final = tr("is sparse, which vqcheck does not read")
_NO_DATA: Final = tr("is a tensor without data, which vqcheck does not read")
_ON_DEVICE: Final = tr("is held in a device's own format, which vqcheck does not read")


def _of_shape(kind: str, shape: object, problem: str) -> TensorRecord:
    lengths = sizes(shape)
    return TensorRecord(kind, None, 0, lengths, (0,) * len(lengths), problem)


def _quantised(_storage: object, _offset: object, shape: object, *_: Any) -> TensorRecord:
    return _of_shape("quantised", shape, _QUANTISED)


def _sparse(_layout: object, data: object) -> TensorRecord:
    if not isinstance(data, tuple) or not 3 <= len(data) <= 4:
        raise PickleError(tr("describes a sparse tensor in a way that torch does not write"))
    # (indices, values, shape[, is coalesced]) or (compressed indices, plain indices, values, shape)
    return _of_shape("sparse", data[2] if isinstance(data[2], tuple) else data[-1], _SPARSE)


def _without_data(_dtype: object, shape: object, _stride: object, _grad: object) -> TensorRecord:
    return _of_shape("a tensor without data", shape, _NO_DATA)


def _on_device(tensor: object, _dtype: object, _device: object, _grad: object) -> TensorRecord:
    if not isinstance(tensor, TensorRecord):
        raise PickleError(tr("describes a tensor in a device's own format, which vqcheck does not read"))
    return _of_shape("held in a device's own format", tensor.shape, _ON_DEVICE)


def _refused(reason: str) -> Callable[..., TensorRecord]:
    def refuse(*_: Any) -> TensorRecord:
        raise PickleError(reason)

    return refuse


REBUILD: Final[dict[tuple[str, str], Callable[..., TensorRecord]]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _plain_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
    ("torch._tensor", "_rebuild_from_type"): _from_type,
    ("torch.tensor", "_rebuild_from_type"): _from_type,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch._utils", "_rebuild_qtensor"): _quantised,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _without_data,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _on_device,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _refused(
        tr("describes a tensor in a device's own format, which vqcheck does not read")
    ),
    ("torch._utils", "_rebuild_nested_tensor"): _refused(tr("describes a nested tensor, which vqcheck does not read")),
    ("torch._utils", "_rebuild_wrapper_subclass"): _refused(
        tr("describes a tensor that wraps another, which vqcheck does not read")
    ),
}
"""What torch rebuilds tensors with. Whatever else is handed a tensor is refused."""
