"""`vqcheck inspect`: what is in these files."""

from collections.abc import Iterator, Sequence

from vqcheck.codebook.health import HEALTHY, NEVER_TRAINED
from vqcheck.codebook.inspection import (
    COULD_NOT_CHECK,
    NO_CODEBOOK,
    UNCHECKED,
    UNREADABLE_COPY,
    EncoderSummary,
    InspectedFiles,
    Inspection,
    UnreadFile,
)
from vqcheck.report.blocks import (
    Block,
    Column,
    Fact,
    Facts,
    Inline,
    Kind,
    Paragraph,
    Section,
    Shown,
    Table,
    Tone,
    Word,
    code,
    muted,
    path,
    verdict,
)
from vqcheck.report.document import Document, Figure, Remedy, Status
from vqcheck.report.views.copies import STANDING
from vqcheck.report.views.inspect_data import cases, data, evidence, lacking
from vqcheck.report.views.inspect_encoder import encoder_facts, health_facts, tensors, title
from vqcheck.report.views.words import explained, kind_of_file, listed_names, short_names, whole_module


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
    return Tone.GOOD if word == HEALTHY else Tone.WARNING if word in UNCHECKED else Tone.BAD


def _headline(files: InspectedFiles) -> str:
    if len(files.files) == 1:
        return _what_of_one(files.files[0])
    words = {
        COULD_NOT_CHECK: "cannot be read",
        NO_CODEBOOK: "without a codebook",
        UNREADABLE_COPY: "with a copy that cannot be read",
    }
    verdicts: list[str] = [file.verdict for file in files.files]
    counts = {word: verdicts.count(word) for word in (*UNCHECKED, HEALTHY)}
    unfit = len(files.files) - sum(counts.values())
    said = [f"{counts[word]} {words[word]}" for word in UNCHECKED if counts[word]]
    said += [f"{unfit} unfit for use"] if unfit else []
    if not said:
        return f"all {len(files.files)} files hold a VQ encoder that is fit for use"
    return f"of {len(files.files)} files: {', '.join(said)}, {counts[HEALTHY]} fit for use"


def _what_of_one(file: Inspection | UnreadFile) -> str:
    found = {
        COULD_NOT_CHECK: f"the file {file.path} cannot be read",
        NO_CODEBOOK: f"the file {file.path} holds no codebook",
        UNREADABLE_COPY: f"the file {file.path} holds a copy of the VQ encoder that cannot be read",
        HEALTHY: f"the VQ encoder of {file.path} is fit for use",
        NEVER_TRAINED: f"the codebook of {file.path} was never trained",
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


def _overview(files: InspectedFiles) -> Section:
    """Return a line for each file."""
    columns = (
        Column("Verdict"),
        Column("File", Kind.NAME),
        Column("Model", Kind.PROSE),
        Column("Kind", Kind.PROSE, Shown.PAGE),
        Column("Step", Kind.NUMBER, Shown.PAGE),
        Column("VQ encoder"),
    )
    names = short_names([file.path for file in files.files])
    rows = [_row(file, name) for file, name in zip(files.files, names, strict=True)]
    return Section("Files", (Table("Each file, and the digest of its VQ encoder.", columns, rows),))


def _row(file: Inspection | UnreadFile, name: str) -> Sequence[Inline]:
    if isinstance(file, UnreadFile):
        # People read why on stderr, where every error stands.
        return (verdict(file.verdict, Tone.WARNING), path(name), "", "", "", "")
    encoder, model, steps = file.vq_encoder, file.model, file.training.steps
    several = f"{len(file.encoders)} VQ encoders" if len(file.encoders) > 1 else ""
    kind = "" if model.kind == "unknown" else f"{model.version} {model.kind}".strip()
    return (
        verdict(file.verdict, _tone(file.verdict)),
        path(name),
        ", ".join(filter(None, (kind or (encoder.family if encoder else "unknown"), several))),
        kind_of_file(file.record.kind),
        "" if steps is None else str(steps),
        # The digest of a codebook alone would look like that of another VQ encoder.
        "" if not encoder else code(encoder.f32.vq_encoder.short) if encoder.f32.vq_encoder else "codebook alone",
    )


def _unread(file: UnreadFile, several: bool) -> Section:
    # People read why on stderr, where every error stands.
    facts = Facts((Fact("Verdict", verdict(file.verdict, Tone.WARNING)), Fact("Error", file.why)))
    return Section(file.path if several else "File", (facts,), Shown.PAGE)


def _file(file: Inspection, several: bool) -> Section:
    encoders = file.encoders
    facts = [Fact("Verdict", verdict(file.verdict, _tone(file.verdict)) if several else None), *_facts(file)]
    if len(encoders) == 1:
        facts += [*encoder_facts(encoders[0]), *health_facts(encoders[0])]
    blocks: list[Block] = [Facts(facts)]
    if len(encoders) == 1:
        blocks += tensors(encoders[0])
    elif encoders:
        blocks += [_contents(encoders), *(_encoder(encoder, n) for n, encoder in enumerate(encoders, start=1))]
    return Section(file.path if several else "File", blocks, heading=Shown.ALWAYS if several else Shown.PAGE)


def _contents(encoders: tuple[EncoderSummary, ...]) -> Section:
    """Return what VQ encoders the file holds, a row each."""
    columns = (
        Column("Encoder", Kind.NUMBER),
        Column("What it is", Kind.PROSE),
        Column("Copy", Kind.NAME),
        Column("Digest"),
        Column("Health"),
        Column("Against the others", Kind.PROSE),
    )
    rows = [
        (
            str(number),
            title(encoder),
            path(encoder.copy),
            code(encoder.f32.widest.short),
            verdict(encoder.verdict, _tone(encoder.verdict)),
            _standing(encoder),
        )
        for number, encoder in enumerate(encoders, start=1)
    ]
    said = "vqcheck diff compares the copies of one name. --copy NAME chooses one copy."
    table = Table(f"The VQ encoders of this file. {said}", columns, rows)
    return Section(f"{len(encoders)} VQ encoders", (table, Paragraph(said, Shown.TEXT)))


def _standing(encoder: EncoderSummary) -> str:
    """Return how one of several VQ encoders stands to the others."""
    same = f"the same bytes as {', '.join(encoder.aliases)}" if encoder.aliases else ""
    standing = STANDING.get(encoder.relation, "differs from")
    return "; ".join(filter(None, [same, f"{standing} '{encoder.against}'" if encoder.against else ""]))


def _encoder(encoder: EncoderSummary, number: int) -> Section:
    facts = Facts((*encoder_facts(encoder), *health_facts(encoder)))
    return Section(f"Encoder {number}: copy '{encoder.copy}'", (facts, *tensors(encoder)))


def _facts(file: Inspection) -> Iterator[Fact]:
    model, training = file.model, file.training
    place = f", state dict under '{file.container}'" if file.container else ""
    header = f", header overwritten with code {file.header_code}" if file.header_code else ""
    yield Fact("File", path(file.path), Shown.PAGE)
    yield Fact("Format", f"{file.format}{place}{header}")
    if model.kind != "unknown":
        kind = f"GPT-SoVITS {model.version} {model.kind}".replace("  ", " ")
        yield Fact("Model", [kind, muted(f"  ({evidence(model)})")])
    elif file.vq_encoder is None:
        yield Fact("Model", ["unknown", muted(f"  ({evidence(model)})")])
    yield Fact("Base model", f"{model.base}, as published (by its first 8 KiB)" if model.base else None)
    counts = [f"{count} tensor{'s' * (count != 1)} {dtype}" for dtype, count in file.precision]
    yield Fact("Precision", ", ".join(counts))
    yield Fact("Kind", kind_of_file(file.record.kind))
    progress = [
        f"info '{training.info}'" if training.info else "",
        f"epoch {training.epoch}" if training.epoch is not None else "",
        f"step {training.steps}" if training.steps is not None else "",
    ]
    yield Fact("Training", ", ".join(filter(None, progress)))
    yield Fact("Not stored", lacking(model))
    others = ", ".join(file.other_containers)
    yield Fact("Also holds", f"further state dicts, without a VQ encoder: {others}" if others else None)
    for copy in file.unreadable:
        yield Fact("Undecided", Word(f"copy '{copy.name}' cannot be read ({copy.why})", Tone.BAD))
    if file.module_classes:
        yield Fact("As stored", whole_module(file.module_classes))
    if file.missing_files:
        yield Fact("Missing", f"{listed_names(file.missing_files)}; nothing of what is shown is in it")
    classes = f"when loaded with weights_only=False: {listed_names(file.classes)}" if file.classes else None
    yield Fact("Runs code", classes, Shown.DETAIL)
    yield Fact("VQ encoder", Word(f"none: this file {file.why_none}", Tone.WARNING) if file.why_none else None)


def _remedies(files: InspectedFiles) -> Iterator[Remedy]:
    """Yield what to do about each kind of fault, once."""
    found = {file.verdict for file in files.files}
    if UNREADABLE_COPY in found:
        yield Remedy("Choose a copy that can be read: --copy NAME.")
    if NEVER_TRAINED in found:
        yield Remedy("Do not train from a codebook that was never trained. Use a published base model.")
    if found - {*UNCHECKED, HEALTHY, NEVER_TRAINED}:
        yield Remedy("Use another copy of the file, or a checkpoint from before the VQ encoder went bad.")
