"""`vqcheck restore` and `vqcheck extract`: what was written, with which digests."""

import os
from typing import Any, Final

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.language import tr
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Case, CaseOutcome, Document, Rule, Status
from vqcheck.report.views.json_objects import digests_object, named
from vqcheck.report.views.lock import WriteVerdict
from vqcheck.report.views.restore_measurement import figures, measured, measurement
from vqcheck.report.views.words import listed
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
            "measurement": measurement(result.measurement) if result.measurement else None,
        },
        figures=figures(result.measurement) if result.measurement else (),
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
            *(measured(result.measurement) if result.measurement else (doc.Paragraph(_unmeasured(result)),)),
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


def _widest(digests: EncoderDigests) -> str:
    return str(digests.widest)


def _tensor(tensor: RestoredTensor) -> dict[str, Any]:
    return named(tensor, "label name dtype") | {
        "rounded_from": tensor.rounded_from or None,
        "changed": tensor.changed,
    }
