"""`vqcheck diff` as a page: the verdict, why, what it does, what to do, which codes moved, and every tensor."""

from vqcheck.codebook.comparison import FAULTS, OTHER_SHAPE, TOKENS, Comparison, Side, TensorDiff
from vqcheck.codebook.diagnosis.result import Diagnosis
from vqcheck.report.html.code_changes import sections as code_changes
from vqcheck.report.html.effect import effect
from vqcheck.report.html.markup import Element, Node, element
from vqcheck.report.html.page import page
from vqcheck.report.html.parts import bullets, code, facts, fitting, path, pill, section, table
from vqcheck.report.views import copies
from vqcheck.report.words import diff as words
from vqcheck.report.words.causes import evidence
from vqcheck.report.words.caveats import remarks, warnings


def document(comparison: Comparison) -> str:
    """Return the report on a comparison as one page."""
    diagnoses = [each for each in (comparison.diagnosis, *comparison.further) if each]
    return page(
        "diff",
        comparison.exit_code,
        comparison.verdict,
        words.headline(comparison),
        _compared(comparison),
        *(part for each in diagnoses for part in _diagnosis(each, copies.of_which(each, comparison))),
        *code_changes(diagnoses),
        _tensors(comparison),
        lead=_warnings(comparison),
    )


def _warnings(comparison: Comparison) -> Node:
    lines = warnings(comparison)
    return bullets((element("b", line) for line in lines), "more warnings") if lines else None


def _compared(comparison: Comparison) -> Element:
    trained = comparison.diagnosis.training if comparison.diagnosis else (None, None)
    parts: list[Node] = []
    for letter, side, training in zip("AB", (comparison.a, comparison.b), trained, strict=True):
        where = None
        if training and (training.epoch is not None or training.steps is not None):
            told = (("epoch", training.epoch), ("step", training.steps))
            where = ", ".join(f"{name} {value}" for name, value in told if value is not None)
        parts.append(
            element(
                "div",
                element("h3", f"File {letter}"),
                facts(
                    ("Path", path(side.path)),
                    ("Codec", side.family),
                    ("Digest", _digest(side)),
                    ("Names begin with", code(side.prefix) if side.prefix else None),
                    ("Written at", where),
                    ("Its own note", code(training.info) if training and training.info else None),
                    ("Codebook", "never trained" if side.never_trained else None),
                ),
            )
        )
    scope = "bookkeeping is shown but not judged" if comparison.scope == TOKENS else None
    others = [*copies.told(comparison), *remarks(comparison)]
    return section(
        "What was compared",
        element("div", *parts, class_="pair"),
        facts(("Scope", scope)) if scope else None,
        bullets(others, "more") if others else None,
    )


def _digest(side: Side) -> Element:
    whole, what = words.whole(side)
    return element("span", f"{what} ", code(str(whole)))


def _diagnosis(diagnosis: Diagnosis, which: str) -> tuple[Node, ...]:
    """Return evidence, consequence and advice; `which` names the codec or the copy where there are several."""
    of = f" ({which})" if which else ""
    # What holds for all codebooks is said once.
    found = dict.fromkeys(line for cause in diagnosis.causes for line in evidence(cause, diagnosis))
    lines, left = fitting([*found], lambda line: element("li", *map(element, ("b", "span"), line)), 4_500)
    more = element("p", f"{left} more findings are not shown.", class_="more") if left else None
    advice = [each.text for each in diagnosis.advice]
    return (
        section(f"What happened{of}", element("ul", *lines, class_="evidence"), more) if lines else None,
        effect(diagnosis, of),
        section(f"What to do{of}", bullets(advice, "more")) if advice else None,
    )


def _tensors(comparison: Comparison) -> Element:
    """Return every tensor, those at fault first where not all have room."""
    order = sorted(comparison.tensors, key=lambda diff: diff.verdict not in FAULTS)
    head = ("Tensor", "Verdict", "Rows changed", "How far", "Digest in A", "Digest in B")
    looks = ("k", "k", "n", "w", "k", "k")
    caption = "Every tensor of the VQ encoder. A row is a code, or an output channel of a projection."
    rows = [_tensor(diff) for diff in order]
    return section("Tensors", table("tensors", caption, head, rows, looks, left_out="tensors are", most=18_000))


def _tensor(diff: TensorDiff) -> tuple[Node, ...]:
    rows = ""
    if diff.change and diff.change.rows > 1:
        rows = f"{diff.change.rows_changed} of {diff.change.rows}"
    said = [diff.note] if diff.note else []
    if diff.verdict == OTHER_SHAPE:
        said.append(f"A is {list(diff.a_shape)}, B is {list(diff.b_shape)}")
    if diff.change:
        said.append(words.size(diff.change))
    if not diff.judged:
        said.append("not judged")
    tone = "bad" if diff.verdict in FAULTS and diff.judged else "quiet" if not diff.judged else "good"
    digests = (code(each.short) if each else "-" for each in (diff.a_digest, diff.b_digest))
    return (code(diff.label), pill(diff.verdict, tone), rows, "; ".join(said), *digests)
