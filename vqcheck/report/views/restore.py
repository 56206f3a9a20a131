"""`vqcheck restore` and `vqcheck extract`: what was written, with which digests."""

import os
from typing import Any, Final

from vqcheck.codebook.digest import EncoderDigests
from vqcheck.report.blocks import Column, Fact, Facts, Kind, Paragraph, Section, Shown, Table, Tone, code, path, verdict
from vqcheck.report.document import Case, CaseOutcome, Document, Rule, Status
from vqcheck.report.views.json_objects import digests_object
from vqcheck.restore.result import Extraction, Restoration, RestoredTensor, RestoreVerdict

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
        headline = f"{os.path.basename(result.file)} had the VQ encoder of {base} already; {name} is a copy of it"
    else:
        of = (
            ""
            if len(changed) == len(result.tensors)
            else f" ({len(changed)} of {len(result.tensors)} tensors differed)"
        )
        what = "VQ encoder" if result.part == "all" else result.part
        headline = f"{name} has the {what} of {base}{of}; every other byte is that of {os.path.basename(result.file)}"
    return Document(
        command="restore",
        status=Status.CONSISTENT,
        verdict=result.verdict.value,
        headline=headline,
        subject=f"{result.base} and {result.file}",
        cases=(Case(_WRITTEN, name, CaseOutcome.PASSED, headline, result.out),),
        data={
            "base": result.base,
            "file": result.file,
            "out": result.out,
            "family": result.family,
            "part": result.part.value,
            "tensors": [_tensor(tensor) for tensor in result.tensors],
            "not_stored": list(result.not_stored),
            "before": digests_object(result.before),
            "after": digests_object(result.after),
        },
        blocks=(
            Section(
                "Digests",
                (
                    Facts(
                        (
                            Fact("Before", code(_widest(result.before))),
                            Fact("After", code(_widest(result.after))),
                            Fact("Not stored", ", ".join(result.not_stored)),
                        )
                    ),
                ),
                heading=Shown.PAGE,
            ),
            Section(
                "Tensors",
                (
                    Table(
                        "What was put back.",
                        (Column("tensor"), Column("type"), Column("before"), Column("note", Kind.PROSE)),
                        [(tensor.label, tensor.dtype, _before(tensor), _note(tensor)) for tensor in result.tensors],
                    ),
                ),
                heading=Shown.PAGE,
            ),
            Paragraph(_unmeasured(result)),
        ),
    )


def extracted(result: Extraction) -> Document:
    """Return the document of a VQ encoder that was taken out."""
    name = os.path.basename(result.out)
    headline = f"{name} holds the VQ encoder of {os.path.basename(result.file)} ({len(result.tensors)} tensors)"
    return Document(
        command="extract",
        status=Status.CONSISTENT,
        verdict="written",
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
            Section(
                "What was written",
                (
                    Facts(
                        (
                            Fact("File", path(result.out)),
                            Fact("Codec", result.family),
                            Fact("Digest", code(_widest(result.digests))),
                        )
                    ),
                ),
                heading=Shown.PAGE,
            ),
        ),
    )


def _before(tensor: RestoredTensor) -> Any:
    return verdict("other values", Tone.WARNING) if tensor.changed else verdict("the same", Tone.GOOD)


def _note(tensor: RestoredTensor) -> str:
    return f"rounded from {tensor.rounded_from}" if tensor.rounded_from else ""


def _unmeasured(result: Restoration) -> str:
    if result.verdict is RestoreVerdict.UNCHANGED:
        return ""
    return (
        "Whether it sounds better was not measured. The decoder was trained while its codes moved, and gets those of "
        "the base now. Listen to both files before you delete one."
    )


def _widest(digests: EncoderDigests) -> str:
    return str(digests.widest)


def _tensor(tensor: RestoredTensor) -> dict[str, Any]:
    return {
        "label": tensor.label,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "rounded_from": tensor.rounded_from or None,
        "changed": tensor.changed,
    }
