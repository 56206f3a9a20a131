"""What the classes in a TorchScript archive declare: their source is read as torch writes it, and never run.

    class Book(Module):
      __parameters__ = ["weight", ]
      __buffers__ = ["embed", "cluster_size", ]
      weight : Tensor
      layers : __torch__.Layers
      __annotations__["0"] = __torch__.Layer
      def forward(...

Whatever is written in another way is refused: torch's own parser might see another class there.
"""

import re
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.pickle_values import Global, PickleError
from vqcheck.checkpoint.zip_archive import ZipArchive
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

_MAX_CODE: Final = 16 << 20
_PLAIN: Final = re.compile(rb"[ -~\n]*")
_CLASS: Final = re.compile(r"class ([A-Za-z_]\w*)(?:\((\w+)\))?:")
_OUTSIDE: Final = re.compile(r"def .*|op_version_set = \d+|")
_LIST: Final = re.compile(r'  (__\w+__) = \[((?:"[^"\\]{1,200}", )*)\]')
_TYPE: Final = r"([A-Za-z_](?:[\w.\[\], ()]*[\w\])])?)"
_ATTRIBUTE: Final = re.compile(rf"  ([A-Za-z_]\w*) : {_TYPE}")
_NUMBERED: Final = re.compile(rf'  __annotations__\["([^"\\]+)"\] = {_TYPE}')
_CONSTANT: Final = re.compile(r"  [A-Za-z_]\w* : Final\[.*")
_BRACKETS: Final = ("()", "[]", "{}")


@dataclass(frozen=True, slots=True)
class ScriptClass:
    """What the source of a class declares."""

    is_module: bool
    attributes: dict[str, str]
    """Name -> type, as written."""
    state: frozenset[str]
    """Names of parameters and buffers."""


class Classes:
    """The classes of an archive, read from their source when one of them is asked for.

    Raises:
        PickleError: far too much code, or a class that has `__setstate__`, which torch runs when it loads the archive.

    """

    def __init__(self, archive: ZipArchive, folder: str) -> None:
        self._archive = archive
        self._folder = folder
        self._files: dict[str, dict[str, ScriptClass]] = {}
        sources = archive.ending(".py")
        if sum(archive.members[name].size for name in sources) > _MAX_CODE:
            raise PickleError(tr("has more than {most} bytes of code", most=_MAX_CODE))
        self._code = {name: bytes(archive.read(name, 0, archive.members[name].size)) for name in sources}
        running = next((name for name, code in self._code.items() if b"__setstate__" in code), "")
        if running:
            raise PickleError(
                tr(
                    "has a class with __setstate__ ({running}): loading it runs code that makes values, "
                    "which vqcheck does not; save the model's state_dict()",
                    running=sanitize_name(running),
                )
            )

    def of(self, kind: Global) -> ScriptClass:
        """Return what is declared of a class.

        Raises:
            PickleError: its source is missing, or not written as torch writes it.

        """
        found = self._declared(kind.module).get(kind.name)
        if found is None:
            raise PickleError(tr("has no source of its class {kind}", kind=sanitize_name(str(kind))))
        return found

    def is_module(self, written: str) -> bool:
        """Say whether a type, as it is written, is a class of the archive that is a module."""
        module, _, name = written.rpartition(".")
        found = self._declared(module).get(name)
        return found is not None and found.is_module

    def _declared(self, module: str) -> dict[str, ScriptClass]:
        if module not in self._files:
            member = self._archive.find(f"{self._folder}{module.replace('.', '/')}.py")
            self._files[module] = _declared(self._code[member.name], member.name) if member else {}
        return self._files[module]


def _declared(code: bytes, file: str) -> dict[str, ScriptClass]:
    """Return name -> class of a source."""

    def wrong(line: str) -> PickleError:
        return PickleError(
            tr(
                "has code that torch does not write: {line!r} in {file}",
                line=sanitize_name(line),
                file=sanitize_name(file),
            )
        )

    if not _PLAIN.fullmatch(code) or b'"""' in code or b"'''" in code or b"\\\n" in code:
        raise wrong(tr("text over several lines, or other signs"))
    bodies: dict[str, tuple[bool, list[str]]] = {}
    body: list[str] | None = None
    for line in code.decode("ascii").split("\n"):
        if line and line[0] != " ":
            head = _CLASS.fullmatch(line)
            if (head is None and not _OUTSIDE.fullmatch(line)) or (head and head[1] in bodies):
                raise wrong(line)
            body = []
            if head:
                bodies[head[1]] = head[2] == "Module", body
        elif line.lstrip().startswith("class "):
            raise wrong(line)
        elif body is not None and line.strip():
            body.append(line)
    none = ScriptClass(False, {}, frozenset())
    try:
        return {name: _of_body(lines) if is_module else none for name, (is_module, lines) in bodies.items()}
    except _UnknownLineError as error:
        raise wrong(str(error)) from None


class _UnknownLineError(Exception):
    """A line that torch does not write."""


def _of_body(lines: list[str]) -> ScriptClass:
    """Return what the body of a module's class declares."""
    lists: dict[str, list[str]] = {}
    attributes: dict[str, str] = {}
    in_method = False
    for line in lines:
        if line.startswith("   "):
            if not in_method:
                raise _UnknownLineError(line)
            continue
        in_method = line.startswith("  def ")
        if in_method or (_CONSTANT.fullmatch(line) and all(line.count(a) == line.count(b) for a, b in _BRACKETS)):
            continue
        if (listed := _LIST.fullmatch(line)) and listed[1] not in lists:
            lists[listed[1]] = re.findall(r'"([^"]+)"', listed[2])
        elif (declared := _ATTRIBUTE.fullmatch(line) or _NUMBERED.fullmatch(line)) and declared[1] not in attributes:
            attributes[declared[1]] = declared[2]
        else:
            raise _UnknownLineError(line)
    return ScriptClass(True, attributes, frozenset(lists.get("__parameters__", []) + lists.get("__buffers__", [])))
