"""The README's lines of figures, from `results/latest.json`.

    python -m experiments.benchmarks.readme [FILE]

prints them; in FILE it puts them in the place of the lines between two that hold BEGIN and END.
"""

import json
import sys
from pathlib import Path

from .report import RESULTS

BEGIN, END = "<!-- make bench -->", "<!-- end of make bench -->"
# what is compared, the rows, and a sentence of what the ratio or the figure is, from the least to the most of them
LINES: list[tuple[str, list[str], str]] = [
    (
        "a training step on the CPU",
        [f"step_{size}_host" for size in (64, 128, 224)],
        "{ratio} times as fast as NNablaNAS' layers",
    ),
    ("", [f"step_{size}_ofa" for size in (64, 128, 224)], "{ratio} times as fast as the original OFA in PyTorch"),
    ("the path filter's scores", ["score", "score_2_threads"], "{ratio} times as fast as PyTorch's transformer"),
    ("an evolutionary search", ["search"], "{ours} s a budget, {ratio} times as fast as OFA's"),
    ("AP of 5,000 images, 80 classes", ["coco_ap"], "{ours} s, {ratio} times as fast as pycocotools"),
    ("reading COCO's 118,287 images", ["coco_reading"], "{ours} s with every check"),
    ("checking 10,000 pictures of 512 px", ["check"], "{ours} s on two cores"),
    ("from the command to the first step", ["start_step"], "{ours} s"),
]


def lines(latest: dict[str, dict]) -> list[str]:
    """Rows of a Markdown table; a line whose figures are not all there is left out."""
    found = []
    for what, names, sentence in LINES:
        rows = [latest[name] for name in names if name in latest]
        if len(rows) == len(names):
            values = {key: _span([row[key] for row in rows]) for key in ("ratio", "ours")}
            found.append(f"| {what or '″'} | {sentence.format(**values)} | `make bench` |")
    return found


def _span(values: list[float]) -> str:
    """The least and the most of them, two digits each."""
    first, last = (_rounded(value) for value in (min(values), max(values)))
    return first if first == last else f"{first}–{last}"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.5 else f"{value:.2g}"


def put(text: str, new: list[str]) -> str:
    """The text with new lines in the place of those between the two marks."""
    before, _, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"there is no place: a line with {BEGIN}, and behind it one with {END}")
    return "".join([before, BEGIN, "\n", *(f"{line}\n" for line in new), END, after])


def main(files: list[str]) -> None:
    """The command."""
    new = lines(json.loads((RESULTS / "latest.json").read_text()))
    for file in map(Path, files):
        file.write_text(put(file.read_text(), new))
    if not files:
        print("\n".join(new))


if __name__ == "__main__":
    main(sys.argv[1:])
