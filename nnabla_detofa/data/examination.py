"""Examination of a data set, every image opened: what there is, and what is wrong (an addition; not in the paper)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import cv2
from tqdm import tqdm

from ..errors import ConfigError, DataError
from .dataset import to_test_on, to_train_on, validation_of
from .flaws import Findings, Flaw, Severity, by_flaw, count_lines, tell
from .images import examine_image
from .sharing import read_split
from .stream import in_order

AHEAD = 4  # images under way for each thread
HARMLESS = ("workers", "prefetch", "cache_megabytes")  # options that change nothing of what there is


class Part(NamedTuple):
    """One split: `name` of what it was read from, objects of each class, flaws; of each image its file, its size
    (width, height) and a digest of its pixels, None for an unusable one."""

    split: str
    name: str
    counts: dict[str, int]
    findings: Findings
    files: list[Path]
    sizes: list[tuple[int, int] | None]
    digests: list[bytes | None]

    def extremes(self) -> dict[str, str]:
        """The sizes of the image of the fewest pixels, of the one in the middle, and of that of the most."""
        ordered = sorted(filter(None, self.sizes), key=lambda size: size[0] * size[1])
        places = {"smallest": 0, "median": len(ordered) // 2, "largest": -1}
        return {name: "x".join(map(str, ordered[place])) if ordered else "-" for name, place in places.items()}


def examine(options: Any, *, threads: int | None = None, show: bool = True) -> list[Part]:
    """Read the training and the test split as a data set's `options` say, and open every image.

    Raises ConfigError for options that no data set can have; whatever else is wrong is in the findings. `show` draws a
    progress bar. As many `threads` as the process has cores, unless told otherwise.
    """
    cv2.setNumThreads(1)  # threads work on images, not inside them
    cv2.setLogLevel(0)  # what it would say of a damaged image is in the findings
    parts: list[Part] = []
    classes = options.classes
    for split in ("train", "test"):
        part = Part(split, split, {}, Findings(strict=False), [], [], [])
        own = None
        try:
            dataset = read_split(options, split, classes, strict=False)
        except ConfigError:
            raise
        except DataError as error:
            part.findings.add(Flaw.SPLIT_UNREADABLE, Path(split), str(error))
        else:
            part, own = _looked_at(split, dataset, threads, show=show), validation_of(dataset)
            if len(dataset) and not any(one.flaw.severity is Severity.UNUSABLE for one in dataset.findings):
                most = getattr(options, "max_objects", 0)
                if split == "train":
                    to_train_on(dataset, part.findings, held_out=options.held_out, max_objects=most)
                else:
                    to_test_on(dataset, part.findings)
            _same_pictures(parts, part)
            classes = classes or dataset.classes or None  # of a training split that is unusable there may be none
        parts.append(part)
        if own is not None:
            part = _looked_at("val", own, threads, show=show)
            _same_pictures(parts, part, Flaw.SAME_IMAGE_IN_SPLIT)
            parts.append(part)
    return parts


def severity(parts: Iterable[Part]) -> Severity:
    """The worst of all findings."""
    return max((finding.flaw.severity for part in parts for finding in part.findings), default=Severity.NOTED)


def _looked_at(split: str, dataset: Any, threads: int | None, *, show: bool) -> Part:
    """A split with the flaws of its annotations and of its images."""
    counts = dict(zip(dataset.classes, dataset.class_counts.tolist(), strict=True))
    part = Part(split, dataset.name, counts, Findings(strict=False), [], [], [])
    part.findings.extend(dataset.findings)
    threads = threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads, "images") as pool:
        looked = in_order(lambda i: _look(*dataset.picture(i)), range(len(dataset)), pool, AHEAD * threads)
        bar = tqdm(looked, part.split, len(dataset), unit="image", disable=not show, dynamic_ncols=True)
        for number, (found, size, digest) in enumerate(bar):
            part.findings.extend(found)
            part.files.append(dataset.picture(number)[0])
            part.sizes.append(size)
            part.digests.append(digest)
    return part


def _look(file: Path, size: tuple[int, int] | None) -> tuple[Findings, tuple[int, int] | None, bytes | None]:
    findings = Findings(strict=False)
    pixels = examine_image(file, size, findings)
    if pixels is None:
        return findings, None, None
    shape = str(pixels.shape).encode()
    digest = hashlib.blake2b(pixels.reshape(-1).data, digest_size=16, key=shape).digest()
    return findings, (pixels.shape[1], pixels.shape[0]), digest


def _same_pictures(before: Sequence[Part], part: Part, flaw: Flaw = Flaw.SAME_IMAGE_IN_TEST) -> None:
    """The flaws of pictures that are in a split twice, or in one `before` too, which is a `flaw` of its own: by their
    pixels, or as the very file."""
    trained: dict[Any, Path] = {}
    for one in before:
        trained.update(zip([*one.files, *one.digests], one.files * 2, strict=True))
    first: dict[bytes, Path] = {}
    for file, digest in zip(part.files, part.digests, strict=True):
        if other := trained.get(file) or (digest and trained.get(digest)):
            part.findings.add(flaw, file, f"as {other}")
        if digest and first.setdefault(digest, file) != file:
            part.findings.add(Flaw.SAME_IMAGE_IN_SPLIT, file, f"as {first[digest]}")


def as_json(parts: Sequence[Part]) -> dict:
    """Everything that was found, as plain data."""
    return {
        "exit_code": int(severity(parts)),
        "splits": {
            part.split: {
                "name": part.name,
                "images": len(part.files),
                "classes": part.counts,
                "sizes": part.extremes(),
                "counts": {flaw.name.lower(): len(found) for flaw, found in by_flaw(part.findings)},
            }
            for part in parts
        },
        "flaws": [
            {"split": split, "flaw": flaw.name.lower(), "severity": flaw.severity.name.lower()}
            | {"file": str(file), "object": number, "detail": detail}
            for part in parts
            for split, (flaw, file, number, detail) in zip(repeat(part.split), part.findings, strict=False)
        ],
        "policy": {flaw.name.lower(): f"{flaw.title}: {flaw.policy}" for flaw in Flaw},
    }


def before_training(options: Any, known: Any, digests: Sequence[str] = ()) -> dict[str, Any]:
    """Say every flaw's count before a data set is trained on, and return a record of it for the run.

    `known` is the record of an earlier session of the run, or anything else: of the same options, and annotations of
    the same `digests`, it spares opening every image again. DataError where a flaw makes the data set unusable.
    """
    wanted = json.loads(json.dumps({**options.model_dump(exclude={*HARMLESS}), "digests": digests}, default=str))
    if not isinstance(known, dict) or known.get("options") != wanted or not isinstance(known.get("said"), list):
        parts = examine(options)
        if worst := [one for part in parts for one in part.findings.unusable]:
            more = f" (and {len(worst) - 1} more such flaws: `nnabla_detofa check` lists them)" if worst[1:] else ""
            raise DataError(f"{worst[0].detail}{more}")
        lines = [line for part in parts for line in count_lines(part.name, part.findings)]
        known = {"options": wanted, "said": lines, **as_json(parts)}
    for line in known["said"]:
        tell(str(line))
    return known
