"""The page of measured figures: means and paired differences with their intervals, and the learning curve."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from nnabla_detofa.storage.tables import read_rows

from .rankers import TRANSFORMER

COLUMNS = ("table", "kind", "repetition", "part", "ranker", "kendall_tau", "precision")
FIGURES = COLUMNS[-2:]
TITLES = ("in-bucket tau", "weakest-25 % precision")
SHARE = 1 / 4  # held-out by seen paths of five folds
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

Folds = dict[tuple[str, str, str], np.ndarray]  # (run, repetition, part) to FIGURES


def read(file: Path) -> dict[tuple[str, str], dict[str, Folds]]:
    """(table, "folds" or "curve") to ranker to (run, repetition, part) to its FIGURES.

    Averages and priors stand beside the others. Runs of one kind, KIND/RUN in the file, are one table; of other tables
    the run is "".
    """
    found: dict = {}
    for row in read_rows(file):
        kind = "curve" if row["kind"].endswith("curve") else "folds"
        table, _, run = row["table"].partition("/")
        own = found.setdefault((table, kind), {}).setdefault(row["ranker"], {})
        own[run, row["repetition"], row["part"]] = np.array([float(row[name]) for name in FIGURES])
    return found


def interval(values: np.ndarray, share: float = SHARE) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval over folds (n,).

    Folds share what they are fitted to, so their spread says too little: to 1 / n comes the `share` of held-out by
    seen paths (Nadeau and Bengio, 2003).
    """
    n = len(values)
    if n < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) * np.sqrt(1 / n + share))


def paired(rankers: Mapping[str, Folds], name: str) -> Folds:
    """Figures of a ranker minus those of the path filter on the folds of both."""
    return {key: own - rankers[TRANSFORMER][key] for key, own in rankers[name].items() if key in rankers[TRANSFORMER]}


def summed_up(folds: Folds) -> list[tuple[float, float]]:
    """Mean and half-width of each of FIGURES: over the runs, whose folds are averaged first, or over the folds of one
    table."""
    runs = sorted({run for run, _, _ in folds})
    if len(runs) == 1:
        return [interval(column) for column in np.array([*folds.values()]).T]
    means = [np.mean([own for (each, _, _), own in folds.items() if each == run], axis=0) for run in runs]
    return [interval(column, share=0) for column in np.array(means).T]


def table_lines(rankers: Mapping[str, Folds]) -> list[str]:
    """A Markdown table, a line a ranker."""
    titles = ["ranker", "folds", *TITLES, *(f"{title} − path filter's" for title in TITLES)]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, folds in rankers.items():
        gains = ["", ""] if name == TRANSFORMER else [_cell(*one, sign="+") for one in summed_up(paired(rankers, name))]
        lines.append(f"| {' | '.join([name, str(len(folds)), *(_cell(*one) for one in summed_up(folds)), *gains])} |")
    runs = len({run for folds in rankers.values() for run, _, _ in folds})
    return [*lines, *(["", f"{runs} runs, folds averaged in each; ± over runs."] if runs > 1 else [])]


def curve_lines(rankers: Mapping[str, Folds]) -> list[str]:
    """In-bucket tau by the paths seen of every bucket."""
    counts = sorted({int(part) for own in rankers.values() for *_, part in own})
    lines = [f"| paths seen a bucket | {' | '.join(rankers)} |", "|---" * (1 + len(rankers)) + "|"]
    for count in counts:
        means = [_mean_tau(own, count) for own in rankers.values()]
        lines.append(f"| {count} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    splits = len({key[:-1] for own in rankers.values() for key in own})
    return [*lines, "", f"Means of {splits} splits."]


def _mean_tau(folds: Folds, count: int) -> float:
    """Of the splits in which so many paths of a bucket are seen."""
    return float(np.mean([figures[0] for (*_, part), figures in folds.items() if int(part) == count]))


def write_page(out: Path) -> None:
    """The tables between their marks in README.md, whose other text is kept, and the picture of the curves."""
    found, lines = read(out / "figures.csv"), [BEGIN]
    for (table, kind), rankers in sorted(found.items(), key=lambda one: (one[0][0], one[0][1] == "curve")):
        lines += ["", f"### {table}, {'by paths seen' if kind == 'curve' else 'cross-validation'}", ""]
        lines += curve_lines(rankers) if kind == "curve" else table_lines(rankers)
    file = out / "README.md"
    text = file.read_text() if file.is_file() else f"# The path filter beside yardsticks\n\n{BEGIN}\n{END}\n"
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    file.write_text(before + "\n".join([*lines, "", END]) + after)
    _draw({table: rankers for (table, kind), rankers in found.items() if kind == "curve"}, out / "curve.png")


def _draw(curves: dict[str, dict], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * max(1, len(curves)), 3.6), layout="constrained")
    for axes, (table, rankers) in zip(
        figure.subplots(1, max(1, len(curves)), squeeze=False)[0], curves.items(), strict=False
    ):
        for name, own in rankers.items():
            counts = sorted({int(part) for *_, part in own})
            axes.plot(counts, [_mean_tau(own, count) for count in counts], marker="o", label=name)
        axes.set(title=table, xlabel="paths seen a bucket", ylabel=TITLES[0])
        axes.legend(fontsize=7)
    figure.savefig(file, dpi=110)


def _cell(mean: float, half: float, sign: str = "") -> str:
    return f"{mean:{sign}.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")
