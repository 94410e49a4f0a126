"""The path filter without each of its three parts, and simpler rankers, on paths it has not seen (Table 2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnabla_detofa.path_filter import AveragedFilter, PathFilter, cross_validate
from nnabla_detofa.report import figures
from nnabla_detofa.report.finished_runs import FinishedRun

from ..measured_tables import Table, of_run
from .estimates import Runs, difference, estimate, shown, table
from .exhibits import Exhibit

# the paper's Table 2: what is left out, and its accuracy, precision and recall
PAPER = {
    "without FLOPs-bounded loss": ("fit", "bounded", (0.790, 0.590, 0.174)),
    "without budget condition": ("network", "budget_condition", (0.900, 0.830, 0.209)),
    "without block encoding": ("network", "block_encoding", (0.940, 0.850, 0.190)),
    "the paper's filter": (None, None, (0.930, 0.870, 0.224)),
}
MAIN = "with main effects"  # an addition: the paper's, from a start by ridge regression
OF_GENES = "with main effects of genes"  # another: on genes, not on tokens
YARDSTICKS = ("ridge regression", "FLOPs")
GENES_YARDSTICK = "ridge regression on genes"
FIGURES = ("accuracy", "precision", "recall_over_all", "kendall_tau")


def ablation(runs: Runs, labels: Mapping[str, str]) -> Exhibit:  # noqa: ARG001
    """Metrics of each filter by cross-validation on the measured paths of every run, on other images if there are."""
    ((_, own),) = runs.items()
    found = {seed: rank(run) for seed, run in own.items()}
    names = (*PAPER, MAIN, OF_GENES, *YARDSTICKS, GENES_YARDSTICK)
    titles = ("accuracy", "precision", "recall over all", "Kendall tau")
    cells = [["weakest 25 %, on other images", "seeds", *titles, "the paper's", "tau minus FLOPs"]]
    rows: list[dict[str, Any]] = []
    quality: dict[str, dict[str, Any]] = {images: {} for images in ("other_images", "same_images")}
    for name in names:
        for images, ranked in quality.items():
            values = {seed: [_number(one[images][name][key]) for key in FIGURES] for seed, one in found.items()}
            flops = {seed: [_number(one[images]["FLOPs"]["kendall_tau"])] for seed, one in found.items()}
            mean, (gain, _) = estimate([*values.values()]), difference({s: v[-1:] for s, v in values.items()}, flops)
            ranked[name] = {"kendall_tau": None if np.isnan(mean.value[-1]) else float(mean.value[-1])}
            for key, *ends in zip(FIGURES, *mean, strict=True):
                known = dict(zip(("value", "low", "high"), map(float, ends), strict=True))
                rows.append({"ranker": name, "images": images, "figure": key, "seeds": len(found), **known})
            if images == "other_images":
                paper = "" if name not in PAPER else " / ".join(f"{one:.3f}" for one in PAPER[name][2])
                by_pairs = "–" if name == "FLOPs" else shown(*(float(one[0]) for one in gain), sign="+")
                figures_of = [shown(*one) for one in zip(*mean, strict=True)]
                cells.append([name, str(len(found)), *figures_of, paper, by_pairs])
    lines = [*table(cells), "", "The paper's: accuracy / precision / recall, where recall seems to be over all paths."]
    return Exhibit(rows, lines, figures.ranking_quality(quality))


def rank(run: FinishedRun) -> dict[str, dict[str, Any]]:
    """{images: {ranker: metrics}} of one run's measured paths; the same images stand in where there are no others."""
    measured = of_run(run.folder)
    found: dict[str, dict[str, Any]] = {"other_images": {}, "same_images": {}}
    for name in (*PAPER, MAIN, OF_GENES):
        network, fit = {**measured.options["network"], "main_effects": name not in PAPER}, {**measured.options["fit"]}
        if name == OF_GENES:
            fit["basis"] = measured.basis
        part, switch, _ = PAPER.get(name, (None, None, None))
        if part is not None:
            (network if part == "network" else fit)[switch] = False
        judged = _judged(run, measured, network, fit)
        for images, rows in found.items():
            figures_of = judged.get(images, judged["same_images"])
            rows[name] = figures_of["path filter"]
            yardsticks = (*YARDSTICKS, *([GENES_YARDSTICK] if name == OF_GENES else ()))
            rows |= {other: figures_of[other] for other in yardsticks}
    return found


def _judged(run: FinishedRun, measured: Table, network: dict[str, Any], fit: dict[str, Any]) -> dict[str, Any]:
    seed, n_buckets = int(run.said("seed")), max(len(run.budgets), measured.n_buckets)
    own_rng = np.random.default_rng([seed, 1])  # of initial weights
    return cross_validate(
        lambda: AveragedFilter([PathFilter(measured.layout, n_buckets, rng=own_rng, **network)]),
        measured.tokens,
        measured.buckets,
        measured.losses,
        costs=measured.flops,
        again=None if measured.judged_by is measured.losses else measured.judged_by,
        rng=np.random.default_rng(seed),
        **fit,
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value
