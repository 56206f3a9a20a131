"""What to do about a changed VQ encoder, in the words of somebody who trains voices."""

from typing import Final

from vqcheck.codebook.diagnosis.evidence import (
    B_TO_A,
    SIBLINGS,
    DeadCodes,
    EmaUpdates,
    Initialised,
    NeverTrained,
    Rounding,
)
from vqcheck.codebook.diagnosis.result import Advice, Cause, TokenFlips

_START_TRAINED: Final = Advice(
    "start-from-a-trained-codebook",
    "Start s2 from a pretrained s2G file (pretrained_s2G in its configuration). Who really trains from scratch must "
    "let the codebook train (freeze_quantizer: false) until it has content, and extract tokens only then.",
)
_NOTHING: Final = Advice(
    "nothing-to-do",
    "Nothing to do: both files hold the same codebook in different widths. Only a frame that lies between two codes "
    "to the last digit may get another token.",
)
_NO_FLIP: Final = Advice(
    "no-token-changed",
    "None of these recordings' tokens changed, so what was trained on them still fits. Other recordings may differ.",
)
_FREEZE: Final = Advice(
    "freeze-by-eval",
    "To keep the codebook still the next time, put the quantizer into eval() on every forward, as GPT-SoVITS does "
    "since 2 May 2024 with freeze_quantizer: true. requires_grad_(False), no_grad(), or eval() before net_g.train() "
    "do not stop these updates.",
)


def advise(causes: tuple[Cause, ...], flips: TokenFlips | None) -> tuple[Advice, ...]:
    """Return what to do, most important first."""
    evidence = [cause.evidence for cause in causes]
    untrained = next((found for found in evidence if isinstance(found, NeverTrained)), None)
    if untrained and (len(untrained.sides) == 2 or untrained.sides == ("B",)):
        return (_START_TRAINED,)
    if evidence and all(isinstance(found, Rounding) for found in evidence):
        return (_NOTHING,)
    advice = [_NO_FLIP] if flips and flips.frames and not flips.flipped else []
    updates = [found for found in evidence if isinstance(found, EmaUpdates)]
    orders = {found.order for found in updates}
    earlier, later = ("B", "A") if orders == {B_TO_A} else ("A", "B")
    if SIBLINGS in orders:
        advice.append(
            Advice(
                "one-file-for-both-stages",
                "Use one file for both stages: extract the tokens again with the file that s2 goes on from, and train "
                "s1 on them. A changed codebook is harmless once the tokens are made again.",
            )
        )
    else:
        advice.append(
            Advice(
                "extract-tokens-again",
                f"Keep {later}: extract the tokens again with {later} (6-name2semantic.tsv) and train s1 on them. A "
                "changed codebook is harmless once the tokens are made again.",
            )
        )
        if not untrained:
            advice.append(
                Advice(
                    "restart-from-the-earlier-file",
                    f"Or keep the tokens and s1 as they are: train s2 again from {earlier}, with the codebook frozen.",
                )
            )
    if updates or any(isinstance(found, (DeadCodes, Initialised)) for found in evidence):
        advice.append(_FREEZE)
    return tuple(advice)
