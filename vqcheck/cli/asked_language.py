"""Which language a command line asks for: by its own option, by the environment, or by the system's locale."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vqcheck.language import ENGLISH, languages

_CHOICE: Final = "VQCHECK_LANG"
_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")
_SIMPLIFIED: Final = {"cn", "sg", "hans"}
"""What a Chinese locale has in its name where the characters are the simplified ones of the catalogue `zh`."""


def asked_language(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Return the language that a command line and its environment ask for.

    `--lang` beats `VQCHECK_LANG`, which beats the locale: that of the environment, on Windows else that of the user's
    interface. A language that there is no catalogue for is English.
    """
    environment = os.environ if environment is None else environment
    asked = _option(arguments) or environment.get(_CHOICE, "")
    if asked:
        return _named(asked) or ENGLISH
    locale = next((environment[name] for name in _VARIABLES if environment.get(name)), "") or _windows_locale()
    if not locale or locale.split(".")[0] in ("C", "POSIX"):
        return ENGLISH
    # As in every other program, gettext's own list counts wherever there is a locale at all.
    wanted = (*environment.get("LANGUAGE", "").split(":"), locale)
    return next((name for each in wanted if each and (name := _named(each))), ENGLISH)


def _option(arguments: Sequence[str]) -> str:
    """Return the last `--lang` of a command line, which counts for the help and for errors in parsing it, too."""
    own = list(_until_dashes(arguments))
    found = ""
    for place, each in enumerate(own):
        if each == "--lang" and place + 1 < len(own):
            found = own[place + 1]
        elif each.startswith("--lang="):
            found = each.partition("=")[2]
    return found


def _until_dashes(arguments: Sequence[str]) -> Iterator[str]:
    for each in arguments:
        if each == "--":
            return
        yield each


def _named(locale: str) -> str:
    """Return the language of a locale such as `zh_CN.UTF-8`, `zh-Hans-CN` or `en_GB`; empty where it is not known."""
    name = locale.split(".", maxsplit=1)[0].split("@", maxsplit=1)[0].replace("-", "_").lower()
    known = {each.lower(): each for each in languages()}
    language, *parts = name.split("_")
    if name in known or (language == "zh" and parts and not _SIMPLIFIED & set(parts)):
        return known.get(name, "")
    return known.get(language, "")


def _windows_locale() -> str:
    """Return the locale of the interface of Windows; empty elsewhere."""
    if os.name != "nt":
        return ""
    import ctypes
    import locale

    windows: Any = ctypes
    return locale.windows_locale.get(windows.windll.kernel32.GetUserDefaultUILanguage(), "")
