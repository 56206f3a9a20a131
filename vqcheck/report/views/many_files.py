"""Several files, each judged against one other: a line for each, the details of those that do not agree."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from vqcheck.language import Sentence, tr, trn
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Tone
from vqcheck.report.document import Case, Document, Figure, Remedy, Status
from vqcheck.report.views import failure
from vqcheck.report.views.words import listed, short_names

_VERDICTS: Final = ("consistent", "changed", "could not check")
"""On all of them, by their exit status."""


@dataclass(frozen=True)
class JudgedFile:
    """What became of one of the files."""

    path: str
    said: str
    """One clause for the table."""
    document: Document
    """As if the file had been the only one."""


def could_not_check(command: str, file: str, why: str) -> JudgedFile:
    """Return a file that could not be judged; `why` names it, as errors do."""
    document = failure.view(command, why, file)
    # A failure that stands alone is about the command line; of several, each is that of a file.
    named = replace(document, data={**document.data, "path": file})
    return JudgedFile(file, _without(file, why), named)


def _without(name: str, why: str) -> str:
    """Return an error without the name of its file, which stands in front of the reason, also in a longer sentence."""
    if not isinstance(why, Sentence):
        return why.removeprefix(f"{name}: ")
    if why.fields.get("name") == name and "text" in why.fields:
        return str(why.fields["text"])
    fields = {key: _without(name, each) if isinstance(each, Sentence) else each for key, each in why.fields.items()}
    return Sentence(why.template, fields, why.many, why.number, why.context, capital=why.capital)


def view(command: str, against: str, key: str, files: Sequence[JudgedFile], *, details: bool = False) -> Document:
    """Return the document of several files that were judged `against` one, which JSON has under `key`.

    `details` shows those of every file, not only of those that do not agree.
    """
    status = Status(_worst(files))
    names = short_names([file.path for file in files])
    return Document(
        command=command,
        status=status,
        verdict=_VERDICTS[status],
        headline=_headline(files, against),
        subject=trn("{against} and {number} file", "{against} and {number} files", len(files), against=against),
        cases=tuple(_cases(files, names)),
        data=_data(against, key, files),
        warnings=tuple(dict.fromkeys(warning for file in files for warning in file.document.warnings)),
        figures=tuple(_figures(files)),
        blocks=(_table(files, names, against), *_details(files, names, details=details)),
        remedies=tuple(_remedies(files, names)),
    )


def _worst(files: Sequence[JudgedFile]) -> int:
    """Return the exit status: 2 beats 1 beats 0."""
    return max(file.document.exit_code for file in files)


def _headline(files: Sequence[JudgedFile], against: str) -> str:
    count = Counter(file.document.status for file in files)
    changed, unchecked = count[Status.INCONSISTENT], count[Status.NOT_CHECKED]
    if not changed and not unchecked:
        return tr("All {files} files agree with {against}.", files=len(files), against=against)
    others = listed(
        (
            tr("{changed} changed", changed=changed) if changed else "",
            tr("{unchecked} could not be checked", unchecked=unchecked) if unchecked else "",
        )
    )
    return trn(
        "Of {files} files {others}; {number} agrees with {against}.",
        "Of {files} files {others}; {number} agree with {against}.",
        count[Status.CONSISTENT],
        files=len(files),
        others=others,
        against=against,
    )


def _figures(files: Sequence[JudgedFile]) -> Iterator[Figure]:
    count = Counter(file.document.status for file in files)
    yield Figure(tr("files"), str(len(files)))
    changed, unchecked = count[Status.INCONSISTENT], count[Status.NOT_CHECKED]
    yield Figure(tr("changed"), str(changed), Tone.BAD if changed else Tone.GOOD)
    if unchecked:
        yield Figure(tr("could not be checked"), str(unchecked), Tone.WARNING)


def _table(files: Sequence[JudgedFile], names: Sequence[str], against: str) -> doc.Section:
    columns = (
        doc.Column(tr("Verdict")),
        doc.Column(tr("File"), Kind.NAME),
        doc.Column(tr("What it comes to"), Kind.PROSE),
    )
    rows = [
        (doc.verdict(file.document.verdict_word, file.document.verdict_tone), doc.path(name), file.said)
        for file, name in zip(files, names, strict=True)
    ]
    return doc.Section(tr("Files"), (doc.Table(tr("Each file against {against}.", against=against), columns, rows),))


def _details(files: Sequence[JudgedFile], names: Sequence[str], *, details: bool) -> Iterator[doc.Block]:
    for file, name in zip(files, names, strict=True):
        document = file.document
        if "error" not in document.data and (details or document.exit_code):
            notes = (doc.verdict(document.verdict_word, document.verdict_tone),)
            yield doc.Section(name, document.blocks, notes=notes, folded=not document.exit_code)


def _remedies(files: Sequence[JudgedFile], names: Sequence[str]) -> Iterator[Remedy]:
    """Yield what to do: what is the same for several files is said once."""
    of: dict[tuple[str, str], list[str]] = {}
    for file, name in zip(files, names, strict=True):
        for remedy in file.document.remedies:
            of.setdefault((remedy.text, remedy.of), []).append(name)
    for (text, part), found in of.items():
        yield Remedy(text, listed((listed(found, 3), part)))


def _cases(files: Sequence[JudgedFile], names: Sequence[str]) -> Iterator[Case]:
    seen: Counter[str] = Counter()
    for file, name in zip(files, names, strict=True):
        seen[name] += 1
        # A file that is named twice is judged twice.
        title = name if seen[name] == 1 else f"{name} ({seen[name]})"
        for case in file.document.cases:
            yield case._replace(name=f"{title}: {case.name}")


def _data(against: str, key: str, files: Sequence[JudgedFile]) -> dict[str, Any]:
    return {key: against, "files": [file.document.as_object() for file in files]}
