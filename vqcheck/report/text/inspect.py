"""`vqcheck inspect` for people: what is in this file."""

from vqcheck.codebook.digest import F32V1
from vqcheck.codebook.health import Health
from vqcheck.codebook.inspection import EncoderSummary, Inspection
from vqcheck.report.text.page import Page, Span, Style, verdict

_INDENT = 14


def describe(inspection: Inspection, style: Style) -> str:
    """Return the description of one file."""
    page = Page(style)
    page.line((inspection.path, "bold"), indent=2)
    for name, *spans in _facts(inspection):
        page.line(f"  {name!s:<12}", *spans, indent=_INDENT)
    if inspection.vq_encoder:
        _encoder(page, inspection.vq_encoder, style)
    return page.text()


def _facts(inspection: Inspection) -> list[tuple[Span, ...]]:
    model, training = inspection.model, inspection.training
    place = f", state dict under '{inspection.container}'" if inspection.container else ""
    header = f", header overwritten with code {inspection.header_code}" if inspection.header_code else ""
    kind = f"GPT-SoVITS {model.version} {model.kind}".replace("  ", " ") if model.kind != "unknown" else "unknown"
    facts: list[tuple[Span, ...]] = [
        ("verdict", verdict(inspection.verdict)),
        ("format", f"{inspection.format}{place}{header}"),
        ("model", kind, (f"  ({model.evidence})", "dim")),
    ]
    if model.base:
        facts.append(("base model", f"{model.base}, as published (by its first 8 KiB)"))
    facts.append(("precision", ", ".join(f"{count} tensors {dtype}" for dtype, count in inspection.precision)))
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
        facts.append(("also holds", f"further state dicts, not used: {', '.join(inspection.other_containers)}"))
    if inspection.why_none:
        facts.append(("VQ encoder", (f"none: this file {inspection.why_none}", "yellow")))
    return facts


def _encoder(page: Page, encoder: EncoderSummary, style: Style) -> None:
    prefix = f", names begin with '{encoder.prefix}'" if encoder.prefix else ""
    count = len(encoder.codebooks)
    page.line(f"  {'VQ encoder':<12}{encoder.title}, {count} codebook{'s' * (count != 1)}{prefix}", indent=_INDENT)
    for also in encoder.also_found:
        page.line(f"  {'':<12}another one under '{also}' was not looked at", indent=_INDENT)
    for number, health in enumerate(encoder.codebooks):
        name = "health" if count == 1 else f"health {number}"
        page.line(f"  {name:<12}", *_health(health), indent=_INDENT)
    page.blank()
    width = max(len(tensor.label) for tensor in encoder.tensors)
    digests = dict(encoder.f32.tensors)
    for tensor in encoder.tensors:
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        page.line(
            f"    {tensor.label:<{width}}  {tensor.dtype:<9}  {shape:<12}  ",
            (_hex(digests[tensor.label], style), "dim"),
        )
    whole = (
        ("codebook", encoder.f32.codebook),
        ("projection", encoder.f32.projection),
        ("vq_encoder", encoder.f32.vq_encoder),
    )
    for name, digest in whole:
        if digest:
            page.line(f"    {name:<{width}}  {'':<9}  {'':<12}  ", (_hex(digest, style), "bold"))
    page.line((f"    digests are {F32V1}", "dim"))


def _hex(digest: object, style: Style) -> str:
    return str(getattr(digest, "hex" if style.verbose else "short"))


def _health(health: Health) -> list[Span]:
    parts: list[Span] = []
    if health.never_trained:
        why = "its codes are all zero" if health.all_zero else "its init flag is 0"
        parts.append((f"NEVER TRAINED ({why}); ", "bold red"))
    if health.not_finite:
        parts.append((f"{health.not_finite} values are NaN or infinite; ", "bold red"))
    words = [f"{health.codes} codes"]
    if health.unused is not None:
        words.append(f"{health.codes - health.unused} used")
    if health.dead is not None:
        words.append(f"{health.dead} dead (count below 2)")
    if health.rows_off is None:
        words.append("no bookkeeping stored")
    elif health.rows_off == 0:
        words.append("bookkeeping fits the codes")
    else:
        words.append(f"bookkeeping does not fit {health.rows_off} codes")
    parts.append(", ".join(words))
    return parts
