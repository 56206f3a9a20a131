"""The lock: a small text file for git that records which VQ encoder an experiment's tokens were made with.

The format is one fact a line, sorted, so that a diff of two locks reads as what changed:

    # comments and blank lines are ignored
    checkpoint NAME
    codebook DIGEST                              one line for each algorithm
    content DIGEST                               of all other lines, so that none is edited, or lost in a merge
    epoch NUMBER                                 where the checkpoint says it
    family NAME
    kind KIND                                    what kind of file the checkpoint is: base, training, export, step
    projection DIGEST
    s1 DIGEST NAME                               one line for each s1 checkpoint that was given
    schema vqcheck/lock/1
    step NUMBER                                  where the checkpoint says it
    tensor LABEL PRECISION DIGEST
    tsv DIGEST NAME                              where an experiment was given
    vq_encoder DIGEST

Where the checkpoint holds several copies or codecs, lines of every one but the first follow, and the names of all;
where one of several was chosen, its name:

    copy NUMBER codebook DIGEST                  likewise family, projection, tensor and vq_encoder
    copy NUMBER name [[KEY, ...], PREFIX]        where it is in its file; several where its bytes have several names
    copy NUMBER noise                            where it differs from the first by no more than averaging leaves

DIGEST is `algorithm:hex`. NAME is a JSON string, so that any file name fits on a line; only base names are kept.
PRECISION is the narrowest type that holds every value of the tensor, whatever it was stored in.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from vqcheck.audit.locked_encoder import EncoderLines, LockedEncoder, parse_digest, put
from vqcheck.checkpoint.file import open_regular_file
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.file_record import FileKind, FileRecord
from vqcheck.errors import UsageError
from vqcheck.language import tr

if TYPE_CHECKING:
    from vqcheck.audit.lock_result import LockCheck

SCHEMA: Final = "vqcheck/lock/1"
NAME: Final = "vqcheck.lock"
"""What a lock is called in an experiment's directory."""
_PREAMBLE: Final = (
    "# The VQ encoder that this experiment's semantic tokens were made with.\n"
    "# Verify a checkpoint against it: vqcheck lock --check CHECKPOINT\n"
)
_SINGLE: Final = ("checkpoint", "content", "epoch", "kind", "schema", "step")
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file bound to the VQ encoder: its base name and the digest of its content."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock file records."""

    checkpoint: str
    copies: tuple[LockedEncoder, ...]
    """Every copy and codec, the one that the lock begins with first."""
    record: FileRecord
    """What the checkpoint said of itself."""
    tsv: LockedFile | None = None
    s1: tuple[LockedFile, ...] = ()
    """By digest; the Lightning checkpoint and the export of one run are two files."""

    def binds_s1(self, digest: Digest) -> bool:
        """Say whether an s1 checkpoint of this content is bound."""
        return any(file.digest == digest for file in self.s1)

    @property
    def family(self) -> str:
        return self.copies[0].family

    @property
    def chosen(self) -> str:
        """The name of the one copy that was chosen of its file; empty where everything was recorded."""
        return self.copies[0].name if len(self.copies) == 1 else ""

    def whole(self, part: str, algorithm: str) -> Digest | None:
        """Return the combined digest of a part of the first copy, if the lock has it."""
        return self.copies[0].whole(part, algorithm)

    def check(self, subject: Any, scope: str = "all") -> "LockCheck":
        """Return whether a path, an open checkpoint or a live module is what the lock records; raises as `compare`."""
        # by name, as the user would: files alone need nothing of what reads live modules
        result: LockCheck = import_module("vqcheck").compare(self, subject, scope)
        return result

    def text(self) -> str:
        """Return the lock file's content."""
        lines = [
            f"checkpoint {json.dumps(self.checkpoint)}",
            f"kind {self.record.kind.value}",
            f"schema {SCHEMA}",
        ]
        numbers = (("epoch", self.record.epoch), ("step", self.record.steps))
        lines += [f"{name} {number}" for name, number in numbers if number is not None]
        lines += self.copies[0].lines()
        for number, copy in enumerate(self.copies):
            names = [f"name {json.dumps([list(name.keys), name.prefix])}" for name in copy.names]
            facts = [*names, *(["noise"] if copy.is_noise else []), *(copy.lines() if number else [])]
            lines += [f"copy {number} {line}" for line in facts]
        lines += [
            f"{kind} {bound.digest} {json.dumps(bound.name)}"
            for kind, bound in (*(("s1", file) for file in self.s1), *([("tsv", self.tsv)] if self.tsv else []))
        ]
        lines.append(f"content {_content(lines)}")
        return _PREAMBLE + "".join(f"{line}\n" for line in sorted(lines))


def in_order(files: Iterable[LockedFile]) -> tuple[LockedFile, ...]:
    """Return bound files in the order in which a lock has them."""
    return tuple(sorted(files, key=lambda file: str(file.digest)))


def read_lock(path: str) -> Lock:
    """Return the lock in a file.

    Raises:
        UsageError: the file cannot be read, is not a lock, is damaged, or was written by a newer vqcheck.

    """
    try:
        with open(path, "rb", opener=open_regular_file) as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(tr("there is no lock; 'vqcheck lock CHECKPOINT' makes one"), path) from None
    except OSError as error:
        raise UsageError(tr("cannot be read: {strerror}", strerror=error.strerror), path) from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    schemas = [line.split(" ", 1)[1] for line in lines if line.startswith("schema ")]
    if len(content) > _MAX_BYTES or len(schemas) != 1 or not schemas[0].startswith("vqcheck/lock/"):
        raise UsageError(tr("is not a vqcheck lock (it has no line 'schema {schema}')", schema=SCHEMA), path)
    if schemas[0] != SCHEMA:
        raise UsageError(
            tr(
                "is a lock of another version ({found:.40}), this vqcheck reads {known}", found=schemas[0], known=SCHEMA
            ),
            path,
        )
    try:
        return _parse(lines)
    except ValueError as error:
        raise UsageError(tr("is damaged: {reason}", reason=error.args[0]), path) from None


def _parse(lines: list[str]) -> Lock:
    """Return the lock that these lines describe.

    Raises:
        ValueError: a line that is not of the format, is repeated, or is missing.

    """
    single: dict[str, str] = {}
    files: dict[str, LockedFile] = {}
    s1: dict[Digest, LockedFile] = {}
    copies = [EncoderLines()]
    for line in sorted(lines, key=_number_of_copy):
        kind, _, rest = line.partition(" ")
        if kind in _SINGLE and kind not in single:
            single[kind] = _name(rest) if kind == "checkpoint" else rest
        elif kind in ("s1", "tsv"):
            shown, _, name = rest.partition(" ")
            file = LockedFile(_name(name), parse_digest(shown))
            if kind == "s1":
                put(s1, file.digest, file, line)
            else:
                put(files, kind, file, line)
        elif kind == "copy":
            number = _number_of_copy(line)
            if number == len(copies):
                copies.append(EncoderLines())
            if number >= len(copies):
                raise ValueError(tr("line {line!r:.80} is of a copy that follows none", line=line))
            copies[number].read(rest.partition(" ")[2], line)
        else:
            copies[0].read(line, line)
    missing = {"checkpoint", "content", "kind"} - single.keys()
    if missing:
        raise ValueError(tr("no line '{kind}'", kind=min(missing)))
    encoders = tuple(copy.encoder() for copy in copies)
    if len(encoders) > 1 and not all(encoder.names for encoder in encoders):
        raise ValueError(tr("a copy without a name"))
    if parse_digest(single["content"]) != _content([line for line in lines if not line.startswith("content ")]):
        raise ValueError(tr("its lines are not those it was written with; restore it, or delete it and make it again"))
    record = FileRecord(_kind(single["kind"]), _number(single, "epoch"), _number(single, "step"))
    return Lock(single["checkpoint"], encoders, record, files.get("tsv"), in_order(s1.values()))


def _number_of_copy(line: str) -> int:
    """Return which copy a line is of; the first is also meant where a line names none."""
    kind, _, rest = line.partition(" ")
    number = rest.partition(" ")[0]
    if kind != "copy":
        return 0
    if not (number.isascii() and number.isdecimal() and len(number) < 4):
        raise ValueError(tr("line {line!r:.80}", line=line))
    return int(number)


def _content(lines: list[str]) -> Digest:
    return Digest("sha256", hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode()).hexdigest())


def _kind(text: str) -> FileKind:
    try:
        return FileKind(text)
    except ValueError:
        raise ValueError(tr("{text!r:.80} is not a kind of file", text=text)) from None


def _number(single: dict[str, str], name: str) -> int | None:
    text = single.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(tr("{text!r:.80} is not a number", text=text))
    return int(text)


def _name(text: str) -> str:
    try:
        name = json.loads(text)
    except (ValueError, RecursionError):
        name = None
    if not isinstance(name, str):
        # one kind of error for a damaged line
        raise ValueError(tr("{text!r:.80} is not a name", text=text))  # noqa: TRY004
    return name
