"""Decides which rows of the family table a set of named tensors fits, from names and shapes alone.

Nothing here knows of files: a state dict in memory is matched as a checkpoint is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from vqcheck.codebook import canonical_shape
from vqcheck.codebook.canonical_shape import MisshapenError, UnclearError
from vqcheck.codebook.families.structural import sibling_rows
from vqcheck.codebook.family import CODEBOOK_ROLES, LOOK_ALIKES, Derivation, Family, Role
from vqcheck.codebook.matched_tensors import Found, Match, Matches, Shape, mark, with_unplaced
from vqcheck.codebook.repeated_codec import copies, merge
from vqcheck.codebook.tensor_names import (
    MOST_NAMES,
    Named,
    any_number,
    around_all,
    by_unwrapped,
    candidates,
    wrapped_prefix,
)
from vqcheck.codebook.vq_encoder import BookPlace
from vqcheck.language import tr


def match(shapes: Mapping[str, Shape], own: tuple[Family, ...] = ()) -> list[Match]:
    """Return every VQ encoder among named tensors, the one to judge first.

    Raises:
        MisshapenError: tensors under a VQ encoder's names, but of impossible shapes.
        UnclearError: two tensors have the name of one, or what belongs in front of a codebook stands elsewhere.

    """
    found = search(shapes, own)
    if found.misshapen and not found.sound:
        raise found.misshapen[0]
    return list(found.sound)


def search(shapes: Mapping[str, Shape], own: tuple[Family, ...] = ()) -> Matches:
    """Return every VQ encoder among named tensors, the one to judge first, and those of impossible shapes.

    The same codec more than once in a model, as for semantics and acoustics, is one VQ encoder of several books;
    only a copy of the whole model counts as another. Any prefix may stand in front of a codec, as long as all its
    tensors have it; wrappers may stand anywhere.

    Raises:
        MisshapenError: more names than any codec has.
        UnclearError: two tensors have the name of one, what belongs in front of a codebook stands elsewhere, or a role
            that a row of the user's names is played by none.

    """
    stored = by_unwrapped(shapes)
    models = around_all(shapes) if any(len(names) > 1 for names in stored.values()) else {}
    if len(models) > 1:
        apart = [search({name: shapes[name] for name in names}, own) for names in models.values()]
        _require_the_same_parts(apart, stored)
        return Matches(
            tuple(sorted((one for each in apart for one in each.sound), key=_preference)),
            tuple(error for each in apart for error in each.misshapen),
        )
    plain = {name: shapes[names[0]] for name, names in stored.items()}
    found = _one_by_one(plain, own)
    _require_one_name(found.sound, stored)
    _require_named_roles(found.sound, own)
    _require_what_is_in_front(found.sound, plain)
    alike: dict[Family, list[Match]] = {}
    for one in with_unplaced(found.sound, plain):
        alike.setdefault(one.family, []).append(one)
    merged = [merge(copy) if len(copy) > 1 else copy[0] for same in alike.values() for copy in copies(same, plain)]
    merged.sort(key=_preference)
    return Matches(tuple(_as_stored(each, stored) for each in merged), found.misshapen)


def _preference(one: Match) -> tuple[bool, bool, int]:
    return one.is_second_hand, one.family.structural, len(one.prefix)


def _one_by_one(shapes: Mapping[str, Shape], own: tuple[Family, ...]) -> Matches:
    """Return each codec at each prefix by itself."""
    matches: list[Match] = []
    taken: set[str] = set()
    misshapen: list[MisshapenError] = []
    fitting = candidates(shapes, own, sibling_rows(shapes))
    if sum(map(len, fitting.values())) > MOST_NAMES:
        raise MisshapenError(
            tr("more than {most} names could be parts of a codebook, which no codec has", most=MOST_NAMES)
        )
    for (prefix, family), named in _best_first(fitting, own):
        if any(each.name in taken for each in named if _is_source(family, each)):
            continue
        if not _is_evident(family, prefix, named, shapes):
            continue
        try:
            found = _found(family, named, shapes)
        except UnclearError:
            raise
        except MisshapenError as error:
            # A lone name of the wrong shape is somebody else's; several that belong together are a broken codebook.
            if len({each.key.role for each in named}) > 1:
                misshapen.append(error)
                taken.update(each.name for each in named)
            continue
        taken.update(each.name for each in named)
        matches.append(Match(family, prefix, family.books, found))
    return Matches(tuple(matches), tuple(misshapen))


def _require_the_same_parts(apart: Sequence[Matches], stored: Mapping[str, Sequence[str]]) -> None:
    """Raise UnclearError where a bare and a wrapped tensor of one name are not of two whole models of one codec."""
    families = {each.name: one.family for found in apart for one in found.sound for each in one.found}
    _refuse(names for names in stored.values() if len({families.get(name) for name in names}) > 1)


def _refuse(ambiguous: Iterable[Sequence[str]]) -> None:
    for names in ambiguous:
        raise UnclearError(
            tr("are the same name but for wrappers, so it is not clear which is the VQ encoder's"), " and ".join(names)
        )


def _require_one_name(matches: Iterable[Match], stored: Mapping[str, Sequence[str]]) -> None:
    names = (stored[each.name] for one in matches for each in one.found)
    _refuse(each for each in names if len(each) > 1)


def _require_named_roles(matches: Iterable[Match], own: Sequence[Family]) -> None:
    """Raise UnclearError where a user's row names a role that no tensor plays: a slip, or not the file it is for."""
    for one in (each for each in matches if each.family in own):
        played = {(each.book, each.role) for each in one.found}
        for key in one.family.keys:
            if (key.book, key.role) not in played and key.role not in one.family.optional:
                raise UnclearError(
                    tr(
                        "'{template}', the {role} of '{name}', names no tensor here; name a tensor, or "
                        "everything below a module as 'module.*', or list {role} under optional",
                        template=key.template,
                        role=key.role,
                        name=one.family.name,
                    )
                )


def _require_what_is_in_front(matches: Sequence[Match], names: Iterable[str]) -> None:
    """Raise UnclearError where a codebook stands alone, and what belongs in front of one stands somewhere else."""
    lacking = {number: _lacks(one) for number, one in enumerate(matches)}
    wanted = frozenset().union(*lacking.values())
    if not wanted:
        return
    taken = {each.name for one in matches for each in one.found}
    elsewhere = {module: name for name in names if name not in taken for module in _elsewhere(name, wanted, matches)}
    for number, one in enumerate(matches):
        for module in sorted(lacking[number] & elsewhere.keys()):
            raise UnclearError(
                tr(
                    "stands under another prefix than the codebook ({name}), so it is not clear whether "
                    "it belongs in front of it; describe this model in a file for --family",
                    name=one.found[0].name,
                ),
                elsewhere[module],
            )


def _lacks(one: Match) -> frozenset[str]:
    """Return the modules that stand in front of such a codebook, and that were not found beside this one."""
    return frozenset(
        module for module in one.family.in_front if not any(f".{module}." in f".{each.name}" for each in one.found)
    )


def _elsewhere(name: str, wanted: Collection[str], matches: Sequence[Match]) -> Iterator[str]:
    """Yield the wanted modules that a tensor stands in and that no codec under the same prefix knows as its own."""
    modules = name.split(".")[:-1]
    for depth, module in enumerate(modules):
        if module not in wanted or ".".join(modules[depth - 1 : depth + 1]) in LOOK_ALIKES:
            continue
        prefix = "".join(f"{part}." for part in modules[:depth])
        if not any(one.prefix == prefix and _knows(one.family, module) for one in matches):
            yield module


def _knows(family: Family, module: str) -> bool:
    own = (*family.markers, *(key.template for key in family.keys if key.role == Role.INPUT_PROJ))
    return any(name.partition(".")[0] == module for name in own)


def _as_stored(one: Match, stored: Mapping[str, Sequence[str]]) -> Match:
    """Return a match with the names that the tensors have, wrappers included."""
    found = tuple(each._replace(name=stored[each.name][0]) for each in one.found)
    prefixes = {wrapped_prefix(one.prefix, each.name) for each in found}
    return one._replace(prefix=prefixes.pop() if len(prefixes) == 1 else one.prefix, found=found)


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
    return named.key.role in CODEBOOK_ROLES or (
        family.derivation == Derivation.IMPLICIT and named.key.role == Role.INPUT_PROJ
    )


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
        beside = {any_number(marker) for marker in markers}
        return all(name in names or any_number(name) in beside or not name.startswith(prefix) for name in shapes)
    return True


def _found(family: Family, named: Iterable[Named], shapes: Mapping[str, Shape]) -> tuple[Found, ...]:
    books: dict[BookPlace, dict[tuple[Role, str], Named]] = {}
    for each in named:
        place = each.key.book, each.group, each.layer
        played = books.setdefault(place, {})
        first = played.setdefault((each.key.role, each.part), each)
        if first.name != each.name:
            raise UnclearError(
                tr(
                    "both have a name of {family}'s {role}, so it is not clear which one is in use",
                    family=family.name,
                    role=each.key.role,
                ),
                f"{first.name} and {each.name}",
            )
    found: list[Found] = []
    for (book, group, layer), tensors in books.items():
        count = tensors.get((Role.EMA_COUNT, ""))
        axes = canonical_shape.axes_of_codes(
            family.axes,
            {each.name: shapes[each.name] for (role, _), each in tensors.items() if role in (Role.CODES, Role.EMA_SUM)},
            (count.name, shapes[count.name]) if count else None,
        )
        canonical_shape.require_codes(family, {role for role, _ in tensors}, next(iter(tensors.values())).name)
        for (role, part), each in tensors.items():
            shape, order = canonical_shape.canonical(role, each.name, shapes[each.name], axes)
            found.append(Found(each.name, role, part, book, group, layer, shape, order, each.key.fed_back))
    return mark(sorted(found, key=lambda each: each.order), family.residual)
