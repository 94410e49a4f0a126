"""The path filter without each of its three parts, and simpler rankers, on paths it has not seen (Table 2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnabla_detofa.path_filter import AveragedFilter, PathFilter, cross_validate, gene_basis
from nnabla_detofa.report import figures
from nnabla_detofa.report.finished_runs import FinishedRun
from nnabla_detofa.storage import PathTable
from nnabla_detofa.supernet.networks import NETWORKS, search_space

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
DRAWN = 2000  # paths that show which genes a token is of
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
    ((name, network),) = run.stages["warmup"]["inputs"]["network"].items()
    space = search_space(network["space"], NETWORKS[name].SearchNet.spaces)
    paths, again = (_read(run, name, space) for name in ("paths_final", "paths_final_again"))
    options = run.stages["path_filter_final"]["inputs"]
    found: dict[str, dict[str, Any]] = {"other_images": {}, "same_images": {}}
    for name in (*PAPER, MAIN, OF_GENES):
        own = {"network": {**options["network"], "main_effects": name not in PAPER}, "fit": dict(options["fit"])}
        if name == OF_GENES:
            own["fit"]["basis"] = _basis(space, paths.paths)
        part, switch, _ = PAPER.get(name, (None, None, None))
        if part is not None:
            own[part][switch] = False
        judged = _judged(run, space, paths, again, own)
        for images, rows in found.items():
            figures_of = judged.get(images, judged["same_images"])
            rows[name] = figures_of["path filter"]
            yardsticks = (*YARDSTICKS, *([GENES_YARDSTICK] if name == OF_GENES else ()))
            rows |= {other: figures_of[other] for other in yardsticks}
    return found


def _basis(space: Any, paths: np.ndarray) -> np.ndarray:
    """In which main effects are sought of genes."""
    shown_by = np.concatenate([space.sample(DRAWN, np.random.default_rng(0)), paths])
    return gene_basis(shown_by, space.tokenize(shown_by), space.token_layout().vocabulary)


def _read(run: FinishedRun, name: str, space: Any) -> Any:
    file = run.folder / f"{name}.csv"
    return PathTable(file, space.family.gene_names).read() if file.is_file() else None


def _judged(run: FinishedRun, space: Any, paths: Any, again: Any, own: dict[str, dict[str, Any]]) -> dict[str, Any]:
    seed, n_buckets = int(run.said("seed")), max(len(run.budgets), 1 + int(paths.bucket.max()))
    layout, rng = space.token_layout(), np.random.default_rng(seed)
    own_rng = np.random.default_rng([seed, 1])  # of initial weights
    return cross_validate(
        lambda: AveragedFilter([PathFilter(layout, n_buckets, rng=own_rng, **own["network"])]),
        space.tokenize(paths.paths),
        paths.bucket,
        paths.loss,
        costs=paths.flops,
        again=None if again is None else again.loss,
        rng=rng,
        **own["fit"],
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value
