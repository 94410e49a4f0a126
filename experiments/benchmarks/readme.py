"""The README's table of speed, from `results/latest.json`.

    python -m experiments.benchmarks.readme [FILE]

prints it; in FILE it puts it in the place of the lines between two that hold BEGIN and END.
"""

import json
import sys
from pathlib import Path

from .report import RESULTS

BEGIN, END = "<!-- make bench -->", "<!-- end of make bench -->"
SIZES = (64, 128, 224)
# what is measured; then rows and a clause of what their ratio or figure is, from the least to the most of them
LINES: list[tuple[str, list[tuple[list[str], str]]]] = [
    (
        "a training step on the CPU, 64 to 224 px",
        [
            ([f"step_{size}_host" for size in SIZES], "{ratio} times as fast as NNablaNAS' layers"),
            ([f"step_{size}_ofa" for size in SIZES], "{ratio} times as the original OFA in PyTorch"),
        ],
    ),
    (
        "a training step of a detector",
        [
            (["step_small_16", "step_small_64"], "the demo's {ratio} times as fast as the same layers in PyTorch"),
            (["step_detector_64", "step_detector_128"], "at full width {ratio} times as NNabla's functions"),
        ],
    ),
    (
        "the path filter",
        [
            (["score", "score_2_threads"], "scores {ratio} times as fast as PyTorch's transformer"),
            (["fit"], "a fit {ratio} times as fast"),
        ],
    ),
    ("an evolutionary search", [(["search"], "{ours} s a budget, {ratio} times as fast as OFA's")]),
    ("loading images of 512 px", [(["loader", "loader_2_threads"], "{ratio} times as fast as a plain loop")]),
    ("AP of 5,000 images, 80 classes", [(["coco_ap"], "{ours} s, {ratio} times as fast as pycocotools")]),
    (
        "COCO's 118,287 images; 10,000 pictures",
        [
            (["coco_reading"], "annotations read with every check in {ours} s"),
            (["check"], "pictures checked in {ours} s"),
        ],
    ),
    ("from the command to the first step", [(["start_step"], "{ours} s")]),
]


def lines(latest: dict[str, dict]) -> list[str]:
    """Rows of a Markdown table with its heading; a row whose figures are not all there is left out."""
    found = ["| what | figure |", "|---|---|"]
    for what, clauses in LINES:
        if all(name in latest for names, _ in clauses for name in names):
            said = [sentence.format(**_spans([latest[one] for one in names])) for names, sentence in clauses]
            found.append(f"| {what} | {', '.join(said)} |")
    return found


def _spans(rows: list[dict]) -> dict[str, str]:
    """Ratio and figure of our side, the least and the most of the rows."""
    found = {}
    for key in ("ratio", "ours"):
        first, last = (_rounded(pick(row[key] for row in rows)) for pick in (min, max))
        found[key] = first if first == last else f"{first}–{last}"
    return found


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
