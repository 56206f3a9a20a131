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
    s1 DIGEST NAME                               where an s1 checkpoint was given
    schema vqcheck/lock/1
    step NUMBER                                  where the checkpoint says it
    tensor LABEL PRECISION DIGEST
    tsv DIGEST NAME                              where an experiment was given
    vq_encoder DIGEST

DIGEST is `algorithm:hex`. NAME is a JSON string, so that any file name fits on a line; only base names are kept.
PRECISION is the narrowest type that holds every value of the tensor, whatever it was stored in.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final

from vqcheck.checkpoint.regular import regular
from vqcheck.codebook.digest import Digest
from vqcheck.codebook.kind import FileKind, FileRecord
from vqcheck.errors import UsageError

SCHEMA: Final = "vqcheck/lock/1"
NAME: Final = "vqcheck.lock"
"""What a lock is called in an experiment's directory."""
PARTS: Final = ("codebook", "projection", "vq_encoder")
"""What has a combined digest."""
_PREAMBLE: Final = (
    "# The VQ encoder that this experiment's semantic tokens were made with.\n"
    "# Verify a checkpoint against it: vqcheck lock --check CHECKPOINT\n"
)
_SINGLE: Final = ("checkpoint", "content", "epoch", "family", "kind", "schema", "step")
_MAX_BYTES: Final = 1 << 20
_DIGEST: Final = re.compile(r"([a-z0-9-]+):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class LockedTensor:
    """One tensor of the VQ encoder."""

    label: str
    precision: str
    """The narrowest float type that holds every value, or `flag`."""
    digests: tuple[Digest, ...]

    def digest(self, algorithm: str) -> Digest | None:
        """Return the digest by this algorithm, if the lock has one."""
        return next((digest for digest in self.digests if digest.algorithm == algorithm), None)


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file bound to the VQ encoder: its base name and the digest of its content."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock file records."""

    checkpoint: str
    family: str
    tensors: tuple[LockedTensor, ...]
    wholes: tuple[tuple[str, Digest], ...]
    """(`codebook`, `projection` or `vq_encoder`; digest), one for each algorithm."""
    record: FileRecord
    """What the checkpoint said of itself."""
    tsv: LockedFile | None = None
    s1: LockedFile | None = None

    def whole(self, part: str, algorithm: str) -> Digest | None:
        """Return the combined digest of a part, if the lock has it."""
        return next((digest for name, digest in self.wholes if (name, digest.algorithm) == (part, algorithm)), None)

    def text(self) -> str:
        """Return the lock file's content."""
        lines = [
            f"checkpoint {json.dumps(self.checkpoint)}",
            f"family {self.family}",
            f"kind {self.record.kind.value}",
            f"schema {SCHEMA}",
        ]
        numbers = (("epoch", self.record.epoch), ("step", self.record.steps))
        lines += [f"{name} {number}" for name, number in numbers if number is not None]
        lines += [f"{part} {digest}" for part, digest in self.wholes]
        for tensor in self.tensors:
            lines += [f"tensor {tensor.label} {tensor.precision} {digest}" for digest in tensor.digests]
        lines += [
            f"{kind} {bound.digest} {json.dumps(bound.name)}"
            for kind, bound in (("s1", self.s1), ("tsv", self.tsv))
            if bound
        ]
        lines.append(f"content {_content(lines)}")
        return _PREAMBLE + "".join(f"{line}\n" for line in sorted(lines))


def read_lock(path: str) -> Lock:
    """Return the lock in a file.

    Raises:
        UsageError: the file cannot be read, is no lock, is damaged, or was written by a newer vqcheck.

    """
    try:
        with open(path, "rb", opener=regular) as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no lock; 'vqcheck lock CHECKPOINT' makes one") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    schemas = [line.split(" ", 1)[1] for line in lines if line.startswith("schema ")]
    if len(content) > _MAX_BYTES or len(schemas) != 1 or not schemas[0].startswith("vqcheck/lock/"):
        raise UsageError(f"{path}: is no vqcheck lock (it has no line 'schema {SCHEMA}')")
    if schemas[0] != SCHEMA:
        raise UsageError(f"{path}: is a lock of another version ({schemas[0]:.40}), this vqcheck reads {SCHEMA}")
    try:
        return _parse(lines)
    except ValueError as error:
        raise UsageError(f"{path}: is damaged: {error}") from None


def _parse(lines: list[str]) -> Lock:
    """Return the lock that these lines describe.

    Raises:
        ValueError: a line that is not of the format, is repeated, or is missing.

    """
    single: dict[str, str] = {}
    wholes: dict[tuple[str, str], Digest] = {}
    tensors: dict[str, tuple[str, dict[str, Digest]]] = {}
    files: dict[str, LockedFile] = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind in _SINGLE and kind not in single:
            single[kind] = _name(rest) if kind == "checkpoint" else rest
        elif kind in PARTS:
            digest = _digest(rest)
            _put(wholes, (kind, digest.algorithm), digest, line)
        elif kind == "tensor":
            words = rest.rsplit(" ", 2)
            if len(words) != 3:
                raise ValueError(f"line {line!r:.80}")
            label, precision, digest = words[0], words[1], _digest(words[2])
            known_precision, digests = tensors.setdefault(label, (precision, {}))
            if known_precision != precision:
                raise ValueError(f"tensor {label} has two precisions")
            _put(digests, digest.algorithm, digest, line)
        elif kind in ("s1", "tsv"):
            shown, _, name = rest.partition(" ")
            _put(files, kind, LockedFile(_name(name), _digest(shown)), line)
        else:
            raise ValueError(f"line {line!r:.80}")
    missing = {"checkpoint", "content", "family", "kind"} - single.keys()
    if missing or not tensors or not wholes:
        raise ValueError(f"no line '{min(missing)}'" if missing else "no digests")
    if _digest(single["content"]) != _content([line for line in lines if not line.startswith("content ")]):
        raise ValueError("its lines are not those it was written with; restore it, or delete it and make it again")
    return Lock(
        single["checkpoint"],
        single["family"],
        tuple(LockedTensor(label, precision, tuple(found.values())) for label, (precision, found) in tensors.items()),
        tuple((part, digest) for (part, _), digest in wholes.items()),
        FileRecord(_kind(single["kind"]), _number(single, "epoch"), _number(single, "step")),
        files.get("tsv"),
        files.get("s1"),
    )


def _content(lines: list[str]) -> Digest:
    return Digest("sha256", hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode()).hexdigest())


def _kind(text: str) -> FileKind:
    try:
        return FileKind(text)
    except ValueError:
        raise ValueError(f"{text!r:.80} is no kind of file") from None


def _number(single: dict[str, str], name: str) -> int | None:
    text = single.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(f"{text!r:.80} is no number")
    return int(text)


def _put(target: dict, key: object, value: object, line: str) -> None:  # type: ignore[type-arg]
    if key in target:
        raise ValueError(f"line {line!r:.80} says something a second time")
    target[key] = value


def _digest(text: str) -> Digest:
    match = _DIGEST.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r:.80} is no digest")
    return Digest(match[1], match[2])


def _name(text: str) -> str:
    try:
        name = json.loads(text)
    except (ValueError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise ValueError(f"{text!r:.80} is no name")  # noqa: TRY004 - one kind of error for a damaged line
    return name
