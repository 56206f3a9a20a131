"""Finds the s2 configuration that is meant where a user names a folder."""

import os
from dataclasses import replace

from vqcheck.errors import UsageError
from vqcheck.experiment.config_file import S2Run, read_s2_run
from vqcheck.experiment.layout import root_around
from vqcheck.experiment.place import PlaceKind, find_place
from vqcheck.language import tr


def the_s2_config(folder: str, root: str | None) -> S2Run:
    """Return the run that the only s2 JSON of a folder describes; of an experiment, the only one that names it.

    Training copies the web page's JSON into the experiment, so several that describe one and the same run are one.
    Relative paths count from `root`, else from the GPT-SoVITS folder around it, where the web page starts training.

    Raises:
        UsageError: there is none, or there are several.

    """
    place = find_place(folder)
    own = place.contents.experiments[:1] if place.kind is PlaceKind.EXPERIMENT else ()
    within = os.path.join(os.path.abspath(folder), "")
    found = []
    for path in place.contents.configs:
        try:
            run = read_s2_run(path, root if root is not None else root_around(path))
        except UsageError:
            continue  # another tool's JSON
        meant = run.voice == os.path.basename(own[0]) if own else os.path.abspath(path).startswith(within)
        if run.pretrained_s2G and meant:
            found.append(run)
    if len({replace(run, config="") for run in found}) == 1:
        return found[0]
    if not found:
        raise UsageError(
            tr("holds no s2 JSON of its training; name the configuration: vqcheck gate TEMP/tmp_s2.json"), folder
        )
    commands = "; ".join(f"vqcheck gate {_quoted(run.config)}" for run in found)
    raise UsageError(
        tr("its training has several s2 configurations, and they differ; name one: {commands}", commands=commands)
        if own
        else tr("holds several s2 configurations, and they differ; name one: {commands}", commands=commands),
        folder,
    )


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
