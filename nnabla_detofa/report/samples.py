"""Images of the test split with what the run's detectors find in them (an addition; not in the paper)."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..data.dataset import DetectionDataset
from ..data.images import read_image
from ..detection import Detections
from ..errors import DataError
from ..segmentation import IGNORED, overlaid
from ..tasks.centernet import detect
from ..training import STATISTICS, Run
from ..training.path_statistics import read

N_IMAGES = 4
MOST_BOXES, LEAST_SCORE = 10, 0.3
SIDE = 480  # pixels at most


def sample_images(run: Run, paths: Mapping[str, Iterable[int]]) -> list[dict[str, Any]]:
    """A few test images that show something, spread over the split, for each of the named paths that the run evaluated:
    `name` and `pictures`, with what their exported detectors find, and a `note` on them."""
    loader, statistics = run.data["test"], read(run.folder / STATISTICS)
    shows, look, note = KINDS[run.model.task.name]
    shown = [number for number, image in enumerate(loader.dataset.images) if shows(image)]
    chosen = np.unique(np.array(shown, int)[np.linspace(0, len(shown) - 1, N_IMAGES).astype(int)] if shown else shown)
    found = []
    for name, path in paths.items():
        network = statistics.detector(run.model, np.array(path, np.int8))
        pictures = look(network, loader, chosen.astype(int))
        found.append({"name": name, "note": note, "pictures": [one for one in pictures if one["uri"]]})
    return found


def _with_boxes(network: Any, loader: Any, chosen: np.ndarray) -> list[dict[str, Any]]:
    answers = detect(network, loader.batches(chosen, targets=False), on_device=not network.works_channel_major())
    return [_boxes(loader.dataset, number, answers) for number in chosen.tolist()]


def _with_classes(network: Any, loader: Any, chosen: np.ndarray) -> list[dict[str, Any]]:
    """Pictures with the classes that were found over them, and beside them with the annotated ones."""
    shown = []
    for number, found in network.task.maps(network, loader, chosen):
        image = loader.dataset.images[number]
        maps = found, image.classes()
        names = [", ".join(loader.classes[one] for one in np.unique(one) if 0 < one < IGNORED) for one in maps]
        picture = {"name": image.file.name, "uri": thumbnail(image.file, image.size, maps), "found": [], "truth": []}
        shown.append({**picture, "said": f"{names[0] or 'nothing'} found; {names[1] or 'nothing'} annotated"})
    return shown


def _boxes(dataset: DetectionDataset, number: int, answers: Detections) -> dict[str, Any]:
    """A test image with its best boxes and what is to be found in it."""
    image, of = dataset.images[number], np.flatnonzero(answers.image == number)
    of = of[answers.score[of] >= LEAST_SCORE]
    best = of[np.argsort(-answers.score[of], kind="stable")][:MOST_BOXES]
    place: dict[str, Any] = {"size": image.size, "origin": dataset.origin}
    labels = [f"{dataset.classes[answers.label[one]]} {answers.score[one]:.2f}" for one in best]
    truth = [dataset.classes[image.labels[one]] for one in image.trained]
    return {
        "name": image.file.name,
        "uri": thumbnail(image.file, image.size),
        "found": [shares(box, text, **place) for box, text in zip(answers.box[best], labels, strict=True)],
        "truth": [shares(image.boxes[i], text, **place) for i, text in zip(image.trained, truth, strict=True)],
    }


# for each task: whether an image shows something, pictures of it, and a note on them
KINDS: dict[str, tuple[Callable[[Any], bool], Callable[..., list[dict[str, Any]]], str]] = {
    "detection": (
        lambda image: len(image.trained) > 0,
        _with_boxes,
        "Lines: found, with class and score; dashes: annotated.",
    ),
    "segmentation": (
        lambda image: any(image.shown),
        _with_classes,
        "Left: the classes that were found, a colour each; right: those annotated.",
    ),
}


def shares(box: np.ndarray, text: str, *, size: tuple[int, int], origin: float) -> dict[str, Any]:
    """A box x1 y1 x2 y2 as annotated, cut to the image, as percent of its `size` (width, height), with its `text`."""
    ends = np.clip((box.reshape(2, 2).astype(float) - origin + 0.5) / size, 0, 1) * 100
    (left, top), (width, height) = ends[0].round(2).tolist(), (ends[1] - ends[0]).round(2).tolist()
    return {"left": left, "top": top, "width": width, "height": height, "text": text}


def thumbnail(file: Path, size: tuple[int, int], maps: Sequence[np.ndarray] = ()) -> str | None:
    """The image, made smaller where it is large, as a `data:` URI; None where it can no longer be read. Where there are
    `maps` of classes (h, w), once with each over it, side by side."""
    try:
        pixels = read_image(file, size)
    except DataError:
        return None
    if maps:
        pixels = np.hstack([overlaid(pixels[..., ::-1], one)[..., ::-1] for one in maps])
    scale = SIDE / max(pixels.shape[:2])
    if scale < 1:
        sides = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
