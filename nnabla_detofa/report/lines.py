"""Tables and times for the terminal, as lines of text (an addition; not in the paper)."""

from collections.abc import Iterator
from typing import Any

from ..figure_names import figure_name
from .pareto import millions


def pareto_lines(summary: dict[str, Any]) -> Iterator[str]:
    """The found detectors, with FLOPs and with the cost where that is another, and the rows that each one's AP cannot
    be told from, by paired differences on resampled test images."""
    unit, _ = millions(summary["cost"]["name"])
    keys = {"flops": "MMAC"} if unit == "MMAC" else {"cost": unit, "flops": "MMAC"}
    titles = " ".join(f"{title:>9}" for title in keys.values())
    largest = summary["largest"]
    width = max(14, len(largest["name"]))
    rows = (*summary["pareto"], largest)
    equals = [", ".join(map(str, row.get("equal_to") or ())) for row in rows]
    last = max(len("equal to"), *map(len, equals))
    figure = f"{figure_name(summary.get('metric'))} (%)"
    wide = max(7, len(figure))
    heading = f"{'score':>7} {figure:>{wide}} {'95 % interval':>14} {'row':>3} {'equal to':>{last}}"
    yield f"{f'budget ({unit})':>{width}} {titles} {heading}"
    for number, (row, others) in enumerate(zip(rows, equals, strict=True), start=1):
        first = f"{_millions(row['budget']) if 'budget' in row else largest['name']:>{width}}"
        costs = " ".join(f"{_millions(row[key]):>9}" for key in keys)
        score = f"{'':>7}" if row.get("score") is None else f"{row['score']:7.3f}"
        ends = " – ".join(f"{100 * end:.2f}" for end in row.get("ap_interval") or ())
        yield f"{first} {costs} {score} {100 * row['ap']:{wide}.2f} {ends:>14} {number:>3} {others:>{last}}"


def gain_lines(summary: dict[str, Any]) -> Iterator[str]:
    """The gain of fine-tuning, if a detector was fine-tuned."""
    after, before = summary["pareto"][0], summary["largest"]
    if (gain := after.get("gain")) is not None:
        low, high = (100 * end for end in gain)
        verdict = "better" if low > 0 else "worse" if high < 0 else "which may be none"
        figures = f"{100 * before['ap']:.2f} % before, {100 * after['ap']:.2f} % after"
        yield (
            f"fine-tuning: {figure_name(summary.get('metric'))} {figures}, a difference of"
            f" {100 * (after['ap'] - before['ap']):+.2f} (95 % interval by pairs {low:+.2f} to {high:+.2f}): {verdict}"
        )


def pruning_line(summary: dict[str, Any]) -> str:
    """Path pruning: the share of draws that it rejected, and the time that it took."""
    shares = [summary["path_pruning_share"], summary["rejected_share"], *summary["rejected_share_per_bucket"]]
    time, in_all, *per_bucket = ["–" if share is None else f"{100 * share:.3g}" for share in shares]
    return (
        f"path pruning rejected {in_all} % of the draws ({summary['sampler']}; in the buckets"
        f" {' / '.join(per_bucket)} %); drawing and scoring them took {time} % of the fine-tuning stage"
    )


def quality_lines(quality: dict[str, Any]) -> Iterator[str]:
    """Ranking of unseen paths by path filter, FLOPs alone and ridge regression."""
    yield "ranking of held-out measured paths, inside a bucket: Kendall tau / precision on the weakest 25 %"
    for images in [key for key in quality if key != "filter"]:
        cells = [
            f"{name} {_figure(row['kendall_tau'], '+.2f')} / {_figure(row['precision'], '.2f')}"
            for name, row in quality[images].items()
        ]
        yield f"  {images.replace('_', ' ')}: {', '.join(cells)}"


def _millions(value: float) -> str:
    return f"{value / 1e6:.1f}" if value >= 1e7 else f"{value / 1e6:.3g}"


def _figure(value: float | None, form: str) -> str:
    """A figure of ranking quality, which is not defined where no bucket has two paths of different loss to rank."""
    return "undefined" if value is None else format(value, form)


def duration(seconds: float) -> str:
    """A time in two digits or three, in the unit of which it is at least 2."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
