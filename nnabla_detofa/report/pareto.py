"""The Pareto front as a table and as a picture (Section 4.2, Fig. 5)."""

import json
from collections.abc import Sequence

from ..ranking import folders
from ..search_stages import Detector
from ..space import CostModel, SearchSpace
from ..storage import Stages
from ..storage.files import write_bytes, write_text
from ..storage.tables import as_csv

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
    columns = COLUMNS if cost.name == "flops" else ("budget", "flops", "cost", "unit", *COLUMNS[2:])
    rows = []
    for one, file in zip(detectors[:-1], folders(detectors), strict=False):
        ends = dict(zip(("ap_low", "ap_high"), one.ap_interval or (), strict=False))
        genotype = json.dumps(space.genotype(one.genes))
        known = {**one.to_dict(), **ends, "unit": cost.unit, "file": file, "genotype": genotype}
        rows.append({name: known[name] for name in columns if name in known})
    write_text(folder / "pareto.csv", as_csv(rows, columns))
    write_bytes(folder / "pareto.png", picture(detectors, metric=metric, cost=cost.name))


def picture(detectors: Sequence[Detector], *, metric: str, cost: str) -> bytes:
    """AP over cost as PNG, as the page has it; the last of the detectors is the largest path."""
    from . import figures  # Matplotlib takes a while to import

    points = [{**one.to_dict(), "cost": one.own_cost / 1e6} for one in detectors]
    budgets = [one.budget / 1e6 for one in detectors if one.budget is not None]
    return figures.as_png(figures.front(points, budgets=budgets, cost=millions(cost)[1], metric=metric))
