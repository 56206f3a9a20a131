"""`vqcheck inspect`: what is in these files."""

from collections.abc import Iterator, Sequence
from typing import Final

from vqcheck.codebook.health import Condition
from vqcheck.codebook.inspection import UNCHECKED, EncoderSummary, InspectedFiles, Inspection, UnreadFile
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views.copies import standing
from vqcheck.report.views.inspect_data import cases, data, evidence, lacking
from vqcheck.report.views.inspect_encoder import encoder_facts, health_facts, tensors, title
from vqcheck.report.views.words import clauses, explained, kind_of_file, listed, short_names, whole_module, written_at

_MOST_CLASSES: Final = 20


def view(files: InspectedFiles) -> Document:
    """Return the document of some files."""
    several = len(files.files) > 1
    return Document(
        command="inspect",
        status=Status(files.exit_code),
        verdict=files.verdict,
        tone=_tone(files.verdict),
        headline=_headline(files),
        subject=", ".join(file.path for file in files.files),
        cases=cases(files),
        data=data(files),
        figures=() if several else tuple(_figures(files.files[0])),
        blocks=(
            *([_overview(files)] if several else []),
            *(_unread(file, several) if isinstance(file, UnreadFile) else _file(file, several) for file in files.files),
        ),
        remedies=tuple(_remedies(files)),
    )


def _tone(word: str) -> Tone:
    others = (*UNCHECKED, Condition.NOT_READ)
    return Tone.GOOD if word == Condition.HEALTHY else Tone.WARNING if word in others else Tone.BAD


def _headline(files: InspectedFiles) -> str:
    if len(files.files) == 1:
        return _what_of_one(files.files[0])
    verdicts: list[str] = [file.verdict for file in files.files]
    counts = {word: verdicts.count(word) for word in (*UNCHECKED, Condition.HEALTHY, Condition.NOT_READ)}
    unfit, fit = len(files.files) - sum(counts.values()), counts[Condition.HEALTHY]
    unread = counts[Condition.NOT_READ]
    words = {
        Condition.COULD_NOT_CHECK: f"{counts[Condition.COULD_NOT_CHECK]} cannot be read",
        Condition.NO_CODEBOOK: f"{counts[Condition.NO_CODEBOOK]} without a codebook",
        Condition.UNREADABLE_COPY: f"{counts[Condition.UNREADABLE_COPY]} with a copy that cannot be read",
    }
    said = [words[word] for word in UNCHECKED if counts[word]]
    said += [f"{unfit} unfit for use"] if unfit else []
    if unread:
        return f"of {len(files.files)} files: {listed([*said, f'{unread} hold a VQ encoder that was not read'])}"
    if not said:
        return f"all {len(files.files)} files hold a VQ encoder that is fit for use"
    return f"of {len(files.files)} files: {listed(said)}, {fit} fit for use"


def _what_of_one(file: Inspection | UnreadFile) -> str:
    found = {
        Condition.COULD_NOT_CHECK: f"the file {file.path} cannot be read",
        Condition.NO_CODEBOOK: f"the file {file.path} holds no codebook",
        Condition.UNREADABLE_COPY: f"the file {file.path} holds a copy of the VQ encoder that cannot be read",
        Condition.HEALTHY: f"the VQ encoder of {file.path} is fit for use",
        Condition.NOT_READ: f"the file {file.path} holds a VQ encoder, whose values were not read",
        Condition.NEVER_TRAINED: f"the codebook of {file.path} was never trained",
    }
    known = found.get(file.verdict)
    return known or f"the VQ encoder of {file.path} is {file.verdict}: {explained(file.verdict)}"


def _figures(file: Inspection | UnreadFile) -> Iterator[Figure]:
    if isinstance(file, UnreadFile) or file.vq_encoder is None:
        return
    books = file.vq_encoder.codebooks
    yield Figure("VQ encoders", str(len(file.encoders)))
    yield Figure("codebooks", str(len(books)))
    yield Figure("codes", str(sum(book.codes for book in books)))


def _overview(files: InspectedFiles) -> doc.Section:
    """Return a line for each file."""
    columns = (
        doc.Column("Verdict"),
        doc.Column("File", Kind.NAME),
        doc.Column("Model", Kind.PROSE),
        doc.Column("Kind", Kind.PROSE, Shown.PAGE),
        doc.Column("Step", Kind.NUMBER, Shown.PAGE),
        doc.Column("VQ encoder"),
    )
    names = short_names([file.path for file in files.files])
    rows = [_row(file, name) for file, name in zip(files.files, names, strict=True)]
    return doc.Section("Files", (doc.Table("Each file, and the digest of its VQ encoder.", columns, rows),))


def _row(file: Inspection | UnreadFile, name: str) -> Sequence[doc.Inline]:
    if isinstance(file, UnreadFile):
        # People read why on stderr, where every error stands.
        return (doc.verdict(file.verdict, Tone.WARNING), doc.path(name), "", "", "", "")
    encoder, model, steps = file.vq_encoder, file.model, file.training.steps
    several = f"{len(file.encoders)} VQ encoders" if len(file.encoders) > 1 else ""
    kind = "" if model.kind == "unknown" else f"{model.version} {model.kind}".strip()
    return (
        doc.verdict(file.verdict, _tone(file.verdict)),
        doc.path(name),
        listed((kind or (encoder.family if encoder else "unknown"), several)),
        kind_of_file(file.record.kind),
        "" if steps is None else str(steps),
        # The digest of a codebook alone would look like that of another VQ encoder.
        _digest(encoder) if encoder and encoder.is_read else "",
    )


def _digest(encoder: EncoderSummary) -> doc.Inline:
    return doc.code(encoder.f32.vq_encoder.short) if encoder.f32.vq_encoder else "codebook alone"


def _unread(file: UnreadFile, several: bool) -> doc.Section:
    # People read why on stderr, where every error stands.
    facts = doc.Facts((doc.Fact("Verdict", doc.verdict(file.verdict, Tone.WARNING)), doc.Fact("Error", file.why)))
    return doc.Section(file.path if several else "File", (facts,), Shown.PAGE)


def _file(file: Inspection, several: bool) -> doc.Section:
    encoders = file.encoders
    facts = [doc.Fact("Verdict", doc.verdict(file.verdict, _tone(file.verdict)) if several else None), *_facts(file)]
    if len(encoders) == 1:
        facts += [*encoder_facts(encoders[0]), *health_facts(encoders[0])]
    blocks: list[doc.Block] = [doc.Facts(facts)]
    if len(encoders) == 1:
        blocks += tensors(encoders[0])
    elif encoders:
        blocks += [_contents(encoders), *(_encoder(encoder, n) for n, encoder in enumerate(encoders, start=1))]
    return doc.Section(file.path if several else "File", blocks, heading=Shown.ALWAYS if several else Shown.PAGE)


def _contents(encoders: tuple[EncoderSummary, ...]) -> doc.Section:
    """Return what VQ encoders the file holds, a row each."""
    columns = (
        doc.Column("Encoder", Kind.NUMBER),
        doc.Column("What it is", Kind.PROSE),
        doc.Column("Copy", Kind.NAME),
        doc.Column("Digest"),
        doc.Column("Health"),
        doc.Column("Against the others", Kind.PROSE),
    )
    rows = [
        (
            str(number),
            title(encoder),
            doc.path(encoder.copy),
            doc.code(encoder.f32.widest.short) if encoder.is_read else "",
            doc.verdict(encoder.verdict, _tone(encoder.verdict)),
            _standing(encoder),
        )
        for number, encoder in enumerate(encoders, start=1)
    ]
    said = "vqcheck diff compares the copies of one name. --copy NAME chooses one copy."
    table = doc.Table(f"The VQ encoders of this file. {said}", columns, rows)
    return doc.Section(f"{len(encoders)} VQ encoders", (table, doc.Paragraph(said, Shown.TEXT)))


def _standing(encoder: EncoderSummary) -> str:
    """Return how one of several VQ encoders stands to the others."""
    if not encoder.is_read:
        return ""
    same = f"the same bytes as {listed(encoder.aliases)}" if encoder.aliases else ""
    return clauses(same, standing(encoder.relation, f"'{encoder.against}'") if encoder.against else "")


def _encoder(encoder: EncoderSummary, number: int) -> doc.Section:
    facts = doc.Facts((*encoder_facts(encoder), *health_facts(encoder)))
    return doc.Section(f"Encoder {number}: copy '{encoder.copy}'", (facts, *tensors(encoder)))


def _facts(file: Inspection) -> Iterator[doc.Fact]:
    model, training = file.model, file.training
    yield doc.Fact("File", doc.path(file.path), Shown.PAGE)
    place = f"state dict under '{file.container}'" if file.container else ""
    header = f"header overwritten with code {file.header_code}" if file.header_code else ""
    yield doc.Fact("Format", listed((file.format, place, header)))
    if model.kind != "unknown":
        kind = f"GPT-SoVITS {model.version} {model.kind}".replace("  ", " ")
        yield doc.Fact("Model", [kind, doc.muted(f"  ({evidence(model)})")])
    elif file.vq_encoder is None:
        yield doc.Fact("Model", ["unknown", doc.muted(f"  ({evidence(model)})")])
    yield doc.Fact("Base model", f"{model.base}, as published (by its first 8 KiB)" if model.base else None)
    counts = (f"1 tensor {dtype}" if count == 1 else f"{count} tensors {dtype}" for dtype, count in file.precision)
    yield doc.Fact("Precision", listed(counts))
    yield doc.Fact("Kind", kind_of_file(file.record.kind))
    yield doc.Fact("Training", listed((f"info '{training.info}'" if training.info else "", written_at(training))))
    yield doc.Fact("Not stored", lacking(model))
    others = listed(file.other_containers)
    yield doc.Fact("Also holds", f"further state dicts, without a VQ encoder: {others}" if others else None)
    for copy in file.unreadable:
        yield doc.Fact("Undecided", doc.Word(f"copy '{copy.name}' cannot be read ({copy.why})", Tone.BAD))
    if file.module_classes:
        yield doc.Fact("As stored", whole_module(file.module_classes))
    if file.missing_files:
        yield doc.Fact("Missing", f"{listed(file.missing_files, _MOST_CLASSES)}; nothing of what is shown is in it")
    named = listed(file.classes, _MOST_CLASSES)
    classes = f"when loaded with weights_only=False: {named}" if named else None
    yield doc.Fact("Runs code", classes, Shown.DETAIL)
    yield doc.Fact("VQ encoder", doc.Word(f"none: this file {file.why_none}", Tone.WARNING) if file.why_none else None)


def _remedies(files: InspectedFiles) -> Iterator[Remedy]:
    """Yield what to do about each kind of fault, once."""
    found = {file.verdict for file in files.files}
    if Condition.UNREADABLE_COPY in found:
        yield Remedy("Choose a copy that can be read: --copy NAME.")
    if Condition.NEVER_TRAINED in found:
        yield Remedy("Do not train from a codebook that was never trained. Use a published base model.")
    if found - {*UNCHECKED, Condition.HEALTHY, Condition.NEVER_TRAINED, Condition.NOT_READ}:
        yield Remedy("Use another copy of the file, or a checkpoint from before the VQ encoder went bad.")
