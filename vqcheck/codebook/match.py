"""Decides which rows of the family table a set of named tensors fits, from names and shapes alone.

Nothing here knows of files: a state dict in memory is matched as a checkpoint is.
"""

from collections.abc import Iterable, Mapping, Sequence

from vqcheck.codebook import canonical
from vqcheck.codebook.canonical import MisshapenError
from vqcheck.codebook.family import CODEBOOK_ROLES, CODES, EMA_COUNT, EMA_SUM, IMPLICIT, INPUT_PROJ, Family
from vqcheck.codebook.found import Found, Match, Shape
from vqcheck.codebook.lookup import MOST_NAMES, Named, candidates
from vqcheck.codebook.merge import merge
from vqcheck.codebook.siblings import sibling_rows
from vqcheck.codebook.token_relevant import mark
from vqcheck.codebook.vq_encoder import BookPlace


def match(shapes: Mapping[str, Shape], own: tuple[Family, ...] = ()) -> list[Match]:
    """Return every VQ encoder among named tensors, the one to judge first.

    The same codec more than once in a model, as for semantics and acoustics, is one VQ encoder of several books;
    only a moving average of the whole model counts as another.

    Raises:
        MisshapenError: tensors under a VQ encoder's names, but of impossible shapes, and no other VQ encoder.

    """
    matches: dict[tuple[Family, bool], list[Match]] = {}
    taken: set[str] = set()
    problem: MisshapenError | None = None
    fitting = candidates(shapes, own, sibling_rows(shapes))
    if sum(map(len, fitting.values())) > MOST_NAMES:
        raise MisshapenError(f"more than {MOST_NAMES} names could be parts of a codebook, which no codec has")
    for (prefix, family), named in _best_first(fitting, own):
        if any(each.name in taken for each in named if _is_source(family, each)):
            continue
        if not _is_evident(family, prefix, named, shapes):
            continue
        try:
            found = _found(family, named, shapes)
        except MisshapenError as error:
            # A lone name of the wrong shape is somebody else's; several that belong together are a broken codebook.
            if len({each.key.role for each in named}) > 1:
                problem = problem or error
                taken.update(each.name for each in named)
            continue
        one = Match(family, prefix, family.books, found)
        taken.update(each.name for each in named)
        matches.setdefault((family, one.is_shadow), []).append(one)
    if problem and not matches:
        raise problem
    merged = [merge(same) if len(same) > 1 else same[0] for same in matches.values()]
    merged.sort(key=lambda each: (each.is_shadow, each.family.structural, len(each.prefix)))
    return merged


def _best_first(
    found: dict[tuple[str, Family], list[Named]], own: Sequence[Family]
) -> list[tuple[tuple[str, Family], list[Named]]]:
    """Return candidates so that of two that claim a tensor the better one comes first.

    A user's own row, then the row that accounts for more tensors, then for more of each name; the table's order last,
    which the dictionary keeps.
    """
    return sorted(
        found.items(),
        key=lambda item: (
            item[0][1] not in own,
            item[0][1].structural,
            -len({each.name for each in item[1]}),
            -max(each.length for each in item[1]),
        ),
    )


def _is_source(family: Family, named: Named) -> bool:
    """Say whether the lookup cannot do without the tensor, so that two rows cannot both have it."""
    return named.key.role in CODEBOOK_ROLES or (family.derivation == IMPLICIT and named.key.role == INPUT_PROJ)


def _is_evident(family: Family, prefix: str, named: Sequence[Named], shapes: Mapping[str, Shape]) -> bool:
    """Say whether what was found is enough to call it this family."""
    roles = {each.key.role for each in named}
    if not (family.requires or {family.source_of_codes}) <= roles:
        return False
    markers = tuple(prefix + marker for marker in family.markers)
    if markers and not any(name.startswith(markers) for name in shapes):
        return False
    if family.alone:
        names = {each.name for each in named}
        return all(name in names or name in markers or not name.startswith(prefix) for name in shapes)
    return True


def _found(family: Family, named: Iterable[Named], shapes: Mapping[str, Shape]) -> tuple[Found, ...]:
    books: dict[BookPlace, dict[tuple[str, str], Named]] = {}
    for each in named:
        place = each.key.book, each.group, each.layer
        books.setdefault(place, {}).setdefault((each.key.role, each.part), each)
    found: list[Found] = []
    for (book, group, layer), tensors in books.items():
        count = tensors.get((EMA_COUNT, ""))
        axes = canonical.axes_of_codes(
            family.axes,
            {each.name: shapes[each.name] for (role, _), each in tensors.items() if role in (CODES, EMA_SUM)},
            (count.name, shapes[count.name]) if count else None,
        )
        canonical.require_codes(family, {role for role, _ in tensors}, next(iter(tensors.values())).name)
        for (role, part), each in tensors.items():
            shape, order = canonical.canonical(role, each.name, shapes[each.name], axes)
            found.append(Found(each.name, role, part, book, group, layer, shape, order, each.key.fed_back))
    return mark(sorted(found, key=lambda each: each.order), family.residual)
