"""Results as tables for people."""

from results import MIB, SECONDS, Answer, Figure, Measured
from rich.table import Table


def figures_table(figures: list[Figure]) -> Table:
    """Return one row for each rival of each figure."""
    table = Table(title="Medians with half the distance between the quartiles; a ratio above 1 is in vqcheck's favour")
    for name in ("benchmark", "figure", "vqcheck", "against", "its value", "ratio", "floor", "its value", "x floor"):
        table.add_column(name, justify="right" if name in ("vqcheck", "its value", "ratio", "x floor") else "left")
    shown = ("", "")
    for figure in figures:
        names = (figure.benchmark, figure.name)
        if figure.benchmark != shown[0] and shown[0]:
            table.add_section()
        first = [name if names[: place + 1] != shown[: place + 1] else "" for place, name in enumerate(names)]
        first.append(value(figure.ours, figure.unit))
        floor = ["", "", ""]
        if figure.floor is not None:
            floor = [figure.floor.label, value(figure.floor, figure.unit), f"{figure.times_floor:.2f}"]
        rivals = [[rival.label, value(rival, figure.unit), f"{figure.ratio(rival):.3g}"] for rival in figure.rivals]
        for rival in rivals or [["", "", ""]]:
            table.add_row(*first, *rival, *floor)
            first, floor = ["", "", ""], ["", "", ""]
        shown = names
    return table


def answers_table(answers: list[Answer]) -> Table:
    """Return one row for each case and one column for each tool; a wrong answer is marked."""
    tools = list(dict.fromkeys(answer.tool for answer in answers))
    table = Table(title="What each tool says of the VQ encoder; a wrong answer stands in (brackets)")
    table.add_column("case")
    table.add_column("truth")
    for tool in tools:
        table.add_column(tool)
    for case in dict.fromkeys(answer.case for answer in answers):
        row = {answer.tool: answer for answer in answers if answer.case == case}
        expected = next(iter(row.values())).expected
        table.add_row(case, expected, *(said(row[tool]) for tool in tools))
    right = [sum(answer.right for answer in answers if answer.tool == tool) for tool in tools]
    cases = len(answers) // len(tools)
    table.add_section()
    table.add_row("right", "", *(f"{count} of {cases}" for count in right))
    return table


def said(answer: Answer) -> str:
    return answer.said if answer.right else f"[red]({answer.said})[/red]"


def value(measured: Measured, unit: str) -> str:
    """Return a median and half the distance between the quartiles, in a unit that suits it."""
    low, high = measured.quartiles
    median, spread = measured.median, (high - low) / 2
    if unit == SECONDS and median < 1:
        return f"{1000 * median:.1f} ±{1000 * spread:.1f} ms"
    if unit == SECONDS:
        return f"{median:.2f} ±{spread:.2f} s"
    return f"{median:.1f} ±{spread:.1f} {unit}" if unit == MIB else f"{median:.0f} ±{spread:.0f} {unit}"
