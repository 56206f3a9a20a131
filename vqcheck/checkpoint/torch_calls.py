"""Which calls beside torch's own are carried out, and which are known to make nothing that a codebook could be.

A checkpoint holds settings, counters, paths and times beside its tensors. What is not listed here is not called: the
reader cannot know what it would return, and so what torch would load.
"""

from collections.abc import Callable
from typing import Final

from vqcheck.checkpoint.pickle_values import Global, PickleError, Placeholder, dictionary_key
from vqcheck.checkpoint.torch_records import sizes
from vqcheck.language import tr

_MOST_COPIED: Final = 1_000_000
"""Items and bytes / 64 that calls may copy together; the same large argument can be passed at every step."""

Key = tuple[str, str]


def _names(*modules: str, names: str) -> frozenset[Key]:
    return frozenset((module, name) for module in modules for name in names.split())


DICTIONARIES: Final = (
    _names("collections", names="OrderedDict Counter defaultdict")
    | _names("builtins", "__builtin__", names="dict")
    | _names(
        "pytorch_lightning.utilities.parsing",
        "lightning.pytorch.utilities.parsing",
        "lightning.fabric.utilities.data",
        "lightning_fabric.utilities.data",
        names="AttributeDict",
    )
)
"""Classes whose objects are dictionaries and no more, also for whoever reads them."""

HOLDERS: Final = (
    _names("argparse", names="Namespace")
    | _names("types", names="SimpleNamespace")
    | _names("collections", names="deque")
    | _names("builtins", "__builtin__", names="set frozenset")
)
"""Classes that hold what they are given as it is, tensors too, and are no dictionary and no tensor."""

_PATHS: Final = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
_ARRAYS: Final = _names("numpy.core.multiarray", "numpy._core.multiarray", names="_reconstruct") | _names(
    "numpy.core.numeric", "numpy._core.numeric", names="_frombuffer"
)
_FIXED: Final = (
    _names("pathlib", "pathlib._local", names=_PATHS)
    | _names("numpy.core.multiarray", "numpy._core.multiarray", names="scalar")
    | _names("datetime", names="date datetime time timedelta timezone")
    | _names("decimal", names="Decimal")
    | _names("fractions", names="Fraction")
    | _names("builtins", "__builtin__", names="complex range xrange slice")
    | _names("re", names="_compile")
    | _names("types", names="GenericAlias")
    | _names("torch", names="device")
    | _names("torch.serialization", names="_get_layout")
    | _names("torch.torch_version", names="TorchVersion")
)
_BUILT: Final = (
    _names("numpy", names="dtype")
    | _names("numpy.random._pickle", names="__randomstate_ctor __generator_ctor __bit_generator_ctor")
    | _names("functools", names="partial")
    | _names("numpy.random.bit_generator", names="__pyx_unpickle_SeedSequence")
    | _names("uuid", names="UUID")
)
_LOOKED_UP: Final = _names("builtins", "__builtin__", names="getattr") | _names(
    "_operator", "operator", names="getitem"
)

NO_TENSOR: Final = _FIXED | _BUILT | HOLDERS
"""Calls whose result is neither a tensor nor an array of values, whatever their arguments."""

_SHARED_NAMES: Final = ("typing", "builtins", "__builtin__", "collections.abc", "collections")


def _wrong_arguments(function: Global) -> PickleError:
    return PickleError(tr("calls {function} with arguments it does not take", function=str(function)))


class Calls:
    """Carries out the calls of one pickle, within a budget."""

    def __init__(self) -> None:
        self._copied = 0

    def make(self, function: Global, args: tuple[object, ...]) -> object:
        """Return what a call of a known function gives: a plain value, or a placeholder that is known to be inert.

        Raises:
            PickleError: the function is not known, or the arguments are none that a writer passes.

        """
        key = function.module, function.name
        carried = _CARRIED_OUT.get(key)
        if carried is not None:
            return carried(self, function, args)
        if key in _FIXED:
            return Placeholder(function, args, is_fixed=True)
        if key in _BUILT or key in _ARRAYS or key in HOLDERS:
            return Placeholder(function, args)
        if key in _LOOKED_UP:
            return _looked_up(function, args)
        raise PickleError(tr("calls {function}, which may give any value", function=str(function)))

    def _spend(self, count: int) -> None:
        self._copied += count
        if self._copied > _MOST_COPIED:
            raise PickleError(tr("copies more than {most} values", most=_MOST_COPIED))

    def dictionary(self, function: Global, args: tuple[object, ...]) -> dict[object, object]:
        """Return dict(mapping) or dict(pairs), as the class and its subclasses give it."""
        if len(args) > 1:
            raise _wrong_arguments(function)
        given = args[0] if args else ()
        result: dict[object, object] = {}
        if isinstance(given, dict):
            self._spend(len(given))
            result.update(given)
            return result
        if not isinstance(given, (list, tuple)):
            raise PickleError(tr("builds a dictionary from something else than pairs"))
        self._spend(len(given))
        for pair in given:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise PickleError(tr("builds a dictionary from something else than pairs"))
            result[dictionary_key(pair[0], len(result))] = pair[1]
        return result

    def counter(self, function: Global, args: tuple[object, ...]) -> dict[object, object]:
        # Of a list it would count the elements.
        if args and not isinstance(args[0], dict):
            raise _wrong_arguments(function)
        return self.dictionary(function, args)

    def default_dictionary(self, function: Global, args: tuple[object, ...]) -> dict[object, object]:
        if args and not (args[0] is None or isinstance(args[0], Global)):
            raise _wrong_arguments(function)
        return self.dictionary(function, args[1:])

    def encoded(self, function: Global, args: tuple[object, ...]) -> bytes:
        """Return the bytes that older protocols write as a text of as many characters."""
        if len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
            self._spend(len(args[0]) >> 6)
            return args[0].encode("latin-1")
        raise _wrong_arguments(function)

    def bytes(self, function: Global, args: tuple[object, ...]) -> bytes:
        if not args:
            return b""
        if len(args) == 1 and isinstance(args[0], bytes):
            return args[0]
        return self.encoded(function, args)

    def size(self, function: Global, args: tuple[object, ...]) -> tuple[int, ...]:
        if len(args) > 1:
            raise _wrong_arguments(function)
        return sizes(args[0] if args else ())

    def none_type(self, function: Global, args: tuple[object, ...]) -> object:
        if args != (None,):
            raise _wrong_arguments(function)
        return Placeholder(function, args, is_fixed=True)

    def set(self, function: Global, args: tuple[object, ...]) -> object:
        if len(args) > 1 or (args and not isinstance(args[0], (list, tuple))):
            raise _wrong_arguments(function)
        return Placeholder(function, args, is_fixed=True)


def _looked_up(function: Global, args: tuple[object, ...]) -> Placeholder:
    """Return what stands for an attribute of a class, or for a generic type: how nested names are pickled."""
    if len(args) == 2 and isinstance(args[0], Global):
        if function.name == "getattr" and isinstance(args[1], str):
            return Placeholder(function, args, is_fixed=True)
        if function.name == "getitem" and args[0].module in _SHARED_NAMES:
            return Placeholder(function, args, is_fixed=True)
    raise _wrong_arguments(function)


_CARRIED_OUT: Final[dict[Key, Callable[[Calls, Global, tuple[object, ...]], object]]] = {
    ("torch", "Size"): Calls.size,
    ("collections", "OrderedDict"): Calls.dictionary,
    ("collections", "Counter"): Calls.counter,
    ("collections", "defaultdict"): Calls.default_dictionary,
    ("builtins", "dict"): Calls.dictionary,
    ("__builtin__", "dict"): Calls.dictionary,
    ("_codecs", "encode"): Calls.encoded,
    ("builtins", "bytes"): Calls.bytes,
    ("__builtin__", "bytes"): Calls.bytes,
    ("builtins", "bytearray"): Calls.bytes,
    ("__builtin__", "bytearray"): Calls.bytes,
    ("builtins", "set"): Calls.set,
    ("__builtin__", "set"): Calls.set,
    ("builtins", "frozenset"): Calls.set,
    ("__builtin__", "frozenset"): Calls.set,
    ("builtins", "type"): Calls.none_type,
    ("__builtin__", "type"): Calls.none_type,
}
