"""Whether a restored file sounds better than the drifted one: what the measurement says, for people and machines."""

import os
from typing import Any, Final

from vqcheck.language import sentences, tr, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Figure
from vqcheck.report.views.json_objects import named
from vqcheck.report.views.words import clauses
from vqcheck.restore.measured import Better, Measurement, PairedDifference, Way

_TONES: Final = {Better.BETTER: Tone.GOOD, Better.NO_DIFFERENCE: Tone.NEUTRAL, Better.WORSE: Tone.BAD}
_PAIRS: Final = (
    (Way.RESTORED, Way.DRIFTED),
    (Way.EXTRACTED_AGAIN, Way.DRIFTED),
    (Way.RESTORED, Way.EXTRACTED_AGAIN),
)


def measured(found: Measurement) -> tuple[doc.Block, ...]:
    """Return what the measurement says: the verdict, the differences, every recording, and players."""
    columns = (
        doc.Column(tr("recording"), Kind.NAME),
        doc.Column(tr("seconds"), Kind.NUMBER),
        doc.Column(tr("drifted"), Kind.NUMBER),
        doc.Column(tr("restored"), Kind.NUMBER),
        doc.Column(tr("extracted again"), Kind.NUMBER),
        doc.Column(tr("other tokens"), Kind.NUMBER),
    )
    rows = [
        (
            each.name,
            f"{each.seconds:.2f}",
            *(f"{error:.4f}" for error in each.errors),
            tr("{number} of {all}", number=each.other_tokens, all=each.tokens),
        )
        for each in found.items
    ]
    players = [
        (each.name, [doc.Sound(_clip(clip.name), clip.wav, clip.path) for clip in each.clips])
        for each in found.items
        if each.clips
    ]
    count = (
        str(found.of)
        if len(found.items) == found.of
        else tr("{number} of {all}", number=len(found.items), all=found.of)
    )
    return (
        doc.Section(
            tr("Which is better"),
            (
                doc.Paragraph(
                    (
                        doc.verdict(word(found.verdict), _TONES[found.verdict]),
                        tr(". {meaning}", meaning=_meaning(found)),
                    )
                ),
                doc.Table(
                    tr("Difference of the errors, over the same recordings. Below zero the first is closer."),
                    (
                        doc.Column("", Kind.PROSE),
                        doc.Column(tr("mean"), Kind.NUMBER),
                        doc.Column(tr("95 % interval"), Kind.NUMBER),
                    ),
                    [_difference_row(found.difference(*pair)) for pair in _PAIRS],
                ),
                doc.Paragraph(
                    sentences(
                        tr(
                            "{count} recordings of {experiment}, decoded as {version} on {device}.",
                            count=count,
                            experiment=os.path.basename(os.path.normpath(found.experiment)),
                            version=found.version,
                            device=found.device,
                        ),
                        tr(
                            "The error is the mean absolute difference of the log mel spectrograms from the "
                            "recording's."
                        ),
                        tr("It is no listening test, and says nothing of sentences that were not recorded."),
                    )
                ),
                doc.Paragraph(_left_out(found)),
            ),
        ),
        doc.Section(
            tr("Recordings"),
            (doc.Table(tr("Error of each."), columns, rows, most=10, rest=""),),
            shown=Shown.DETAIL | Shown.PAGE,
        ),
        doc.Section(
            tr("Listen"),
            (doc.Players(tr("The same recording in each way."), tr("recording"), players),),
            shown=Shown.PAGE,
        ),
    )


def _meaning(found: Measurement) -> str:
    """Return what the numbers carry, and no more."""
    match found.verdict:
        case Better.BETTER:
            return tr("With the recorded tokens, the restored file is closer to these recordings than the drifted one.")
        case Better.WORSE:
            return tr(
                "With the recorded tokens, the restored file is farther from these recordings than the drifted one. "
                "Its decoder may have learned the codes that moved. Do not use it in place of the drifted one."
            )
    return tr(
        "These recordings do not tell the two apart. A difference smaller than the interval is wide would not have "
        "been seen, and one below 1 % of the error is not counted."
    )


def _left_out(found: Measurement) -> str:
    if not found.left_out:
        return ""
    left = len(found.left_out) - 3
    shown = clauses(
        *(tr("{name} {why}", name=name, why=why) for name, why in found.left_out[:3]),
        tr("and {left} more", left=left) if left > 0 else "",
    )
    return tr("Left out: {items}.", items=shown)


def _clip(name: str) -> str:
    return {
        "recording": tr("recording"),
        "drifted": tr("drifted"),
        "restored": tr("restored"),
        "extracted again": tr("extracted again"),
    }[name]


def _difference_row(found: PairedDifference) -> tuple[str, str, str]:
    return (
        tr("{way} against {other}", way=word(found.way), other=word(found.against)),
        f"{found.mean:+.4f}",
        tr("{low:+.4f} to {high:+.4f}", low=found.low, high=found.high),
    )


def figures(found: Measurement) -> tuple[Figure, ...]:
    """Return the mean error of each way."""
    names = {
        Way.DRIFTED: tr("error, drifted"),
        Way.RESTORED: tr("error, restored"),
        Way.EXTRACTED_AGAIN: tr("error, tokens extracted again"),
    }
    return tuple(Figure(name, f"{found.mean(way):.4f}") for way, name in names.items())


def measurement(found: Measurement) -> dict[str, Any]:
    """Return what JSON has of it."""
    return {
        "verdict": str(found.verdict),
        **named(found, "experiment version device"),
        "recordings": found.of,
        "left_out": [{"item": name, "reason": why} for name, why in found.left_out],
        "differences": [
            named(each, "way against mean low high") for each in (found.difference(*pair) for pair in _PAIRS)
        ],
        "items": [
            {
                "item": each.name,
                "seconds": each.seconds,
                "errors": {"drifted": each.errors[0], "restored": each.errors[1], "extracted_again": each.errors[2]},
                "tokens": each.tokens,
                "other_tokens": each.other_tokens,
                "audio": {clip.name: clip.path for clip in each.clips if clip.path},
            }
            for each in found.items
        ],
    }
