"""`vqcheck inspect`: what is in these files."""

from collections.abc import Iterator, Sequence
from typing import Final

from vqcheck.codebook.health import Condition
from vqcheck.codebook.inspection_result import UNCHECKED, EncoderSummary, InspectedFiles, Inspection, UnreadFile
from vqcheck.codebook.model import Model
from vqcheck.language import sentences, tr, trn, word
from vqcheck.report import blocks as doc
from vqcheck.report.blocks import Kind, Shown, Tone
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views.copies import standing
from vqcheck.report.views.inspect_data import cases, data, evidence, lacking
from vqcheck.report.views.inspect_encoder import encoder_facts, health_facts, tensors, title
from vqcheck.report.views.words import (
    clauses,
    described,
    explained,
    kind_of_file,
    listed,
    short_names,
    version_words,
    whole_module,
    written_at,
)

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


def _tone(verdict: str) -> Tone:
    others = (*UNCHECKED, Condition.NOT_READ)
    return Tone.GOOD if verdict == Condition.HEALTHY else Tone.WARNING if verdict in others else Tone.BAD


def _headline(files: InspectedFiles) -> str:
    if len(files.files) == 1:
        return _what_of_one(files.files[0])
    verdicts: list[str] = [file.verdict for file in files.files]
    counts = {verdict: verdicts.count(verdict) for verdict in (*UNCHECKED, Condition.HEALTHY, Condition.NOT_READ)}
    unfit, fit = len(files.files) - sum(counts.values()), counts[Condition.HEALTHY]
    names = {
        Condition.COULD_NOT_CHECK: tr("{number} cannot be read", number=counts[Condition.COULD_NOT_CHECK]),
        Condition.NO_CODEBOOK: tr("{number} without a codebook", number=counts[Condition.NO_CODEBOOK]),
        Condition.UNREADABLE_COPY: tr(
            "{number} with a copy that cannot be read", number=counts[Condition.UNREADABLE_COPY]
        ),
    }
    said = [names[verdict] for verdict in UNCHECKED if counts[verdict]]
    said += [tr("{number} unfit for use", number=unfit)] if unfit else []
    if counts[Condition.NOT_READ]:
        said.append(tr("{number} hold a VQ encoder that was not read", number=counts[Condition.NOT_READ]))
        return tr("of {files} files: {counts}", files=len(files.files), counts=listed(said))
    if not said:
        return tr("all {number} files hold a VQ encoder that is fit for use", number=len(files.files))
    return tr("of {files} files: {counts}, {fit} fit for use", files=len(files.files), counts=listed(said), fit=fit)


def _what_of_one(file: Inspection | UnreadFile) -> str:
    found = {
        Condition.COULD_NOT_CHECK: tr("the file {path} cannot be read", path=file.path),
        Condition.NO_CODEBOOK: tr("the file {path} holds no codebook", path=file.path),
        Condition.UNREADABLE_COPY: tr(
            "the file {path} holds a copy of the VQ encoder that cannot be read", path=file.path
        ),
        Condition.HEALTHY: tr("the VQ encoder of {path} is fit for use", path=file.path),
        Condition.NOT_READ: tr("the file {path} holds a VQ encoder, whose values were not read", path=file.path),
        Condition.NEVER_TRAINED: tr("the codebook of {path} was never trained", path=file.path),
    }
    known = found.get(file.verdict)
    return known or tr(
        "the VQ encoder of {path} is {verdict}: {explained}",
        path=file.path,
        verdict=word(file.verdict),
        explained=explained(file.verdict),
    )


def _figures(file: Inspection | UnreadFile) -> Iterator[Figure]:
    if isinstance(file, UnreadFile) or file.vq_encoder is None:
        return
    books = file.vq_encoder.codebooks
    yield Figure(tr("VQ encoders"), str(len(file.encoders)))
    yield Figure(tr("codebooks"), str(len(books)))
    yield Figure(tr("codes"), str(sum(book.codes for book in books)))


def _overview(files: InspectedFiles) -> doc.Section:
    """Return a line for each file."""
    columns = (
        doc.Column(tr("Verdict")),
        doc.Column(tr("File"), Kind.NAME),
        doc.Column(tr("Model"), Kind.PROSE),
        doc.Column(tr("Kind"), Kind.PROSE, Shown.PAGE),
        doc.Column(tr("Step"), Kind.NUMBER, Shown.PAGE),
        doc.Column(tr("VQ encoder")),
    )
    names = short_names([file.path for file in files.files])
    rows = [_row(file, name) for file, name in zip(files.files, names, strict=True)]
    return doc.Section(tr("Files"), (doc.Table(tr("Each file, and the digest of its VQ encoder."), columns, rows),))


def _row(file: Inspection | UnreadFile, name: str) -> Sequence[doc.Inline]:
    if isinstance(file, UnreadFile):
        # People read why on stderr, where every error stands.
        return (doc.verdict(word(file.verdict), Tone.WARNING), doc.path(name), "", "", "", "")
    encoder, model, steps = file.vq_encoder, file.model, file.training.steps
    several = tr("{number} VQ encoders", number=len(file.encoders)) if len(file.encoders) > 1 else ""
    return (
        doc.verdict(word(file.verdict), _tone(file.verdict)),
        doc.path(name),
        described(_model(model) or (encoder.family if encoder else tr("unknown")), several),
        kind_of_file(file.record.kind),
        "" if steps is None else str(steps),
        # The digest of a codebook alone would look like that of another VQ encoder.
        _digest(encoder) if encoder and encoder.is_read else "",
    )


def _digest(encoder: EncoderSummary) -> doc.Inline:
    return doc.code(encoder.f32.vq_encoder.short) if encoder.f32.vq_encoder else tr("codebook alone")


def _unread(file: UnreadFile, several: bool) -> doc.Section:
    # People read why on stderr, where every error stands.
    facts = doc.Facts(
        (doc.Fact(tr("Verdict"), doc.verdict(word(file.verdict), Tone.WARNING)), doc.Fact(tr("Error"), file.why))
    )
    return doc.Section(file.path if several else tr("File"), (facts,), Shown.PAGE)


def _file(file: Inspection, several: bool) -> doc.Section:
    encoders = file.encoders
    facts = [
        doc.Fact(tr("Verdict"), doc.verdict(word(file.verdict), _tone(file.verdict)) if several else None),
        *_facts(file),
    ]
    if len(encoders) == 1:
        facts += [*encoder_facts(encoders[0]), *health_facts(encoders[0])]
    blocks: list[doc.Block] = [doc.Facts(facts)]
    if len(encoders) == 1:
        blocks += tensors(encoders[0])
    elif encoders:
        blocks += [_contents(encoders), *(_encoder(encoder, n) for n, encoder in enumerate(encoders, start=1))]
    return doc.Section(file.path if several else tr("File"), blocks, heading=Shown.ALWAYS if several else Shown.PAGE)


def _contents(encoders: tuple[EncoderSummary, ...]) -> doc.Section:
    """Return what VQ encoders the file holds, a row each."""
    columns = (
        doc.Column(tr("Encoder"), Kind.NUMBER),
        doc.Column(tr("What it is"), Kind.PROSE),
        doc.Column(tr("Copy"), Kind.NAME),
        doc.Column(tr("Digest")),
        doc.Column(tr("Health")),
        doc.Column(tr("Against the others"), Kind.PROSE),
    )
    rows = [
        (
            str(number),
            title(encoder),
            doc.path(encoder.copy),
            doc.code(encoder.f32.widest.short) if encoder.is_read else "",
            doc.verdict(word(encoder.verdict), _tone(encoder.verdict)),
            _standing(encoder),
        )
        for number, encoder in enumerate(encoders, start=1)
    ]
    said = tr("vqcheck diff compares the copies of one name. --copy NAME chooses one copy.")
    table = doc.Table(sentences(tr("The VQ encoders of this file."), said), columns, rows)
    return doc.Section(tr("{number} VQ encoders", number=len(encoders)), (table, doc.Paragraph(said, Shown.TEXT)))


def _standing(encoder: EncoderSummary) -> str:
    """Return how one of several VQ encoders stands to the others."""
    if not encoder.is_read:
        return ""
    same = tr("the same bytes as {copies}", copies=listed(encoder.aliases)) if encoder.aliases else ""
    return clauses(same, standing(encoder.relation, f"'{encoder.against}'") if encoder.against else "")


def _encoder(encoder: EncoderSummary, number: int) -> doc.Section:
    facts = doc.Facts((*encoder_facts(encoder), *health_facts(encoder)))
    return doc.Section(
        tr("Encoder {number}: copy '{copy}'", number=number, copy=encoder.copy), (facts, *tensors(encoder))
    )


def _facts(file: Inspection) -> Iterator[doc.Fact]:
    model, training = file.model, file.training
    yield doc.Fact(tr("File"), doc.path(file.path), Shown.PAGE)
    place = tr("state dict under '{container}'", container=file.container) if file.container else ""
    header = tr("header overwritten with code {header_code}", header_code=file.header_code) if file.header_code else ""
    yield doc.Fact(tr("Format"), described(file.format, place, header))
    shown_by = doc.muted(tr("  ({evidence})", evidence=evidence(model)))
    if known := _model(model):
        yield doc.Fact(tr("Model"), [tr("GPT-SoVITS {model}", model=known), shown_by])
    elif file.vq_encoder is None:
        yield doc.Fact(tr("Model"), [tr("unknown"), shown_by])
    yield doc.Fact(
        tr("Base model"), tr("{base}, as published (by its first 8 KiB)", base=model.base) if model.base else None
    )
    counts = (
        trn("{number} tensor {dtype}", "{number} tensors {dtype}", count, dtype=dtype)
        for dtype, count in file.precision
    )
    yield doc.Fact(tr("Precision"), listed(counts))
    yield doc.Fact(tr("Kind"), kind_of_file(file.record.kind))
    yield doc.Fact(
        tr("Training"),
        described(tr("info '{info}'", info=training.info) if training.info else "", written_at(training)),
    )
    yield doc.Fact(tr("Not stored"), lacking(model))
    others = listed(file.other_containers)
    yield doc.Fact(
        tr("Also holds"), tr("further state dicts, without a VQ encoder: {others}", others=others) if others else None
    )
    for copy in file.unreadable:
        yield doc.Fact(
            tr("Undecided"),
            doc.Word(tr("copy '{name}' cannot be read ({why})", name=copy.name, why=copy.why), Tone.BAD),
        )
    if file.module_classes:
        yield doc.Fact(tr("As stored"), whole_module(file.module_classes))
    if file.missing_files:
        names = listed(file.missing_files, _MOST_CLASSES)
        yield doc.Fact(tr("Missing"), tr("{names}; nothing of what is shown is in it", names=names))
    named = listed(file.classes, _MOST_CLASSES)
    classes = tr("when loaded with weights_only=False: {classes}", classes=named) if named else None
    yield doc.Fact(tr("Runs code"), classes, Shown.DETAIL)
    yield doc.Fact(
        tr("VQ encoder"),
        doc.Word(tr("none: this file {why}", why=file.why_none), Tone.WARNING) if file.why_none else None,
    )


def _model(model: Model) -> str:
    """Return the version and the kind of a GPT-SoVITS model; empty where it is none."""
    kind = {
        "s2 synthesizer": tr("s2 synthesizer"),
        "s2 LoRA training file": tr("s2 LoRA training file"),
        "s2 LoRA export": tr("s2 LoRA export"),
        "s2 discriminator": tr("s2 discriminator"),
        "s1 GPT": tr("s1 GPT"),
    }.get(model.kind, "")
    return tr("{version} {kind}", version=version_words(model.version), kind=kind) if model.version and kind else kind


def _remedies(files: InspectedFiles) -> Iterator[Remedy]:
    """Yield what to do about each kind of fault, once."""
    found = {file.verdict for file in files.files}
    if Condition.UNREADABLE_COPY in found:
        yield Remedy(tr("Choose a copy that can be read: --copy NAME."))
    if Condition.NEVER_TRAINED in found:
        yield Remedy(tr("Do not train from a codebook that was never trained. Use a published base model."))
    if found - {*UNCHECKED, Condition.HEALTHY, Condition.NEVER_TRAINED, Condition.NOT_READ}:
        yield Remedy(tr("Use another copy of the file, or a checkpoint from before the VQ encoder went bad."))
