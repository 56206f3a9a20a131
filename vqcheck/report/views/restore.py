"""`vqcheck restore` and `vqcheck extract`: what was written, with which digests."""

import os
from typing import Any, Final

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.language import sentences, tr, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Case, CaseOutcome, Document, Figure, Rule, Status
from vqcheck.report.views.json_objects import digests_object, named
from vqcheck.report.views.lock import WriteVerdict
from vqcheck.report.views.words import clauses, listed
from vqcheck.restore.measured import Better, Measurement, PairedDifference, Way
from vqcheck.restore.result import Extraction, Restoration, RestoredPart, RestoredTensor, RestoreVerdict

_WRITTEN: Final = Rule(
    "restore/written",
    "the VQ encoder of the new file is the base's, and every other byte is the old file's",
    "The new file was read back before it got its name. Nothing is written where it is not as it should be.",
)
_EXTRACTED: Final = Rule(
    "extract/written", "the VQ encoder stands in a file of its own", "Its digests are those of the file it came from."
)


def restored(result: Restoration) -> Document:
    """Return the document of a file that was restored."""
    name, base = os.path.basename(result.out), os.path.basename(result.base)
    changed = [tensor for tensor in result.tensors if tensor.changed]
    if result.verdict is RestoreVerdict.UNCHANGED:
        headline = tr(
            "{file} had the VQ encoder of {base} already; {name} is a copy of it",
            file=os.path.basename(result.file),
            base=base,
            name=name,
        )
    else:
        rounded = listed(dict.fromkeys(tensor.dtype for tensor in result.tensors if tensor.rounded_from))
        said = listed((_put_back(result.part, name, base), tr("rounded to {types}", types=rounded) if rounded else ""))
        if len(changed) < len(result.tensors):
            said = tr(
                "{said} ({changed} of {tensors} tensors differed)",
                said=said,
                changed=len(changed),
                tensors=len(result.tensors),
            )
        headline = tr("{said}; every other byte is that of {file}", said=said, file=os.path.basename(result.file))
    return Document(
        command="restore",
        status=Status.CONSISTENT,
        verdict=result.verdict.value,
        headline=headline,
        subject=tr("{base} and {file}", base=result.base, file=result.file),
        cases=(Case(_WRITTEN, name, CaseOutcome.PASSED, headline, result.out),),
        data={
            **named(result, "base file out family part"),
            "tensors": [_tensor(tensor) for tensor in result.tensors],
            "not_stored": list(result.not_stored),
            "before": digests_object(result.before),
            "after": digests_object(result.after),
            "measurement": _measurement(result.measurement) if result.measurement else None,
        },
        figures=_figures(result.measurement) if result.measurement else (),
        blocks=(
            doc.facts(
                tr("Digests"),
                doc.Fact(tr("Before"), doc.code(_widest(result.before))),
                doc.Fact(tr("After"), doc.code(_widest(result.after))),
                doc.Fact(tr("Not stored"), listed(result.not_stored)),
            ),
            doc.Section(
                tr("Tensors"),
                (
                    doc.Table(
                        tr("What was put back."),
                        (
                            doc.Column(tr("tensor")),
                            doc.Column(tr("type")),
                            doc.Column(tr("before")),
                            doc.Column(tr("note"), Kind.PROSE),
                        ),
                        [(tensor.label, tensor.dtype, _before(tensor), _note(tensor)) for tensor in result.tensors],
                    ),
                ),
                heading=Shown.PAGE,
            ),
            *(_measured(result.measurement) if result.measurement else (doc.Paragraph(_unmeasured(result)),)),
        ),
    )


def _put_back(part: RestoredPart, name: str, base: str) -> str:
    return {
        RestoredPart.ALL: tr("{name} has the VQ encoder of {base}", name=name, base=base),
        RestoredPart.CODEBOOK: tr("{name} has the codebook of {base}", name=name, base=base),
        RestoredPart.PROJECTION: tr("{name} has the projection of {base}", name=name, base=base),
    }[part]


def extracted(result: Extraction) -> Document:
    """Return the document of a VQ encoder that was taken out."""
    name = os.path.basename(result.out)
    headline = tr(
        "{name} holds the VQ encoder of {file} ({tensors} tensors)",
        name=name,
        file=os.path.basename(result.file),
        tensors=len(result.tensors),
    )
    return Document(
        command="extract",
        status=Status.CONSISTENT,
        verdict=WriteVerdict.WRITTEN.value,
        headline=headline,
        subject=result.file,
        cases=(Case(_EXTRACTED, name, CaseOutcome.PASSED, headline, result.out),),
        data={
            "file": result.file,
            "out": result.out,
            "family": result.family,
            "tensors": [{"label": label, "name": own, "dtype": dtype} for label, own, dtype in result.tensors],
            "digests": digests_object(result.digests),
        },
        blocks=(
            doc.facts(
                tr("What was written"),
                doc.Fact(tr("File"), doc.path(result.out)),
                doc.Fact(tr("Codec"), result.family),
                doc.Fact(tr("Digest"), doc.code(_widest(result.digests))),
            ),
        ),
    )


def _before(tensor: RestoredTensor) -> Any:
    return doc.verdict(tr("other values"), Tone.WARNING) if tensor.changed else doc.verdict(tr("the same"), Tone.GOOD)


def _note(tensor: RestoredTensor) -> str:
    return tr("rounded from {type}", type=tensor.rounded_from) if tensor.rounded_from else ""


def _unmeasured(result: Restoration) -> str:
    if result.verdict is RestoreVerdict.UNCHANGED:
        return ""
    return tr(
        "Whether it sounds better was not measured: give --experiment. The decoder was trained while its codes moved, "
        "and gets those of the base now. Listen to both files before you delete one."
    )


_TONES: Final = {Better.BETTER: Tone.GOOD, Better.NO_DIFFERENCE: Tone.NEUTRAL, Better.WORSE: Tone.BAD}
_PAIRS: Final = (
    (Way.RESTORED, Way.DRIFTED),
    (Way.EXTRACTED_AGAIN, Way.DRIFTED),
    (Way.RESTORED, Way.EXTRACTED_AGAIN),
)


def _measured(found: Measurement) -> tuple[doc.Block, ...]:
    """Return what the measurement says: the verdict, the differences, every recording, and players."""
    columns = (
        doc.Column(tr("recording"), Kind.NAME),
        doc.Column(tr("seconds"), Kind.NUMBER),
        doc.Column(tr("drifted"), Kind.NUMBER),
        doc.Column(tr("restored"), Kind.NUMBER),
        doc.Column(tr("extracted again"), Kind.NUMBER),
        doc.Column(tr("other tokens"), Kind.NUMBER),
    )
    rows = [
        (
            each.name,
            f"{each.seconds:.2f}",
            *(f"{error:.4f}" for error in each.errors),
            tr("{number} of {all}", number=each.other_tokens, all=each.tokens),
        )
        for each in found.items
    ]
    players = [
        (each.name, [doc.Sound(_clip(clip.name), clip.wav, clip.path) for clip in each.clips])
        for each in found.items
        if each.clips
    ]
    count = (
        str(found.of)
        if len(found.items) == found.of
        else tr("{number} of {all}", number=len(found.items), all=found.of)
    )
    return (
        doc.Section(
            tr("Which is better"),
            (
                doc.Paragraph(
                    (
                        doc.verdict(word(found.verdict), _TONES[found.verdict]),
                        tr(". {meaning}", meaning=_meaning(found)),
                    )
                ),
                doc.Table(
                    tr("Difference of the errors, over the same recordings. Below zero the first is closer."),
                    (
                        doc.Column("", Kind.PROSE),
                        doc.Column(tr("mean"), Kind.NUMBER),
                        doc.Column(tr("95 % interval"), Kind.NUMBER),
                    ),
                    [_difference_row(found.difference(*pair)) for pair in _PAIRS],
                ),
                doc.Paragraph(
                    sentences(
                        tr(
                            "{count} recordings of {experiment}, decoded as {version} on {device}.",
                            count=count,
                            experiment=os.path.basename(os.path.normpath(found.experiment)),
                            version=found.version,
                            device=found.device,
                        ),
                        tr(
                            "The error is the mean absolute difference of the log mel spectrograms from the "
                            "recording's."
                        ),
                        tr("It is no listening test, and says nothing of sentences that were not recorded."),
                    )
                ),
                doc.Paragraph(_left_out(found)),
            ),
        ),
        doc.Section(
            tr("Recordings"),
            (doc.Table(tr("Error of each."), columns, rows, most=10, rest=""),),
            shown=Shown.DETAIL | Shown.PAGE,
        ),
        doc.Section(
            tr("Listen"),
            (doc.Players(tr("The same recording in each way."), tr("recording"), players),),
            shown=Shown.PAGE,
        ),
    )


def _meaning(found: Measurement) -> str:
    """Return what the numbers carry, and no more."""
    match found.verdict:
        case Better.BETTER:
            return tr("With the recorded tokens, the restored file is closer to these recordings than the drifted one.")
        case Better.WORSE:
            return tr(
                "With the recorded tokens, the restored file is farther from these recordings than the drifted one. "
                "Its decoder may have learned the codes that moved. Do not use it in place of the drifted one."
            )
    return tr(
        "These recordings do not tell the two apart. A difference smaller than the interval is wide would not have "
        "been seen, and one below 1 % of the error is not counted."
    )


def _left_out(found: Measurement) -> str:
    if not found.left_out:
        return ""
    left = len(found.left_out) - 3
    shown = clauses(
        *(tr("{name} {why}", name=name, why=why) for name, why in found.left_out[:3]),
        tr("and {left} more", left=left) if left > 0 else "",
    )
    return tr("Left out: {items}.", items=shown)


def _clip(name: str) -> str:
    return {
        "recording": tr("recording"),
        "drifted": tr("drifted"),
        "restored": tr("restored"),
        "extracted again": tr("extracted again"),
    }[name]


def _difference_row(found: PairedDifference) -> tuple[str, str, str]:
    return (
        tr("{way} against {other}", way=word(found.way), other=word(found.against)),
        f"{found.mean:+.4f}",
        tr("{low:+.4f} to {high:+.4f}", low=found.low, high=found.high),
    )


def _figures(found: Measurement) -> tuple[Figure, ...]:
    names = {
        Way.DRIFTED: tr("error, drifted"),
        Way.RESTORED: tr("error, restored"),
        Way.EXTRACTED_AGAIN: tr("error, tokens extracted again"),
    }
    return tuple(Figure(name, f"{found.mean(way):.4f}") for way, name in names.items())


def _measurement(found: Measurement) -> dict[str, Any]:
    return {
        "verdict": str(found.verdict),
        **named(found, "experiment version device"),
        "recordings": found.of,
        "left_out": [{"item": name, "reason": why} for name, why in found.left_out],
        "differences": [
            named(each, "way against mean low high") for each in (found.difference(*pair) for pair in _PAIRS)
        ],
        "items": [
            {
                "item": each.name,
                "seconds": each.seconds,
                "errors": {"drifted": each.errors[0], "restored": each.errors[1], "extracted_again": each.errors[2]},
                "tokens": each.tokens,
                "other_tokens": each.other_tokens,
                "audio": {clip.name: clip.path for clip in each.clips if clip.path},
            }
            for each in found.items
        ],
    }


def _widest(digests: EncoderDigests) -> str:
    return str(digests.widest)


def _tensor(tensor: RestoredTensor) -> dict[str, Any]:
    return named(tensor, "label name dtype") | {
        "rounded_from": tensor.rounded_from or None,
        "changed": tensor.changed,
    }
