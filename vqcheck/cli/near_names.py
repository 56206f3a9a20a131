"""What a user may have meant by a path that is not there, or by a command that does not exist."""

import os
from collections.abc import Iterable, Mapping
from typing import Final

from vqcheck.language import listed, tr
from vqcheck.sanitize import sanitize

_MOST: Final = 3
_MOST_LOOKED_AT: Final = 5_000
"""Names of one folder; comparing more takes longer than anybody waits for an error."""
_SAME_ENDING: Final = (".lock", ".json", ".toml")
"""What ends like this is not a checkpoint, nor a folder."""


def near_commands(name: str, known: Iterable[str]) -> list[str]:
    """Return the commands whose name is like the given one."""
    return _like(name, {each: each for each in known})


def with_near_names(message: str, path: str) -> str:
    """Return what is wrong, and what may have been meant by the path, if there is anything."""
    names = _near_paths(path)
    return tr("{message}; did you mean {names}?", message=message, names=names) if names else message


def _near_paths(path: str) -> str:
    """Return "a or b" where a path leads nowhere and something beside it is called alike, else nothing.

    Where a folder of the path is missing, that is what is looked for.
    """
    if not path or "://" in path or os.path.lexists(path):
        return ""
    folder, name = os.path.split(path.rstrip("/\\"))
    is_folder = False
    while name and folder and not os.path.isdir(folder):
        folder, name = os.path.split(folder)
        is_folder = True
    try:
        names = os.listdir(folder or os.curdir)[:_MOST_LOOKED_AT]
    except OSError:
        return ""
    if is_folder:
        names = [each for each in names if os.path.isdir(os.path.join(folder, each))]
    ending = os.path.splitext(name)[1].casefold()
    if not is_folder and ending in _SAME_ENDING:
        names = [each for each in names if each.casefold().endswith(ending)]
    # The ending is the same for half of the files, and says nothing of which is meant.
    found = _like(os.path.splitext(name)[0], {each: os.path.splitext(each)[0] for each in sorted(names)})
    return listed([sanitize(os.path.join(folder, each)) for each in found], last="or")


def _like(name: str, known: Mapping[str, str]) -> list[str]:
    """Return the keys of those values that are like a name, the most like first."""
    from difflib import get_close_matches

    words = {word.casefold() for word in known.values()}
    near = get_close_matches(name.casefold(), sorted(words), _MOST, 0.65)
    return [each for word in near for each in known if known[each].casefold() == word][:_MOST]
