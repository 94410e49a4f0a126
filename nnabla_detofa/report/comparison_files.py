"""Files of a comparison: a page, a table and a picture (Fig. 5; the page is an addition)."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..search import pareto_front
from ..storage.files import refused, write_bytes
from ..storage.tables import as_csv
from . import figures
from .compared_methods import Estimate, read_methods
from .comparison import NOTHING, Comparison

FILES = ("comparison.html", "comparison.csv", "comparison.png")
STYLE = """body { font: 1rem/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem }
h1 { font-size: 1.6rem; line-height: 1.2 } p { max-width: 42rem; margin: .5rem 0 }
div { overflow-x: auto; margin: 1.5rem 0 } table { border-collapse: collapse; white-space: nowrap; font-size: .9em }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; padding-left: 0;
  min-width: 5.5em; max-width: 9em; white-space: normal; overflow-wrap: break-word }
img { width: 100%; max-width: 40rem; height: auto; display: block }
@page { size: landscape }
@media print { body { margin: 0; max-width: none; font-size: 9pt } div { overflow: visible; font-size: 8pt }
  img { max-width: 11cm } div, img { break-inside: avoid } th, td { padding: .2em .5em } }"""


def compare(given: Sequence[str], out: Path) -> Iterator[str]:
    """Compare the runs, leave the files in `out`, and return the lines for the user; DetOFAError where they do not
    compare. Nothing is trained or measured."""
    comparison = Comparison(*read_methods(given))
    lines, records = list(text_of(comparison)), comparison.records()
    figure = picture(comparison)
    table = as_csv(records, records[0]).encode()
    contents = (page(comparison, figures.as_uri(figure)).encode(), table, figures.as_png(figure))
    with refused(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, content in zip(FILES, contents, strict=True):
        write_bytes(out / name, content)
    return iter([*lines, f"{out}: {', '.join(FILES)}"])


def text_of(comparison: Comparison) -> Iterator[str]:
    """Remarks and tables, of aligned columns that Markdown reads too."""
    yield from comparison.remarks
    for rows in comparison.tables():
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        heading, *others = ["| " + " | ".join(_aligned(row, widths)) + " |" for row in rows]
        rule = "|".join("-" * (width + 1) + ("-" if i == 0 else ":") for i, width in enumerate(widths))
        yield from ("", heading, f"|{rule}|", *others)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [f"{cell:{'<' if i == 0 else '>'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))]


def page(comparison: Comparison, uri: str) -> str:
    """One HTML file without links: the picture at `uri`, remarks and tables."""
    title = f"{len(comparison.methods)} methods compared"
    remarks = "\n".join(f"<p>{escape(one)}</p>" for one in comparison.remarks)
    image = f'<img alt="AP over cost" src="{uri}">'
    tables = "\n".join(f"<div><table>\n{_rows(rows)}\n</table></div>" for rows in comparison.tables())
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f"{image}\n{remarks}\n{tables}\n</body>\n</html>\n"
    )


def _rows(rows: Sequence[Sequence[str]]) -> str:
    kinds = ["th", *["td"] * (len(rows) - 1)]
    return "\n".join(
        "<tr>" + "".join(f"<{kind}>{escape(cell).replace(' [', '<br>[')}</{kind}>" for cell in row) + "</tr>"
        for kind, row in zip(kinds, rows, strict=True)
    )


def picture(comparison: Comparison) -> Figure:
    """AP over cost: of each method a line through its front, and hollow what that dominates, with intervals; a method
    of one detector is a dashed line at its AP."""
    methods = []
    for i, (method, (found, costs)) in enumerate(zip(comparison.methods, comparison.points, strict=True)):
        rows = slice(-1) if method.searched else slice(-1, None)
        points = _points(Estimate(*(one[rows] for one in found)), costs[rows] / 1e6)
        methods.append({"label": _label(comparison, i), "points": points, "alone": not method.searched})
    task, budgets = comparison.task, [budget / 1e6 for budget in comparison.budgets]
    return figures.fronts(methods, budgets=budgets, cost=f"millions of {task['unit']}", metric=task["metric"])


def _points(found: Estimate, costs: np.ndarray) -> list[dict[str, Any]]:
    """What is known of AP at these costs, as a figure takes it."""
    value, low, high = found
    known = np.flatnonzero(~np.isnan(value))
    front = known[pareto_front(costs[known], value[known])]
    return [
        {
            "cost": costs[i],
            "ap": value[i],
            "on_front": i in front,
            "ap_interval": None if np.isnan(low[i]) else (low[i], high[i]),
        }
        for i in known
    ]


def _label(comparison: Comparison, i: int) -> str:
    """A method's name with what it has of its own, a line each."""
    name, n = comparison.methods[i].name, len(comparison.methods[i].runs)
    own = [f"{setting}: {values[i]}" for setting, values in comparison.settings[:2] if values[i] != NOTHING]
    return "\n".join([name + (f" ({n} runs)" if n > 1 else ""), *own])
