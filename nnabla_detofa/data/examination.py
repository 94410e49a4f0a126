"""A whole data set, every image opened: what there is and what is wrong with it (an addition; not in the paper)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import ConfigError, DataError
from .dataset import DetectionDataset, hold_out
from .flaws import Finding, Findings, Flaw, Severity
from .images import examine_image
from .objects import too_many_objects
from .splits import to_test_on, to_train_on, too_many_held_out
from .stream import in_order

AHEAD = 4  # images under way for each thread


class DataSet(Protocol):
    """What the examination asks of a split, whatever the task."""

    name: str
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]

    def __len__(self) -> int: ...

    def picture(self, index: int) -> tuple[Path, tuple[int, int] | None]:
        """An image's file, and its (width, height) where the annotation says it."""

    @property
    def class_counts(self) -> np.ndarray:
        """Objects, or images, of each class."""


class Options(Protocol):
    """What the examination asks of a loader's options."""

    where: str
    held_out: float | int
    seed: int

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool) -> DataSet:
        """The `split`, "train" or "test"; where not `strict`, what could be read of it."""


class Part(NamedTuple):
    """One split: `name` of what it was read from, the number of its images and of each class, sizes (n, 2), flaws."""

    split: str
    name: str
    images: int
    counts: dict[str, int]
    sizes: np.ndarray
    findings: list[Finding]


def examine(options: Options, *, threads: int | None = None, show: bool = True) -> list[Part]:
    """Read the training and the test split as `options` say, and open every image.

    Raises ConfigError for options that no data set can have; whatever else is wrong is in the findings. `show` draws a
    progress bar. As many `threads` as the process has cores, unless told otherwise.
    """
    threads = threads or len(os.sched_getaffinity(0))
    cv2.setNumThreads(1)  # threads work on images, not inside them
    cv2.setLogLevel(0)  # what it would say of a damaged image is in the findings
    parts: list[Part] = []
    read: dict[str, _Read] = {}
    classes = getattr(options, "classes", None)
    for split in ("train", "test"):
        try:
            dataset = options.read(split, classes, strict=False)
        except ConfigError:
            raise
        except DataError as error:
            findings = [Finding(Flaw.SPLIT_UNREADABLE, Path(split), None, str(error))]
            parts.append(Part(split, split, 0, {}, np.zeros((0, 2), int), findings))
            continue
        part, read[split] = _look_at_all(split, dataset, threads, show=show)
        part.findings.extend(_of_the_split(split, dataset, options))
        part.findings.extend(_same_in_split(read[split]))
        if len(read) == 2:
            part.findings.extend(_same_in_test(**read))
        parts.append(part)
        classes = classes or dataset.classes or None  # of a training split that is unusable there may be none
    return parts


def severity(parts: Iterable[Part]) -> Severity:
    """The worst of all findings."""
    return max((finding.flaw.severity for part in parts for finding in part.findings), default=Severity.NOTED)


def _of_the_split(split: str, dataset: DataSet, options: Options) -> Findings:
    """What is wrong with a split as what it is used for."""
    found = Findings(strict=False)
    if not len(dataset) or any(one.flaw.severity is Severity.UNUSABLE for one in dataset.findings):
        return found  # what is missing of it is said already
    if split == "train":
        found.extend(too_many_held_out(dataset, options.held_out))
        try:
            hold_out(dataset, options.held_out, options.seed)
        except DataError as error:
            found.add(Flaw.HELD_OUT_ALL, Path(dataset.name), str(error))
        to_train_on(dataset, found)
        if isinstance(dataset, DetectionDataset):
            found.extend(too_many_objects(dataset, options.max_objects))  # type: ignore[attr-defined]
    else:
        to_test_on(dataset, found)
    return found


class _Read(NamedTuple):
    """The images of a split, and a digest of each one's pixels; None for an unusable one."""

    dataset: DataSet
    digests: list[bytes | None]

    @property
    def files(self) -> Iterator[Path]:
        return (self.dataset.picture(i)[0] for i in range(len(self.digests)))


def _look_at_all(split: str, dataset: DataSet, threads: int, *, show: bool) -> tuple[Part, _Read]:
    findings, digests = list(dataset.findings), []
    sizes = np.zeros((len(dataset), 2), np.int32)
    with ThreadPoolExecutor(threads, "images") as pool:
        looked = in_order(lambda i: _look(*dataset.picture(i)), range(len(dataset)), pool, AHEAD * threads)
        bar = tqdm(looked, split, len(dataset), unit="image", disable=not show, dynamic_ncols=True)
        for i, (found, size, digest) in enumerate(bar):
            findings += found
            sizes[i] = size
            digests.append(digest)
    counts = dict(zip(dataset.classes, dataset.class_counts.tolist(), strict=True))
    part = Part(split, dataset.name, len(dataset), counts, sizes[sizes[:, 0] > 0], findings)
    return part, _Read(dataset, digests)


def _look(file: Path, size: tuple[int, int] | None) -> tuple[Findings, tuple[int, int], bytes | None]:
    """Flaws, size and digest of an image; (0, 0) and None for an unusable one."""
    findings = Findings(strict=False)
    pixels = examine_image(file, size, findings)
    if pixels is None:
        return findings, (0, 0), None
    shape = str(pixels.shape).encode()
    digest = hashlib.blake2b(pixels.reshape(-1).data, digest_size=16, key=shape).digest()
    return findings, (pixels.shape[1], pixels.shape[0]), digest


def _same_in_split(read: _Read) -> Iterator[Finding]:
    first: dict[bytes, Path] = {}
    for file, digest in zip(read.files, read.digests, strict=True):
        if digest in first:
            yield Finding(Flaw.SAME_IMAGE_IN_SPLIT, file, None, f"as {first[digest]}")
        elif digest is not None:
            first[digest] = file


def _same_in_test(train: _Read, test: _Read) -> Iterator[Finding]:
    """By picture or as the very file; by file name alone, which may mean nothing, where the picture is another one."""
    trained = dict(zip(train.digests, train.files, strict=True))
    trained.pop(None, None)
    files = set(train.files)
    names = {file.name: file for file in files}
    for file, digest in zip(test.files, test.digests, strict=True):
        if digest in trained or file in files:
            yield Finding(Flaw.SAME_IMAGE_IN_TEST, file, None, f"as {trained.get(digest, file)}")
        elif file.name in names:
            yield Finding(Flaw.SAME_NAME_IN_TEST, file, None, f"as {names[file.name]}")
