"""Several finished runs side by side: AP under each budget (Fig. 5) and what training cost (Table 3).

    python -m experiments.compare_runs DetOFA=log/a,log/b,log/c OFA=log/d,log/e,log/f Fullnet=log/g --out log/compared

Each method is a name and the folders of its runs, which differ by seed alone. Leaves comparison.md with both tables,
comparison.csv with every mean and its interval (Student's t, 95 %, where there are two seeds or more) and
comparison.png. Runs of other data, another metric or other budgets do not compare, and are refused in one line.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from nnabla_detofa.errors import ConfigError, DetOFAError, RunFolderError

TASK = ("dataset", "test", "metric", "cost.name")  # what all runs must have in common
METHOD = ("strategy", "sampler", "space_size")  # what the runs of one method must
COLUMNS = ("method", "budget", "runs", "ap", "low", "high", "cost")
# Stages before the training that they serve, and stages after all training; the others are training.
SAMPLING = ("paths_warmup",)
PRUNING = ("path_filter_warmup", "operations", "thresholds")
SEARCHING = ("paths_final", "paths_final_again", "path_filter_final", "filter_quality", "search", "evaluate", "report")


class Run(NamedTuple):
    """One finished run: its folder and its `summary.json`."""

    folder: Path
    summary: dict[str, Any]

    def said(self, key: str) -> Any:
        """The summary's value at the dotted key; None where it says nothing."""
        value: Any = self.summary
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    @property
    def searched(self) -> bool:
        """Whether there was more than the largest path to find."""
        return self.summary["pareto"][0]["score"] is not None

    @property
    def budgets(self) -> list[float]:
        """Budgets of its search, ascending."""
        return [row["budget"] for row in self.summary["pareto"]]

    @property
    def aps(self) -> list[float]:
        """AP of the detector found under each budget and, behind them, of the largest path."""
        found = [row["ap"] for row in self.summary["pareto"]] if self.searched else []
        return [*found, self.summary["largest"]["ap"]]

    @property
    def costs(self) -> list[float]:
        """Costs of the same, FLOPs where the run went by nothing else."""
        rows = [*(self.summary["pareto"] if self.searched else []), self.summary["largest"]]
        return [row.get("cost", row["flops"]) for row in rows]

    def seconds(self, stages: tuple[str, ...]) -> float:
        """Seconds of these stages together."""
        return sum(self.summary["seconds"].get(stage, 0.0) for stage in stages)

    @property
    def training_seconds(self) -> float:
        """Seconds of all stages but the named ones."""
        return sum(self.summary["seconds"].values()) - self.seconds(SAMPLING + PRUNING + SEARCHING)


class Estimate(NamedTuple):
    """Means over runs, and the ends of their intervals; each (points,). One run has no interval: nan."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def estimate(values: np.ndarray) -> Estimate:
    """Mean and 95 % interval by Student's t over the first axis of (runs, points)."""
    mean, n = values.mean(axis=0), len(values)
    half = stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / n**0.5 if n > 1 else np.full(mean.shape, np.nan)
    return Estimate(mean, mean - half, mean + half)


def read_run(folder: Path) -> Run:
    """A finished run; RunFolderError where the folder holds none."""
    file = folder / "summary.json"
    if not file.is_file():
        raise RunFolderError(f"{folder} has no summary.json; give the folder of a finished run")
    try:
        run = Run(folder, json.loads(file.read_text()))
        _ = run.aps, run.costs, run.budgets, run.training_seconds, run.summary["seed"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunFolderError(f"{file} is no summary of a run ({type(error).__name__}: {error})") from error
    return run


def read_methods(given: list[str]) -> dict[str, list[Run]]:
    """{name: runs} from NAME=FOLDER,FOLDER; ConfigError for what is not of that form, or does not compare."""
    methods: dict[str, list[Run]] = {}
    for argument in given:
        name, equals, folders = argument.partition("=")
        if not (name and equals and folders) or name in methods:
            raise ConfigError(f"'{argument}' must be NAME=FOLDER or NAME=FOLDER,FOLDER, each name once")
        methods[name] = [read_run(Path(folder)) for folder in folders.split(",")]
        require_same(methods[name], METHOD)
        seeds = [run.summary["seed"] for run in methods[name]]
        if len(set(seeds)) < len(seeds):
            raise ConfigError(f"the runs of {name} have the seeds {seeds}; each must have another")
    runs = [run for each in methods.values() for run in each]
    require_same(runs, TASK)
    searched = [run for run in runs if run.searched]
    for run in searched:
        ours, theirs = searched[0].budgets, run.budgets
        if ours != theirs:
            raise ConfigError(f"{searched[0].folder} and {run.folder} do not compare: budgets is {ours} and {theirs}")
    return methods


def require_same(runs: list[Run], keys: tuple[str, ...]) -> None:
    """ConfigError where two of the runs differ in one of the keys of their summaries."""
    for run in runs:
        for key in keys:
            ours, theirs = runs[0].said(key), run.said(key)
            if ours != theirs:
                raise ConfigError(f"{runs[0].folder} and {run.folder} do not compare: {key} is {ours!r} and {theirs!r}")


def points(runs: list[Run]) -> tuple[Estimate, np.ndarray]:
    """AP and mean cost of a method's detectors, the largest path last."""
    return estimate(np.array([run.aps for run in runs])), np.mean([run.costs for run in runs], axis=0)


def ap_table(methods: dict[str, list[Run]], budgets: list[float]) -> str:
    """Fig. 5 as a Markdown table: AP in per cent, mean ± half the interval."""
    titles = [*(f"≤ {budget / 1e6:,.1f} M" for budget in budgets), "largest path"]
    lines = [f"| method | runs | {' | '.join(titles)} |", f"|---|---|{'---|' * len(titles)}"]
    for name, runs in methods.items():
        found, _ = points(runs)
        cells = [_cell(100 * mean, 100 * (high - mean)) for mean, high in zip(found.mean, found.high, strict=True)]
        cells = ["–"] * (len(titles) - len(cells)) + cells
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost_table(methods: dict[str, list[Run]]) -> str:
    """Table 3 as Markdown: mean seconds; "in all" is the sum of the three columns behind it."""
    titles = ("method", "in all", "sampling paths", "filter and pruning", "training", "then search and evaluation")
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for name, runs in methods.items():
        sampling, pruning, searching = (
            np.mean([run.seconds(stages) for run in runs]) for stages in (SAMPLING, PRUNING, SEARCHING)
        )
        training = np.mean([run.training_seconds for run in runs])
        cells = [sampling + pruning + training, sampling, pruning, training, searching]
        lines.append(f"| {name} | {' | '.join(f'{cell:,.1f}' for cell in cells)} |")
    return "\n".join(lines)


def _cell(mean: float, half: float) -> str:
    return f"{mean:.2f}" if np.isnan(half) else f"{mean:.2f} ± {half:.2f}"


def write_csv(file: Path, methods: dict[str, list[Run]], budgets: list[float]) -> None:
    """A row for each method and budget, and one for its largest path, whose budget is empty; AP in 0–1."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for name, runs in methods.items():
            found, costs = points(runs)
            limits = [*budgets, ""][-len(costs) :]
            for limit, ap, low, high, cost in zip(limits, *found, costs, strict=True):
                writer.writerow([name, limit, len(runs), ap, *("" if np.isnan(x) else x for x in (low, high)), cost])


def draw(file: Path, methods: dict[str, list[Run]], budgets: list[float]) -> None:
    """Fig. 5: AP over cost with its interval; a method of one detector is a dashed line at its AP."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for budget in budgets:
        axes.axvline(budget / 1e6, color="0.9", linewidth=1, zorder=0)
    for number, (name, runs) in enumerate(methods.items()):
        found, costs = points(runs)
        style: dict[str, Any] = {"color": f"C{number % 10}", "label": f"{name} ({len(runs)})"}
        if not runs[0].searched:
            axes.axhline(100 * found.mean[-1], linestyle="--", **style)
            continue
        ap, half = 100 * found.mean[:-1], np.nan_to_num(100 * (found.high - found.mean)[:-1])
        axes.errorbar(costs[:-1] / 1e6, ap, yerr=half, marker="o", capsize=3, **style)
    first = next(iter(methods.values()))[0]
    unit, metric, dataset = (first.said(key) for key in ("cost.unit", "metric", "dataset"))
    axes.set(xlabel=f"millions of {unit}; budgets in grey", ylabel=f"AP (%), {metric}", title=f"trained on {dataset}")
    figure.legend(loc="outside right upper", frameon=False, title="method (runs)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def compare(given: list[str], out: Path) -> str:
    """Read, write the three files into `out`, and return the tables."""
    methods = read_methods(given)
    runs = [run for each in methods.values() for run in each]
    budgets = next((run.budgets for run in runs if run.searched), [])
    task = runs[0].summary
    page = (
        f"AP (%), {task['metric']}, trained on {task['dataset']}; ± is half the 95 % interval of the mean over runs\n\n"
        f"{ap_table(methods, budgets)}\n\nSeconds, means over runs\n\n{cost_table(methods)}\n"
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "comparison.md").write_text(page)
    write_csv(out / "comparison.csv", methods, budgets)
    draw(out / "comparison.png", methods, budgets)
    return page


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 2 and one line for runs that do not compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+", metavar="NAME=FOLDER,FOLDER", help="a method and its finished runs")
    parser.add_argument("--out", type=Path, default=Path("log/compared"), help="where to (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        print(compare(options.methods, options.out), end="")
    except DetOFAError as error:
        print(f"compare_runs: {error}", file=sys.stderr)
        return 2
    print(f"\n{options.out}: comparison.md, comparison.csv, comparison.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
