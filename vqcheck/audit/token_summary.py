"""One sentence on a token audit, for the reports that have room for no more."""

from vqcheck.audit.token_audit_result import CONSISTENT, INCONSISTENT, TokenAudit


def summary(audit: TokenAudit) -> str:
    """Return what an audit came to, in one sentence."""
    total = audit.total
    sampled = f" of {len(audit.items)} sampled items" if audit.sampled else ""
    if audit.without_features:
        sampled += f" ({len(audit.without_features)} of {audit.rows} items have no features to check them by)"
    if audit.verdict == INCONSISTENT:
        if total.mismatches:
            return f"{total.mismatches} of {total.frames} recorded tokens{sampled} do not come from this VQ encoder"
        if audit.wrong_lengths:
            return f"{len(audit.wrong_lengths)} items{sampled} have another length than their features"
        count, limit = max(audit.groups, key=lambda group: group.surplus).exceeded
        return (
            f"{count} of {total.frames} recorded tokens{sampled} are near-ties, where rounding explains at most "
            f"{limit}: the codebook has moved"
        )
    if audit.verdict == CONSISTENT:
        ties = f", {total.near_ties} within rounding" if total.near_ties else ""
        return f"{total.explained} of {total.frames} recorded tokens{sampled} are derived again{ties}"
    return f"inconclusive{sampled} ({', '.join(audit.gaps)}); vqcheck tokens shows the items"
