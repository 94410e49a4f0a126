"""What a finished run leaves for its user: the Pareto table, its picture, the summary (Section 4.2, Fig. 5)."""

import csv
import json
import logging
from io import BytesIO, StringIO

import numpy as np

from ..space import CostModel, SearchSpace
from .files import write_bytes, write_text
from .run_folder import RunFolder

COLUMNS = ("budget", "flops", "score", "ap", "genotype")
# what a million units of each cost are called, in a table and at an axis
MILLIONS = {
    "flops": ("MMAC", "MACs of the detector (millions)"),
    "parameters": ("Mval", "parameters of the detector (millions)"),
    "memory": ("MB", "peak memory of one image's maps (MB)"),
    "latency": ("ms", "latency of the detector (ms)"),
}


def write_pareto(
    folder: RunFolder,
    space: SearchSpace,
    pareto: list[dict],
    largest: dict,
    *,
    front: np.ndarray,
    metric: str,
    cost: CostModel,
) -> None:
    """`pareto.csv` and `pareto.png`, each whole or not at all; every row has budget, flops, score, ap and path.

    Where the cost is not FLOPs every row has it too, and the table says its unit.

    `front` (k,) holds, by ascending cost, which of the rows and, behind them, the largest path no other one dominates.
    """
    table = StringIO(newline="")
    columns = COLUMNS if cost.name == "flops" else ("budget", "flops", "cost", "unit", *COLUMNS[2:])
    writer = csv.DictWriter(table, columns, extrasaction="ignore")
    writer.writeheader()
    for row in pareto:
        genotype = space.genotype(np.array(row["path"], np.int8))
        writer.writerow({**row, "unit": cost.unit, "genotype": json.dumps(genotype)})
    write_text(folder / "pareto.csv", table.getvalue())
    write_bytes(folder / "pareto.png", _picture(pareto, largest, front, metric, cost.name))


def _picture(pareto: list[dict], largest: dict, front: np.ndarray, metric: str, cost: str) -> bytes:
    """AP over cost as PNG: a line through the front, and fainter what it dominates."""
    points = np.array([[one.get("cost", one["flops"]) / 1e6, 100 * one["ap"]] for one in (*pareto, largest)])
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # it tells of its cache as it is imported
    from matplotlib.figure import Figure  # not pyplot, which would ask for a screen, or take a notebook's

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for row in pareto:
        axes.axvline(row["budget"] / 1e6, color="0.85", linewidth=1)
    axes.plot(*points[front].T, "o-", color="C0", label="Pareto front")
    axes.plot(*np.delete(points, front, axis=0).T, "o", color="C0", alpha=0.3, label="dominated")
    axes.plot(*points[-1], "s", color="C1", fillstyle="none", markersize=10, label=largest["name"])
    axes.set(xlabel=f"{MILLIONS[cost][1]}; budgets in grey", ylabel=f"AP (%), {metric}")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def pareto_table(summary: dict) -> str:
    """The found detectors as lines of text, with FLOPs and with the cost where that is another."""
    unit, _ = MILLIONS[summary.get("cost", {"name": "flops"})["name"]]
    keys = {"flops": "MMAC"} if unit == "MMAC" else {"cost": unit, "flops": "MMAC"}
    titles = " ".join(f"{title:>9}" for title in keys.values())
    largest = summary["largest"]
    width = max(14, len(largest["name"]))
    lines = [f"{f'budget ({unit})':>{width}} {titles} {'score':>7} {'AP (%)':>7}"]
    for row in (*summary["pareto"], largest):
        first = f"{_millions(row['budget']) if 'budget' in row else largest['name']:>{width}}"
        costs = " ".join(f"{_millions(row[key]):>9}" for key in keys)
        score = f"{'':>7}" if row.get("score") is None else f"{row['score']:7.3f}"
        lines.append(f"{first} {costs} {score} {100 * row['ap']:7.2f}")
    return "\n".join(lines)


def largest_path(*, pruned: bool) -> str:
    """The largest path's name: where operations left the space, not its largest but that of what is left."""
    return "largest path of the pruned space" if pruned else "largest path"


def pruning_line(summary: dict) -> str:
    """The line on path pruning: the share of draws that it rejected, and the time that it took."""
    shares = [summary["path_pruning_share"], summary["rejected_share"], *summary["rejected_share_per_bucket"]]
    time, in_all, *per_bucket = ["–" if share is None else f"{100 * share:.3g}" for share in shares]
    return (
        f"path pruning rejected {in_all} % of the draws ({summary['sampler']}; in the buckets"
        f" {' / '.join(per_bucket)} %); drawing and scoring them took {time} % of the fine-tuning stage"
    )


def _millions(value: float) -> str:
    return f"{value / 1e6:.1f}" if value >= 1e7 else f"{value / 1e6:.3g}"


def quality_table(quality: dict) -> str:
    """How path filter, FLOPs alone and ridge regression rank unseen paths, as lines of text."""
    lines = ["ranking of held-out measured paths, inside a bucket: Kendall tau / precision on the weakest 25 %"]
    for images in [key for key in quality if key != "filter"]:
        rows = quality[images].items()
        cells = [
            f"{name} {_figure(row['kendall_tau'], '+.2f')} / {_figure(row['precision'], '.2f')}" for name, row in rows
        ]
        lines.append(f"  {images.replace('_', ' ')}: {', '.join(cells)}")
    return "\n".join(lines)


def _figure(value: float | None, form: str) -> str:
    """A figure of ranking quality, which is not defined where no bucket has two paths of different loss to rank."""
    return "undefined" if value is None else format(value, form)
