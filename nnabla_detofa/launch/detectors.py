"""The commands `export`, `detect` and `evaluate`: what leaves a run, and what it finds in pictures (additions)."""

import argparse
import sys
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import OmegaConf
from tqdm import tqdm

from ..data.data_check import require_place
from ..errors import ConfigError, DataError, RunFolderError, refusals_of_the_disk, unknown
from ..signals import held_back
from ..storage.files import refused, write_json
from .composition import composing, plain

FORMATS = ("onnx", "nnp", "h5")
ELSEWHERE = "give another folder with --out"
SHOWN = 3  # files that a line names


class Arguments(argparse.ArgumentParser):
    """Answers with ConfigError in the place of a usage of many lines."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; nnabla_detofa -h lists the options")


def export(arguments: list[str]) -> None:
    """`nnabla_detofa export RUN`: the files of a finished run's detectors."""
    parser = Arguments("export", add_help=False, allow_abbrev=False)
    parser.add_argument("run", type=Path)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--budget", type=float)
    which.add_argument("--rank", type=int)
    which.add_argument("--all", action="store_true")
    parser.add_argument("--format")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    formats = FORMATS if given.format is None else tuple(filter(None, given.format.split(",")))
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS, key="--format")
    folder = given.run.expanduser().absolute()
    with held_back():  # a process that has half of nnabla crashes at its end
        from ..deploy.export import available
        from ..deploy.folder import write_detector
        from ..deploy.front import NEEDED, chosen, front_of_folder, lacks
        from ..ranking import FOLDER
        from ..report.links import renew_links
        from ..training import STATISTICS
    here, lacking = available()
    if lacking is not None and given.format is not None and "onnx" in formats:
        raise lacking
    if not lacks(folder, NEEDED) and lacks(folder, (STATISTICS,)):
        _estimate(folder)
    front = front_of_folder(folder)
    rows = chosen(front.rows, budget=given.budget, rank=given.rank)
    out = (given.out or folder / FOLDER).expanduser().absolute()
    written = [name for name in formats if name in here]
    with refused(out, ELSEWHERE):
        out.mkdir(parents=True, exist_ok=True)
    for one in rows:
        print(write_detector(front, one, out, written, raw=given.raw), flush=True)
    if out == folder / FOLDER:
        renew_links(folder)
    if lacking is not None and "onnx" in formats:
        print(f"detector.onnx is left out: {lacking}")


def _estimate(folder: Path) -> None:
    """Have the statistics of a run of before there was a file of them estimated anew, from its data set."""
    configs = sorted(folder.glob(".*/config.yaml"))
    if not configs:
        raise RunFolderError(
            f"{folder} lacks statistics.h5, and the configuration to estimate them with: run its command again, which"
            " keeps what is done"
        )
    print("statistics.h5 is missing: estimated anew from the data set, on the images that the evaluation took")
    with composing():
        config = plain(OmegaConf.load(configs[-1]), folder.parent.parent)  # type: ignore[arg-type]
    from .run import launch

    with refusals_of_the_disk():
        launch(config, action="estimate", folder=folder)


def detect(arguments: list[str]) -> list[Exception]:
    """`nnabla_detofa detect DETECTOR IMAGE|FOLDER…`; returns what was wrong, if some pictures could not be read."""
    parser = Arguments("detect", add_help=False, allow_abbrev=False)
    parser.add_argument("detector")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threshold", type=float)
    given = parser.parse_intermixed_args(arguments)
    if given.threshold is not None and not 0 <= given.threshold < 1:
        raise ConfigError(key="--threshold", given=given.threshold, allowed="a number in [0, 1)")
    with held_back():
        from ..deploy import Exported
        from ..deploy.pictures import detect_in, pictures_in
    require_place(given.json)
    out = given.out or (Path("detections") if given.json is None else None)
    (files, others), detector = pictures_in(given.pictures, out=out), Exported.load(given.detector)
    if out is not None:
        with refused(out, ELSEWHERE):
            out.mkdir(parents=True, exist_ok=True)
    with refusals_of_the_disk(ELSEWHERE):
        failures: list[DataError] = detect_in(
            detector, files, out=out, json=given.json, threshold=given.threshold, progress=_bar("detect")
        )
    _say(len(files) - len(failures), (place for place in (out, given.json) if place is not None))
    if others:
        shown = ", ".join(one.name for one in others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        print(f"{len(others)} files left out, which are no pictures by their names: {shown}")
    if not failures:
        return []
    return (
        [*failures, DataError(f"{len(failures)} of {len(files)} images cannot be read")]
        if len(files) > 1
        else [*failures]
    )


def evaluate(place: str, dataloader: Any, metric: Any, json: Path | None) -> None:
    """`nnabla_detofa evaluate DETECTOR -c FILE`: of the configuration, its `dataloader` and its metric."""
    if not isinstance(metric, str):
        raise ConfigError("the configuration lacks hparams.metric", key="hparams.metric", given=metric)
    with held_back():
        from ..deploy import Exported
        from ..deploy.evaluation import evaluated, lines, test_loader
    require_place(json)
    detector = Exported.load(place)
    with refusals_of_the_disk():
        with closing(test_loader(detector, dataloader)) as loader:
            found = evaluated(detector, loader, metric, progress=_bar("evaluate"))
        if json is not None:
            write_json(json, found)
    print("\n".join(lines(found)))


def _bar(name: str) -> partial:
    return partial(tqdm, desc=name, unit="image", dynamic_ncols=True, file=sys.stderr)


def _say(n: int, places: Iterable[Path]) -> None:
    if n:
        print(f"{n} images: {', '.join(map(str, places))}")
