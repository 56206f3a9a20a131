"""Results as JSON: every sample, so that anybody can judge the scatter."""

from results import Answer, Figure, Measured, Result


def document(results: list[Result], around: dict) -> dict:
    """Return the results with what stands around them: date, machine, versions."""
    return {
        "schema": "vqcheck-benchmarks/1",
        **around,
        "figures": [figure(each) for each in results if isinstance(each, Figure)],
        "answers": [answer(each) for each in results if isinstance(each, Answer)],
    }


def figure(each: Figure) -> dict:
    return {
        "benchmark": each.benchmark,
        "name": each.name,
        "unit": each.unit,
        "better": "more" if each.more_is_better else "less",
        "vqcheck": measured(each.ours),
        "rivals": [measured(rival) | {"ratio": each.ratio(rival)} for rival in each.rivals],
        "floor": None if each.floor is None else measured(each.floor) | {"times": each.times_floor},
        "note": each.note,
    }


def measured(each: Measured) -> dict:
    low, high = each.quartiles
    return {"label": each.label, "median": each.median, "quartiles": [low, high], "samples": list(each.samples)}


def answer(each: Answer) -> dict:
    return {
        "case": each.case,
        "tool": each.tool,
        "expected": each.expected,
        "said": each.said,
        "right": each.right,
        "note": each.note,
    }
