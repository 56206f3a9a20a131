"""What to do about a changed VQ encoder: what is said, in which order. The words are those of the codec's users."""

from collections.abc import Callable, Sequence
from typing import Final

from vqcheck.codebook.diagnosis.evidence import (
    DeadCodes,
    EmaUpdates,
    Evidence,
    Initialised,
    LostByRounding,
    Merged,
    MissingBooks,
    NeverTrained,
    NotFinite,
    OtherShape,
    Permuted,
    Rounding,
    Unrelated,
    UpdateOrder,
    WithinAStep,
)
from vqcheck.codebook.diagnosis.result import Advice, Cause, TokenFlips
from vqcheck.language import listed, sentences, tr
from vqcheck.quick_dataclass import quick_dataclass


@quick_dataclass(frozen=True, slots=True)
class Wording:
    """Advice in the terms of one family."""

    start_trained: str
    again: Callable[[str], str]
    """How to go on with the later file, given its letter."""
    keep: Callable[[str], str]
    """How to go on with the earlier one, given its letter."""
    freeze: str


_HARMLESS: Final = tr("A changed codebook is harmless once the tokens are made again.")
_GPT_SOVITS: Final = Wording(
    start_trained=tr(
        "Start s2 from a pretrained s2G file (pretrained_s2G in its configuration). Who really trains from scratch "
        "must let the codebook train (freeze_quantizer: false) until it has content, and extract tokens only then."
    ),
    again=lambda later: tr(
        "extract the tokens (6-name2semantic.tsv) again with {later}, or the weight exported at its step if it is a "
        "G_*.pth, which extraction cannot read, and train s1 on them.",
        later=later,
    ),
    keep=lambda earlier: tr(
        "Or keep the tokens and s1 as they are: train s2 again from {earlier}, with the codebook frozen.",
        earlier=earlier,
    ),
    freeze=tr(
        "To keep the codebook still the next time, put the quantizer into eval() on every forward, as GPT-SoVITS does "
        "since 2 May 2024 with freeze_quantizer: true. requires_grad_(False), no_grad(), or eval() before "
        "net_g.train() do not stop these updates."
    ),
)
_OTHERS: Final = Wording(
    start_trained=tr(
        "Start from a checkpoint with a trained codebook. Who really trains from scratch must let the codebook train "
        "until it has content, and make tokens only then."
    ),
    again=lambda later: tr(
        "make the tokens again with {later}, and train again on them whatever was trained on others.", later=later
    ),
    keep=lambda earlier: tr(
        "Or keep the tokens and what was trained on them: train again from {earlier}, with the codebook frozen.",
        earlier=earlier,
    ),
    freeze=tr(
        "To keep the codebook still the next time, put the quantizer into eval() on every forward, or hold it with "
        "vqcheck.freeze(model). requires_grad_(False), no_grad(), or eval() before train() do not stop these updates."
    ),
)

_NOTHING: Final = tr(
    "Nothing to do: both files hold one codebook in different widths. Only a frame that lies between two codes to the "
    "last digit may get another token."
)
_FLIPPED: Final = tr(
    "Use one file throughout: rounding alone gives these recordings other tokens. Extract them with the file that will "
    "be used."
)
_WHOLE: Final = tr(
    "Compare files that store everything: what one of them lacks, or stores in another shape, cannot be judged, and "
    "whoever wrote that file may have left it out. Where running sums or counts alone are missing, --scope tokens "
    "judges what decides tokens."
)
_NO_FLIP: Final = tr(
    "None of these recordings' tokens changed, so what was trained on them still fits. Other recordings may differ."
)
_BY_TRAINING: Final = (EmaUpdates, DeadCodes, WithinAStep)
_NOT_RESTORED: Final = (Initialised, MissingBooks, Merged, OtherShape, Permuted, Unrelated)
"""What shows that the later file was not trained from the earlier one, or does not fit it."""

SAME_TOKENS: Final = "keep-tokens"
_SAME_TOKENS: Final = tr(
    "Keep the tokens: A and B give the same ones, for all that a lookup reads is equal in both. Sums and counts matter "
    "to later training alone."
)


def advise(
    causes: tuple[Cause, ...], flips: TokenFlips | None, family: str, *, same_lookup: bool = False
) -> tuple[Advice, ...]:
    """Return what to do, most important first.

    `same_lookup`: all that a lookup reads is equal in both files, so that no token differs.
    """
    if not causes:
        return (Advice("compare-whole-files", _WHOLE),)
    words = _GPT_SOVITS if family == "gpt-sovits" else _OTHERS
    evidence = [cause.evidence for cause in causes]
    untrained = next((found for found in evidence if isinstance(found, NeverTrained)), None)
    if untrained and (len(untrained.sides) == 2 or untrained.sides == ("B",)):
        return (Advice("start-from-a-trained-codebook", words.start_trained),)
    broken = next((found for found in evidence if isinstance(found, NotFinite)), None)
    if broken:
        sound = tr(
            "Do not use {files}: get the file again where it came from, or go back to an earlier checkpoint of its "
            "training, which diverged if the file is as it was written.",
            files=listed(broken.sides),
        )
        return (Advice("get-a-sound-file", sound),)
    missing = [found for found in evidence if isinstance(found, MissingBooks)]
    lost = [found for found in evidence if isinstance(found, LostByRounding)]
    rounding = next((found for found in evidence if isinstance(found, Rounding)), None)
    rest = [found for found in evidence if not isinstance(found, (MissingBooks, Rounding, LostByRounding))]
    if missing and not rest:
        return (_in_common(missing),)
    if lost and not rest:
        return tuple(_use_the_wider(found) for found in lost[:1])
    if rounding and not rest:
        return (_of_rounding(rounding, flips),)
    advice = [Advice("no-token-changed", _NO_FLIP)] if flips and flips.frames and not flips.flipped else []
    if same_lookup:
        advice = [Advice(SAME_TOKENS, _SAME_TOKENS)]
    else:
        advice += _choice(rest, words, trained=untrained is None)
    if any(isinstance(found, (EmaUpdates, DeadCodes, Initialised, WithinAStep)) for found in evidence):
        advice.append(Advice("freeze-by-eval", words.freeze))
    if missing:
        advice.append(_in_common(missing))
    return tuple(advice)


def _of_rounding(found: Rounding, flips: TokenFlips | None) -> Advice:
    """Return what to do about a rounding that is no change, or may be none."""
    if flips and flips.flipped:
        return Advice("one-file-for-both-stages", _FLIPPED)
    if found.undecided:
        wide = "A" if found.narrower == "B" else "B"
        which_first = tr(
            "If {narrow} was exported from {wide}, there is nothing to do. If {wide} was trained from {narrow}, it was "
            "not frozen: compare {wide} with the file that it started from, or check it against a lock of {narrow}.",
            narrow=found.narrower,
            wide=wide,
        )
        return Advice("find-out-which-was-first", which_first)
    if found.dtype not in ("float16", "float32") and not flips:
        coarse = tr(
            "Both files hold one codebook, in a width ({dtype}) that gives some frames another token: measure it with "
            "--features, or use one file throughout.",
            dtype=listed(found.dtype.split(" and ")),
        )
        return Advice("measure-the-rounding", coarse)
    return Advice("nothing-to-do", _NOTHING)


def _use_the_wider(found: LostByRounding) -> Advice:
    text = tr(
        "Use {wide} instead of {narrow}, or round again to a wider type: codes that were in use are lost.",
        wide="A" if found.side == "B" else "B",
        narrow=found.side,
    )
    return Advice("use-the-wider-file", text)


def _choice(rest: Sequence[Evidence], words: Wording, *, trained: bool) -> list[Advice]:
    """Return whose tokens to go on with, in the words of a family."""
    orders = {found.order for found in rest if isinstance(found, EmaUpdates)}
    # What is rounded was there first; where that is B, A is the later file.
    orders |= {UpdateOrder.B_TO_A for found in rest if isinstance(found, WithinAStep) and found.narrower == "B"}
    if UpdateOrder.SIBLINGS in orders:
        throughout = tr("Use one file throughout: {again}", again=words.again(tr("the file that you go on from")))
        return [Advice("one-file-for-both-stages", sentences(throughout, _HARMLESS))]
    earlier, later = ("B", "A") if orders == {UpdateOrder.B_TO_A} else ("A", "B")
    kept = tr("Keep {later}: {again}", later=later, again=words.again(later))
    advice = [Advice("extract-tokens-again", sentences(kept, _HARMLESS), later)]
    if trained:
        advice.append(Advice("restart-from-the-earlier-file", words.keep(earlier)))
        if any(isinstance(found, _BY_TRAINING) for found in rest) and not any(
            isinstance(found, _NOT_RESTORED) for found in rest
        ):
            restore = tr(
                "Or put the VQ encoder of {earlier} back into {later}, which keeps the tokens and needs no training: "
                "vqcheck restore {earlier} {later} -o OUT. Against it speaks that the rest of {later} was trained "
                "while its codes moved; with --experiment restore measures on recordings whether it is better.",
                earlier=earlier,
                later=later,
            )
            advice.append(Advice("put-the-encoder-back", restore))
    return advice


def _in_common(missing: list[MissingBooks]) -> Advice:
    """Return how to live with codebooks that are not there: those in front of the first one are not concerned."""
    first = min(found.codebooks[0] for found in missing)
    fuller = "B" if missing[0].side == "A" else "A"
    throughout = tr("Use {file} throughout", file=fuller) if len(missing) == 1 else tr("Use one file throughout")
    if not first:
        return Advice("use-the-codebooks-in-common", tr("{throughout}.", throughout=throughout))
    common = tr("only codebook 0") if first == 1 else tr("only codebooks 0..{last}", last=first - 1)
    text = tr(
        "{throughout}, or {common}: a codebook that is not there concerns only its own tokens and those of later ones.",
        throughout=throughout,
        common=common,
    )
    return Advice("use-the-codebooks-in-common", text)
