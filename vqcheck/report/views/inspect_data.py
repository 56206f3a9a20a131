"""`vqcheck inspect` for machines: the data of JSON, and a case for each thing that was looked at."""

from collections import Counter
from typing import Any, Final

from vqcheck.codebook.digest import BF16V1, F16V1, F32V1
from vqcheck.codebook.health import Condition
from vqcheck.codebook.inspection_result import EncoderSummary, InspectedFiles, Inspection, UnreadFile
from vqcheck.codebook.model import Model
from vqcheck.language import tr
from vqcheck.report.document import Case, CaseOutcome, Rule, Weight
from vqcheck.report.views.json_objects import digests_object, named
from vqcheck.report.views.words import listed, trained, unfit_rule, warning

_READABLE: Final = Rule(
    "inspect/unreadable",
    "the file can be read",
    "The file is damaged, is not there, or is not a checkpoint. Copy it again, or name another one.",
)
_CODEBOOK: Final = Rule(
    "inspect/no-codebook",
    "the file holds a codebook",
    "Only files that hold a VQ encoder can be judged. For GPT-SoVITS these are the generator of s2 (s2G*.pth, G_*.pth) "
    "and its exports.",
)
_COPY: Final = Rule(
    "inspect/unreadable-copy",
    "every copy of the VQ encoder can be read",
    "Another program may load the copy that cannot be read. Name the copy that will be used: --copy NAME.",
)
_HEALTH: Final = (
    "place never_trained codes initialised all_zero not_finite dead unused rows_off perplexity negative collapsed "
    "verdict"
)
_TRAINED: Final = trained("inspect")
_UNFIT: Final = unfit_rule("inspect")


def cases(files: InspectedFiles) -> tuple[Case, ...]:
    """Return what was looked at, file by file; one that was named before is called by its number, too."""
    weight = Weight.REQUIRED if files.strict else Weight.ADVICE
    found: list[Case] = []
    times: Counter[str] = Counter()
    for file in files.files:
        times[file.path] += 1
        name = file.path if times[file.path] == 1 else f"{file.path} ({times[file.path]})"
        found += _cases(file, name, weight)
    return tuple(found)


def _cases(file: Inspection | UnreadFile, name: str, weight: Weight) -> list[Case]:
    path = file.path
    if isinstance(file, UnreadFile):
        return [Case(_READABLE, name, CaseOutcome.COULD_NOT_CHECK, file.why, path)]
    found = [
        Case(_COPY, f"{name}: {copy.name}", CaseOutcome.COULD_NOT_CHECK, copy.why, path) for copy in file.unreadable
    ]
    if file.vq_encoder is None:
        return [
            *found,
            Case(_CODEBOOK, name, CaseOutcome.COULD_NOT_CHECK, f"this file {file.why_none}", path),
        ]
    for encoder in file.encoders:
        what = name if len(file.encoders) == 1 else f"{name}: {encoder.copy} ({encoder.family})"
        rule = _TRAINED if encoder.verdict == Condition.NEVER_TRAINED else _UNFIT
        if not encoder.is_read:
            found.append(Case(rule, what, CaseOutcome.NOT_APPLICABLE, "its values were not read", path))
        elif encoder.verdict == Condition.HEALTHY:
            said = f"fit for use: {encoder.f32.widest.algorithm} {encoder.f32.widest.short}"
            found.append(Case(rule, what, CaseOutcome.PASSED, said, path))
        else:
            found.append(Case(rule, what, CaseOutcome.FAILED, warning(what, encoder.verdict), path, weight=weight))
    return found


def data(files: InspectedFiles) -> dict[str, Any]:
    """Return what JSON says of the files."""
    return {
        "files": [
            {"path": file.path, "verdict": file.verdict, "error": file.why}
            if isinstance(file, UnreadFile)
            else _file(file)
            for file in files.files
        ]
    }


def _file(inspection: Inspection) -> dict[str, Any]:
    model, training = inspection.model, inspection.training
    return {
        "path": inspection.path,
        "verdict": inspection.verdict,
        "kind": inspection.record.kind.value,
        **named(inspection, "format header_code container other_containers classes module_classes missing_files"),
        "precision": dict(inspection.precision),
        "model": {
            "kind": model.kind,
            "version": model.version,
            "evidence": evidence(model),
            "base": model.base,
            "lacks": lacking(model),
        },
        "training": named(training, "info epoch steps"),
        "vq_encoder": _encoder(inspection.vq_encoder) if inspection.vq_encoder else None,
        "others": [_encoder(other) for other in inspection.others],
        "unreadable": [{"copy": str(each.name), "why": each.why} for each in inspection.unreadable],
        "why_none": inspection.why_none,
    }


def evidence(model: Model) -> str:
    """Return what shows the kind and the version of a model."""
    return listed(map(str, model.evidence))


def lacking(model: Model) -> str:
    """Return what an export leaves to its base model; empty where it leaves nothing to it."""
    absent = listed(model.lacks)
    if not absent:
        return ""
    if "enc_q" in model.lacks:
        return tr("{parts} (an inference export does not store it)", parts=absent)
    return tr("{parts} and the frozen weights (they stay in the base model)", parts=absent)


def _encoder(encoder: EncoderSummary) -> dict[str, Any]:
    return {
        **named(encoder, "copy aliases against relation family title prefix"),
        "shadow": encoder.is_shadow,
        **named(encoder, "structural in_front derivation verdict"),
        "books": [named(book, "name codebooks stored heads codes dim") for book in encoder.books],
        "tensors": [named(tensor, "label name dtype shape") for tensor in encoder.tensors],
        "codebooks": [named(health, _HEALTH) for health in encoder.codebooks],
        "projection_not_finite": encoder.projection_not_finite,
        "digests": {
            F32V1: digests_object(encoder.f32),
            F16V1: digests_object(encoder.f16),
            BF16V1: digests_object(encoder.bf16),
        },
    }
