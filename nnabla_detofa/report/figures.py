"""Figures of a run: data in, a Matplotlib figure out (Section 4.2, Fig. 5 to 7).

They are small and their letters large, so that a phone shows them whole; colours are told apart by eyes that see no red
or green, stand out from white paper, and differ in lightness where a printer has no colours.
"""

import base64
import logging
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from ..figure_names import figure_name

logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # it tells of its cache as it is imported
import matplotlib as mpl  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402 - not pyplot, which asks for a screen, or takes a notebook's
from matplotlib.lines import Line2D  # noqa: E402

FIRST, SECOND, QUIET = "#0072B2", "#B34700", "#595959"  # two kinds of data, and what is beside them
OTHERS = ("#007A5A", "#A0417A", QUIET)  # further kinds, of one picture alone
MARKS = "osD^vPX"  # tell more kinds apart than there are colours
SCORES = "cividis"  # dark is low
WIDTH = 4.8  # inches
MOST_VECTORS = 2000  # points that are drawn as such
NOT_CHOICES = ("stage", "layer", "flops", "score", "bucket", "kept", "reason", "cost", "near_threshold")
LACKING = -1.0  # in the place of a value that an operation does not have
Curve = Sequence[tuple[int, float]]  # steps and values


def front(points: Sequence[Mapping[str, Any]], *, budgets: Sequence[float], cost: str, metric: str) -> Figure:
    """AP over cost with intervals, a line through the front, budgets as lines (Fig. 5).

    Each of the points has `cost` (in the axis' units), `ap` (0–1), `on_front`, and perhaps `ap_interval` and `name`.
    """
    figure, axes = _figure(3.3)
    _draw_front(axes, points, color=FIRST, labels=("95 % interval", "Pareto front", "dominated"))
    for one in points:
        if one.get("name"):
            place, label = (one["cost"], 100 * one["ap"]), textwrap.fill(one["name"], 20)
            axes.plot(*place, "s", color=SECOND, fillstyle="none", markersize=10, label=label)
    _finish_front(figure, axes, budgets, cost, metric)
    return figure


def fronts(methods: Sequence[Mapping[str, Any]], *, budgets: Sequence[float], cost: str, metric: str) -> Figure:
    """Fronts of methods over each other, as `front` draws one (Fig. 5).

    Each has a `label` and `points`; one whose single point is no answer to a budget, `alone`, is a dashed line.
    """
    labels = [_unmarked(one["label"]) for one in methods]
    figure, axes = _figure(3.1 + 0.08 * sum(len(label.splitlines()) for label in labels))
    for number, (one, label) in enumerate(zip(methods, labels, strict=True)):
        colors = (*_colors(), *OTHERS)
        color, mark = colors[number % len(colors)], MARKS[number % len(MARKS)]
        if one.get("alone"):
            axes.axhline(100 * one["points"][0]["ap"], linestyle="--", color=color, label=label)
        else:
            _draw_front(axes, one["points"], color=color, mark=mark, labels=("", label, ""))
    _finish_front(figure, axes, budgets, cost, metric)
    return figure


def _draw_front(
    axes: Axes, points: Sequence[Mapping[str, Any]], *, color: str, mark: str = "o", labels: tuple[str, str, str]
) -> None:
    """A line through the front, hollow what it dominates, and intervals; `labels` are of intervals, line and rest."""
    at = np.array([[one["cost"], 100 * one["ap"]] for one in points]).reshape(-1, 2)
    best = np.array([bool(one["on_front"]) for one in points], bool)
    ends = [(one["cost"], *(100 * end for end in one["ap_interval"])) for one in points if one.get("ap_interval")]
    intervals, line, rest = labels
    if ends:
        x, low, high = zip(*dict.fromkeys(ends), strict=True)  # rows may be of one detector
        axes.vlines(x, low, high, color=color, alpha=0.6, linewidth=1.5, label=intervals)
    order = np.argsort(at[best, 0], kind="stable")
    axes.plot(*at[best][order].T, f"{mark}-", color=color, label=line)
    if not best.all():
        axes.plot(*at[~best].T, mark, color=color, fillstyle="none", label=rest)


def _finish_front(figure: Figure, axes: Axes, budgets: Sequence[float], cost: str, metric: str) -> None:
    for budget in budgets:
        axes.axvline(budget, color="0.8", linewidth=1, zorder=0)
    axes.set(xlabel=f"{cost}; budgets in grey", ylabel=f"{figure_name(metric)} (%), {metric}")
    axes.margins(x=0.06, y=0.12)
    _legend(figure, axes)


def operation_scores(operations: Sequence[Mapping[str, str]]) -> Figure:
    """Scores of operations by block and choice, with those that were pruned and those that a guard kept (Fig. 7).

    The operations are rows of `operations.csv`; without scores, as where chance chose, all cells are grey.
    """
    names = [name for name in operations[0] if name not in NOT_CHOICES]
    blocks = _distinct([(int(one["stage"]), int(one["layer"])) for one in operations])
    chosen = [tuple(float(one[name] or LACKING) for name in names) for one in operations]
    choices = _distinct(chosen)
    scores, marks = np.full((len(choices), len(blocks)), np.nan), []
    there = np.zeros(scores.shape, bool)
    for one, choice in zip(operations, chosen, strict=True):
        place = choices.index(choice), blocks.index((int(one["stage"]), int(one["layer"])))
        there[place], scores[place] = True, float(one["score"] or "nan")
        if one["kept"] != "True" or one["reason"]:
            marks.append((*place, "x" if one["kept"] != "True" else "o"))
    figure, axes = _figure(1.5 + 0.17 * len(choices))
    axes.imshow(np.where(there, 0.85, np.nan), cmap="gray", vmin=0, vmax=1, aspect="auto")
    image = axes.imshow(scores, cmap=SCORES, aspect="auto")
    for row, column, mark in marks:
        dark = bool(np.isfinite(scores[row, column]) and image.norm(scores[row, column]) < 0.5)
        axes.plot(column, row, mark, color="white" if dark else "black", fillstyle="none", markersize=5)
    axes.set_xticks(
        range(len(blocks)), [f"{stage + 1}.{layer + 1}" for stage, layer in blocks], fontsize=8, rotation=90
    )
    told = [" ".join("–" if value == LACKING else f"{value:g}" for value in one) for one in choices]
    axes.set_yticks(range(len(choices)), told, fontsize=7)
    axes.set(xlabel="block: stage.layer", ylabel=", ".join(names))
    if np.isfinite(scores).any():
        figure.colorbar(image, ax=axes, label="mean path score")
    kinds = {"x": "pruned", "o": "kept by a guard"}
    shown = [
        Line2D([], [], linestyle="", marker=mark, color="black", fillstyle="none", label=kinds[mark]) for mark in kinds
    ]
    figure.legend(handles=shown, loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def path_losses(
    tables: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    edges: Sequence[float],
    cost: str,
    value: str = "loss",
    one_scale: bool = False,
) -> Figure:
    """Losses of measured paths by cost, with the edges of the buckets (Fig. 6).

    `tables` has for each name (n,) costs, in the axis' units as the `edges` are, and (n,) losses, which are all on
    `one_scale` where they are to be compared.
    """
    figure, all_axes = _figure(2.2 * len(tables) + 0.4, len(tables), sharex=True, sharey=one_scale)
    for axes, (name, (costs, losses)), color in zip(np.atleast_1d(all_axes), tables.items(), _colors(), strict=False):
        for edge in edges:
            axes.axvline(edge, color="0.8", linewidth=1, zorder=0)
        axes.scatter(costs, losses, s=9, color=color, alpha=0.7, linewidths=0, rasterized=len(costs) > MOST_VECTORS)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylabel(value)
    axes.set_xlabel(f"{cost}; edges of buckets in grey")
    return figure


def training_curves(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Curves by name and, in each, by stage of training, over steps."""
    rows = -(-len(curves) // 2)
    figure, grid = _figure(1.7 * rows + 0.5, rows, min(2, len(curves)), sharex=True, squeeze=False)
    for axes in grid.flat[len(curves) :]:
        axes.remove()
    for axes, (name, stages) in zip(grid.flat, curves.items(), strict=False):
        for number, (stage, points) in enumerate(stages.items()):
            style = {"linestyle": ("-", "--", ":", "-.")[number // 2 % 4], "marker": "." if len(points) < 20 else ""}
            axes.plot(*zip(*points, strict=True), color=_colors()[number % 2], label=stage, **style)
        axes.set_title(name.replace("_", " "), fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
    figure.supxlabel("steps", fontsize=10)
    _legend(figure, *grid.flat[: len(curves)])
    return figure


def ranking_quality(quality: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> Figure:
    """Kendall tau of each ranker, by name, on each kind of images, by name; what is not defined is left out."""
    rankers = _distinct([name for rows in quality.values() for name in rows])
    figure, axes = _figure(1.0 + 0.35 * len(rankers))
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    for (images, rows), color, mark in zip(quality.items(), _colors(), "os", strict=False):
        known = [(tau, rankers.index(name)) for name, row in rows.items() if (tau := row["kendall_tau"]) is not None]
        axes.plot(
            [one[0] for one in known], [one[1] for one in known], mark, color=color, label=images.replace("_", " ")
        )
    axes.set_yticks(range(len(rankers)), rankers)
    axes.set(xlabel="Kendall tau inside a bucket", ylim=(len(rankers) - 0.5, -0.5))
    _legend(figure, axes)
    return figure


def gains(found: Mapping[str, Mapping[str, tuple[float, float, float]]], *, over: str) -> Figure:
    """Points of AP that methods, by name, gain over another, on each kind of images, by name.

    Each is a value and the ends of its interval, nan where they are not known; of intervals far wider than all values,
    as of two runs, the middle is shown.
    """
    methods = _distinct([method for own in found.values() for method in own])
    figure, axes = _figure(1.1 + 0.4 * len(methods))
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    for number, ((images, own), color, mark) in enumerate(zip(found.items(), _colors(), "os", strict=False)):
        rows = [methods.index(method) + 0.3 * (number / max(1, len(found) - 1) - 0.5) for method in own]
        values, low, high = zip(*own.values(), strict=True)
        axes.hlines(rows, low, high, color=color, alpha=0.6, linewidth=1.5)
        axes.plot(values, rows, mark, color=color, label=images)
    most = 2 * max(abs(value) for own in found.values() for value, _, _ in own.values()) or 1.0
    axes.set_yticks(range(len(methods)), [textwrap.fill(_unmarked(one), 20) for one in methods], fontsize=9)
    axes.set(xlabel=f"points of AP above {_unmarked(over)}", ylim=(len(methods) - 0.5, -0.5), xlim=(-most, most))
    _legend(figure, axes)
    return figure


def stacked_seconds(methods: Mapping[str, Mapping[str, float]]) -> Figure:
    """Seconds of the parts of methods' training, by name, behind each other (Table 3)."""
    figure, axes = _figure(1.2 + 0.35 * len(methods))
    end = np.zeros(len(methods))
    for number, part in enumerate(_distinct([part for parts in methods.values() for part in parts])):
        widths = np.array([parts.get(part, 0.0) for parts in methods.values()])
        axes.barh(range(len(methods)), widths, left=end, color=(*_colors(), *OTHERS)[number % 5], label=part)
        end += widths
    axes.set_yticks(range(len(methods)), [textwrap.fill(_unmarked(one), 20) for one in methods])
    axes.set(xlabel="seconds before the search", ylim=(len(methods) - 0.5, -0.5))
    _legend(figure, axes)
    return figure


def as_uri(figure: Figure) -> str:
    """The figure as a `data:` URI of an SVG, letters drawn as lines; equal figures are equal texts."""
    with mpl.rc_context({"svg.hashsalt": "detofa", "svg.fonttype": "path"}):
        content = _saved(figure, format="svg", dpi=150, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG, large enough for a slide."""
    return _saved(figure, format="png", dpi=200)


def _saved(figure: Figure, **options: Any) -> bytes:
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name that the font cannot write is in the table
        figure.savefig(content, **options)
    return content.getvalue()


def _unmarked(text: str) -> str:
    """Without mathematics in it."""
    return text.replace("$", r"\$")


def _figure(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for one in np.atleast_1d(axes).flat:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(figure: Figure, *axes: Axes) -> None:
    """Above the axes, each label once, where there is more than one."""
    handles = {label: one for each in axes for one, label in zip(*each.get_legend_handles_labels(), strict=True)}
    if len(handles) > 1:
        own = {"loc": "outside upper left", "ncols": 2, "frameon": False, "fontsize": 9}
        figure.legend(list(handles.values()), list(handles), **own)


def _colors() -> tuple[str, str]:
    return FIRST, SECOND


def _distinct(values: Sequence[Any]) -> list[Any]:
    """In order where they have one, or as they come."""
    return sorted(set(values)) if values and isinstance(values[0], tuple) else list(dict.fromkeys(values))
