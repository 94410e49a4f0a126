"""The Pareto front as a table and as a picture (Section 4.2, Fig. 5)."""

import csv
import json
import logging
from collections.abc import Sequence
from io import BytesIO, StringIO

import numpy as np

from ..ranking import folders
from ..search import pareto_front
from ..search_stages import Detector
from ..space import CostModel, SearchSpace
from ..storage import Stages
from ..storage.files import write_bytes, write_text

COLUMNS = ("budget", "flops", "score", "ap", "ap_low", "ap_high", "on_front", "file", "genotype")
MILLIONS = {
    "flops": ("MMAC", "MACs of the detector (millions)"),
    "parameters": ("Mval", "parameters of the detector (millions)"),
    "memory": ("MB", "peak memory of one image's maps (MB)"),
    "latency": ("ms", "latency of the detector (ms)"),
}


def millions(cost: str) -> tuple[str, str]:
    """The name of a million units of a cost, in a table and at an axis."""
    return MILLIONS.get(cost, ("millions", f"{cost} of the detector (millions)"))


def write_pareto(
    folder: Stages, space: SearchSpace, detectors: Sequence[Detector], cost: CostModel, metric: str
) -> None:
    """`pareto.csv` of the found detectors, and `pareto.png` of them and the last, the largest path.

    Where the cost is not FLOPs every row has it too, and the table says its unit. `file` is the detector's folder.
    """
    table = StringIO(newline="")
    columns = COLUMNS if cost.name == "flops" else ("budget", "flops", "cost", "unit", *COLUMNS[2:])
    writer = csv.DictWriter(table, columns, extrasaction="ignore")
    writer.writeheader()
    for one, file in zip(detectors[:-1], folders(detectors), strict=False):
        ends = dict(zip(("ap_low", "ap_high"), one.ap_interval or (), strict=False))
        genotype = json.dumps(space.genotype(one.genes))
        writer.writerow({**one.to_dict(), **ends, "unit": cost.unit, "file": file, "genotype": genotype})
    write_text(folder / "pareto.csv", table.getvalue())
    costs = cost(np.array([one.path for one in detectors], np.int8))
    front = pareto_front(costs, np.array([one.ap for one in detectors]))
    write_bytes(folder / "pareto.png", picture(detectors, front, metric, cost.name))


def picture(detectors: Sequence[Detector], front: np.ndarray, metric: str, cost: str) -> bytes:
    """AP over cost as PNG, with its intervals: a line through the front, and fainter what it dominates.

    `front` holds, by ascending cost, which of the detectors no other one dominates; the last is the largest path.
    """
    costs = [one.flops if one.cost is None else one.cost for one in detectors]
    points = np.column_stack([np.array(costs) / 1e6, 100 * np.array([one.ap for one in detectors], float)])
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # it tells of its cache as it is imported
    from matplotlib.figure import Figure  # not pyplot, which would ask for a screen, or take a notebook's

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for budget in np.array([one.budget for one in detectors[:-1]], float):
        axes.axvline(budget / 1e6, color="0.85", linewidth=1)
    if spans := [(x, *one.ap_interval) for x, one in zip(points[:, 0], detectors, strict=True) if one.ap_interval]:
        at, low, high = np.array(spans).T
        axes.vlines(at, 100 * low, 100 * high, color="C0", alpha=0.5, label="95 % intervals")
    axes.plot(*points[front].T, "o-", color="C0", label="Pareto front")
    axes.plot(*np.delete(points, front, axis=0).T, "o", color="C0", alpha=0.3, label="dominated")
    axes.plot(*points[-1], "s", color="C1", fillstyle="none", markersize=10, label=detectors[-1].name)
    axes.set(xlabel=f"{millions(cost)[1]}; budgets in grey", ylabel=f"AP (%), {metric}")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
