"""Two stages against each other, in words."""

from vqcheck.audit.judgement import StageComparison


def headline(comparison: StageComparison) -> str:
    """Return whether two stages belong together, in one sentence without its full stop."""
    return {
        # Equal tokens do not prove an equal VQ encoder, but they are what the two stages have to share.
        0: "the two stages share one VQ encoder"
        if comparison.evidence == "lock"
        else "the VQ encoder of s2 gives the tokens that s1 was trained on",
        1: "this s1 checkpoint is not the one that the lock is bound to"
        if comparison.other_s1
        else "the two stages do not share one VQ encoder: tokens of s1 mean something else in s2",
    }.get(comparison.exit_code, "whether the two stages share one VQ encoder is not known")
