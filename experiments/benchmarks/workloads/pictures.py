"""The check of a data set that a user brings: many JPEG pictures with an instances json."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from nnabla_detofa.data.coco import CocoOptions
from nnabla_detofa.data.examination import examine

from .coco import SIDE, instances

THREADS = 2


def checking(n: int, by: str):
    """n pictures of 512×512, nine in ten of them for training, all different: examined, or only decoded by OpenCV."""
    folder = tempfile.TemporaryDirectory()
    root, rng = Path(folder.name), np.random.default_rng(0)
    pixels = cv2.GaussianBlur(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), (9, 9), 0)
    for split, share in (("train", n * 9 // 10), ("test", n - n * 9 // 10)):
        (root / split).mkdir()
        instances(root / f"{split}.json", share)
        for i in range(share):
            pixels[:8, :8] = rng.integers(0, 256, (8, 8, 3))
            cv2.imwrite(str(root / split / f"{i:012d}.jpg"), pixels)
    splits = {split: [split, f"{split}.json"] for split in ("train", "test")}
    options = CocoOptions.of("dataloader.coco", {"root": folder.name, **splits})
    files = sorted(map(str, root.glob("*/*.jpg")))

    def run(keep=folder) -> int:  # noqa: ARG001 - the pictures live as long as the task
        cv2.setNumThreads(1)
        if by == "opencv":
            with ThreadPoolExecutor(THREADS) as pool:
                assert all(pool.map(lambda file: cv2.imread(file) is not None, files))
        else:
            assert sum(len(part.files) for part in examine(options, threads=THREADS, show=False)) == n
        return n

    return run
