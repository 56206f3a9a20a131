"""One target for each reader: what a user would do with a file, from the bytes to the report."""

import importlib
import os
import pkgutil
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fuzz.mutate import arrays, pickles, safetensors, text, zips
from fuzz.mutate.text import Mutator
from rich.cells import cell_len

import vqcheck.audit
import vqcheck.checkpoint
import vqcheck.codebook
import vqcheck.experiment
from vqcheck.audit.bound_files import recorded_tsv, tokens_digest
from vqcheck.audit.check_lock import check_lock
from vqcheck.audit.lock import read_lock
from vqcheck.audit.make_lock import make_lock
from vqcheck.checkpoint.open import open_as_stored, open_checkpoint
from vqcheck.codebook.compare import compare
from vqcheck.codebook.inspection import inspect
from vqcheck.codebook.inspection_result import InspectedFiles
from vqcheck.codebook.own_family import read_own_family
from vqcheck.errors import NoCodebookError, VqcheckError
from vqcheck.experiment.config_file import read_s2_run
from vqcheck.experiment.directory import read_experiment, read_speaker_vector, read_ssl
from vqcheck.experiment.features import read_features, read_frames
from vqcheck.experiment.name2semantic import read_name2semantic
from vqcheck.experiment.name2text import read_name2text
from vqcheck.experiment.read_config import read_config
from vqcheck.experiment.resume_folders import resume_folders
from vqcheck.report.document import Document
from vqcheck.report.render import json as render_json
from vqcheck.report.render import text as render_text
from vqcheck.report.render.text import Style
from vqcheck.report.views import diff as diff_view
from vqcheck.report.views import inspect as inspect_view
from vqcheck.report.views import lock_check as lock_view

CORPUS = Path(__file__).parent / "corpus"
BESIDE = Path(__file__).parent / "beside"
_MOST_TENSORS = 64
_STYLE = Style(color=False, width=0, verbose=True)

Reader = Callable[[str, str], object]
"""Called as (folder with the sound files, path of the input); returns anything, or raises VqcheckError."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader under test."""

    name: str
    file: str
    """What the input is called in its folder."""
    read: Reader
    mutate: Mutator

    def seeds(self) -> dict[str, bytes]:
        """Return the saved corpus by file name: sound small files, and whatever once was a finding."""
        return {path.name: path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())}

    def place(self, folder: str, data: bytes) -> str:
        """Write an input where its reader looks for it, and return its path."""
        path = os.path.join(folder, self.file)
        with open(path, "wb") as file:
            file.write(data)
        return path


def _is_one_in_eight(data: bytes) -> bool:
    """Choose the inputs that are reported to people, too: laying out a page takes longer than all reading."""
    return zlib.crc32(data) % 8 == 0


def _require_plain(page: str) -> None:
    """Raise AssertionError when a text report could steer a terminal."""
    if not page.replace("\n", "").isprintable():
        raise AssertionError(f"a report that is no plain text: {page!r:.300}")


def _show(document: Document, *, as_text: bool) -> None:
    """Make the report for machines, and of some inputs the one for people, which takes longer."""
    render_json.render(document)
    if as_text:
        _require_plain(render_text.render(document, _STYLE))


def _checkpoint(folder: str, path: str) -> None:
    """Do what inspect, diff, lock and lock --check do."""
    reference = os.path.join(folder, "sound.pth")
    with open_as_stored(path) as file, open_checkpoint(reference) as sound:
        file.information  # noqa: B018 - computed when asked for
        for tensor in list(file.tensors.values())[:_MOST_TENSORS]:
            with suppress(VqcheckError):
                file.read(tensor)
        as_text = _is_one_in_eight(file.head(1 << 20))
        _show(inspect_view.view(InspectedFiles((inspect(file),))), as_text=as_text)
        with suppress(VqcheckError):
            recorded_tsv(path)
        with suppress(NoCodebookError):
            comparison = compare(file, sound) if as_text else compare(sound, file)
            _show(diff_view.view(comparison), as_text=as_text)
        with suppress(NoCodebookError):
            result = check_lock(read_lock(os.path.join(folder, "sound.lock")), "sound.lock", file, None, None, "all")
            _show(lock_view.checked(result), as_text=as_text)
        text_of_lock = make_lock(file, None, None).text()
    if not text_of_lock.isascii():
        raise AssertionError("a lock that is no plain text")


def _distributed(folder: str, path: str) -> None:
    _checkpoint(folder, os.path.join(os.path.dirname(path), ".metadata"))


def _lock(folder: str, path: str) -> None:
    lock = read_lock(path)
    lock.text()
    with open_checkpoint(os.path.join(folder, "sound.pth")) as sound:
        for scope in ("all", "tokens"):
            result = check_lock(lock, "input.lock", sound, None, None, scope)
            _show(lock_view.checked(result), as_text=_is_one_in_eight(lock.text().encode()))


def _tsv(folder: str, _: str) -> None:
    read_name2semantic(folder)
    tokens_digest(folder)


def _name2text(folder: str, _: str) -> None:
    read_name2text(folder)
    read_experiment(folder, with_speakers=True)


def _config(folder: str, path: str) -> None:
    with suppress(VqcheckError):
        resume_folders(read_s2_run(path, folder), folder, "v2")
    read_config(path, folder)


def _own_family(folder: str, path: str) -> None:
    own = (read_own_family(path),)
    with open_checkpoint(os.path.join(folder, "sound.pth")) as sound:
        found = InspectedFiles((inspect(sound, own),))
        _show(inspect_view.view(found), as_text=_is_one_in_eight(repr(own).encode()))


def _features(_: str, path: str) -> None:
    for read in (read_features, read_frames):
        read(path)
    with suppress(VqcheckError):
        read_speaker_vector(path, 4)
    read_ssl(path, 4)


TARGETS = {
    target.name: target
    for target in (
        Target("torch-zip", "input.pth", _checkpoint, zips.mutate),
        Target("patched-header", "input.pth", _checkpoint, zips.mutate_patched),
        Target("legacy", "input.pth", _checkpoint, pickles.mutate_legacy),
        Target("safetensors", "input.safetensors", _checkpoint, safetensors.mutate),
        Target("sharded", "input.index.json", _checkpoint, safetensors.mutate_index),
        Target("torchscript", "input.pt", _checkpoint, zips.mutate_script),
        Target("npz", "input.npz", _checkpoint, arrays.mutate_archive),
        Target("npy", "input.npy", _checkpoint, arrays.mutate),
        Target("numpy-pickle", "input.pkl", _checkpoint, pickles.mutate),
        Target("distributed", "distributed/.metadata", _checkpoint, pickles.mutate),
        Target("distributed-part", "part/__0_0.distcp", _distributed, text.flip_bytes),
        Target("features", "input.pt", _features, zips.mutate),
        Target("lock", "input.lock", _lock, text.mutate_lines),
        Target("tsv", "6-name2semantic.tsv", _tsv, text.mutate_lines),
        Target("name2text", "2-name2text.txt", _name2text, text.mutate_lines),
        Target("config-toml", "input.toml", _config, text.mutate_toml),
        Target("config-json", "input.json", _config, text.mutate_json),
        Target("own-family", "family.toml", _own_family, text.mutate_toml),
    )
}


def _import_everything() -> None:
    import encodings.latin_1
    import encodings.raw_unicode_escape
    import encodings.unicode_escape
    import encodings.utf_8_sig  # noqa: F401

    # Its table of widths is a module of its own.
    cell_len("\u6f22")
    for package in (vqcheck.checkpoint, vqcheck.codebook, vqcheck.experiment, vqcheck.audit):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)


def prepare(folder: str) -> None:
    """Put the sound files that inputs are compared with, or refer to, into an empty folder, and read every seed once.

    Third-party packages, too, import what they need when they first need it; afterwards any import is a finding.
    """
    shutil.copytree(BESIDE, folder, dirs_exist_ok=True)
    for part, ending, size in (("4-cnhubert", ".pt", 1), ("5-wav32k", "", 1 << 17), ("7-sv_cn", ".pt", 1)):
        os.mkdir(os.path.join(folder, part))
        for item in ("a.wav", "b.wav"):
            with open(os.path.join(folder, part, item + ending), "wb") as file:
                file.truncate(size)
    _import_everything()
    for target in TARGETS.values():
        for data in target.seeds().values():
            path = target.place(folder, data)
            with suppress(Exception):
                target.read(folder, path)
            os.remove(path)
