"""The token audit says whether the tokens of an experiment come from a checkpoint.

Tokens depend on precision: upstream extracts them in half precision on a GPU and in float32 elsewhere. So every frame
is derived twice, in float32 and in emulated half precision, and each item is taken to be extracted in the precision
that explains more of its tokens. A recorded token is

- *explained*, if it is the token of that precision: in float32 the nearest code in exact arithmetic, in half precision
  any code that no other is nearer than, since several can be equally near and which of them a GPU takes is its own
  choice;
- a *near-tie*, if it is not, but rounding can explain it under the bound of `codebook.half_bound` or, for float32, of
  `codebook.float_lookup`;
- a *mismatch*, if nothing can;
- *undecided*, if half precision overflows there or cannot tell the codes apart, so that the bound is useless, and the
  item is not a float32 one.

One mismatch proves that the tokens come from another VQ encoder. But a codebook that has drifted makes near-ties first,
because frames near a border flip first. So their number is limited, too. The data's own fragile frames are derived
again with what two processors may do differently: other orders of summation, and other choices among ties. The least
favourable of them gives k near-ties. A right tsv of n frames has more than the binomial limit of n trials at the rate
(k + 1) / n with a probability of 1e-4 only. Items in float32 and in half precision have a limit each, and those in
float32 a second one: near-ties that only half precision explains, of which none is expected. Where there are more,
arithmetics in which GPUs differ more are tried one after the other: `half_lookup.ARITHMETICS`, and TF32 in
`float_lookup.FLOAT_ARITHMETICS`.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from vqcheck.audit.token_audit_result import HALF_OF_THE_ITEMS, ItemAudit, TokenAudit
from vqcheck.audit.token_counts import counts_of
from vqcheck.audit.token_frames import FAR, KINDS, FrameJudge
from vqcheck.checkpoint.opened import Checkpoint
from vqcheck.codebook.float_lookup import FLOAT_ARITHMETICS
from vqcheck.codebook.half_lookup import ARITHMETICS
from vqcheck.codebook.tokenizer import Tokenizer, read_tokenizer
from vqcheck.errors import UsageError
from vqcheck.experiment.features import BatchReader, FeatureFolder, ItemReading
from vqcheck.experiment.name2semantic import Name2Semantic, TokenRow, read_name2semantic
from vqcheck.language import tr

_SEED: Final = 1234
_OTHERS: Final = (
    *((FLOAT_ARITHMETICS[0], arithmetic) for arithmetic in ARITHMETICS[1:]),
    *((floats, ARITHMETICS[0]) for floats in FLOAT_ARITHMETICS[1:]),
)
"""What else a tsv may have been made with."""
_FEW: Final = 0.01
"""Share of the frames up to which mismatches may come from an arithmetic that was not tried yet."""


def audit_tokens(
    checkpoint: Checkpoint,
    experiment: str,
    *,
    sample: int | None = None,
    copy: str = "",
    least_coverage: float = HALF_OF_THE_ITEMS,
    recorded: Name2Semantic | None = None,
    on_item: Callable[[int, int], None] | None = None,
) -> TokenAudit:
    """Return whether the tokens of an experiment directory come from an open checkpoint.

    `sample` limits the check to so many rows, the same ones each time; `copy` names the copy to derive them with.
    `least_coverage` is the share of the rows (0..1) that must have features for a verdict. `recorded` are tokens to
    take in place of the directory's.
    `on_item` is called with (rows done, rows in all).

    Raises:
        NoCodebookError, CheckpointError, UsageError: the checkpoint derives no tokens, the directory lacks tokens or
            features, or they have no usable item in common.

    """
    tokenizer = read_tokenizer(checkpoint, copy)
    recorded = recorded or read_name2semantic(experiment)
    folder = FeatureFolder(experiment)
    have_features = set(folder.items)
    rows = rows_to_check(recorded, folder, sample)
    is_sample = len(rows) < sum(row.item in have_features for row in recorded.rows)

    def attempt(judge: FrameJudge) -> _Attempt:
        reader = BatchReader(folder.read_frames, judge.channels, judge.taps)
        tally = _tally(judge, reader, rows, on_item)
        audit = _result(tokenizer, experiment, recorded, have_features, rows, is_sample, reader.readings, tally)
        audit = replace(audit, least_coverage=least_coverage)
        return _Attempt(audit, int(tally.by_row[:, FAR].sum()))

    best = attempt(FrameJudge(tokenizer, FLOAT_ARITHMETICS[0], ARITHMETICS[0]))
    for floats, arithmetic in _OTHERS:
        if not _may_be_arithmetic(best):
            break
        other = attempt(FrameJudge(tokenizer, floats, arithmetic))
        if _explains_better(other, best):
            best = other
    return best.audit


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An audit by one arithmetic."""

    audit: TokenAudit
    far: int
    """Mismatches that are out of reach of every arithmetic's rounding, not of float32's alone"""

    @property
    def left(self) -> int:
        """Return how many frames are not explained."""
        return self.audit.total.frames - self.audit.total.explained

    @property
    def badness(self) -> tuple[int, int]:
        return self.audit.total.mismatches, self.audit.beyond_limit


def _may_be_arithmetic(attempt: _Attempt) -> bool:
    """Say whether an audit fails for no more than another arithmetic may bring about."""
    contradictions = attempt.audit.contradictions
    few = attempt.far <= _FEW * attempt.audit.total.frames
    return few and bool(contradictions) and "lengths" not in contradictions


def _explains_better(other: _Attempt, best: _Attempt) -> bool:
    """Say whether another arithmetic is the likelier one: it explains more, not only allows for more.

    Where there are mismatches that no arithmetic tried so far reaches it must explain half of what is left, since a
    wider bound alone proves nothing.
    """
    if other.badness >= best.badness:
        return False
    return 2 * other.left <= best.left if best.far else other.left < best.left


@dataclass(frozen=True, eq=False)
class _FrameTally:
    judge: FrameJudge
    by_row: npt.NDArray[np.int64]
    """`[rows, kinds]`: frames"""
    beyond: npt.NDArray[np.int64]
    """`[rows]`: frames whose token float32 rounding does not explain, mismatches among them"""
    second_ties: npt.NDArray[np.int64]
    """`[rows]`: frames whose token is the second of two that half precision finds equally near"""
    predicted: tuple[int, int]
    """In float32 and in half precision"""


def _tally(
    judge: FrameJudge, reader: BatchReader, rows: list[TokenRow], on_item: Callable[[int, int], None] | None
) -> _FrameTally:
    by_row = np.zeros((len(rows), KINDS), np.int64)
    beyond, second_ties = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    varied = np.zeros(1 + len(judge.arithmetic.variants), np.int64)
    for batch in reader.batches(rows, (lambda done: on_item(done, len(rows))) if on_item else None):
        judged = judge.judge(batch)
        np.add.at(by_row, (batch.rows, judged.kinds), 1)
        np.add.at(beyond, batch.rows, judged.beyond | (judged.kinds == FAR))
        np.add.at(second_ties, batch.rows, judged.second_tie)
        varied = varied + judged.varied
    return _FrameTally(judge, by_row, beyond, second_ties, (int(varied[0]), int(varied[1:].max())))


def rows_to_check(recorded: Name2Semantic, folder: FeatureFolder, size: int | None) -> list[TokenRow]:
    """Return the rows that have features, or so many of them, the same ones each time.

    Raises:
        UsageError: there are none.

    """
    have_features = set(folder.items)
    rows = [row for row in recorded.rows if row.item in have_features]
    if not rows:
        raise UsageError(_nothing_in_common(recorded, folder))
    if size is None or size >= len(rows):
        return rows
    chosen = random.Random(_SEED).sample(range(len(rows)), size)  # noqa: S311 - a choice, not a secret
    return [rows[index] for index in sorted(chosen)]


def _result(
    tokenizer: Tokenizer,
    experiment: str,
    recorded: Name2Semantic,
    have_features: set[str],
    rows: list[TokenRow],
    is_sample: bool,
    readings: list[ItemReading],
    tally: _FrameTally,
) -> TokenAudit:
    items, unreadable = [], []
    read = sum(not reading.problem for reading in readings)
    half_rate = tally.predicted[1] / max(int(tally.by_row.sum()), 1)
    counted = tally.by_row.tolist(), tally.beyond.tolist(), tally.second_ties.tolist()
    for row, reading, kinds, beyond, second_ties in zip(rows, readings, *counted, strict=True):
        if reading.problem:
            unreadable.append((row.item, reading.problem))
        else:
            counts = counts_of(kinds, beyond, second_ties, half_rate, read)
            items.append(ItemAudit(row.item, row.line, len(row.tokens), reading.derived, counts))
    if not any(item.counts.frames for item in items):
        said = tr("none of {rows} items has features that give a token", rows=len(rows))
        if unreadable:
            item, problem = unreadable[0]
            said = tr("{said}: {item}: {problem}", said=said, item=item, problem=problem)
        raise UsageError(said, experiment)
    times = Counter(row.item for row in recorded.rows)
    return TokenAudit(
        checkpoint=tokenizer.path,
        family=tokenizer.family,
        digests=tokenizer.digests,
        experiment=experiment,
        files=recorded.files,
        rows=len(recorded.rows),
        items=tuple(items),
        sampled=is_sample,
        arithmetic=str(tally.judge.arithmetic),
        float_arithmetic=str(tally.judge.floats),
        predicted=tally.predicted,
        without_tokens=tuple(sorted(have_features - times.keys())),
        without_features=tuple(dict.fromkeys(row.item for row in recorded.rows if row.item not in have_features)),
        repeated=tuple(item for item, count in times.items() if count > 1),
        unreadable=tuple(unreadable),
        malformed=recorded.malformed,
        headless=recorded.headless,
        leftover_parts=recorded.leftover_parts,
        uncovered=sum(count for item, count in times.items() if item not in have_features),
    )


def _nothing_in_common(recorded: Name2Semantic, folder: FeatureFolder) -> str:
    experiment = folder.experiment
    if not recorded.rows:
        where, why = recorded.malformed[0]
        return f"{experiment}: no line of the tsv holds tokens: {where}: {why}"
    return (
        f"{experiment}: none of the {len(recorded.rows)} items of the tsv (such as {recorded.rows[0].item}) is among "
        f"the {len(folder)} items with features (such as {folder.items[0]}): they belong to different experiments"
    )
