"""Writes figures into documents: Markdown tables between two markers, and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
PLOT = DOCUMENT.with_name("performance.svg")


class Sample(Protocol):
    """What a server holds after so many requests."""

    requests: int
    memory: float
    files: int
    connections: int


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers stand at the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if value != value:  # not a number: not measured
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def put(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Put the text between the document's markers of that name, which are added at its end if they are missing."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = document.read_text()
    if begin not in old:
        old = f"{old.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = old.partition(begin)
    document.write_text(f"{before}{begin}\n{text.strip()}\n{end}{rest.partition(end)[2]}")


def curves(samples: Sequence[Sample], path: Path) -> None:
    """What a server held over the requests that it had answered: a panel for each measure, from nothing upwards."""
    pyplot = _pyplot()
    panels = {"memory": "memory, MiB (PSS)", "files": "open files", "connections": "database connections"}
    figure, axes = pyplot.subplots(len(panels), figsize=(8, 6), layout="constrained", sharex=True)
    for (name, title), each in zip(panels.items(), axes, strict=True):
        each.plot([sample.requests for sample in samples], [getattr(sample, name) for sample in samples])
        each.set_ylim(bottom=0)
        each.set_ylabel(title, fontsize=8)
    axes[-1].set_xlabel("requests answered")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _pyplot() -> ModuleType:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "todo-api"  # the same figures make the same file
    from matplotlib import pyplot

    return pyplot


def plot(costs: Mapping[str, Mapping[str, float]], path: Path = PLOT) -> None:
    """Bars of CPU time per request: one group per kind, one bar per subject."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    kinds = list(next(iter(costs.values())))
    width = 0.8 / len(costs)
    for place, (subject, figures) in enumerate(costs.items()):
        places = [kind + width * (place - (len(costs) - 1) / 2) for kind in range(len(kinds))]
        bars = axes.bar(places, [figures[kind] for kind in kinds], width, label=subject)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_yscale("log")
    axes.set_ylabel("CPU µs per request, server + PostgreSQL")
    axes.legend(loc="upper left", fontsize=8)
    axes.margins(y=0.25)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
