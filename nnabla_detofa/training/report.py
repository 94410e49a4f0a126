"""What a finished run leaves for its user: the Pareto table, its picture, the summary (Section 4.2, Fig. 5)."""

import csv
import json

import matplotlib

matplotlib.use("Agg")  # a cluster has no screen
import matplotlib.pyplot as plt
import numpy as np

from ..space import SearchSpace
from .run_folder import RunFolder

COLUMNS = ("budget", "flops", "score", "ap", "genotype")


def write_pareto(folder: RunFolder, space: SearchSpace, pareto: list[dict], largest: dict, metric: str) -> None:
    """`pareto.csv` and `pareto.png`; every row has budget, flops, score, ap and path."""
    with (folder / "pareto.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for row in pareto:
            genotype = space.genotype(np.array(row["path"], np.int8))
            writer.writerow({**row, "genotype": json.dumps(genotype)})
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for row in pareto:
        axes.axvline(row["budget"] / 1e6, color="0.85", linewidth=1)
    axes.plot(
        [r["flops"] / 1e6 for r in pareto], [100 * r["ap"] for r in pareto], "o-", label="found under each budget"
    )
    axes.plot(largest["flops"] / 1e6, 100 * largest["ap"], "s", color="C1", label="largest path")
    axes.set(xlabel="MACs of the detector (millions); budgets in grey", ylabel=f"AP (%), {metric}")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "pareto.png", dpi=150)
    plt.close(figure)


def pareto_table(summary: dict) -> str:
    """The found detectors as lines of text."""
    lines = [f"{'budget (MMAC)':>14} {'MMAC':>9} {'score':>7} {'AP (%)':>7}"]
    for row in summary["pareto"]:
        flops = f"{row['budget'] / 1e6:14.1f} {row['flops'] / 1e6:9.1f}"
        lines.append(f"{flops} {row['score']:7.3f} {100 * row['ap']:7.2f}")
    largest = summary["largest"]
    lines.append(f"{'largest path':>14} {largest['flops'] / 1e6:9.1f} {'':>7} {100 * largest['ap']:7.2f}")
    return "\n".join(lines)


def quality_table(quality: dict) -> str:
    """How path filter, FLOPs alone and ridge regression rank unseen paths, as lines of text."""
    lines = ["ranking of held-out measured paths, inside a bucket: Kendall tau / precision on the weakest 25 %"]
    for images in [key for key in quality if key != "filter"]:
        rows = quality[images].items()
        cells = [f"{name} {row['kendall_tau']:+.2f} / {row['precision']:.2f}" for name, row in rows]
        lines.append(f"  {images.replace('_', ' ')}: {', '.join(cells)}")
    return "\n".join(lines)
