"""Training images with their targets, 512 px: our loader, and a plain loop that does the same work image by image."""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from nnabla_detofa.data import DetectionDataset, DetectionLoader, Image, LoaderOptions
from nnabla_detofa.data.augment import DEVIATION, MEAN, PCA_VALUES, PCA_VECTORS

OBJECTS, CLASSES, BATCH = 8, 20, 8


def dataset(folder: Path, n: int) -> DetectionDataset:
    """n JPEG pictures of 640×480, blurred noise with boxes."""
    rng, images = np.random.default_rng(0), []
    for number in range(n):
        noise = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        file = folder / f"{number}.jpg"
        cv2.imwrite(str(file), cv2.GaussianBlur(noise, (9, 9), 0))
        corner = rng.uniform([0, 0], [500, 340], (OBJECTS, 2))
        boxes = np.hstack([corner, corner + rng.uniform(20, 140, (OBJECTS, 2))]).astype(np.float32)
        flags = np.zeros(OBJECTS, bool)
        images.append(Image(file, number, (640, 480), boxes, rng.integers(CLASSES, size=OBJECTS), flags, flags, flags))
    return DetectionDataset("noise", tuple(map(str, range(CLASSES))), tuple(images), 0.5)


def loader(n: int, workers: int):
    """n images from the loader in batches of 8."""
    folder = tempfile.TemporaryDirectory()
    options = LoaderOptions(held_out=0, workers=workers)
    data = dataset(Path(folder.name), 64)
    batches = DetectionLoader(data, searching=True, training=True, batch_size=BATCH, options=options)

    def run(keep=folder) -> int:  # noqa: ARG001 - the pictures live as long as the task
        for _ in range(n // BATCH):
            batches.next()
        batches.seek(**batches.state())  # nothing is made ahead while the other side has its turn
        return n // BATCH * BATCH

    return run


def plain(n: int):
    """n images one after the other as CenterNet's reference code treats them: every step a pass of its own."""
    folder = tempfile.TemporaryDirectory()
    data, rng, turn = dataset(Path(folder.name), 64), np.random.default_rng(0), 0
    cv2.setNumThreads(1)

    def run(keep=folder) -> int:  # noqa: ARG001
        nonlocal turn
        for _ in range(n // BATCH):
            samples = [_sample(data.images[(turn + i) % len(data)], rng) for i in range(BATCH)]
            turn += BATCH
            for arrays in zip(*samples, strict=True):
                np.stack(arrays)
        return n // BATCH * BATCH

    return run


def _sample(image: Image, rng: np.random.Generator, side: int = 512, stride: int = 4):
    pixels = cv2.imread(str(image.file))
    height, width = pixels.shape[:2]
    scale = max(height, width) * rng.choice(np.arange(0.6, 1.4, 0.1))
    centre = rng.uniform([128, 128], [width - 128, height - 128])
    boxes = image.boxes.copy()
    if rng.random() < 0.5:
        pixels, centre = pixels[:, ::-1], np.array([width - centre[0] - 1, centre[1]])
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]] - 1
    warp = np.array([[side / scale, 0, 0], [0, side / scale, 0]])
    warp[:, 2] = side / 2 - warp[:, :2] @ centre
    pixels = cv2.warpAffine(pixels, warp, (side, side), flags=cv2.INTER_LINEAR)
    pixels = _colour(pixels[:, :, ::-1].astype(np.float32) / 255, rng)
    pixels = ((pixels - MEAN.astype(np.float32)) / DEVIATION.astype(np.float32)).transpose(2, 0, 1)
    return pixels, *_targets((boxes.reshape(-1, 2) * warp[0, 0] + warp[:, 2]) / stride, image.labels, side // stride)


def _colour(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    for change in rng.permutation(3):
        alpha = np.float32(1 + rng.uniform(-0.4, 0.4))
        if change == 0:
            pixels = pixels * alpha
        elif change == 1:
            pixels = pixels * alpha + (1 - alpha) * grey.mean()
        else:
            pixels = pixels * alpha + (1 - alpha) * grey[:, :, None]
    shift = PCA_VECTORS @ (PCA_VALUES * rng.normal(0, 0.1, 3))
    return pixels + shift.astype(np.float32)


def _targets(points: np.ndarray, labels: np.ndarray, cells: int, most: int = 128):
    heatmap = np.zeros((CLASSES, cells, cells), np.float32)
    size, offset = np.zeros((most, 2), np.float32), np.zeros((most, 2), np.float32)
    index, mask = np.zeros(most, np.int64), np.zeros(most, np.float32)
    for row, (box, label) in enumerate(zip(np.clip(points, 0, cells - 1).reshape(-1, 4), labels, strict=True)):
        extent = box[2:] - box[:2]
        if (extent <= 0).any():
            continue
        centre = (box[:2] + box[2:]) / 2
        x, y = cell = centre.astype(int)
        _draw(heatmap[label], x, y, _radius(*np.ceil(extent)))
        size[row], offset[row], index[row], mask[row] = extent, centre - cell, y * cells + x, 1
    return heatmap, size, offset, index, mask


def _radius(w: float, h: float, overlap: float = 0.7) -> int:
    """CornerNet's rule: corners moved by so much still overlap the box."""
    cases = (
        (1, h + w, w * h * (1 - overlap) / (1 + overlap)),
        (4, 2 * (h + w), (1 - overlap) * w * h),
        (4 * overlap, -2 * overlap * (h + w), (overlap - 1) * w * h),
    )
    return max(0, int(min((b + np.sqrt(b * b - 4 * a * c)) / 2 for a, b, c in cases)))


def _draw(heatmap: np.ndarray, x: int, y: int, radius: int) -> None:
    steps = np.arange(-radius, radius + 1)
    sigma = (2 * radius + 1) / 6
    bell = np.exp(-(steps**2 + steps[:, None] ** 2) / (2 * sigma**2))
    height, width = heatmap.shape
    left, right, top, bottom = min(x, radius), min(width - x, radius + 1), min(y, radius), min(height - y, radius + 1)
    part = heatmap[y - top : y + bottom, x - left : x + right]
    np.maximum(part, bell[radius - top : radius + bottom, radius - left : radius + right], out=part)
