"""`vqcheck inspect` for people: what is in this file."""

from vqcheck.checkpoint.shown import shown
from vqcheck.codebook.inspection import EncoderSummary, Inspection
from vqcheck.codebook.kind import FileKind
from vqcheck.report.text.inspect_encoder import describe_encoder, title
from vqcheck.report.text.page import Page, Span, Style, verdict
from vqcheck.report.views.copies import STANDING

_INDENT = 14
_KIND = {
    FileKind.BASE: "base model",
    FileKind.TRAINING: "training file",
    FileKind.EXPORT: "export of a run",
    FileKind.STEP: "weights of one step of a run",
}
_MOST_CLASSES = 20


def describe(inspection: Inspection, style: Style) -> str:
    """Return the description of one file."""
    page = Page(style)
    page.line((inspection.path, "bold"), indent=2)
    for name, *spans in _facts(inspection, verbose=style.verbose):
        page.line(f"  {name!s:<12}", *spans, indent=_INDENT)
    encoders = [*filter(None, [inspection.vq_encoder]), *inspection.others]
    if len(encoders) > 1:
        _contents(page, encoders, style)
    for number, encoder in enumerate(encoders, start=1):
        describe_encoder(page, encoder, style, str(number) if len(encoders) > 1 else "")
    return page.text()


def _listed(classes: tuple[str, ...]) -> str:
    more = f" and {len(classes) - _MOST_CLASSES} more" if len(classes) > _MOST_CLASSES else ""
    return ", ".join(shown(name) for name in classes[:_MOST_CLASSES]) + more


def _contents(page: Page, encoders: list[EncoderSummary], style: Style) -> None:
    """List what VQ encoders the file holds, a line each."""
    page.line(
        f"  {'contents':<12}{len(encoders)} VQ encoders; 'diff' compares those of one name, --copy NAME chooses one"
    )
    titles = [f"{number}  {title(encoder)}, copy '{encoder.copy}'" for number, encoder in enumerate(encoders, start=1)]
    for text, encoder in zip(titles, encoders, strict=True):
        digest = encoder.f32.widest
        page.line(
            f"  {'':<12}{text:<{max(map(len, titles))}}  ",
            (digest.hex if style.verbose else digest.short, "bold"),
            "  ",
            verdict(encoder.verdict),
            indent=_INDENT + 3,
        )
        for standing in _standing(encoder):
            page.line(f"  {'':<12}   {standing}", indent=_INDENT + 3)


def _standing(encoder: EncoderSummary) -> list[str]:
    """Return how one of several VQ encoders stands to the others."""
    lines = [f"the same bytes as {', '.join(encoder.aliases)}"] if encoder.aliases else []
    if encoder.against:
        standing = STANDING.get(encoder.relation, "is not the same as")
        lines.append(f"{standing} '{encoder.against}'")
    return lines


def _facts(inspection: Inspection, *, verbose: bool) -> list[tuple[Span, ...]]:
    model, training = inspection.model, inspection.training
    place = f", state dict under '{inspection.container}'" if inspection.container else ""
    header = f", header overwritten with code {inspection.header_code}" if inspection.header_code else ""
    kind = f"GPT-SoVITS {model.version} {model.kind}".replace("  ", " ") if model.kind != "unknown" else "unknown"
    facts: list[tuple[Span, ...]] = [
        ("verdict", verdict(inspection.verdict)),
        ("format", f"{inspection.format}{place}{header}"),
    ]
    if model.kind != "unknown" or inspection.vq_encoder is None:
        facts.append(("model", kind, (f"  ({model.evidence})", "dim")))
    if model.base:
        facts.append(("base model", f"{model.base}, as published (by its first 8 KiB)"))
    facts.append(
        (
            "precision",
            ", ".join(f"{count} tensor{'' if count == 1 else 's'} {dtype}" for dtype, count in inspection.precision),
        )
    )
    if inspection.record.kind is not FileKind.UNKNOWN:
        facts.append(("kind", _KIND[inspection.record.kind]))
    progress = [
        f"info '{training.info}'" if training.info else "",
        f"epoch {training.epoch}" if training.epoch is not None else "",
        f"step {training.steps}" if training.steps is not None else "",
    ]
    if any(progress):
        facts.append(("training", ", ".join(filter(None, progress))))
    if model.lacks:
        facts.append(("not stored", model.lacks))
    if inspection.other_containers:
        names = ", ".join(inspection.other_containers)
        facts.append(("also holds", f"further state dicts, without a VQ encoder: {names}"))
    for copy in inspection.unreadable:
        why = f"copy '{copy.name}' cannot be read ({copy.why}); --copy chooses another"
        facts.append(("undecided", (why, "bold red")))
    if verbose and inspection.classes:
        facts.append(("runs code", f"when loaded with weights_only=False: {_listed(inspection.classes)}"))
    if inspection.why_none:
        facts.append(("VQ encoder", (f"none: this file {inspection.why_none}", "yellow")))
    return facts
