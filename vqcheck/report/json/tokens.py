"""`vqcheck tokens` for machines."""

from typing import Any

from vqcheck.audit.token_audit_result import RISK, FrameCounts, ItemAudit, PrecisionGroup, TokenAudit
from vqcheck.report.json.digests import digests_object
from vqcheck.report.json.document import dump


def document(audit: TokenAudit, other: TokenAudit | None) -> str:
    """Return an audit, and that of another checkpoint where one was asked for, as one JSON document."""
    return dump(
        "tokens",
        audit.verdict,
        audit.exit_code,
        experiment=audit.experiment,
        tsv={
            "files": list(audit.files),
            "rows": audit.rows,
            "headless": audit.headless,
            "leftover_parts": list(audit.leftover_parts),
            "malformed": [{"line": line, "problem": problem} for line, problem in audit.malformed],
            "repeated": list(audit.repeated),
        },
        without_tokens=list(audit.without_tokens),
        without_features=list(audit.without_features),
        unreadable=[{"item": item, "problem": problem} for item, problem in audit.unreadable],
        sampled=audit.sampled,
        audit=_audit(audit),
        against=_audit(other) if other else None,
        better=audit.better_than(other) if other else None,
    )


def _audit(audit: TokenAudit) -> dict[str, Any]:
    return {
        "checkpoint": audit.checkpoint,
        "family": audit.family,
        "digests": digests_object(audit.digests),
        "verdict": audit.verdict,
        "contradictions": list(audit.contradictions),
        "gaps": list(audit.gaps),
        "total": _counts(audit.total),
        "arithmetic": audit.arithmetic,
        "float_arithmetic": audit.float_arithmetic,
        "risk": RISK,
        "groups": [_group(group) for group in audit.groups],
        "items": [_item(item) for item in audit.items],
    }


def _group(group: PrecisionGroup) -> dict[str, Any]:
    return {
        "precision": group.precision,
        "items": group.items,
        "frames": group.frames,
        "near_ties": group.near_ties,
        "rate": group.rate,
        "limit": group.limit,
        "beyond": group.beyond,
        "beyond_limit": group.beyond_limit,
    }


def _item(item: ItemAudit) -> dict[str, Any]:
    return {
        "item": item.item,
        "line": item.line,
        "recorded": item.recorded,
        "derived": item.derived,
        **_counts(item.counts),
    }


def _counts(counts: FrameCounts) -> dict[str, Any]:
    return {
        "frames": counts.frames,
        "explained": counts.explained,
        "near_ties": counts.near_ties,
        "mismatches": counts.mismatches,
        "undecided": counts.undecided,
        "coarse": counts.coarse,
        "beyond": counts.beyond,
        "precision": counts.precision,
    }
