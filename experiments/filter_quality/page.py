"""The page of measured figures: means and paired differences with their intervals, and the learning curve."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from .rankers import TRANSFORMER

COLUMNS = ("table", "kind", "repetition", "part", "ranker", "kendall_tau", "precision")
FIGURES = COLUMNS[-2:]
TITLES = ("in-bucket tau", "weakest-25 % precision")
SHARE = 1 / 4  # held-out by seen paths of five folds
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

Figures = Mapping[tuple[str, str, str, str], np.ndarray]


def read(file: Path) -> dict[tuple[str, str], dict[str, dict[tuple[str, str], np.ndarray]]]:
    """(table, "folds" or "curve") to ranker to (repetition, part) to its FIGURES; averages and priors stand beside."""
    found: dict = {}
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            kind = "curve" if row["kind"].endswith("curve") else "folds"
            own = found.setdefault((row["table"], kind), {}).setdefault(row["ranker"], {})
            own[row["repetition"], row["part"]] = np.array([float(row[name]) for name in FIGURES])
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


def paired(rankers: dict, name: str) -> np.ndarray:
    """Figures of a ranker minus those of the path filter on the folds of both, (n, FIGURES)."""
    both = [key for key in rankers[name] if key in rankers[TRANSFORMER]]
    return np.array([rankers[name][key] - rankers[TRANSFORMER][key] for key in both])


def table_lines(rankers: dict) -> list[str]:
    """A Markdown table, a line a ranker."""
    titles = ["ranker", "folds", *TITLES, *(f"{title} − path filter's" for title in TITLES)]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, folds in rankers.items():
        values = np.array(list(folds.values()))
        cells = [name, str(len(values)), *(_cell(*interval(column)) for column in values.T)]
        cells += ["", ""] if name == TRANSFORMER else [_cell(*interval(c), sign="+") for c in paired(rankers, name).T]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def curve_lines(rankers: dict) -> list[str]:
    """In-bucket tau by the paths seen of every bucket."""
    counts = sorted({int(part) for own in rankers.values() for _, part in own})
    lines = [f"| paths seen a bucket | {' | '.join(rankers)} |", "|---" * (1 + len(rankers)) + "|"]
    for count in counts:
        means = [np.mean([v[0] for (_, part), v in own.items() if int(part) == count]) for own in rankers.values()]
        lines.append(f"| {count} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    splits = len({repetition for own in rankers.values() for repetition, _ in own})
    return [*lines, "", f"Means of {splits} splits."]


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
            counts = sorted({int(part) for _, part in own})
            means = [np.mean([v[0] for (_, part), v in own.items() if int(part) == count]) for count in counts]
            axes.plot(counts, means, marker="o", label=name)
        axes.set(title=table, xlabel="paths seen a bucket", ylabel=TITLES[0])
        axes.legend(fontsize=7)
    figure.savefig(file, dpi=110)


def _cell(mean: float, half: float, sign: str = "") -> str:
    return f"{mean:{sign}.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")
