"""A token audit as checks: one a recorded item, and one for what only shows over all of them."""

import os
from typing import Final

from vqcheck.audit.token_audit_result import ItemAudit, TokenAudit
from vqcheck.report.cases.case import COULD_NOT_CHECK, FAILED, NOT_APPLICABLE, PASSED, Case, Rule, Run
from vqcheck.report.words.tokens import ADVICE, against, headline, in_a_row

_ITEM: Final = Rule("tokens/item", "the recorded tokens of the item come from the checkpoint", ADVICE)
_NEAR_TIES: Final = Rule(
    "tokens/near-ties",
    "no more tokens are near-ties than rounding explains",
    f"Each alone could be rounding, together they cannot: the codebook has moved a little. {ADVICE}",
)
_OVERFLOW: Final = Rule(
    "tokens/overflow",
    "half precision does not overflow",
    "Where distances exceed 65504 a GPU's tokens do not depend on the codebook, so they prove nothing. Tokens "
    "extracted in float32 (is_half=False) can be checked.",
)
_COARSE: Final = Rule(
    "tokens/coarse",
    "half precision tells the codes apart",
    "Where it does not, a GPU may choose any of them, so its tokens prove nothing. Tokens extracted in float32 "
    "(is_half=False) can be checked.",
)
_COVERAGE: Final = Rule(
    "tokens/coverage",
    "most items have features to check them by",
    "A verdict must not rest on a small part of the tokens. Extract the features again, or keep 4-cnhubert.",
)
_FEATURES: Final = Rule(
    "tokens/unreadable-features",
    "the features of the item can be read",
    "Its tokens could not be derived again. Extract the features of the item again.",
)
_LINE: Final = Rule(
    "tokens/malformed-line",
    "each line of the tsv holds tokens",
    "The line was left out, and s1 may stumble over it. Extract the tokens again.",
)
_TSV: Final = Rule(
    "tokens/tsv",
    "the tsv holds what s1 expects",
    "Stage 1 loses or repeats items of such a file. Extract the tokens again.",
)


def run(audit: TokenAudit, other: TokenAudit | None) -> Run:
    """Return an audit as cases; how another checkpoint compares stands in the headline."""
    words = headline(audit) + (f" {against(audit, other)}" if other else "")
    cases = (*_items(audit), *_whole(audit), *_gaps(audit), *_advice(audit))
    return Run("tokens", f"{audit.checkpoint} and {audit.experiment}", audit.verdict, audit.exit_code, words, cases)


def _items(audit: TokenAudit) -> list[Case]:
    cases = [_item(audit, item) for item in audit.items]
    lacking = "there are no features to check its tokens by"
    return cases + [Case(_ITEM, name, NOT_APPLICABLE, lacking, audit.experiment) for name in audit.without_features]


def _item(audit: TokenAudit, item: ItemAudit) -> Case:
    counts = item.counts
    message = f"{counts.explained} of {counts.frames} tokens are derived again"
    for count, what in (
        (counts.mismatches, "cannot come from this VQ encoder"),
        (counts.near_ties, "within rounding"),
        (counts.undecided, "undecided"),
    ):
        if count:
            message += f", {count} {what}"
    if item.wrong_length:
        message += f"; {item.recorded} tokens are recorded, the features give {item.derived}"
    outcome = FAILED if counts.mismatches or item.wrong_length else PASSED
    path, line = _place(audit, item.line)
    name = f"{item.item} ({item.line})" if item.item in audit.repeated else item.item
    return Case(_ITEM, name, outcome, message, path, line)


def _whole(audit: TokenAudit) -> list[Case]:
    cases = []
    for group in audit.groups:
        count, limit = group.exceeded
        cases.append(
            Case(
                _NEAR_TIES,
                f"near-ties in {group.precision}",
                FAILED if group.surplus else PASSED,
                f"{count} of {group.frames} tokens, where rounding explains at most {limit}",
                _tsv(audit),
            )
        )
    return cases


def _gaps(audit: TokenAudit) -> list[Case]:
    counts = audit.total
    lacking = f"{len(audit.without_features)} of {audit.rows} items have no features"
    cases = [
        Case(_COVERAGE, "coverage", COULD_NOT_CHECK if "coverage" in audit.gaps else PASSED, lacking, _tsv(audit)),
        Case(
            _OVERFLOW,
            "overflow",
            COULD_NOT_CHECK if "overflow" in audit.gaps else PASSED,
            f"{counts.undecided - counts.coarse} of {counts.frames} frames overflow",
            _tsv(audit),
        ),
        Case(
            _COARSE,
            "coarse",
            COULD_NOT_CHECK if "coarse" in audit.gaps else PASSED,
            f"{counts.coarse} of {counts.frames} frames have too many codes within rounding",
            _tsv(audit),
        ),
    ]
    cases += [Case(_FEATURES, item, COULD_NOT_CHECK, why, audit.experiment) for item, why in audit.unreadable]
    return cases + [Case(_LINE, line, COULD_NOT_CHECK, why, *_place(audit, line)) for line, why in audit.malformed]


def _advice(audit: TokenAudit) -> list[Case]:
    found = {
        "header": audit.headless and "the tsv has no header line, so s1 takes its first item for one and loses it",
        "parts": audit.leftover_parts
        and f"nothing reads the parts beside the merged tsv: {in_a_row(audit.leftover_parts)}",
        "repeated": audit.repeated and f"items with several rows: {in_a_row(audit.repeated)}",
        "without tokens": audit.without_tokens
        and f"items with features but no tokens, which s1 never sees: {in_a_row(audit.without_tokens)}",
    }
    return [Case(_TSV, name, FAILED, str(why), _tsv(audit), advisory=True) for name, why in found.items() if why]


def _tsv(audit: TokenAudit) -> str:
    return os.path.join(audit.experiment, audit.files[0])


def _place(audit: TokenAudit, line: str) -> tuple[str, int]:
    """Return path and number of a line given as `file:number`."""
    file, _, number = line.rpartition(":")
    return os.path.join(audit.experiment, file), int(number)
