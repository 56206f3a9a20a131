"""A token audit, in words."""

import os
from collections.abc import Sequence
from typing import Final

from vqcheck.audit.token_audit_result import (
    RISK,
    ItemAudit,
    TokenAudit,
    TokenPrecision,
    TokenVerdict,
)
from vqcheck.checkpoint.shown import shown
from vqcheck.report.words.share import share

NAMED: Final = 5
"""Items that are named where there are more."""
PRECISION: Final = {
    TokenPrecision.HALF: "half precision fits the tokens best",
    TokenPrecision.FLOAT32: "float32 fits the tokens best",
    TokenPrecision.MIXED: "half precision fits some items best, float32 others",
    TokenPrecision.EITHER: "float32 and half precision give the same tokens",
}
ADVICE: Final = (
    "Extract the tokens again with this checkpoint, or the weight exported at its step if it is a G_*.pth, and train "
    "s1 again on them, or start s2 from the one that they come from."
)


def headline(audit: TokenAudit) -> str:
    """Return whether the tokens come from the checkpoint, in one sentence."""
    name = os.path.basename(audit.checkpoint)
    if audit.verdict == TokenVerdict.CONSISTENT:
        unchecked = f" as far as they can be checked: {len(audit.without_features)} of {audit.rows} items lack features"
        # A codebook that moved a little gives the same tokens on little data: that it made them is more than was seen.
        so_far = unchecked if audit.without_features else ""
        total = audit.total
        if not total.near_ties:
            return f"The tokens are those that {name} gives{so_far}."
        given = f"{total.explained} of {total.frames} tokens are those that {name} gives{so_far}"
        return f"{given}, {total.near_ties} {'is' if total.near_ties == 1 else 'are'} within rounding of them."
    if audit.verdict == TokenVerdict.INCONSISTENT:
        return f"The tokens do not come from {name}."
    if "overflow" in audit.gaps:
        overflowing = audit.total.undecided - audit.total.coarse
        return f"Half precision overflows on {share(overflowing, audit.total.frames)} of the frames."
    if "coarse" in audit.gaps:
        coarse = share(audit.total.coarse, audit.total.frames)
        return f"Half precision cannot tell the codes apart on {coarse} of the frames."
    if "coverage" in audit.gaps:
        return f"Nothing contradicts {name}, but {len(audit.without_features)} of {audit.rows} items have no features."
    return f"Nothing contradicts {name}, but not everything could be read."


def recorded(audit: TokenAudit) -> str:
    """Return how many items are recorded."""
    return f"{audit.rows} items" + (f" in {len(audit.files)} parts" if len(audit.files) > 1 else "")


def checked(audit: TokenAudit) -> str:
    """Return how much of it was derived again."""
    chosen = " (a sample)" if audit.sampled else ""
    return f"{len(audit.items)} items{chosen}, {audit.total.frames} frames"


def findings(audit: TokenAudit) -> list[str]:
    """Return what speaks against the checkpoint, or keeps the audit from a verdict."""
    total, found = audit.total, []
    if total.mismatches:
        found.append(
            f"{total.mismatches} of {total.frames} tokens name a code that is farther from the frame than another one, "
            "by more than rounding can explain in float32, TF32 or float16."
        )
    for group in audit.groups:
        if group.surplus:
            count, limit = group.exceeded
            rounding = "float32 rounding" if group.precision == TokenPrecision.FLOAT32 else "rounding"
            found.append(
                f"{count} tokens are not the nearest code, though nearly: too many for {rounding}, which gives at most "
                f"{limit} on these features (a binomial limit that a right file exceeds with a probability of "
                f"{RISK:g}). The codebook or the projection has drifted since the tokens were extracted, or before."
            )
    if audit.wrong_lengths:
        found.append(
            f"{len(audit.wrong_lengths)} items have more than one token too many or too few for their features, so the "
            f"features belong to other recordings: {in_a_row([item.item for item in audit.wrong_lengths])}."
        )
    if "overflow" in audit.gaps:
        found.append(
            f"On {total.undecided - total.coarse} of {total.frames} frames half-precision distances exceed 65504, and "
            "what a GPU makes of them does not depend on the codebook. Tokens extracted in float32 (is_half=False) can "
            "be checked."
        )
    if "coarse" in audit.gaps:
        found.append(
            f"On {total.coarse} of {total.frames} frames the distances to more than a tenth of the codes differ by "
            "less than half precision resolves, so it may choose any of them. Tokens extracted in float32 "
            "(is_half=False) can be checked."
        )
    return found


def against(audit: TokenAudit, other: TokenAudit) -> str:
    """Return which of two checkpoints explains the tokens better."""
    mine, theirs = (_explained(a) for a in (audit, other))
    names = os.path.basename(audit.checkpoint), os.path.basename(other.checkpoint)
    a, b = names if names[0] != names[1] else (audit.checkpoint, other.checkpoint)
    better = audit.better_than(other)
    if better == "equal":
        same = audit.digests.vq_encoder is not None and audit.digests.vq_encoder == other.digests.vq_encoder
        why = "they hold the same VQ encoder" if same else "these recordings do not tell them apart"
        return f"{a} and {b} explain equally many tokens ({mine}): {why}."
    first, second = ((a, mine), (b, theirs)) if better == "checkpoint" else ((b, theirs), (a, mine))
    winner = audit if better == "checkpoint" else other
    doubt = {
        TokenVerdict.CONSISTENT: "",
        TokenVerdict.INCONSISTENT: ", but is not consistent with them either",
    }.get(winner.verdict, ", though not everything could be checked")
    return f"{first[0]} explains the tokens better ({first[1]}) than {second[0]} ({second[1]}){doubt}."


def _explained(audit: TokenAudit) -> str:
    total = audit.total
    undecided = f", {total.undecided} undecided" if total.undecided else ""
    return f"{share(total.explained, total.frames)}{undecided}"


def precision(audit: TokenAudit) -> str:
    """Return which precision the tokens fit."""
    words = PRECISION[audit.total.precision]
    tf32 = (
        audit.total.precision in (TokenPrecision.FLOAT32, TokenPrecision.MIXED) and audit.float_arithmetic != "float32"
    )
    return f"{words} ({audit.float_arithmetic})" if tf32 else words


def notes(audit: TokenAudit, most: int = NAMED) -> list[str]:
    """Return what else was found; of each list at most `most` names."""
    several = {
        "features but no tokens, so s1 never sees them": audit.without_tokens,
        "tokens but no features, so the tokens could not be checked": audit.without_features,
        "several rows": audit.repeated,
        "one token more or fewer than the features give (harmless)": tuple(
            item.item for item in audit.items if item.off_by_one
        ),
    }
    notes = [f"{what} ({len(names)}): {in_a_row(names, most)}" for what, names in several.items() if names]
    for problems, what in (
        (audit.unreadable, "features that cannot be used"),
        (audit.malformed, "lines of the tsv without tokens"),
    ):
        if problems:
            listed = [f"{where} ({why})" for where, why in problems]
            notes.append(f"{what} ({len(problems)}): {in_a_row(listed, most)}")
    if audit.headless:
        notes.append("the tsv has no header line, so s1 takes its first item for one and loses it")
    if audit.leftover_parts:
        notes.append(f"nothing reads the parts beside the merged tsv: {in_a_row(audit.leftover_parts, most)}")
    return notes


def in_a_row(names: Sequence[str], most: int = NAMED) -> str:
    """Return names in a row, of very many only the first."""
    listed = ", ".join(shown(name) for name in names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed


def worst(audit: TokenAudit) -> list[ItemAudit]:
    """Return the items of which not every token is explained, those that agree least first."""

    def off(item: ItemAudit) -> float:
        return (item.counts.frames - item.counts.explained) / max(item.counts.frames, 1)

    return sorted((item for item in audit.items if off(item)), key=lambda item: (-off(item), item.item))
