"""`vqcheck inspect` for machines."""

from collections.abc import Sequence
from typing import Any

from vqcheck.codebook.digest import BF16V1, F16V1, F32V1
from vqcheck.codebook.health import Health
from vqcheck.codebook.inspection import EncoderSummary, Inspection
from vqcheck.report.json.digests import digests_object
from vqcheck.report.json.document import dump


def document(files: Sequence[Inspection | tuple[str, str]], verdict: str, exit_code: int) -> str:
    """Return all inspected files as one JSON document; a file that failed is given as (path, error)."""
    entries = [
        {"path": file[0], "verdict": "could not check", "error": file[1]} if isinstance(file, tuple) else _file(file)
        for file in files
    ]
    return dump("inspect", verdict, exit_code, files=entries)


def _file(inspection: Inspection) -> dict[str, Any]:
    model, training = inspection.model, inspection.training
    return {
        "path": inspection.path,
        "verdict": inspection.verdict,
        "kind": inspection.record.kind.value,
        "format": inspection.format,
        "header_code": inspection.header_code,
        "container": inspection.container,
        "other_containers": list(inspection.other_containers),
        "classes": list(inspection.classes),
        "precision": dict(inspection.precision),
        "model": {
            "kind": model.kind,
            "version": model.version,
            "evidence": model.evidence,
            "base": model.base,
            "lacks": model.lacks,
        },
        "training": {"info": training.info, "epoch": training.epoch, "steps": training.steps},
        "vq_encoder": _encoder(inspection.vq_encoder) if inspection.vq_encoder else None,
        "others": [_encoder(other) for other in inspection.others],
        "unreadable": [{"copy": str(each.name), "why": each.why} for each in inspection.unreadable],
        "why_none": inspection.why_none,
    }


def _encoder(encoder: EncoderSummary) -> dict[str, Any]:
    return {
        "copy": encoder.copy,
        "aliases": list(encoder.aliases),
        "against": encoder.against,
        "relation": encoder.relation,
        "family": encoder.family,
        "title": encoder.title,
        "prefix": encoder.prefix,
        "shadow": encoder.is_shadow,
        "structural": encoder.structural,
        "derivation": encoder.derivation,
        "verdict": encoder.verdict,
        "books": [
            {
                "name": book.name,
                "codebooks": book.codebooks,
                "stored": book.stored,
                "heads": book.heads,
                "codes": book.codes,
                "dim": book.dim,
            }
            for book in encoder.books
        ],
        "tensors": [
            {"label": tensor.label, "name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
            for tensor in encoder.tensors
        ],
        "codebooks": [_health(health) for health in encoder.codebooks],
        "projection_not_finite": encoder.projection_not_finite,
        "digests": {
            F32V1: digests_object(encoder.f32),
            F16V1: digests_object(encoder.f16),
            BF16V1: digests_object(encoder.bf16),
        },
    }


def _health(health: Health) -> dict[str, Any]:
    return {
        "place": health.place,
        "never_trained": health.never_trained,
        "codes": health.codes,
        "initialised": health.initialised,
        "all_zero": health.all_zero,
        "not_finite": health.not_finite,
        "dead": health.dead,
        "unused": health.unused,
        "rows_off": health.rows_off,
        "perplexity": health.perplexity,
        "negative": health.negative,
        "collapsed": health.collapsed,
        "verdict": health.verdict,
    }
