"""The pictures of the README, from a finished run: its front, how its filter ranks, and what a detector finds.

    python -m experiments.pictures --run log/letters_demo --out docs/pictures

`front.png` and `ranking.png` are figures of the run's page. `detections.jpg` shows test images as they are annotated
and, below, as `nnabla_detofa detect` draws them with the run's cheapest detector. Equal runs give equal pictures.
"""

import argparse
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from omegaconf import OmegaConf

from nnabla_detofa import Detector
from nnabla_detofa.data import DetectionDataset
from nnabla_detofa.data.data_check import DECLARED
from nnabla_detofa.data.images import read_image
from nnabla_detofa.deploy.pictures import SHOWN, drawn
from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.launch.composition import plain
from nnabla_detofa.report import figures
from nnabla_detofa.report.contents import detector_rows
from nnabla_detofa.report.pareto import millions
from nnabla_detofa.storage.files import read_json, write_bytes

N_IMAGES = 4
TILE = 2.2  # inches


def front(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> bytes:
    """AP over cost of the run's detectors, as PNG."""
    budgets = [row["budget"] / 1e6 for row in rows if row["budget"] is not None]
    own = {"cost": millions(summary["cost"]["name"])[1], "metric": summary["metric"]}
    return figures.as_png(figures.front(rows, budgets=budgets, **own))


def ranking(summary: Mapping[str, Any]) -> bytes:
    """How the path filter and its yardsticks order paths that they have not seen, as PNG."""
    quality = {name: rows for name, rows in summary["filter_quality"].items() if name != "filter"}
    return figures.as_png(figures.ranking_quality(quality))


def images_of(run: Path) -> DetectionDataset:
    """The test split of the run's configuration, whose paths are relative to where it was started."""
    configs = sorted(run.glob(".*/config.yaml"))
    if not configs:
        raise RunFolderError(f"{run} has no .*/config.yaml, which says where its test images are")
    config = plain(OmegaConf.load(configs[-1]), run.parent.parent)  # type: ignore[arg-type]
    ((name, options),) = config["dataloader"].items()
    declared = DECLARED[name].of(f"dataloader.{name}", options)
    return declared.read("test", declared.trained_classes())


def detections(detector: Detector, dataset: DetectionDataset, title: str) -> bytes:
    """Test images of several objects, spread over the split: annotated above and, below, with boxes drawn; JPEG."""
    able = np.array([number for number, image in enumerate(dataset.images) if len(image.trained) > 1])
    chosen = able[np.linspace(0, len(able) - 1, N_IMAGES).astype(int)]
    figure = Figure(figsize=(N_IMAGES * TILE, 2 * TILE), layout="compressed")
    for column, number in zip(figure.subplots(2, N_IMAGES).T, chosen.tolist(), strict=True):
        image = dataset.images[number]
        pixels = read_image(image.file, image.size)[..., ::-1]
        _annotated(column[0], pixels, dataset, number)
        content = drawn(pixels, detector.detect(image.file, threshold=SHOWN), detector.classes)
        column[1].imshow(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
        for axes in column:
            axes.set_xticks([], [])
            axes.set_yticks([], [])
            axes.spines[:].set_visible(False)
        if number == chosen[0]:
            column[0].set_ylabel("annotated")
            column[1].set_ylabel(title)
    out = BytesIO()
    figure.savefig(out, format="jpg", dpi=150, pil_kwargs={"quality": 85})
    return out.getvalue()


def _annotated(axes: Axes, pixels: np.ndarray, dataset: DetectionDataset, number: int) -> None:
    """The picture with the boxes that are to be found in it, and their names."""
    image = dataset.images[number]
    axes.imshow(pixels, interpolation="bicubic")
    for i in image.trained:
        x1, y1, x2, y2 = image.boxes[i] - dataset.origin
        axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], "--", color="white", linewidth=1.5)
        place, side = ((x1, y1 - 0.5), "bottom") if y1 > len(pixels) / 10 else ((x1 + 1, y1 + 0.5), "top")
        text = axes.text(*place, dataset.classes[image.labels[i]], color="white", fontsize=8, va=side, clip_on=True)
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def main() -> None:
    """Read the command line, write the pictures and say their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("log/letters_demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args()
    run = given.run.absolute()
    summary = read_json(run / "summary.json")
    folder = min((run / "detectors").iterdir(), key=lambda one: read_json(one / "detector.json")["rank"])
    rows, unit = detector_rows(summary), millions(summary["cost"]["name"])[0]
    title = f"found, {min(row['cost'] for row in rows):.3g} {unit}"
    given.out.mkdir(parents=True, exist_ok=True)
    contents = {
        "front.png": front(rows, summary),
        "ranking.png": ranking(summary),
        "detections.jpg": detections(Detector.load(folder), images_of(run), title),
    }
    for name, content in contents.items():
        write_bytes(given.out / name, content)
        print(f"{given.out / name}: {len(content) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
