"""Figures of a run: all that is given is shown, in colours that eyes and printers tell apart."""

import base64

import numpy as np
import pytest

from nnabla_detofa.report import figures

WHITE = "#FFFFFF"
AXES = {"cost": "ms", "metric": "voc07"}


def luminance(color):
    """Relative, as the WCAG define it."""
    shares = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(*colors):
    low, high = sorted(map(luminance, colors))
    return (high + 0.05) / (low + 0.05)


def seen_without_green(color):
    """By deuteranopes: linear RGB by the matrix of Viénot, Brettel and Mollon (1999)."""
    linear = (np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255) ** 2.2
    return np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]) @ linear


def test_colours_stand_out_from_paper_and_from_each_other():
    assert min(contrast(color, WHITE) for color in (figures.FIRST, figures.SECOND, *figures.OTHERS)) >= 4.5
    first, second = map(seen_without_green, (figures.FIRST, figures.SECOND))
    assert np.abs(first - second).max() > 0.3


def test_gains_lie_beside_their_methods_and_wide_intervals_are_cut():
    found = {"test": {"ours": (2, 1, 3), "one run": (-1, np.nan, np.nan)}, "held out": {"ours": (1, -40, 42)}}
    figure = figures.gains(found, over="OFA")
    (axes,) = figure.axes
    assert axes.get_xlim() == (-4, 4) and "OFA" in axes.get_xlabel()
    assert [one.get_text() for one in axes.get_yticklabels()] == ["ours", "one run"]
    _, test, held_out = axes.lines
    assert test.get_xdata().tolist() == [2, -1] and held_out.get_xdata().tolist() == [1]
    rows = np.concatenate([test.get_ydata(), held_out.get_ydata()])
    assert np.rint(rows).tolist() == [0, 1, 0] and rows[0] != rows[2]
    assert figure.legends[0].get_texts()[1].get_text() == "held out"


@pytest.fixture
def points():
    rows = [(1.0, 0.1, True), (2.0, 0.05, False), (3.0, 0.3, True)]
    return [{"cost": cost, "ap": ap, "on_front": best} for cost, ap, best in rows]


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_front_is_a_line_through_the_best(points):
    points[0]["ap_interval"], points[2]["name"] = [0.05, 0.2], "largest"
    figure = figures.front(points, budgets=[1.5, 2.5], **AXES)
    (axes,) = figure.axes
    front, dominated, largest, *budgets = axes.lines
    assert [line.get_xdata()[0] for line in budgets] == [1.5, 2.5]
    assert front.get_xydata().tolist() == [[1, 10], [3, 30]] and dominated.get_xydata().tolist() == [[2, 5]]
    assert largest.get_xydata().tolist() == [[3, 30]]
    assert [part[:, 1].tolist() for part in axes.collections[0].get_segments()] == [[5, 20]]
    assert labels(figure) == ["95 % interval", "Pareto front", "dominated", "largest"]
    assert "ms" in axes.get_xlabel() and "voc07" in axes.get_ylabel()


def test_fronts_of_many_methods_are_told_apart_and_keep_their_names(points):
    methods = [{"label": f"{number} 検 $x_1$", "points": points} for number in range(12)]
    figure = figures.fronts([*methods, {"label": "alone", "points": points[:1], "alone": True}], budgets=[], **AXES)
    (axes,) = figure.axes
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert len(labels(figure)) == len(lines) == 13
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 13
    assert lines[-1].get_ydata() == [10, 10]
    assert figures.as_png(figure).startswith(b"\x89PNG")


def test_operations_are_cells_and_marks():
    keys = ("stage", "layer", "width", "score", "kept", "reason")
    rows = [
        ("0", "0", "1", "0.2", "True", ""),
        ("0", "0", "0.5", "0.8", "False", "a"),
        ("1", "0", "1", "0.4", "True", "kept"),
    ]
    operations = [dict(zip(keys, one, strict=True)) for one in rows]
    axes = figures.operation_scores(operations).axes[0]
    scores = axes.images[-1].get_array().filled(np.nan)
    np.testing.assert_array_equal(scores, [[0.8, np.nan], [0.2, 0.4]])
    marks = [(line.get_marker(), *line.get_xydata()[0]) for line in axes.lines]
    assert marks == [("x", 0, 0), ("o", 1, 1)]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1.1", "2.1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.5", "1"]
    assert len(figures.operation_scores([{**one, "score": ""} for one in operations]).axes) == 1  # no bar of colours
    lacking = [{**one, "width": ""} if one["width"] == "0.5" else one for one in operations]
    assert [text.get_text() for text in figures.operation_scores(lacking).axes[0].get_yticklabels()] == ["–", "1"]


def test_losses_are_beside_the_edges_of_buckets():
    tables = {"before": (np.array([1.0, 2.0]), np.array([3.0, 4.0])), "after": (np.array([1.0]), np.array([2.0]))}
    figure = figures.path_losses(tables, edges=[0, 1, 2], cost="ms")
    assert [axes.collections[0].get_offsets().tolist() for axes in figure.axes] == [[[1, 3], [2, 4]], [[1, 2]]]
    assert all(len(axes.lines) == 3 for axes in figure.axes)
    assert len(figures.path_losses({"one": tables["after"]}, edges=[], cost="ms").axes) == 1


def test_curves_of_a_name_share_axes():
    curves = {
        "loss": {"warmup": [(1, 2.0)], "finetune": [(2, 1.0), (3, 0.5)]},
        "size": {"warmup": [(1, 1.0)]},
        "rate": {},
    }
    figure = figures.training_curves(curves)
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 0]
    assert figure.axes[0].lines[1].get_xydata().tolist() == [[2, 1], [3, 0.5]]
    assert labels(figure) == ["warmup", "finetune"]


def test_what_is_not_defined_is_not_drawn():
    figure = figures.ranking_quality({"same": {"a": {"kendall_tau": 0.5}, "b": {"kendall_tau": None}}})
    assert figure.axes[0].lines[-1].get_xydata().tolist() == [[0.5, 0]]


def test_equal_figures_are_equal_pictures(points):
    own = {"budgets": [], "cost": "ms", "metric": "voc"}
    first, second = (figures.as_uri(figures.front(points, **own)) for _ in range(2))
    assert first == second
    kind, _, content = first.partition(",")
    assert kind == "data:image/svg+xml;base64" and b"</svg>" in base64.b64decode(content)


def test_seconds_stand_behind_each_other():
    figure = figures.stacked_seconds({"a": {"one": 1.0, "two": 2.0}, "b": {"two": 4.0}})
    (axes,) = figure.axes
    bars = [[(bar.get_x(), bar.get_width()) for bar in part] for part in axes.containers]
    assert bars == [[(0, 1), (0, 0)], [(1, 2), (0, 4)]]
    assert labels(figure) == ["one", "two"] and [one.get_text() for one in axes.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize("one_scale", [False, True])
def test_losses_that_are_to_be_compared_are_on_one_scale(one_scale):
    tables = {name: (np.arange(3.0), loss + np.arange(3.0)) for name, loss in (("a", 0.0), ("b", 10.0))}
    figure = figures.path_losses(tables, edges=[1.0], cost="ms", one_scale=one_scale)
    first, second = (axes.get_ylim() for axes in figure.axes)
    assert (first == second) == one_scale
