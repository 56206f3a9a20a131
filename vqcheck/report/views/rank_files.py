"""`vqcheck diff` of the files that the ranks of one step wrote: which of them differ from which."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from vqcheck.experiment.rank_files import ranks_in_words
from vqcheck.language import sentences, tr
from vqcheck.report.document import Case, CaseOutcome, Document, Rule
from vqcheck.report.views.words import all_of

_SAME: Final = Rule(
    "diff/ranks-differ",
    "every rank of a step has the same VQ encoder",
    "The ranks of one step saved different codebooks. Find out which of them the other stage knows, and train on the "
    "same weights on every rank: DistributedDataParallel with broadcast_buffers, or vqcheck.freeze.",
)


def with_ranks(document: Document, groups: Sequence[Mapping[int, str]], contents: Mapping[str, str]) -> Document:
    """Return the document of many files, which says of each group of ranks whether they agree.

    `groups` are rank -> path, `contents` path -> what is the same for files that agree; a file that could not be
    checked has none, and is not compared with others.
    """
    told, cases, data = [], [], []
    for group in groups:
        sides: dict[str, list[int]] = defaultdict(list)
        for rank, path in group.items():
            if path in contents:
                sides[contents[path]].append(rank)
        ranks = list(sides.values())
        known = sorted(rank for side in ranks for rank in side)
        if len(known) < 2:
            continue
        said = _said(ranks, known)
        told.append(said)
        outcome = CaseOutcome.FAILED if len(ranks) > 1 else CaseOutcome.PASSED
        cases.append(Case(_SAME, group[known[0]], outcome, said))
        data.append({"files": {str(rank): path for rank, path in group.items()}, "sides": ranks})
    headline = sentences(*told, document.headline)
    return replace(document, headline=headline, cases=(*document.cases, *cases), data={**document.data, "ranks": data})


def _said(sides: Sequence[Sequence[int]], known: Sequence[int]) -> str:
    if len(sides) == 1:
        return tr("The VQ encoder is the same on {ranks}.", ranks=ranks_in_words(known))
    return tr("The VQ encoder is not the same on {ranks}.", ranks=all_of(map(ranks_in_words, sides)))
