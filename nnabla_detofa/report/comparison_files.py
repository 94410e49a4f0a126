"""Files of a comparison: a page, a table and a picture (Fig. 5; the page is an addition)."""

import csv
import logging
import warnings
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from ..search import pareto_front
from ..storage.files import refused, write_bytes, write_text
from .compared_methods import read_methods
from .comparison import NOTHING, Comparison

FILES = ("comparison.html", "comparison.csv", "comparison.png")
STYLE = """body { font: 16px/1.5 sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
div { overflow-x: auto; margin: 1.5rem 0 } table { border-collapse: collapse; white-space: nowrap }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } img { max-width: 100%; height: auto }
@media print { body { margin: 0; max-width: none; font-size: 9px } div { overflow: visible } }"""


def compare(given: Sequence[str], out: Path) -> Iterator[str]:
    """Compare the runs, leave the files in `out`, and return the lines for the user; DetOFAError where they do not
    compare. Nothing is trained or measured."""
    comparison = Comparison(read_methods(given))
    lines = list(text_of(comparison))
    png = picture(comparison)
    with refused(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, content in zip(FILES, (page(comparison, png), table(comparison)), strict=False):
        write_text(out / name, content)
    write_bytes(out / FILES[-1], png)
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


def table(comparison: Comparison) -> str:
    """CSV of `Comparison.records`."""
    records, text = comparison.records(), StringIO(newline="")
    writer = csv.DictWriter(text, [*records[0]])
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def page(comparison: Comparison, png: bytes) -> str:
    """One HTML file without links: picture, remarks and tables."""
    title = f"{len(comparison.methods)} methods compared"
    remarks = "\n".join(f"<p>{escape(one)}</p>" for one in comparison.remarks)
    image = f'<img alt="AP over cost" src="data:image/png;base64,{b64encode(png).decode()}">'
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


def picture(comparison: Comparison) -> bytes:
    """AP over cost as PNG: of each method a line through its front and fainter what that dominates, with intervals; a
    method of one detector is a dashed line at its AP."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # it tells of its cache as it is imported
    from matplotlib.figure import Figure  # not pyplot, which would ask for a screen

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for budget in comparison.budgets:
        axes.axvline(budget / 1e6, color="0.9", linewidth=1, zorder=0)
    for i, (method, (found, costs)) in enumerate(zip(comparison.methods, comparison.points, strict=True)):
        style: dict[str, Any] = {"color": f"C{i % 10}", "label": _label(comparison, i)}
        if not method.searched:
            axes.axhline(100 * found.value[-1], linestyle="--", **style)
            continue
        cost, aps, low, high = (values[:-1] for values in (costs / 1e6, *(100 * one for one in found)))
        front = pareto_front(cost, aps)
        axes.plot(cost[front], aps[front], "o-", **style)
        axes.plot(np.delete(cost, front), np.delete(aps, front), "o", color=style["color"], alpha=0.3)
        axes.vlines(cost, low, high, color=style["color"], alpha=0.4)
    task = comparison.task
    axes.set(xlabel=f"millions of {task['unit']}; budgets in grey", ylabel=f"AP (%), {task['metric']}")
    axes.set_title(_unmarked(f"trained on {task['dataset']}"))
    figure.legend(loc="outside right upper", frameon=False, title="method")
    axes.spines[["top", "right"]].set_visible(False)
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name that the font cannot write is in the page
        figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _label(comparison: Comparison, i: int) -> str:
    """A method's name with what it has of its own, a line each."""
    name, n = comparison.methods[i].name, len(comparison.methods[i].runs)
    own = [f"{setting}: {values[i]}" for setting, values in comparison.settings[:2] if values[i] != NOTHING]
    return _unmarked("\n".join([name + (f" ({n} runs)" if n > 1 else ""), *own]))


def _unmarked(text: str) -> str:
    """Without mathematics in it."""
    return text.replace("$", r"\$")
