"""The tensors of a comparison as tables: every one, and in short those of many layers of which the same can be said."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from vqcheck.codebook.comparison import FAULTS, Change, TensorDiff, Verdict
from vqcheck.language import tr, trn, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.views.words import clauses, of_all, ranges

_NUMBERED: Final = re.compile(r"(.*?)([0-9]{1,9}) (\S+)")


def section(tensors: Sequence[TensorDiff], *, brief: Shown) -> doc.Section:
    """Return the section on tensors; `brief` is where their short table is shown."""
    hint = doc.Paragraph((doc.muted(tr("-v lists every tensor with its digests, and where it changed most")),), brief)
    return doc.Section(tr("Tensors"), (_short_table(tensors, brief), hint, _every_tensor(tensors)))


def _every_tensor(tensors: Sequence[TensorDiff]) -> doc.Table:
    columns = (
        doc.Column(tr("Tensor"), Kind.NAME),
        doc.Column(tr("Verdict")),
        doc.Column(tr("Rows changed"), Kind.NUMBER),
        doc.Column(tr("How far"), Kind.PROSE),
        doc.Column(tr("Digest in A")),
        doc.Column(tr("Digest in B")),
    )
    caption = tr("Every tensor of the VQ encoder. A row is a code, or an output channel of a projection.")
    # Those at fault first.
    order = sorted(tensors, key=lambda diff: diff.verdict not in FAULTS)
    rows = [
        (
            doc.code(diff.label),
            doc.verdict(word(diff.verdict), tone(diff)),
            _rows_changed([diff]),
            clauses(*_notes(diff), size(diff.change) if diff.change else ""),
            doc.code(diff.a_digest.short) if diff.a_digest else "-",
            doc.code(diff.b_digest.short) if diff.b_digest else "-",
        )
        for diff in order
    ]
    return doc.Table(caption, columns, rows, shown=Shown.DETAIL)


def _short_table(tensors: Sequence[TensorDiff], shown: Shown) -> doc.Table:
    groups = _grouped(tensors)
    columns = (
        doc.Column(tr("Tensor"), Kind.NAME),
        doc.Column(tr("Verdict")),
        doc.Column(tr("Rows changed"), Kind.NUMBER),
        doc.Column(tr("max |b-a|"), Kind.NUMBER),
        doc.Column("", Kind.PROSE),
    )
    rows: list[Sequence[doc.Inline]] = []
    for group in groups:
        first = group.tensors[0]
        changes = [diff.change for diff in group.tensors if diff.change]
        largest = max((change.max_abs for change in changes), default=0.0)
        count = len(group.tensors)
        number = trn("{number} tensor", "{number} tensors", count) if count > 1 else ""
        said = clauses(number, *_notes(first), _not_finite(sum(change.not_finite for change in changes)))
        rows.append(
            (
                group.label,
                doc.verdict(word(first.verdict), tone(first)),
                _rows_changed(group.tensors),
                f"{largest:.3g}" if largest else "",
                doc.muted(said),
            )
        )
    return doc.Table("", columns, rows, shown)


def tone(diff: TensorDiff) -> Tone:
    """Return what a tensor's verdict means for the whole."""
    if not diff.judged or diff.verdict == Verdict.NOT_STORED:
        return Tone.MUTED
    return Tone.BAD if diff.verdict in FAULTS else Tone.GOOD


def _notes(diff: TensorDiff) -> list[str]:
    shapes = (
        tr("A is {shape_a}, B is {shape_b}", shape_a=list(diff.a_shape), shape_b=list(diff.b_shape))
        if diff.verdict == Verdict.OTHER_SHAPE
        else ""
    )
    return [each for each in (diff.note, shapes, "" if diff.judged else tr("not judged")) if each]


def _rows_changed(tensors: Sequence[TensorDiff]) -> str:
    """Return how many rows changed in all; empty where that is not measured."""
    changes = [diff.change for diff in tensors if diff.change]
    total = sum(change.rows for change in changes)
    changed = sum(change.rows_changed for change in changes)
    return of_all(changed, total) if total > len(changes) else ""


def size(change: Change) -> str:
    """Return how far values are apart, and where most."""
    parts = (
        _largest(tr("max |b-a|"), change.max_abs, change.max_abs_index),
        _largest(tr("max |b-a|/|a|"), change.max_rel, change.max_rel_index),
        _not_finite(change.not_finite),
    )
    return clauses(*parts) or tr("only signs of zero or NaN payloads differ")


def _not_finite(count: int) -> str:
    return tr("{count} changed values are NaN or infinite", count=count) if count else ""


def _largest(what: str, value: float, index: tuple[int, ...]) -> str:
    """Return a value and where it stands; empty for 0. A single value stands nowhere."""
    if not value:
        return ""
    if not index:
        return tr("{what} {value:.3g}", what=what, value=value)
    return tr("{what} {value:.3g} at {index}", what=what, value=value, index=list(index))


class _Group(NamedTuple):
    """Tensors of one role with one verdict; often a single one."""

    label: str
    tensors: Sequence[TensorDiff]


def _grouped(tensors: Iterable[TensorDiff]) -> list[_Group]:
    """Return the tensors in their order; those that differ only in the number of the layer together."""
    together: dict[object, list[tuple[int, TensorDiff]]] = {}
    for diff in tensors:
        numbered = _NUMBERED.fullmatch(diff.label)
        if numbered is None:
            together[diff.label] = [(0, diff)]
            continue
        before, number, name = numbered.groups()
        types, shapes = (diff.a_dtype, diff.b_dtype), (diff.a_shape, diff.b_shape)
        kind = (before, name, diff.verdict, diff.judged, diff.note, types, shapes)
        together.setdefault(kind, []).append((int(number), diff))
    return [_group(kind, members) for kind, members in together.items()]


def _group(kind: object, members: list[tuple[int, TensorDiff]]) -> _Group:
    diffs = [diff for _, diff in members]
    if len(members) == 1 or not isinstance(kind, tuple):
        return _Group(diffs[0].label, diffs)
    before, name, *_ = kind
    return _Group(f"{before}{ranges(sorted(number for number, _ in members))} {name}", diffs)
